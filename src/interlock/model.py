"""The contract a model fulfils, and the checks around it.

A team names two functions in `[tool.interlock]`:

* `load(folder: Path) -> object`: the model, from the folder of a version;
* `predict(model, batch) -> array`: one finite number for each row of the batch, or,
  where the schema has classes, one for each row and class.

A batch maps column names to arrays of one length. The columns and their types are the
schema's: `number` (float64, NaN means missing), `integer` (int64), `boolean` (bool) and
`string` (numpy str).
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interlock.errors import BadConfiguration, CheckBroken, expecting

Array = npt.NDArray[Any]
Batch = Mapping[str, Array]

TYPES: Mapping[str, type] = {
    "number": np.float64,
    "integer": np.int64,
    "boolean": np.bool_,
    "string": np.str_,
}
_KINDS = {"number": "fiub", "integer": "iub", "boolean": "b", "string": "U"}


@dataclass(frozen=True)
class Schema:
    """The columns a model reads, each with its type, and the type of its answer."""

    input: Mapping[str, str]
    output: str = "number"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the answer for a row: (), or (classes,) where `output` lists them."""
        return () if self.output == "number" else (len(json.loads(self.output)),)

    def batch(self, columns: Mapping[str, Any], first: int = 0) -> dict[str, Array]:
        """The schema's columns as arrays of its types, all of one length.

        Raises CheckBroken for a missing column, a value of another type (named by its
        row, counted from `first`) and columns of different lengths. Columns that the
        schema does not name are left out.
        """
        arrays = {name: self._column(name, columns, first) for name in self.input}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise CheckBroken(
                "columns of one length", f"lengths {lengths}", "pass whole rows"
            )
        return arrays

    def _column(self, name: str, columns: Mapping[str, Any], first: int) -> Array:
        kind = self.input[name]
        if name not in columns:
            raise CheckBroken(
                f"a column {name!r} ({kind})",
                f"columns {', '.join(sorted(columns)) or 'none'}",
                "pass every column of the schema",
            )
        try:
            array = _as_type(columns[name], kind)
        except (TypeError, ValueError, OverflowError):
            raise CheckBroken(
                f"column {name!r} to hold {kind} values",
                _first_misfit(columns[name], kind, first),
                "convert the column before predicting",
            ) from None
        if array.ndim != 1:
            raise CheckBroken(
                f"column {name!r} to be one-dimensional",
                f"shape {array.shape}",
                "pass one value for each row",
            )
        return array


def _as_type(values: Any, kind: str) -> Array:
    """`values` as an array of `kind`; a string never becomes a number by accident."""
    # A list becomes objects first: NumPy would make strings of a number among strings.
    plain = isinstance(values, (list, tuple))
    array: Array = np.asarray(values, dtype=object if plain else None)
    if array.dtype == object:
        array = _from_objects(array, kind)
    if array.size and array.dtype.kind not in _KINDS[kind]:
        raise TypeError(f"{array.dtype} is not {kind}")
    typed: Array = array.astype(TYPES[kind])
    if kind == "integer" and not np.array_equal(typed, array):
        raise OverflowError("beyond 64 bits")
    return typed


def _from_objects(array: Array, kind: str) -> Array:
    """An array of Python objects as one of plain values; None is a missing number."""
    values = array.tolist()
    if kind == "number":
        values = [np.nan if value is None else value for value in values]
    if kind == "string" and not all(isinstance(value, str) for value in values):
        raise TypeError("not all are strings")
    return np.asarray(values)


def _first_misfit(values: Any, kind: str, first: int) -> str:
    for row, value in enumerate(values if np.iterable(values) else ()):
        try:
            _as_type([value], kind)
        except (TypeError, ValueError, OverflowError):
            return f"row {first + row}: {value!r}"
    return f"{type(values).__name__} that is no column of such values"


@dataclass(frozen=True)
class Model:
    """A loaded model whose every answer has been checked."""

    schema: Schema
    loaded: Any
    call: Callable[[Any, Batch], Any]

    def predict(self, columns: Mapping[str, Any], first: int = 0) -> Array:
        """One finite float64 for each row, shape (n,), or (n, classes).

        Raises CheckBroken, naming the row (the first is number `first`) where there is
        one, when the model raises, or answers with another shape, another length or a
        value that is not finite.
        """
        batch = self.schema.batch(columns, first)
        rows = len(next(iter(batch.values()), ()))
        try:
            answer = self.call(self.loaded, batch)
        except (Exception, SystemExit) as error:
            raise self._raised(batch, rows, first, error) from error
        return _checked(answer, (rows, *self.schema.shape), first)

    def _raised(
        self, batch: Batch, rows: int, first: int, error: BaseException
    ) -> CheckBroken:
        row = self._culprit(batch, 0, rows)
        where = f"on all {rows} rows" if row is None else f"at row {first + row}"
        return CheckBroken(
            "predict to answer for every row",
            f"{type(error).__name__} {where}: {error}",
            "mend predict, or what it is given there",
        )

    def _culprit(self, batch: Batch, start: int, end: int) -> int | None:
        """The first row that makes predict raise, by halving; None if none alone."""
        while end - start > 1:
            middle = (start + end) // 2
            if self._raises(batch, start, middle):
                end = middle
            else:
                start = middle
        return start if self._raises(batch, start, end) else None

    def _raises(self, batch: Batch, start: int, end: int) -> bool:
        try:
            self.call(self.loaded, {k: v[start:end] for k, v in batch.items()})
        except (Exception, SystemExit):
            return True
        return False


