"""The contract of a model: every answer is checked, every refusal names its row."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import BadConfiguration, CheckBroken
from interlock.model import Batch, Model, Schema, entry_point, golden_examples

X = Schema({"x": "number"})
CONTRACT = {"load": "m:load", "predict": "m:predict", "input": {"x": "number"}}
LOADER = f"""
import json, sys
from pathlib import Path
from interlock.errors import Refusal
from interlock.model import load_folder
try:
    model = load_folder(Path(sys.argv[1]), {CONTRACT | {"output": "number"}})
    print(json.dumps(model.predict({{"x": [1.0, 2.0]}}).tolist()))
except Refusal as refusal:
    print(type(refusal).__name__, refusal.expected, "|", refusal.found)
"""


def answering(call: Callable[[Batch], Any], schema: Schema = X) -> Model:
    """A model whose predict is `call`."""
    return Model(schema, None, lambda _, batch: call(batch))


def refused(schema: Schema, columns: Any) -> CheckBroken:
    """The refusal of a batch."""
    with pytest.raises(CheckBroken) as refusal:
        schema.batch(columns)
    return refusal.value


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_a_good_answer_is_passed_on(values: list[float]) -> None:
    """One float64 for each row, in order, and nothing done to it."""
    answer = answering(lambda batch: batch["x"]).predict({"x": values})
    assert answer.dtype == np.float64
    assert answer.tolist() == values


@pytest.mark.parametrize("answer", [[0.5, 1, 0], (0, 0, 0), np.array([1, 0, 1], "i1")])
def test_any_kind_of_numbers_is_an_answer(answer: Any) -> None:
    """Lists, integers and small types become float64."""
    found = answering(lambda batch: answer).predict({"x": [1.0, 2.0, 3.0]})
    assert found.dtype == np.float64 and found.shape == (3,)


@pytest.mark.parametrize(
    ("answer", "found", "todo"),
    [
        (np.zeros((3, 2)), "shape (3, 2)", "return one column"),
        (np.zeros((3, 1)), "shape (3, 1)", "return one column"),
        (np.zeros(2), "shape (2,)", "row 2"),
        ([], "shape (0,)", "row 0"),
        (np.zeros(4), "shape (4,)", "exactly one number for each row"),
        (0.5, "shape ()", "exactly one number for each row"),
        (np.zeros((1, 3)), "shape (1, 3)", "exactly one number for each row"),
        (["a", "b", "c"], "", "float array"),
        ([[1], [2, 3], []], "inhomogeneous", "float array"),
        ({"a": 1}, "dict", "float array"),
        ([0.0, np.nan, 0.0], "nan at row 1, 1 such", "mend"),
        ([0.0, 1.0, np.inf], "inf at row 2, 1 such", "mend"),
        ([-np.inf, np.nan, 0.0], "-inf at row 0, 2 such", "mend"),
        (None, "shape ()", "exactly one number for each row"),
        ([0.0, None, 1.0], "nan at row 1", "mend"),
    ],
    ids=repr,
)
def test_a_wrong_answer_is_refused(answer: Any, found: str, todo: str) -> None:
    """Wrong shape, wrong length, not a number: what was found, and what to do."""
    with pytest.raises(CheckBroken) as refusal:
        answering(lambda batch: answer).predict({"x": [1.0, 2.0, 3.0]})
    assert found in refusal.value.found
    assert todo in refusal.value.todo


@pytest.mark.parametrize("answer", [[10**400], [-(10**400)]], ids=["+", "-"])
def test_a_number_too_large_for_a_float_is_refused(answer: Any) -> None:
    """Python's integers have no end; an answer has."""
    with pytest.raises(CheckBroken):
        answering(lambda batch: answer).predict({"x": [1.0]})


def test_text_is_not_an_answer() -> None:
    """Predict that returns strings returns no numbers, even where they look so."""
    with pytest.raises(CheckBroken):
        answering(lambda batch: ["0.5"]).predict({"x": [1.0]})


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_a_raising_predict_is_located(bad: int) -> None:
    """The first row that raises alone is named, with the error."""

    def call(batch: Batch) -> Any:
        if (batch["x"] >= bad).any():
            raise ZeroDivisionError("so it is")
        return batch["x"]

    with pytest.raises(CheckBroken) as refusal:
        answering(call).predict({"x": np.arange(8.0)})
    assert refusal.value.found == f"ZeroDivisionError at row {bad}: so it is"
    assert isinstance(refusal.value.__cause__, ZeroDivisionError)


