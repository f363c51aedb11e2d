"""eval: PASS is 0, FAIL 3, UNKNOWN 4, a broken check 5; and production beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Project

OUT = Path("evaluation")
pytestmark = pytest.mark.usefixtures("undrawn")


def _in_production(project: Project) -> None:
    """Judge what is published, and promote it."""
    project.check("nightly-eval")
    assert project.run("promote").code == 0


def test_the_first_version_passes_and_says_what_it_was_not_compared_with(
    project: Project,
) -> None:
    """No silent pass of a gate against a production that is not there."""
    answer = project.run("eval")
    assert answer.code == 0, answer.err
    assert "PASS: accuracy is 100.00 %" in answer.out
    assert "NO_PRODUCTION: " in answer.out
    assert {path.name for path in OUT.iterdir()} == {
        "metrics.json",
        "predictions.parquet",
        "production.json",
        "report.html",
        "rows.u64",
        "summary.md",
        "use.json",
    }


def test_a_model_that_lost_its_feature_fails(published: Project) -> None:
    """Against the threshold and against production, with exit 3."""
    _in_production(published)
    code = published.root / "lib/toy/model.py"
    code.write_text(code.read_text().replace('batch["x"])', '(batch["x"] * 0 - 1))'))
    answer = published.run("eval")
    assert answer.code == 3
    assert "points below production" in answer.out
    assert "production stays as it is" in answer.err


def test_a_retrained_twin_passes_beside_production(published: Project) -> None:
    """Another slope, the same decisions: paired, row by row."""
    _in_production(published)
    published.learn(3.0)
    answer = published.run("eval")
    assert answer.code == 0, answer.err
    assert "NO_PRODUCTION" not in answer.out


def test_too_few_rows_are_unknown_and_the_rows_that_lack_are_named(
    project: Project,
) -> None:
    """Five rows settle nothing: exit 4."""
    rows = (project.root / "lib/data.csv").read_text("utf-8").splitlines()
    few = project.write("few.csv", "\n".join([*rows[:6], ""]))
    answer = project.run("eval", "--data", str(few))
    assert answer.code == 4
    assert "more rows would settle it" in answer.out
    assert "UNKNOWN: accuracy >= 0.8" in answer.err


def test_predictions_that_raise_break_the_check(project: Project) -> None:
    """Exit 5, never a verdict; no metrics.json is left of an earlier run."""
    assert project.run("eval").code == 0
    code = project.root / "lib/toy/model.py"
    guard = '    assert not (batch["x"] > 1.9).any(), "too far"\n    return 1'
    code.write_text(code.read_text().replace("    return 1", guard))
    answer = project.run("eval")
    assert answer.code == 5
    assert "AssertionError at row 195: too far" in answer.err
    assert not (OUT / "metrics.json").exists()


def test_the_job_summary_is_written_where_there_is_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As Markdown, after what is there already."""

    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert project.run("eval").code == 0
    text = summary.read_text()
    assert text.startswith("before\n")
    assert "PASS" in text


def test_the_gates_are_tested_too(project: Project) -> None:
    """Every plant is refused; the damaged models are asked as the real one is."""
    answer = project.run("eval", "--self-test")
    assert answer.code == 0, answer.err
    assert "self-test: 10 of 10 plants refused" in answer.out
    assert "a missing slice cannot be caught" in answer.out
    found = json.loads((OUT / "self-test.json").read_text("utf-8"))
    said = {each["name"]: each["found"] for each in found["plants"]}
    assert "nan at row 500" in said["NaN scores"]
    assert "shape (999,)" in said["too few predictions"]
    assert "its own answer" in said["reordered predictions"]
    assert "10 of 10 plants" in (OUT / "summary.md").read_text("utf-8")
    assert project.run("eval").code == 0
    assert not (OUT / "self-test.json").exists()  # it was of another evaluation


def test_a_gate_that_everything_passes_is_a_broken_check(project: Project) -> None:
    """Exit 5, whatever the model is; what was found stays, no verdict and no use."""
    table = (project.root / "pyproject.toml").read_text("utf-8")
    project.write("pyproject.toml", table.replace("accuracy >= 0.8", "accuracy >= 0.1"))
    answer = project.run("eval", "--self-test")
    assert answer.code == 5
    assert "shuffled labels" in answer.err
    left = {path.name for path in OUT.iterdir()}
    assert left == {"self-test.json", "production.json"}


def test_nothing_to_evaluate_by_is_a_refusal(project: Project) -> None:
    """A project without [tool.interlock.evaluation]."""
    table = (project.root / "pyproject.toml").read_text("utf-8")
    project.write("pyproject.toml", table.partition("[tool.interlock.evaluation]")[0])
    answer = project.run("eval")
    assert (answer.code, "docs/evaluation.md" in answer.err) == (2, True)
