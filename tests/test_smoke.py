"""smoke: the packed artifact, unpacked elsewhere, answers as it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.artifact.manifest import incompatible
from tests.conftest import Project


def test_the_artifact_answers(project: Project) -> None:
    """Its address is the one that publish will give the version."""
    answer = project.run("smoke", "--out", "evidence/tried", "--json")
    assert answer.code == 0, answer.err
    left = json.loads(Path("evidence/tried/smoke.json").read_text("utf-8"))
    assert answer.json["address"] == left["address"]
    assert answer.json["examples"] == 10


def test_an_answer_out_of_tolerance_is_refused(project: Project) -> None:
    """With the example, what was expected and what came."""
    golden = project.root / "lib/toy/golden.json"
    examples = json.loads(golden.read_text("utf-8"))
    examples["examples"][3]["output"] += 0.01
    golden.write_text(json.dumps(examples), "utf-8")
    answer = project.run("smoke")
    assert (answer.code, "golden example 3" in answer.err) == (3, True)


def test_outputs_by_class_are_compared_class_by_class(project: Project) -> None:
    """A list for each example; of another length, the file is what is wrong."""
    code = project.root / "lib/toy/model.py"
    text = code.read_text().replace("return 1 /", "import numpy as np\n    p = 1 /")
    code.write_text(text + "    return np.stack([p, p / 2, 1 - 1.5 * p], 1)\n")
    table = project.root / "pyproject.toml"
    schema = "[tool.interlock.schema]\n"
    named = schema + 'classes = ["a", "b", "c"]\n'
    table.write_text(table.read_text().replace(schema, named))
    golden = project.root / "lib/toy/golden.json"
    examples = json.loads(golden.read_text("utf-8"))
    for example in examples["examples"]:
        p = example["output"]
        example["output"] = [p, p / 2, 1 - 1.5 * p]
    for change, code_, says in ((0.0, 0, ""), (0.01, 3, "golden example 3")):
        examples["examples"][3]["output"][1] += change
        golden.write_text(json.dumps(examples), "utf-8")
        answer = project.run("smoke")
        assert (answer.code, says in answer.err) == (code_, True), answer.err
    for example in examples["examples"]:
        example["output"] = example["output"][:2]
    golden.write_text(json.dumps(examples), "utf-8")
    answer = project.run("smoke")
    assert (answer.code, "shape (10, 2)" in answer.err) == (2, True), answer.err


def test_a_slow_answer_is_refused(project: Project) -> None:
    """The median of many calls, against the budget."""
    code = project.root / "lib/toy/model.py"
    slow = "    import time\n    time.sleep(0.002)\n    return 1"
    code.write_text(code.read_text().replace("    return 1", slow))
    table = project.root / "pyproject.toml"
    limits = "\n[tool.interlock.smoke]\nlatency_ms = 1\n"
    table.write_text(table.read_text() + limits)
    answer = project.run("smoke")
    assert (answer.code, "ms or less" in answer.err) == (3, True)


def test_a_file_that_was_not_packed_is_missed(project: Project) -> None:
    """The model is loaded from the artifact, not from the checkout."""
    project.write("lib/toy/helper.py", "one = 1\n")
    code = project.root / "lib/toy/model.py"
    code.write_text("import toy.helper\n" + code.read_text())
    answer = project.run("smoke")
    assert answer.code == 2
    assert "No module named 'toy.helper'" in answer.err


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('no')", "ValueError at row 0: no"),
        ("return np.ones(3)", "shape (3,)"),
        ("return np.full(10, np.nan)", "nan at row 0, 10 such of 10 rows"),
        ("return np.ones((10, 2))", "shape (10, 2)"),
        ("import os; os._exit(3)", "ended with exit code 3"),
        ("print('{}')\n    return np.ones(10)", "golden example"),
    ],
)
def test_a_model_that_breaks_the_contract_is_refused(
    project: Project, body: str, says: str
) -> None:
    """Whatever it does, what is said names it."""
    code = project.root / "lib/toy/model.py"
    text = code.read_text().partition("    return 1")[0]
    code.write_text(f"{text}    {body}\n")
    answer = project.run("smoke")
    assert answer.code in (3, 5)
    assert says in answer.err.replace("\n          ", " ")


def test_a_schema_that_breaks_callers_of_production_is_refused(
    published: Project,
) -> None:
    """A new column is one that they do not pass."""
    published.check("nightly-eval")
    published.run("promote")
    table = published.root / "pyproject.toml"
    table.write_text(
        table.read_text().replace('x = "number"', 'x = "number", z = "number"')
    )
    golden = published.root / "lib/toy/golden.json"
    golden.write_text(golden.read_text().replace('{"x":', '{"z": 1.0, "x":'))
    answer = published.run("smoke")
    assert (answer.code, "needs the new column 'z'" in answer.err) == (3, True)


@pytest.mark.parametrize(
    ("new", "reasons"),
    [
        ({"a": "number", "b": "string"}, 0),
        ({"a": "number"}, 0),
        ({"a": "string", "b": "string"}, 1),
        ({"a": "number", "b": "string", "c": "number"}, 1),
    ],
)
def test_a_schema_may_need_less_never_more(new: dict[str, str], reasons: int) -> None:
    """What callers pass today must be enough tomorrow."""
    old = {"input": {"a": "number", "b": "string"}, "output": "number"}
    assert len(incompatible(old, {"input": new, "output": "number"})) == reasons
    assert len(incompatible(old, {"input": new, "output": "text"})) == reasons + 1


def test_a_job_without_credentials_does_not_compare(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so; publish, which has some, compares as well."""
    monkeypatch.setenv("INTERLOCK_REGISTRY", "s3://models/team")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    answer = project.run("smoke")
    assert (answer.code, "nothing here may read s3://models" in answer.out) == (0, True)