def test_a_predict_that_fails_on_the_whole_only_says_so() -> None:
    """Where no row raises alone, the refusal does not invent one."""

    def call(batch: Batch) -> Any:
        if len(batch["x"]) > 1:
            raise MemoryError("too many")
        return batch["x"]

    with pytest.raises(CheckBroken) as refusal:
        answering(call).predict({"x": np.zeros(5)})
    assert "MemoryError on all 5 rows" in refusal.value.found


def test_the_last_of_65536_rows_is_located_in_time() -> None:
    """A batch of the default size, an ordinary NumPy predict: under two seconds."""

    def call(batch: Batch) -> Any:
        if batch["x"][-1] == 65_535:
            raise ValueError("the last one")
        return 1 / (1 + np.exp(-batch["x"]))

    start = time.perf_counter()
    with pytest.raises(CheckBroken, match="at row 65535"):
        answering(call).predict({"x": np.arange(65_536.0)})
    assert time.perf_counter() - start < 2


def test_a_raising_row_is_located_in_few_calls() -> None:
    """Predict may cost a millisecond however few rows it gets: ask it 40 times."""
    calls = 0

    def call(batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        if (batch["x"] >= 900).any():
            raise ValueError("from here on")
        return batch["x"]

    with pytest.raises(CheckBroken, match="at row 900"):
        answering(call).predict({"x": np.arange(1024.0)})
    assert calls <= 40


def test_a_predict_that_exits_is_refused() -> None:
    """sys.exit(0) in a model must not end `interlock eval` as if it had passed."""

    def call(batch: Batch) -> Any:
        sys.exit(0)

    try:
        answering(call).predict({"x": [1.0]})
    except CheckBroken:
        return
    except SystemExit as error:
        pytest.fail(f"SystemExit({error.code}) escaped")


COLUMNS: list[tuple[str, Any, Any]] = [
    ("number", [1, 2.5, None], [1.0, 2.5, np.nan]),
    ("number", [None, None], [np.nan, np.nan]),
    ("number", [True, False], [1.0, 0.0]),
    ("number", np.array([1, 2], "i2"), [1.0, 2.0]),
    ("number", [np.nan, 1e308], [np.nan, 1e308]),
    ("integer", [1, -(2**63)], [1, -(2**63)]),
    ("integer", np.array([255], "u1"), [255]),
    ("boolean", [True, False], [True, False]),
    ("string", ["a", "é\U0001f600", ""], ["a", "é\U0001f600", ""]),
    ("string", np.array(["x", "y"], object), ["x", "y"]),
]
TYPES = {"number": "f8", "integer": "i8", "boolean": "?", "string": "U"}


@pytest.mark.parametrize(("kind", "values", "expected"), COLUMNS, ids=repr)
def test_a_column_gets_the_type_of_the_schema(
    kind: str, values: Any, expected: list[Any]
) -> None:
    """float64, int64, bool or str; None in a number column is NaN."""
    array = Schema({"c": kind}).batch({"c": values})["c"]
    assert array.dtype.kind == np.dtype(TYPES[kind]).kind
    assert kind == "string" or array.dtype == TYPES[kind]
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("kind", TYPES)
def test_no_rows_are_a_batch(kind: str) -> None:
    """An empty column has the type too, and predict is asked all the same."""
    schema = Schema({"c": kind})
    assert schema.batch({"c": []})["c"].dtype.kind == np.dtype(TYPES[kind]).kind
    model = answering(lambda batch: np.zeros(len(batch["c"])), schema)
    assert model.predict({"c": []}).shape == (0,)


MISFITS: list[tuple[str, Any, str]] = [
    ("number", [1.0, "2.5", 3.0], "row 1: '2.5'"),
    ("number", ["1", "2"], "row 0: '1'"),
    ("number", [None, "2.5"], "row 1: '2.5'"),
    ("number", [10**400], "row 0: 1000"),
    ("number", [1.0, {}, 2.0], "row 1: {}"),
    ("number", [1.0, [2.0, 3.0]], "list "),
    ("number", np.array(["2020-01-01"], "M8[D]"), "row 0:"),
    ("number", [b"1"], "row 0: b'1'"),
    ("integer", [1, 2.5], "row 1: 2.5"),
    ("integer", [1, None, 2], "row 1: None"),
    ("integer", [1.0], "row 0: 1.0"),
    ("integer", ["1"], "row 0: '1'"),
    ("integer", [2**70], "row 0:"),
    ("boolean", [True, None], "row 1: None"),
    ("boolean", [0.0], "row 0: 0.0"),
    ("boolean", [True, 2], "row 1: 2"),
    ("boolean", ["True"], "row 0: 'True'"),
    ("string", ["a", None], "row 1: None"),
    ("string", [b"a"], "row 0: b'a'"),
    ("string", [float("nan")], "row 0: nan"),
]


@pytest.mark.parametrize(("kind", "values", "found"), MISFITS, ids=repr)
def test_a_value_of_another_type_is_named_by_its_row(
    kind: str, values: Any, found: str
) -> None:
    """Nothing is converted by accident, and the first misfit is shown."""
    assert refused(Schema({"c": kind}), {"c": values}).found.startswith(found)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("string", ["a", 1], id="a number among strings becomes '1'"),
        pytest.param("integer", [2**63], id="an integer becomes a negative one"),
        pytest.param("string", 5, id="TypeError: a number is no column"),
        pytest.param("integer", None, id="TypeError: None is no column"),
    ],
)
def test_no_value_changes_its_meaning(kind: str, values: Any) -> None:
    """What the column's type cannot hold is refused, not bent until it fits."""
    refused(Schema({"c": kind}), {"c": values})


