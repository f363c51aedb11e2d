"""Every plant is refused; a gate that lets one through is found out."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interlock.config import Evaluation, Gate, Score
from interlock.errors import CheckBroken
from interlock.evaluation import gates, rows, selftest
from interlock.evaluation.repeats import Repeats
from interlock.evaluation.run import recount
from interlock.evaluation.selftest import Outcome, SelfTest
from tests.evaluation.conftest import Settings, flips

NUMBER, PAIRED = "accuracy >= 0.8", "accuracy >= production.accuracy - 0.02"
SLICES = {"group": ("a", "b")}


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows only: tests/test_evaluate.py has the damaged models."""
    monkeypatch.setattr(selftest, "_in_the_process", lambda patience: [])


def predictions(
    folder: Path, settings: Evaluation, count: int = 2000, alone: bool = False
) -> Path:
    """A predictions.parquet of a good model beside its equal, or without."""
    data = pa.record_batch(flips(count, 0.9))
    user = [f"u{i // 4}" for i in range(count)]
    data = data.append_column("user", pa.array(user))
    given = [data["x"].to_numpy()] * (1 if alone else 2)
    own = (lambda *_: np.full(count, 0.9)) if settings.score else None
    kept = rows.joined(data, given, settings, 0, own)
    path = folder / "predictions.parquet"
    pq.write_table(pa.Table.from_batches([kept]), path)
    return path


def tried(folder: Path, settings: Evaluation, **others: Any) -> SelfTest:
    """The self-test of an evaluation with these settings."""
    path = predictions(folder, settings, **others)
    conditions = [gates.parse(gate, settings) for gate in settings.gates]
    verdicts = gates.judge(conditions, recount(path, settings), settings)
    return selftest.self_test(path, verdicts, settings)


def outcomes(found: SelfTest) -> dict[str, str]:
    """Each plant's outcome."""
    return {each.name: each.outcome for each in found.plants}


@pytest.mark.parametrize("alone", [True, False])
def test_every_plant_is_refused(
    alone: bool, tmp_path: Path, settings: Settings
) -> None:
    """With a version in production and without; the controls are not."""
    chosen = settings(NUMBER, PAIRED, f"{PAIRED} per group", expected_slices=SLICES)
    found = tried(tmp_path, chosen, alone=alone)
    assert outcomes(found) == {
        "the same predictions again": "held",
        "a twin of production": "held",
        "a model that knows nothing": "refused",
        "shuffled labels": "refused",
        "no row at all": "refused",
        "every row twice": "refused",
        "a missing slice, group a": "refused",
    }
    said = {each.name: each.found for each in found.plants}
    assert said["shuffled labels"].startswith("FAIL: accuracy is ")
    assert "found none in a" in said["a missing slice, group a"]
    assert "2 times" in said["every row twice"]
    (line,) = found.sentences
    assert line.startswith("self-test: 5 of 5 plants refused; a model that guesses on")
    assert found.noticed in (0.1, 0.2)
    found.demand_refusals()


@pytest.mark.parametrize(
    ("name", "gate", "others", "advice"),
    [
        ("a missing slice", NUMBER, {}, "evaluation.expected_slices"),
        ("shuffled labels", PAIRED, {}, "against a number as well"),
        ("every row twice", NUMBER, {"cluster": "user"}, "evaluation.cluster"),
    ],
)
def test_what_cannot_be_caught_is_said(
    name: str,
    gate: str,
    others: dict[str, Any],
    advice: str,
    tmp_path: Path,
    settings: Settings,
) -> None:
    """With what would help; nothing is broken by it."""
    found = tried(tmp_path, settings(gate, **others))
    assert outcomes(found)[name] == Outcome.NOT_CAUGHT
    line = next(line for line in found.sentences if name in line)
    assert "cannot be caught" in line and advice in line
    found.demand_refusals()


def test_too_few_rows_are_unknown_and_so_refused(
    tmp_path: Path, settings: Settings
) -> None:
    """No plant makes a gate FAIL there, which is said as well."""
    found = tried(tmp_path, settings("accuracy >= 0.1"), count=4)
    assert outcomes(found)["a model that knows nothing"] == "refused"
    assert outcomes(found)["every row twice"] == "cannot be caught"
    assert found.sentences[-1] == "self-test: no plant made 'accuracy >= 0.1' FAIL"
    found.demand_refusals()


def test_a_bound_that_everything_reaches_is_found_out(
    tmp_path: Path, settings: Settings
) -> None:
    """A gate that even a model passes that knows nothing is none."""
    found = tried(tmp_path, settings("accuracy >= 0.1"))
    with pytest.raises(CheckBroken) as refusal:
        found.demand_refusals()
    assert "a model that knows nothing, shuffled labels" in refusal.value.expected
    assert refusal.value.exit_code == 5


