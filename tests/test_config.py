"""[tool.interlock]: every mistake is a refusal that names its key."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.config import Config, Evaluation, Gate, SchemaTable, Smoke, read
from interlock.errors import BadConfiguration

GOOD: dict[str, Any] = {
    "name": "toy",
    "code": ["toy/model.py"],
    "weights": "toy/weights",
    "golden": "toy/golden.json",
    "load": "toy.model:load",
    "predict": "toy.model:predict",
    "schema": {"input": {"x": "number"}},
}
JUDGED: dict[str, Any] = {"data": "d.csv", "label": "y", "gates": ["accuracy >= 0.8"]}


def toml(value: Any) -> str:
    """A TOML value; a basic string is a JSON one but for DEL, which needs an escape."""
    if isinstance(value, dict):
        pairs = (f"{toml(str(k))} = {toml(v)}" for k, v in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).lower()


def read_text(text: str) -> Config:
    """Read `text` as a project's pyproject.toml."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(text, "utf-8", newline="\n")
        return read(Path(folder))


def read_table(table: Any) -> Config:
    """Read a project with `table` as its [tool.interlock]."""
    return read_text(f"[tool]\ninterlock = {toml(table)}\n")


def judged(**changes: Any) -> dict[str, Any]:
    """A good project with an evaluation, but for `changes` in it."""
    return GOOD | {"evaluation": JUDGED | changes}


def test_what_is_not_said_has_the_documented_default() -> None:
    """A project says seven things; the rest is in the dataclasses."""
    assert read_table(GOOD) == Config(
        name="toy",
        code=("toy/model.py",),
        weights="toy/weights",
        golden="toy/golden.json",
        load="toy.model:load",
        predict="toy.model:predict",
        schema=SchemaTable({"x": "number"}, "number"),
        path=".",
        registry="",
        smoke=Smoke(1e-6, 100.0),
        evaluation=None,
    )


def test_the_chances_have_their_defaults() -> None:
    """An evaluation says its data, its label and its gates."""
    assert read_table(judged()).evaluation == Evaluation(
        data="d.csv",
        label="y",
        gates=(Gate("accuracy >= 0.8", "block"),),
        slices=(),
        threshold=0.5,
        false_alarm=0.05,
        false_pass=0.05,
        uses=365,
        batch_rows=65_536,
    )


def test_a_gate_is_a_string_or_a_table() -> None:
    """A string blocks on UNKNOWN; a table may say to warn only."""
    gates = ["a >= 1", {"expect": "b >= 2"}, {"expect": "c >= 3", "on_unknown": "warn"}]
    evaluation = read_table(judged(gates=gates)).evaluation
    assert evaluation is not None
    assert evaluation.gates == (
        Gate("a >= 1", "block"),
        Gate("b >= 2", "block"),
        Gate("c >= 3", "warn"),
    )


def test_classes_make_a_task_of_many_classes() -> None:
    """The evaluation knows them; a number is one of two classes."""
    three = {"schema": {"input": {"x": "number"}, "classes": ["a", "b", "c"]}}
    found = read_table(judged() | three)
    assert found.evaluation and found.schema.answer == '["a", "b", "c"]'
    assert found.evaluation.task == "multiclass"
    assert found.evaluation.classes == ("a", "b", "c")
    plain = read_table(judged())
    assert plain.evaluation and plain.schema.answer == "number"
    assert plain.evaluation.task == "binary"


@pytest.mark.parametrize(
    ("others", "where"),
    [
        ({"task": "multiclass"}, "task"),
        ({"task": "vision"}, "task"),
        ({"task": "ranking"}, "query"),
        ({"query": "q"}, "query"),
        ({"top_k": 0}, "top_k"),
        ({"quantile": 1.0}, "quantile"),
        ({"clip": {"log_loss": 0}}, "clip.log_loss"),
        ({"score": "m:f"}, "score"),
        ({"score": {"function": "m:f", "low": 1, "high": 1}}, "score.low"),
        ({"score": {"function": "m:f", "low": 0}}, "score.high"),
    ],
)
def test_what_a_task_needs_is_demanded(others: dict[str, Any], where: str) -> None:
    """And what it has no use for is refused."""
    with pytest.raises(BadConfiguration, match=rf"evaluation\.{where} to be"):
        read_table(judged(**others))