def test_a_missing_column_is_named() -> None:
    """The refusal names the column, and those that are there."""
    found = refused(Schema({"x": "number", "y": "string"}), {"x": [1.0], "z": [2]})
    assert (found.expected, found.found) == ("a column 'y' (string)", "columns x, z")


def test_rows_are_counted_from_where_the_batch_starts() -> None:
    """The second batch of 100 rows names row 101, whatever is wrong with it."""

    def call(batch: Batch) -> Any:
        if (batch["x"] == 2).any():
            raise ValueError("two")
        return np.where(batch["x"] == 3, np.nan, batch["x"])

    for values in ([0.0, 2.0], [0.0, 3.0], [0.0, "x"]):
        with pytest.raises(CheckBroken, match="row 101"):
            answering(call).predict({"x": values}, first=100)


def test_columns_have_one_length() -> None:
    """Half a row is no row."""
    schema = Schema({"x": "number", "y": "number"})
    assert "'y': 1" in refused(schema, {"x": [1.0, 2.0], "y": [1.0]}).found


@pytest.mark.parametrize("values", [5.0, [[1.0, 2.0]], np.zeros((2, 2))], ids=repr)
def test_a_column_has_one_dimension(values: Any) -> None:
    """A table in a column, or a lone number, is refused."""
    assert "shape" in refused(X, {"x": values}).found


def test_other_columns_are_left_out() -> None:
    """The model sees what its schema names, so it cannot come to lean on more."""
    assert [*X.batch({"x": [1.0], "label": [1]})] == ["x"]


@pytest.mark.parametrize(
    "reference",
    [
        "no_such_module_here:load",
        "json:no_such_function",
        "json",
        "json:",
        ":load",
        "",
        "json:__name__",
        "json.decoder:scanner",
    ],
)
def test_a_reference_to_no_function_is_refused(reference: str) -> None:
    """A name that leads nowhere, or to something that cannot be called."""
    with pytest.raises(BadConfiguration) as refusal:
        entry_point(reference)
    assert repr(reference) in refusal.value.expected


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("broken_a:load", "def load(:\n"),
        ("broken_b:load", "raise RuntimeError('no')\n"),
        (".relative:load", ""),
    ],
)
def test_a_module_that_breaks_when_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, text: str
) -> None:
    """A syntax error in the model is the model's, not interlock's: no traceback."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{reference.split(':')[0]}.py").write_text(text)
    with pytest.raises(BadConfiguration):
        entry_point(reference)


def load(folder: Path, cwd: Path, script: str = LOADER) -> str:
    """Load the model in `folder` in a fresh Python that may write bytecode."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = subprocess.run(
        (sys.executable, "-c", script, str(folder)),
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


MODULE = """
import {helper}
def load(folder):
    return {loaded}
def predict(model, batch):
    return batch["x"] * model
"""


def version(folder: Path, loaded: str = "2", helper: str = "helping.deep") -> Path:
    """A folder with a model `m` and a package that it imports."""
    (folder / "helping").mkdir(parents=True)
    (folder / "helping" / "__init__.py").touch()
    (folder / "helping" / "deep.py").write_text("VALUE = 2\n")
    (folder / "m.py").write_text(MODULE.format(loaded=loaded, helper=helper))
    return folder