def test_what_was_found_is_left_also_by_gates_that_fail(
    tmp_path: Path, settings: Settings
) -> None:
    """And is the record that the report tells of."""
    for gate, expected in (NUMBER, "refused"), ("accuracy >= 0.1", "let through"):
        chosen = settings(gate)
        path = predictions(tmp_path, chosen)
        before = gates.judge(
            [gates.parse(Gate(gate), chosen)], recount(path, chosen), chosen
        )
        found = None
        with suppress(CheckBroken):
            found = selftest.passed(chosen, tmp_path, path, before)
        left = json.loads((tmp_path / "self-test.json").read_text("utf-8"))
        plants = {each["name"]: each["outcome"] for each in left["plants"]}
        assert plants["shuffled labels"] == expected
        assert (found and json.loads(json.dumps(found))) in (None, left)
        assert (found is None) is (expected == "let through")


@pytest.mark.parametrize("always", [gates.State.PASS, gates.State.FAIL])
def test_a_gate_that_always_says_the_same_is_found_out(
    always: gates.State,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it lets everything through or refuses everything."""
    judge = gates.judge

    def broken(*given: Any) -> tuple[gates.Verdict, ...]:
        return tuple(replace(verdict, state=always) for verdict in judge(*given))

    monkeypatch.setattr(gates, "judge", broken)
    found = tried(tmp_path, settings(NUMBER, PAIRED))
    names = "shuffled labels" if always == "PASS" else "a twin of production"
    with pytest.raises(CheckBroken, match=f"the gates to .*{names}"):
        found.demand_refusals()


def test_a_verdict_that_does_not_come_again_is_found_out(
    tmp_path: Path, settings: Settings
) -> None:
    """The same predictions and gates are the same verdict."""
    chosen = settings(NUMBER)
    path = predictions(tmp_path, chosen)
    other = gates.Verdict(gates.parse(Gate(NUMBER), chosen), gates.State.FAIL, "")
    found = selftest.self_test(path, [other], chosen)
    with pytest.raises(CheckBroken, match="the same predictions again"):
        found.demand_refusals()


def test_copies_that_nobody_sees_are_found_out(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FAIL of the gates would be no excuse."""
    monkeypatch.setattr(Repeats, "demand_no_copies", lambda self: None)
    found = tried(tmp_path, settings("accuracy >= 0.99"))
    assert outcomes(found)["every row twice"] == "let through"
    assert outcomes(found)["shuffled labels"] == "cannot be caught"  # FAIL without it
    with pytest.raises(CheckBroken, match="every row twice"):
        found.demand_refusals()


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_score_of_a_team_is_damaged_too(
    better: Any, tmp_path: Path, settings: Settings
) -> None:
    """To the worst that it declares."""
    sign = ">= production.score - 0.1" if better == "higher" else "<= 0.95"
    chosen = settings(f"score {sign}", score=Score("m:f", 0, 1, better))
    found = tried(tmp_path, chosen)
    assert outcomes(found)["a model that knows nothing"] == "refused"
    assert not found.toothless


def test_a_slow_model_is_refused(tmp_path: Path, settings: Settings) -> None:
    """Where its time beside production's is gated; nothing is timed again."""
    found = tried(tmp_path, settings(NUMBER, "latency.ratio <= 1.10"))
    assert outcomes(found)["a slow model"] == "refused"
    assert not found.toothless


def test_other_tasks_have_their_plants(tmp_path: Path, settings: Settings) -> None:
    """Classes and numbers are shuffled as well."""
    chance = np.random.default_rng(2)
    label = chance.integers(0, 3, 600)
    near = np.where(np.arange(3) == label[:, None], 0.9, 0.05)
    near += 1e-3 * chance.random((600, 3))
    tasks = {
        "multiclass": (near / near.sum(axis=1)[:, None], "accuracy >= 0.8"),
        "regression": (label + 0.1 * chance.random(600), "rmse <= 0.3"),
    }
    for task, (answers, gate) in tasks.items():
        own: dict[str, Any] = {"classes": ("0", "1", "2")}
        if task == "regression":
            own = {"clip": {"rmse": 1.0}}
        chosen = settings(gate, task=task, slices=(), **own)
        table = pa.record_batch({"label": label})
        kept = rows.joined(table, [answers, answers], chosen, 0)
        pq.write_table(pa.Table.from_batches([kept]), tmp_path / f"{task}.parquet")
        condition = [gates.parse(each, chosen) for each in chosen.gates]
        before = gates.judge(
            condition, recount(tmp_path / f"{task}.parquet", chosen), chosen
        )
        found = selftest.self_test(tmp_path / f"{task}.parquet", before, chosen)
        assert len([*outcomes(found)]) == 7
        assert set(outcomes(found).values()) <= {"held", "refused", "cannot be caught"}
        assert found.sentences[0].startswith("self-test: 4 of 4 plants refused")
