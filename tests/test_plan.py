"""interlock plan: from the project, the last evaluation, and the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Project
from tests.evaluation.test_sizes import TABLE

PAIRED = "accuracy >= production.accuracy - 0.005"


def _planned(project: Project, *arguments: str) -> Any:
    answer = project.run("plan", "--json", *arguments)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def _evaluated(
    project: Project, chances: Any, cluster: str = "", slices: Any = None
) -> None:
    """What an evaluation leaves: 4,000 rows, a tenth of them positive.

    `chances`, (2, 4000), are the answers of candidate and production.
    """
    rows = 4000
    columns = {
        "label": np.arange(rows) % 10 == 0,
        "candidate": chances[0],
        "production": chances[1],
        "slice.kind": ["ab"[row // 10 % 2] for row in range(rows)],
        "cluster": [str(row % 100) for row in range(rows)],
    }
    said = {"data": "d", "label": "y", "gates": ["accuracy >= 0.8"], "slices": ["kind"]}
    record = {
        "rows": rows,
        "whole": {"candidate": {}, "pair": {"disagreement": 0.05}},
        "slices": slices or [],
        "settings": said | ({"cluster": cluster} if cluster else {}),
    }
    folder = project.root / "evaluation"
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
    (folder / "metrics.json").write_text(json.dumps(record))


def _chances() -> Any:
    """Two models that are right about nine rows of ten, each in its own way."""
    right = np.random.default_rng(1).random((2, 4000)) < 0.9
    return np.where(right == (np.arange(4000) % 10 == 0), 0.9, 0.1)


def test_it_says_what_can_be_promised(project: Project) -> None:
    """In sentences of 80 columns at most, with what was assumed."""
    answer = project.run("plan", PAIRED, "--rows", "10000", "--uses", "365")
    assert answer.code == 0, answer.err
    assert "10,000 rows, 365 uses, 5 % disagreement (assumed)\n" in answer.out
    assert "can promise +-0.81 points over all uses" in answer.out
    assert "PASS for a model as good as now: 70 % of the time" in answer.out
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
    assert slices["width"] == pytest.approx(0.0375, abs=1e-3)  # 225 rows, not 450


def test_equal_models_tell_nothing_of_others(project: Project) -> None:
    """Of the night after a release: what they disagree on is assumed."""
    record = {
        "rows": 4000,
        "whole": {"candidate": {}, "pair": {"disagreement": 0.0}},
        "slices": [],
    }
    Path("evaluation").mkdir()
    Path("evaluation/metrics.json").write_text(json.dumps(record))
    found = _planned(project, PAIRED)
    assert (found["disagreement"], found["assumed"]) == (0.05, ["disagreement"])


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
        (("--false-alarm", "0.9", "--uses", "1"), "--false-alarm from"),
        (("--false-pass", "0.7"), "--false-pass from"),
        (("accuracy >= 0.8", "--score", "1.2"), "--score from 0 to 1"),
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


def test_any_gate_is_planned_from_the_rows_that_were_judged(project: Project) -> None:
    """With its guarantee; what nothing is known of is said to be so."""
    assert project.run("eval").code == 0
    asked = ["brier <= 0.2", "roc_auc >= 0.9", "specificity >= 0.9", "accuracy >= 0.9"]
    found = _planned(project, *asked)["gates"]
    assert [each["forecast"] for each in found] == ["normal", "normal", *["exact"] * 2]
    assert [each["guarantee"] for each in found][:2] == ["every size", "asymptotic"]
    assert min(each["passes"] for each in found) > 0.9
    unknown = _planned(project, "brier <= production.brier", "latency.ratio <= 1.1")
    assert "nothing is known" in unknown["gates"][0]["not_planned"]
    assert "no latency was measured" in unknown["gates"][1]["not_planned"]


def test_a_mean_is_planned_from_a_stated_spread(project: Project) -> None:
    """In its own unit; and what has no such spread is told so."""
    asked = ("brier <= production.brier + 0.01", "--spread", "0.05", "--rows", "10000")
    (found,) = _planned(project, *asked)["gates"]
    assert (found["forecast"], found["guarantee"]) == ("normal", "every size")
    assert 0.9 < found["passes"] and found["drops"]["0.5"] > 0.01
    answer = project.run("plan", *asked)
    words = " ".join(answer.out.split())
    assert "the gate's chances hold at every number of rows" in words
    assert "points" not in answer.out.split("ease.ml")[0]
    for gate, said in (
        ("brier <= 0.2", "give --score"),
        ("roc_auc >= 0.5", "means of rows"),
    ):
        (odd,) = _planned(project, gate, "--spread", "0.3")["gates"]
        assert said in odd["not_planned"]
    (number,) = _planned(
        project, "brier <= 0.2", "--spread", "0.1", "--score", "0.15", "--rows", "900"
    )["gates"]
    assert number["passes"] > 0.9


def test_latency_is_planned_from_the_pairs_that_were_timed(project: Project) -> None:
    """By the sign test: half of them below the bound is a toss."""
    record: dict[str, Any] = {
        "rows": 400,
        "whole": {"candidate": {}, "pair": None},
        "slices": [],
        "latency": {"ratios": [0.9 + 0.001 * n for n in range(200)]},
    }
    Path("evaluation").mkdir()
    Path("evaluation/metrics.json").write_text(json.dumps(record))
    near, far = _planned(project, "latency.ratio <= 1.0", "latency.ratio <= 1.1")[
        "gates"
    ]
    assert near["passes"] < 0.1 and far["passes"] > 0.99
    assert 0 < near["width"] < 0.1


def test_recall_is_not_planned_with_the_numbers_of_accuracy(project: Project) -> None:
    """Its rows are the positives: from predictions, or with what to do."""
    asked = ("recall >= production.recall - 0.02", "recall >= 0.8", "precision >= 0.4")
    for each in _planned(project, *asked, "--score", "0.9")["gates"]:
        assert "run interlock eval" in each["not_planned"]
    (noisy,) = _planned(project, asked[1], "--score", "0.9", "--noise", "0.01")["gates"]
    assert noisy["forecast"] == "normal" and noisy["passes"] > 0.9
    _evaluated(project, _chances())
    paired = "precision >= production.precision - 0.02"
    every, recall, number, precision = _planned(
        project, "accuracy >= production.accuracy - 0.02", *asked[:2], paired
    )["gates"]
    assert recall["width"] > 3 * every["width"]
    assert (number["forecast"], precision["forecast"]) == ("exact", "normal")


def _clustered(project: Project) -> None:
    """Rows of a day belong together."""
    path = project.root / "pyproject.toml"
    named = 'slices = ["kind"]'
    text = path.read_text("utf-8").replace(named, f'{named}\n    cluster = "day"')
    assert "cluster" in text
    path.write_text(text, "utf-8")


def test_no_gate_of_clusters_is_forecast_by_an_exact_test(project: Project) -> None:
    """From the clusters' own sums where there are predictions, else not at all."""
    _clustered(project)
    asked = (PAIRED, "accuracy >= 0.8", "--score", "0.9")
    for each in _planned(project, *asked)["gates"]:
        assert "run interlock eval" in each["not_planned"]
    _evaluated(project, _chances())  # without the clusters that now are named
    for each in _planned(project, *asked)["gates"]:
        assert "run interlock eval" in each["not_planned"]
    _evaluated(project, _chances(), "day")
    noisy = ("--score", "0.9", "--noise", "0.01")
    for options in ((), noisy):
        for each in _planned(project, *asked[:2], *options)["gates"]:
            assert (each["forecast"], each["guarantee"]) == ("normal", "asymptotic")
    spread = ("brier <= production.brier + 0.01", "--spread", "0.05")
    (mean,) = _planned(project, *spread)["gates"]
    assert mean["guarantee"] == "asymptotic"