def plant(source: Path, text: str, where: Path) -> None:
    """Put bytecode of `text` where Python would take it for that of `source`."""
    evil = source.with_suffix(".evil")
    evil.write_text(text)
    where.parent.mkdir(exist_ok=True)
    py_compile.compile(
        *(str(evil), str(where), str(source), True),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    evil.unlink()


def listing(folder: Path) -> list[str]:
    """Every file below `folder`."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_loading_leaves_nothing_and_runs_only_the_source(tmp_path: Path) -> None:
    """No bytecode is written, and planted bytecode does not run."""
    folder = version(tmp_path / "version")
    shown = MODULE.format(loaded="666", helper="json")
    tag = sys.implementation.cache_tag
    plant(folder / "m.py", shown, folder / f"__pycache__/m.{tag}.pyc")
    before = listing(folder)
    # The plant is live: an ordinary import would run it.
    plain = "import sys; sys.path.insert(0, sys.argv[1]); import m; print(m.load(0))"
    env_plain = "import sys; sys.dont_write_bytecode = True\n" + plain
    assert load(folder, tmp_path, env_plain) == "666"
    assert load(folder, tmp_path) == "[2.0, 4.0]"
    assert listing(folder) == before


def test_planted_bytecode_does_not_run_in_the_current_folder(tmp_path: Path) -> None:
    """Python asked in the version's own folder has looked there already."""
    folder = version(tmp_path / "version")
    shown = MODULE.format(loaded="666", helper="json")
    tag = sys.implementation.cache_tag
    plant(folder / "m.py", shown, folder / f"__pycache__/m.{tag}.pyc")
    assert load(folder, folder) == "[2.0, 4.0]"


def test_another_module_of_the_same_name_does_not_answer(tmp_path: Path) -> None:
    """What is served is what was judged, or nothing is."""
    folder = version(tmp_path / "version")
    other = version(tmp_path / "other", loaded="666")
    script = f"import sys; sys.path.append({str(other)!r}); import m\n" + LOADER
    assert load(folder, tmp_path, script) != "[666.0, 1332.0]"


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        ("1 / 0", "CheckBroken m:load to load the model | ZeroDivisionError"),
        ("open(folder / 'gone')", "CheckBroken m:load to load the model | FileNotF"),
    ],
)
def test_a_load_that_raises_is_refused(tmp_path: Path, loaded: str, said: str) -> None:
    """The refusal names the function and the error."""
    assert load(version(tmp_path / "v", loaded), tmp_path).startswith(said)


def test_a_load_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    """A package that the host lacks is named."""
    folder = version(tmp_path / "v", helper="no_such_package_here")
    assert "No module named 'no_such_package_here'" in load(folder, tmp_path)


def test_golden_examples_are_columns_and_outputs(tmp_path: Path) -> None:
    """Rows in the file, columns for the model; null is a missing number."""
    path = tmp_path / "golden.json"
    path.write_text(
        '{"examples": [{"input": {"x": 1, "k": "a"}, "output": 1},'
        ' {"input": {"k": "b", "x": null}, "output": 0.25}]}'
    )
    columns, outputs = golden_examples(path)
    assert columns == {"x": [1, None], "k": ["a", "b"]}
    assert outputs == [1.0, 0.25]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"examples": []}', '{"examples": [{"input": {}}]}'],
)
def test_malformed_golden_examples_are_refused(tmp_path: Path, text: str) -> None:
    """A file of another shape is a mistake in the project, said in three lines."""
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises((BadConfiguration, CheckBroken)):
        golden_examples(tmp_path / "golden.json")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], ""),
        ([[0.2, 0.8]], "row 8 is the first without"),
        ([0.2, 0.8], "a column for each of schema.classes"),
        ([[0.2, 0.8], [0.5, float("nan")]], r"nan\] at row 8, 1 such of 2 rows"),
    ],
)
def test_a_model_with_classes_answers_by_row_and_class(answer: Any, says: str) -> None:
    """And a refusal names the row."""
    schema = Schema({"x": "number"}, '["a", "b"]')
    model = Model(schema, None, lambda _, batch: answer)
    if not says:
        assert model.predict({"x": [1.0, 2.0]}).tolist() == answer
        return
    with pytest.raises(CheckBroken, match=says):
        model.predict({"x": [1.0, 2.0]}, 7)