def _checked(answer: Any, shape: tuple[int, ...], first: int) -> Array:
    rows, each = shape[0], "one number for each row"
    if len(shape) == 2:
        each += " and class"
    try:
        if np.asarray(answer).dtype.kind not in "fiubO":
            raise TypeError(f"values of type {np.asarray(answer).dtype}")
        array = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckBroken(
            f"predict to return {rows} numbers", str(error), "return a float array"
        ) from None
    if array.shape != shape:
        raise CheckBroken(
            f"predict to return shape {shape}: {each}",
            f"shape {array.shape}",
            _shape_advice(array, shape, first),
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if bad.size:
        raise CheckBroken(
            "predict to return finite numbers",
            f"{array[bad[0]]} at row {first + bad[0]}, {bad.size} such of {rows} rows",
            "mend predict for that row",
        )
    return array


def _shape_advice(array: Array, shape: tuple[int, ...], first: int) -> str:
    rows = shape[0]
    if array.ndim == 2 and len(array) == rows and len(shape) == 1:
        return "return one column, for example probabilities[:, 1]"
    if array.ndim == len(shape) and len(array) < rows:
        return f"return one for each: row {first + len(array)} is the first without"
    if len(shape) == 2:
        return "return a column for each of schema.classes, in their order"
    return "return exactly one number for each row"


class _SourceOnly(SourceFileLoader):
    """Neither reads nor writes bytecode.

    A planted .pyc must not run in place of the source that was verified, and loading a
    version must not leave files in its folder.
    """

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("bytecode is not used here")


def _import_from(folder: Path) -> None:
    """Make the modules of a version importable, before all others."""
    root = str(folder)

    def finder(path: str) -> FileFinder:
        if path != root and not path.startswith(root + "/"):
            raise ImportError(path)
        return FileFinder(path, (_SourceOnly, [".py"]))

    sys.path_hooks.insert(0, finder)
    sys.path.insert(0, root)
    for known in [path for path in sys.path_importer_cache if path.startswith(root)]:
        del sys.path_importer_cache[known]
    importlib.invalidate_caches()


def entry_point(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names.

    Raises BadConfiguration when there is no such module or function.
    """
    module_name, _, name = reference.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # importing runs the module, which may raise anything
        raise BadConfiguration(
            f"{reference!r} to name a function, as module:function",
            f"{type(error).__name__}: {error}",
            _import_advice(error, module_name),
        ) from error
    if not callable(function):
        raise BadConfiguration(
            f"{reference!r} to name a function", repr(function), "name a function"
        )
    return function  # type: ignore[no-any-return]


def _import_advice(error: Exception, module_name: str) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and missing.partition(".")[0] != module_name.partition(".")[0]:
        return f"add what provides {missing} to the serve group, then: nox -s lock"
    return "correct the name in [tool.interlock], or mend the module"


def load_folder(folder: Path, contract: Mapping[str, Any]) -> Model:
    """The model in `folder`, by the contract of its manifest.

    `contract` holds `load`, `predict` (module:function), `input` and `output` (schema).
    One version a process: its modules would be mixed up with another version's.
    """
    folder = folder.resolve()
    _refuse_strangers(folder)
    _import_from(folder)
    load, predict = (entry_point(contract[key]) for key in ("load", "predict"))
    try:
        loaded = load(folder)
    except Exception as error:
        raise CheckBroken(
            f"{contract['load']} to load the model",
            f"{type(error).__name__}: {error}",
            "mend load, or the files it reads",
        ) from error
    _refuse_strangers(folder)
    return Model(Schema(contract["input"], contract["output"]), loaded, predict)


def _refuse_strangers(folder: Path) -> None:
    """Refuse a module that the version has, but that came from somewhere else."""
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        module = sys.modules.get(name)
        origin = getattr(module, "__file__", None)
        if module and not (origin and Path(origin).is_relative_to(folder)):
            raise CheckBroken(
                f"{name} from {folder}",
                f"another, imported before, from {origin}",
                "load one version a process, before other modules of that name",
            )


def golden_examples(path: Path) -> tuple[dict[str, list[Any]], list[Any]]:
    """The golden inputs as columns, and the outputs expected of them.

    An output is a number, or a list of them where the model answers with classes.

    Raises BadConfiguration for a file of another form.
    """
    with expecting(
        'golden examples as {"examples": [{"input": {...}, "output": 0.5}, ...]}',
        f"correct {path.name}",
        BadConfiguration,
    ):
        examples = json.loads(path.read_text("utf-8"))["examples"]
        names = examples[0]["input"]
        columns = {name: [e["input"][name] for e in examples] for name in names}
        outputs = [e["output"] for e in examples]
        return columns, np.asarray(outputs, np.float64).tolist()