def test_a_whole_number_is_a_number() -> None:
    """`latency_ms = 50` is 50.0: TOML tells them apart, people do not."""
    smoke = read_table(GOOD | {"smoke": {"latency_ms": 50}}).smoke
    assert (smoke.latency_ms, type(smoke.latency_ms)) == (50.0, float)


def test_this_repository_reads() -> None:
    """The example that this repository ships through itself is configured well."""
    config = read(Path(__file__).parents[1])
    assert config.name == "flights"
    assert config.evaluation is not None
    assert {gate.on_unknown for gate in config.evaluation.gates} == {"block", "warn"}


BAD: list[tuple[Any, str]] = [
    ({k: v for k, v in GOOD.items() if k != "name"}, "tool.interlock.name"),
    ({k: v for k, v in GOOD.items() if k != "schema"}, "tool.interlock.schema"),
    (GOOD | {"weigths": "w"}, "tool.interlock.weigths"),
    (GOOD | {"smoke": {"tolerence": 1}}, "tool.interlock.smoke.tolerence"),
    (GOOD | {"schema": {}}, "tool.interlock.schema.input"),
    (GOOD | {"schema": "x"}, "tool.interlock.schema"),
    (GOOD | {"schema": {"input": ["x"]}}, "tool.interlock.schema.input"),
    (GOOD | {"schema": {"input": {"x": "float"}}}, "tool.interlock.schema.input.x"),
    (GOOD | {"schema": {"input": {"x": 1}}}, "tool.interlock.schema.input.x"),
    (
        GOOD | {"schema": {"input": {"x": "number"}, "output": "string"}},
        "tool.interlock.schema.output",
    ),
    (GOOD | {"name": 7}, "tool.interlock.name"),
    (GOOD | {"name": ""}, "tool.interlock.name"),
    (GOOD | {"name": "a/b"}, "tool.interlock.name"),
    (GOOD | {"name": ".."}, "tool.interlock.name"),
    (GOOD | {"name": "a b"}, "tool.interlock.name"),
    (GOOD | {"name": "modèle"}, "tool.interlock.name"),
    (GOOD | {"code": "toy/model.py"}, "tool.interlock.code"),
    (GOOD | {"code": ["toy/model.py", 1]}, "tool.interlock.code[1]"),
    (GOOD | {"weights": "/etc"}, "tool.interlock.weights"),
    (GOOD | {"weights": "../w"}, "tool.interlock.weights"),
    (GOOD | {"golden": "a/../../g"}, "tool.interlock.golden"),
    (GOOD | {"path": "/"}, "tool.interlock.path"),
    (GOOD | {"path": ".."}, "tool.interlock.path"),
    (GOOD | {"smoke": 1}, "tool.interlock.smoke"),
    (GOOD | {"smoke": {"tolerance": True}}, "tool.interlock.smoke.tolerance"),
    (GOOD | {"smoke": {"tolerance": "1"}}, "tool.interlock.smoke.tolerance"),
    (GOOD | {"evaluation": []}, "tool.interlock.evaluation"),
    (GOOD | {"evaluation": {}}, "tool.interlock.evaluation.data"),
    (judged(gates=[]), "tool.interlock.evaluation.gates"),
    (judged(gates="accuracy >= 1"), "tool.interlock.evaluation.gates"),
    (judged(gates=[1]), "tool.interlock.evaluation.gates[0]"),
    (judged(gates=["a", {}]), "tool.interlock.evaluation.gates[1].expect"),
    (
        judged(gates=[{"expect": "a", "on_unknown": "pass"}]),
        "tool.interlock.evaluation.gates[0].on_unknown",
    ),
    (judged(slices="kind"), "tool.interlock.evaluation.slices"),
    (judged(false_alarm=0), "tool.interlock.evaluation.false_alarm"),
    (judged(false_alarm=1), "tool.interlock.evaluation.false_alarm"),
    (judged(false_pass=-0.1), "tool.interlock.evaluation.false_pass"),
    (judged(false_pass=float("nan")), "tool.interlock.evaluation.false_pass"),
    (judged(threshold=2), "tool.interlock.evaluation.threshold"),
    (judged(uses=0), "tool.interlock.evaluation.uses"),
    (judged(uses=1.5), "tool.interlock.evaluation.uses"),
    (judged(uses=True), "tool.interlock.evaluation.uses"),
    (judged(batch_rows="many"), "tool.interlock.evaluation.batch_rows"),
    (judged(batch_rows=0), "tool.interlock.evaluation.batch_rows"),
    (judged(batch_rows=-5), "tool.interlock.evaluation.batch_rows"),
    (judged(slices=["a", "b", "a"]), "tool.interlock.evaluation.slices"),
    (judged(workers=-1), "tool.interlock.evaluation.workers"),
    (judged(patience=0.0), "tool.interlock.evaluation.patience"),
    (judged(patience=float("inf")), "tool.interlock.evaluation.patience"),
    (judged(engine="ray"), "tool.interlock.evaluation.engine"),
    (judged(engine="dask"), "tool.interlock.evaluation.scheduler"),
    (judged(scheduler="tcp://host:1"), "tool.interlock.evaluation.scheduler"),
    (7, "tool.interlock"),
    ([], "tool.interlock"),
]


