"""`[tool.interlock]` in pyproject.toml, validated.

The dataclasses are the documentation of the settings: a field without a default is
required, and its type is what pyproject.toml must hold.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path, PurePosixPath
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from interlock.errors import BadConfiguration

Kind = Literal["number", "integer", "boolean", "string"]


@dataclass(frozen=True)
class SchemaTable:
    """What a caller passes to the model, column by column, and what it answers."""

    input: Mapping[str, Kind]
    output: Literal["number"] = "number"
    classes: tuple[str, ...] = ()  # then it answers a probability of each, (n, classes)

    @property
    def answer(self) -> str:
        """What a version's contract says of the output: a number, or the classes."""
        return json.dumps(self.classes) if self.classes else self.output


@dataclass(frozen=True)
class Smoke:
    """Limits for the golden examples: absolute error, and milliseconds a call."""

    tolerance: float = 1e-6
    latency_ms: float = 100.0


@dataclass(frozen=True)
class Gate:
    """A condition on metrics, and what its UNKNOWN does: block the release or warn."""

    expect: str
    on_unknown: Literal["block", "warn"] = "block"


@dataclass(frozen=True)
class Watch:
    """What the model in production is held against on each night's fresh rows."""

    floor: float  # the metric of a night is to be this or more, on average
    metric: str = "accuracy"  # one that is a share, and the better the higher
    nights: int = 365
    false_alarm: float = 0.05  # within so many nights


@dataclass(frozen=True)
class Score:
    """A team's own score of each row, whose mean is the metric `score`."""

    function: str  # module:function(labels, predictions, columns) -> array (n,)
    low: float  # the least and the largest that a row can score
    high: float
    better: Literal["higher", "lower"] = "higher"
    columns: tuple[str, ...] = ()  # of the data, that the function is given


@dataclass(frozen=True)
class Evaluation:
    """What nightly-eval judges, and the two chances its verdicts keep to."""

    data: str  # a path or URI of Parquet or CSV, or module:function(folder) -> path
    label: str  # the truth: 0 or 1, a class's name, a number, or a relevance
    gates: tuple[Gate, ...]
    slices: tuple[str, ...] = ()
    # The values that must have rows, by the column of `slices`.
    expected_slices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task: Literal["binary", "multiclass", "regression", "ranking"] = "binary"
    classes: tuple[str, ...] = ()  # those of the schema
    weight: str = ""  # the column of the rows' weights; empty: all count alike
    cluster: str = ""  # the column whose equal values mark rows that belong together
    query: str = ""  # ranking: the column of the query that a row answers
    top_k: int = 5  # classes, or answers of a query, that count as found
    quantile: float = 0.5  # of quantile_loss
    clip: Mapping[str, float] = field(default_factory=dict)  # a row's largest loss
    score: Score | None = None
    threshold: float = 0.5  # a probability at or above it counts as a positive
    false_alarm: float = 0.05  # over the whole life of the test set
    false_pass: float = 0.05  # of passing a model worse than the tolerance
    uses: int = 365  # how often the test set is meant to be used
    batch_rows: int = 65_536  # that a model is given at a time
    patience: float = 600.0  # seconds for a batch, before the model counts as hung
    workers: int = 0  # batches at a time; 0: as many as this machine has cores
    engine: Literal["local", "dask"] = "local"
    scheduler: str = ""  # of Dask: tcp://HOST:PORT
    identity: tuple[str, ...] = ()  # columns that a row is known by; empty: all
    watch: Watch | None = None


@dataclass(frozen=True)
class Config:
    """One model: where its files are, how it is called, and how it is judged."""

    name: str
    code: tuple[str, ...]  # what a serving host runs, relative to `path`
    weights: str
    golden: str
    load: str
    predict: str
    schema: SchemaTable
    path: str = "."  # the folder that the model's modules are imported from
    registry: str = ""  # empty: the embedded one, in the home of interlock
    smoke: Smoke = field(default_factory=Smoke)
    evaluation: Evaluation | None = None