@pytest.mark.parametrize(
    ("gate", "options"),
    [
        (f"{PAIRED} per x", ("--slices", "10")),
        ("recall >= 0.8 per kind", ()),
        ("specificity >= production.specificity - 0.02 per kind", ()),
        ("f1 >= production.f1 - 0.05 per kind", ()),
    ],
)
def test_the_rows_that_all_slices_need_are_enough(
    project: Project, gate: str, options: tuple[str, ...]
) -> None:
    """Planned again with so many, the gate passes 80 % of the time as a whole."""
    if not options:
        _evaluated(project, _chances())
    (first,) = _planned(project, gate, *options)["gates"]
    assert first.get("rows_to_pass"), first
    rows = ("--rows", str(first["rows_to_pass"]))
    (again,) = _planned(project, gate, *options, *rows)["gates"]
    assert again["passes"] == pytest.approx(0.8, abs=0.03)


def test_too_few_rows_are_said_in_words(project: Project) -> None:
    """No number in JSON, for there is no infinite one."""
    _evaluated(project, _chances())
    asked = ("roc_auc >= 0.5", "--rows", "150")
    answer = project.run("plan", "--json", *asked)
    assert "Infinity" not in answer.out and "NaN" not in answer.out
    assert json.loads(answer.out)["gates"][0]["width"] is None
    assert "too few rows" in project.run("plan", *asked).out


def test_the_score_of_a_loss_is_within_its_range(project: Project) -> None:
    """Up to the clip, which may be more than 1."""
    path = project.root / "pyproject.toml"
    named = 'slices = ["kind"]'
    clip = f'{named}\n    clip = {{ mae = 100.0 }}\n    task = "regression"'
    path.write_text(path.read_text("utf-8").replace(named, clip), "utf-8")
    asked = ("mae <= 15", "--spread", "20", "--score")
    (found,) = _planned(project, *asked, "12")["gates"]
    assert found["passes"] > 0.9
    answer = project.run("plan", *asked, "120")
    assert answer.code == 2 and "--score from 0 to 100" in answer.err


def test_equal_models_leave_nothing_to_forecast_from(project: Project) -> None:
    """That is said, not to evaluate again, nor to give what is of no use."""
    _evaluated(project, _chances()[[0, 0]])
    asked = ("f1 >= production.f1 - 0.01", "brier <= production.brier + 0.01")
    dice, mean = (each["not_planned"] for each in _planned(project, *asked)["gates"])
    assert "no difference to forecast from" in dice and "--spread" not in dice
    assert "interlock eval" not in dice and mean.endswith("or give --spread")