@pytest.mark.parametrize(("table", "key"), BAD, ids=str)
def test_a_mistake_is_refused_by_its_key(table: Any, key: str) -> None:
    """The first line of the refusal starts with the key that is wrong."""
    with pytest.raises(BadConfiguration) as refusal:
        read_table(table)
    assert refusal.value.expected.split()[0] == key
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(GOOD | {"smoke": {"tolerance": -1.0}}, id="negative tolerance"),
        pytest.param(GOOD | {"smoke": {"tolerance": float("nan")}}, id="NaN tolerance"),
        pytest.param(GOOD | {"smoke": {"tolerance": float("inf")}}, id="any answer"),
        pytest.param(GOOD | {"smoke": {"latency_ms": float("nan")}}, id="NaN latency"),
        pytest.param(GOOD | {"code": ["/etc/passwd"]}, id="code elsewhere"),
        pytest.param(GOOD | {"code": ["../secret.py"]}, id="code above"),
        pytest.param(GOOD | {"schema": {"input": {}}}, id="no columns"),
        pytest.param(GOOD | {"weights": "./w"}, id="a path that pack refuses"),
        pytest.param(GOOD | {"weights": "w/"}, id="a path that ends in a slash"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(values: Any) -> None:
    """A limit that can never be kept, or never be broken, is a mistake."""
    with pytest.raises(BadConfiguration):
        read_table(values)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "none"),
        ("[tool.black]\n", "none"),
        ("[tool.interlock\n", "line 1"),
        ("x = 1\nx = 2\n", "line 2"),
    ],
)
def test_a_file_without_the_table_is_refused(text: str, found: str) -> None:
    """Both a missing table and a broken file say what to do."""
    with pytest.raises(BadConfiguration) as refusal:
        read_text(text)
    assert found in refusal.value.found


def test_no_file_is_refused(tmp_path: Path) -> None:
    """Run elsewhere, interlock says where it looked."""
    with pytest.raises(BadConfiguration, match=str(tmp_path)):
        read(tmp_path)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    (tmp_path / "pyproject.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(BadConfiguration, match="TOML"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["tool = 1\n", "tool = [1]\n"])
def test_a_tool_that_is_no_table_is_refused(text: str) -> None:
    """Whatever stands where [tool] should be, the answer is a refusal."""
    with pytest.raises(BadConfiguration):
        read_text(text)


KEYS = st.sampled_from([*GOOD, "path", "registry", "smoke", "evaluation", "other"])
LEAVES = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.booleans()
    | st.sampled_from(["number", "block", "a.b:c", "toy/w"])
)
INNER = st.sampled_from(
    ["input", "output", "tolerance", "latency_ms", "data", "label", "gates", "uses"]
    + ["expect", "on_unknown", "slices", "threshold", "x", ""]
)
TABLES = st.recursive(
    LEAVES,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(INNER, each, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=80)
@given(st.dictionaries(KEYS, TABLES, max_size=4), st.booleans())
def test_any_table_is_read_or_refused(changes: dict[str, Any], whole: bool) -> None:
    """Nothing but a refusal ever comes out of a table that is TOML."""
    try:
        config = read_table((GOOD if whole else {}) | changes)
    except BadConfiguration as refusal:
        assert "tool.interlock" in refusal.expected
    else:
        assert config.name and isinstance(config.smoke.tolerance, float)