def read(root: Path) -> Config:
    """The settings of the project at `root`.

    Raises BadConfiguration for a file, table, key or value that is not as it must be.
    """
    file = root / "pyproject.toml"
    try:
        table = tomllib.loads(file.read_text("utf-8"))["tool"]["interlock"]
    except FileNotFoundError:
        raise BadConfiguration(
            "pyproject.toml in the project's folder",
            f"none in {root}",
            "run interlock where the project's pyproject.toml is",
        ) from None
    except (KeyError, TypeError):
        raise BadConfiguration(
            "a table [tool.interlock] in pyproject.toml",
            "none",
            "add it: docs/own-repository.md has one to copy",
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadConfiguration(
            "pyproject.toml to be TOML", str(error), "correct it there"
        ) from None
    return _checked(_build(Config, table, ""))


def recorded(settings: Any) -> Evaluation:
    """The settings of an evaluation, as its metrics.json says them.

    What has no value there is left out. Raises BadConfiguration for what are none.
    """
    evaluation: Evaluation = _build(Evaluation, _given(settings), ".evaluation")
    return evaluation


def _given(value: Any) -> Any:
    """`value` without the keys that hold null, which TOML does not have."""
    if isinstance(value, list):
        return [_given(each) for each in value]
    if isinstance(value, dict):
        return {key: _given(each) for key, each in value.items() if each is not None}
    return value


def configured_registry(folder: Path) -> str:
    """The registry that a project in `folder` names; empty where there is none."""
    if not (folder / "pyproject.toml").is_file():
        return ""
    try:
        return read(folder).registry
    except BadConfiguration:  # it may be no project of interlock's at all
        return ""


def _checked(config: Config) -> Config:
    """`config` itself, if its values make sense together."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", config.name):
        raise _wrong(".name", "letters, digits, - and _", config.name)
    if Path(config.path).is_absolute() or ".." in Path(config.path).parts:
        raise _wrong(".path", "a folder inside the project", config.path)
    for key in ("weights", "golden", "code"):
        for path in _paths(getattr(config, key)):
            plain = str(PurePosixPath("/", path))[1:] == path and path.isprintable()
            if not plain or ".." in path.split("/"):
                raise _wrong(f".{key}", "a plain path below `path`", path)
    if not config.schema.input:
        raise _wrong(".schema.input", "a column or more", "none")
    for key in ("tolerance", "latency_ms"):
        if not 0 <= getattr(config.smoke, key) < math.inf:
            raise _wrong(f".smoke.{key}", "0 or more", getattr(config.smoke, key))
    if not config.evaluation:
        return config
    evaluation = _of_schema(config.evaluation, config.schema.classes)
    _check_evaluation(evaluation)
    return replace(config, evaluation=evaluation)


def _of_schema(evaluation: Evaluation, classes: tuple[str, ...]) -> Evaluation:
    """The settings for a model that answers with these classes, or with a number."""
    if not classes:
        return evaluation
    task = "multiclass" if evaluation.task == "binary" else evaluation.task
    return replace(evaluation, task=task, classes=classes)


def _paths(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _check_evaluation(evaluation: Evaluation) -> None:
    for key in ("false_alarm", "false_pass", "threshold"):
        if not 0 < getattr(evaluation, key) < 1:
            raise _wrong(
                f".evaluation.{key}", "between 0 and 1", getattr(evaluation, key)
            )
    if evaluation.watch:
        _check_watch(evaluation.watch)
    for key in ("uses", "batch_rows"):
        if getattr(evaluation, key) < 1:
            raise _wrong(f".evaluation.{key}", "1 or more", getattr(evaluation, key))
    if evaluation.workers < 0:
        raise _wrong(".evaluation.workers", "0 or more", evaluation.workers)
    if not 0 < evaluation.patience < math.inf:
        raise _wrong(".evaluation.patience", "above 0", evaluation.patience)
    if (evaluation.engine == "dask") != bool(evaluation.scheduler):
        expected = "an address, where the engine is 'dask', and only there"
        raise _wrong(".evaluation.scheduler", expected, evaluation.scheduler)
    _check_task(evaluation)
    if len(set(evaluation.slices)) < len(evaluation.slices):
        raise _wrong(".evaluation.slices", "columns, each once", evaluation.slices)
    for column in evaluation.expected_slices.keys() - {*evaluation.slices}:
        expected = f"one of {', '.join(evaluation.slices) or 'evaluation.slices'}"
        raise _wrong(".evaluation.expected_slices", expected, column)
    for column, values in evaluation.expected_slices.items():
        if not values:
            raise _wrong(f".evaluation.expected_slices.{column}", "a value or more", ())
    if not evaluation.gates:
        raise _wrong(".evaluation.gates", "a gate or more", "none")


def _check_watch(watch: Watch) -> None:
    for key in ("floor", "false_alarm"):
        if not 0 < getattr(watch, key) < 1:
            found = getattr(watch, key)
            raise _wrong(f".evaluation.watch.{key}", "between 0 and 1", found)
    if watch.nights < 1:
        raise _wrong(".evaluation.watch.nights", "1 or more", watch.nights)


def _check_task(evaluation: Evaluation) -> None:
    classes = evaluation.classes
    if (evaluation.task == "multiclass") != (len(set(classes)) > 2):
        raise _wrong(
            ".evaluation.task",
            "'multiclass' where schema.classes has three names or more, and only there",
            f"{evaluation.task!r} with {len(set(classes))} classes",
        )
    if (evaluation.task == "ranking") != bool(evaluation.query):
        expected = "a column, where the task is 'ranking', and only there"
        raise _wrong(".evaluation.query", expected, evaluation.query)
    if not 1 <= evaluation.top_k:
        raise _wrong(".evaluation.top_k", "1 or more", evaluation.top_k)
    if not 0 < evaluation.quantile < 1:
        raise _wrong(".evaluation.quantile", "between 0 and 1", evaluation.quantile)
    for name, limit in evaluation.clip.items():
        if not 0 < limit < math.inf:
            raise _wrong(f".evaluation.clip.{name}", "above 0", limit)
    score = evaluation.score
    if score and not -math.inf < score.low < score.high < math.inf:
        raise _wrong(".evaluation.score.low", "below score.high", score.low)
    if score and evaluation.engine == "dask":
        raise _wrong(".evaluation.score", "left out where the engine is 'dask'", "set")


def _wrong(where: str, expected: str, found: object) -> BadConfiguration:
    return BadConfiguration(
        f"tool.interlock{where} to be {expected}",
        found if isinstance(found, str) and found else repr(found),
        "correct it in pyproject.toml",
    )


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` from TOML as a `kind`, or a refusal that names the key."""
    if kind is Gate and isinstance(value, str):
        return Gate(value)
    if is_dataclass(kind):
        return _build_table(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(
            _build(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value)
        )
    if origin is UnionType:
        return _build(arguments[0], value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, dict):
            return {
                k: _build(arguments[1], v, f"{where}.{k}") for k, v in value.items()
            }
    elif origin is Literal:
        if value in arguments:
            return value
        raise _wrong(where, " or ".join(map(repr, arguments)), value)
    elif kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise _wrong(where, _name(kind), value)


def _build_table(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "a table", value)
    hints, known = get_type_hints(kind), {f.name: f for f in fields(kind)}
    for key in value.keys() - known.keys():
        raise _wrong(f"{where}.{key}", f"one of {', '.join(known)}", "an unknown key")
    for key, each in known.items():
        required = each.default is MISSING and each.default_factory is MISSING
        if required and key not in value:
            raise _wrong(f"{where}.{key}", "given", "missing")
    return kind(**{k: _build(hints[k], v, f"{where}.{k}") for k, v in value.items()})


def _name(kind: Any) -> str:
    names = {str: "a string", float: "a number", int: "a whole number"}
    return names.get(kind, "a list" if get_origin(kind) is tuple else "a table")
