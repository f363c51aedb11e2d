"""interlock plan: from the project, the last evaluation, and the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.evaluation.test_sizes import TABLE

PAIRED = "accuracy >= production.accuracy - 0.005"


def _planned(project: Project, *arguments: str) -> Any:
    answer = project.run("plan", "--json", *arguments)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_it_says_what_can_be_promised(project: Project) -> None:
    """In sentences of 80 columns at most, with what was assumed."""
    answer = project.run("plan", PAIRED, "--rows", "10000", "--uses", "365")
    assert answer.code == 0, answer.err
    assert "10,000 rows, 365 uses, 5 % disagreement (assumed)\n" in answer.out
    assert "can promise +-0.81 points over all uses" in answer.out
    assert "PASS for a model as good as now: 71 % of the time" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


def test_it_reads_the_project_and_what_was_measured(project: Project) -> None:
    """Gates and chances from pyproject.toml; rows and scores from metrics.json."""
    record = {
        "rows": 4000,
        "whole": {
            "candidate": {"accuracy": {"value": 0.9, "low": 0.89, "high": 0.91}},
            "pair": {"disagreement": 0.02},
        },
        "slices": [{"column": "kind", "rows": 3000}, {"column": "kind", "rows": 1000}],
    }
    Path("evaluation").mkdir()
    Path("evaluation/metrics.json").write_text(json.dumps(record))
    found = _planned(project)
    assert (found["rows"], found["disagreement"]) == (4000, 0.02)
    assert found["assumed"] == []
    said = _planned(project, "accuracy >= 0.895", f"{PAIRED} per kind", "--rows", "900")
    assert said["rows"] == 900 and said["assumed"] == []
    number, slices = said["gates"]
    assert number["cautions"][0]["code"] == "within-noise"
    assert slices["cautions"][0]["code"] == "few-rows"  # 1,000 rows, not 450
    assert "only 20 rows" in slices["cautions"][0]["text"]


def test_without_a_project_there_is_a_plan(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything exists: the default gate, and what was assumed."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert [gate["gate"] for gate in _planned(project)["gates"]] == [PAIRED]
    found = _planned(
        project, "accuracy >= 0.9", "recall >= 0.5 per x", "--score", ".95"
    )
    assert [gate["gate"] for gate in found["gates"]] == [
        "accuracy >= 0.9",
        "recall >= 0.5 per x",
    ]
    (unknown,) = _planned(project, "accuracy >= 0.9")["gates"]
    assert "give --score" in unknown["not_planned"]


@pytest.mark.parametrize("line", [TABLE.split("\n")[4], TABLE.split("\n")[12]])
def test_the_table_of_ease_ml_ci_to_the_row(project: Project, line: str) -> None:
    """From the command line: reliability is 1 - false-alarm."""
    reliability, tolerance, *rows = line.split()
    gate = f"accuracy >= production.accuracy - {tolerance}"
    alpha = f"{1 - float(reliability):.4f}"
    found = _planned(project, gate, "--uses", "32", "--false-alarm", alpha)
    easy = found["ease.ml/ci"]
    assert [easy["accuracy"][kind] for kind in ("none", "full")] == [
        *map(int, rows[:2])
    ]
    assert [easy["gain"][kind] for kind in ("none", "full")] == [*map(int, rows[2:])]
    assert easy["gain"]["firstChange"] == easy["gain"]["none"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("accuracy >= ",), "a number"),
        (("--rows", "0"), "--rows from 1"),
        (("--rows", "many"), "invalid int value"),
        (("--disagreement", "1.5"), "--disagreement from"),
        (("--false-alarm", "nan"), "--false-alarm from"),
        (("--measured", "none.json"), "no file none.json"),
        (("--measured", "pyproject.toml"), "what interlock eval wrote"),
    ],
)
def test_what_makes_no_sense_is_refused(
    project: Project, arguments: tuple[str, ...], says: str
) -> None:
    """With exit code 2, never a traceback."""
    answer = project.run("plan", *arguments)
    assert answer.code == 2
    assert says in " ".join(answer.err.split())


def test_a_foreign_record_is_refused(project: Project) -> None:
    """JSON that is no metrics.json."""
    for text in ("[]", "{}", '{"whole": {"candidate": [], "pair": 1}}'):
        Path("other.json").write_text(text)
        assert project.run("plan", "--measured", "other.json").code == 2
    shutil.rmtree("evaluation", ignore_errors=True)
