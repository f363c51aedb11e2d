"""Every metric that can be gated is judged, in every task, and keeps its chances."""

import re
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from interlock.config import Evaluation, Gate, Score
from interlock.errors import BadConfiguration
from interlock.evaluation import gates
from interlock.evaluation.batch import Batch
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import Counts, fold, plan
from interlock.evaluation.gates import State, Verdict
from interlock.evaluation.metrics import Metric
from interlock.evaluation.moments import of
from interlock.evaluation.samples import Gain, Means, Normal, Quotient

OWN = Score("m:f", 0, 2, "lower")
TASKS = {
    "binary": Evaluation("", "", (), slices=("g",), uses=1, score=OWN),
    "multiclass": Evaluation(
        *("", "", ()),
        task="multiclass",
        classes=("a", "b", "c"),
        slices=("g",),
        uses=1,
        top_k=2,
    ),
    "regression": Evaluation(
        *("", "", ()),
        task="regression",
        slices=("g",),
        uses=1,
        clip={"mae": 3.0, "rmse": 3.0, "quantile_loss": 3.0},
    ),
    "ranking": Evaluation("", "", (), task="ranking", query="q", slices=("g",), uses=1),
}
ROWS = 6000


def batch(task: str, worse: float, *, weighted: bool, clustered: bool) -> Batch:
    """Rows whose candidate is noisier than production by `worse`."""
    chance = np.random.default_rng(5)
    noise = chance.normal(size=(2, ROWS))
    labels: Any = chance.normal(size=ROWS)
    both: Any = [
        labels + 0.5 * n for n in (noise[0] * (1 + worse), noise[0] + noise[1] / 9)
    ]
    if task == "binary":
        labels, both = labels > 0, [1 / (1 + np.exp(-2 * each)) for each in both]
    elif task == "multiclass":
        labels = np.digitize(labels, (-0.5, 0.5))
        kinds = [np.stack([-each - 0.4, 0 * each, each - 0.4], 1) for each in both]
        both = [np.exp(2 * k) / np.exp(2 * k).sum(1, keepdims=True) for k in kinds]
    elif task == "ranking":
        labels = (labels > 1).astype(float)
    given: Any = dict(zip(("candidate", "production"), both, strict=True))
    scores: Any = {role: np.clip(abs(noise[i]), 0, 2) for i, role in enumerate(given)}
    return Batch(
        labels,
        given,
        {"g": pa.array(["x", "y", "y"] * (ROWS // 3))},
        weights=chance.uniform(0.5, 2, ROWS) if weighted else None,
        clusters=pa.array((np.arange(ROWS) // 10).astype(str)) if clustered else None,
        queries=np.arange(ROWS) // 5 if task == "ranking" else None,
        scores=scores if task == "binary" else {},
    )


def judged(
    task: str, texts: list[str], rows: Batch, settings: Evaluation
) -> tuple[Counts, tuple[Verdict, ...]]:
    """The counts and the verdicts of some gates."""
    conditions = [gates.parse(Gate(text), settings) for text in texts]
    counts = fold(rows, plan(settings, [(c.metric, c.per) for c in conditions]))
    return counts, gates.judge(conditions, counts, settings)


def written(metric: Metric, per: str = "") -> list[str]:
    """A gate against a number that nothing reaches, and one against production."""
    sign, best = (">=", "1") if metric.higher else ("<=", "0")
    change = "- 1" if metric.higher else "+ 50"
    return [
        f"{metric.name} {sign} {best}{per}",
        f"{metric.name} {sign} production.{metric.name} {change}{per}",
    ]


def gated(settings: Evaluation) -> list[Metric]:
    """The metrics that a gate may rest on."""
    known = catalogue(settings).values()
    return [each for each in known if not each.refused and not each.unfit(settings)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mode", ["", "weight", "cluster"])
def test_every_metric_is_gated_both_ways(task: str, mode: str) -> None:
    """Alone and against production, on the whole and by slice."""
    given: Any = {mode: mode} if mode else {}
    settings = replace(TASKS[task], **given)
    rows = batch(task, 0.2, weighted=mode == "weight", clustered=mode == "cluster")
    known = gated(settings)
    texts = [text for metric in known for text in written(metric)]
    slices = [m for m in known if not m.whole_only]
    texts += [text for metric in slices for text in written(metric, " per g")]
    counts, verdicts = judged(task, texts, rows, settings)
    for verdict in verdicts:
        expected = State.PASS if verdict.condition.paired else State.FAIL
        assert verdict.state is expected, verdict.sentence
        for finding in verdict.findings:
            assert finding.interval.low <= finding.estimate <= finding.interval.high
            assert all(map(isfinite, finding.interval)), verdict.sentence
            if mode == "cluster":
                assert finding.asymptotic
            group = counts.whole
            if finding.slice:
                group = counts.per("g")[finding.slice]
            metric = catalogue(settings)[verdict.condition.metric]
            value = metric.value(group, "candidate")
            if verdict.condition.paired:
                value -= metric.value(group, "production")
            assert finding.estimate == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_a_worse_model_fails_on_what_it_is_worse_at(task: str) -> None:
    """No tolerance: the planted loss is found by the leading metric, in both ways."""
    settings = TASKS[task]
    leading = next(iter(catalogue(settings).values()))
    sign = ">=" if leading.higher else "<="
    text = f"{leading.name} {sign} production.{leading.name}"
    plain: Any = {"weighted": False, "clustered": False}
    (worse,) = judged(task, [text], batch(task, 1.0, **plain), settings)[1]
    (twin,) = judged(task, [text], batch(task, 0.0, **plain), settings)[1]
    assert worse.state is State.FAIL, worse.sentence
    assert twin.state is not State.FAIL, twin.sentence
    assert ("below" if leading.higher else "above") in worse.sentence


def test_a_loss_reads_as_a_number_and_says_how_it_was_tested() -> None:
    """In its own unit, with the tolerance; and what would help."""
    rows = batch("binary", 0.0, weighted=False, clustered=False)
    text = "log_loss <= production.log_loss + 0.01"
    clipped = replace(TASKS["binary"], clip={"log_loss": 3.0})
    (verdict,) = judged("binary", [text], rows, clipped)[1]
    assert verdict.state is State.PASS
    said = r"log_loss is 0.\d+ below production \(95 % interval -0.\d+ to [+-]0.\d+\)"
    assert re.search(said, verdict.sentence)
    assert verdict.sentence.endswith("tolerance 0.01")
    (verdict,) = judged("binary", [text], rows, TASKS["binary"])[1]
    assert verdict.state is State.UNKNOWN
    assert verdict.sentence.endswith("; a clip of log_loss would help")
    (verdict,) = judged("binary", ["log_loss <= 0.5"], rows, clipped)[1]
    assert verdict.state is State.PASS
    assert verdict.sentence.endswith("expected at most 0.5")


@pytest.mark.parametrize("name", ["mae", "rmse", "quantile_loss"])
def test_a_loss_without_a_bound_is_not_gated(name: str) -> None:
    """The refusal says what to declare."""
    settings = replace(TASKS["regression"], clip={})
    with pytest.raises(BadConfiguration, match=f"clip = {{ {name} = NUMBER }}"):
        gates.parse(Gate(f"{name} <= 5"), settings)
    assert gates.parse(Gate(f"{name} <= 5"), TASKS["regression"]).bound == 5


@pytest.mark.parametrize("clusters", [600, 6000])
def test_a_design_effect_is_how_many_rows_are_worth_one(clusters: int) -> None:
    """Ten copies of a row are worth one, and the sentence says so."""
    settings = replace(TASKS["binary"], cluster="c")
    rows = batch("binary", 0.2, weighted=False, clustered=True)
    place = np.arange(ROWS) * clusters // ROWS
    rows = replace(
        rows,
        labels=rows.labels[place],
        predictions={role: each[place] for role, each in rows.predictions.items()},
        scores={role: each[place] for role, each in rows.scores.items()},
        clusters=pa.array(place.astype(str)),
    )
    texts = ["accuracy >= 0.5", "f1 >= production.f1 - 0.2", "score <= 1.5"]
    for verdict in judged("binary", texts, rows, settings)[1]:
        assert verdict.findings[0].design == pytest.approx(ROWS / clusters, rel=0.01)
        named = "at a design effect of 10.0" in verdict.sentence
        assert named is (clusters == 600), verdict.sentence


def test_what_has_too_few_rows_has_no_asymptotic_verdict() -> None:
    """But the number of rows that would settle it."""
    found = Normal(0.5, 0.001, 400)
    assert not found.is_below(0.9, 0.4) and not found.reaches(0.1, 0.4)
    assert found.scaled(1000, 400).reaches(0.1, 0.05)
    few = replace(
        batch("regression", 0, weighted=False, clustered=False),
        labels=np.zeros(300),
        predictions={"candidate": np.linspace(0, 1, 300)},
        slices={},
        clusters=pa.array((np.arange(300) // 10).astype(str)),
    )
    settings = replace(TASKS["regression"], cluster="c")
    (verdict,) = judged("regression", ["mae <= 2"], few, settings)[1]
    assert verdict.state is State.UNKNOWN
    assert verdict.findings[0].interval == (0, 3)  # all that the clip leaves
    assert verdict.further == 195  # for 50 clusters of 10, rounded half up


@pytest.mark.parametrize("unfit", ["weight", "cluster"])
def test_an_area_is_not_gated_where_its_error_is_unknown(unfit: str) -> None:
    """It says which column is in the way."""
    settings = replace(TASKS["binary"], **{unfit: "w"})  # type: ignore[arg-type]
    with pytest.raises(BadConfiguration, match="where rows have a 'w'"):
        gates.parse(Gate("roc_auc >= 0.8"), settings)


def test_latency_is_judged_from_what_was_measured() -> None:
    """Not measured is not passed; and without production there is no ratio."""
    settings = TASKS["regression"]
    rows = batch("regression", 0, weighted=False, clustered=False)
    conditions = [gates.parse(Gate("latency.ratio <= 1.10"), settings)]
    counts = fold(rows, plan(settings))
    (missing,) = gates.judge(conditions, counts, settings)
    assert missing.state is State.UNKNOWN
    assert gates.overall([missing]) is State.UNKNOWN
    for ratio, state in ((1.0, "PASS"), (1.2, "FAIL"), (1.0999, "UNKNOWN")):
        measured = {"latency.ratio": Normal(-ratio, 0.005, 2000)}
        (verdict,) = gates.judge(conditions, counts, settings, measured)
        assert verdict.state == state
        assert f"latency.ratio is {ratio:.1f}" in verdict.sentence or ratio == 1.0999
    alone = replace(rows, predictions={"candidate": rows.predictions["candidate"]})
    (first,) = gates.judge(conditions, fold(alone, plan(settings)), settings)
    assert first.state is State.NO_PRODUCTION


def test_fewer_slices_are_left_for_those_that_are_less_harmed() -> None:
    """Holm: the second worst is tested at a half of the level, not at a third."""
    levels = gates.Levels(0.06, 0.05)
    for harms, left in (
        ([1e-9, 1e-9, 0.9], 1),
        ([0.021, 0.021, 0.9], 3),
        ([0.01, 0.029, 0.9], 1),
        ([0.01, 0.031, 0.9], 2),
        ([0.01, 0.029, 0.05], 1),
        ([], 1),
    ):
        assert gates._shared(levels, harms).false_alarm == 0.06 / left
        assert gates._shared(levels, harms).false_pass == 0.05


def f1_rows(chance: Any, rows: int, share: float) -> Any:
    """num and den of F1 for a model that is right on `share` of the rows."""
    label = chance.random(rows) < 0.2
    both = [np.where(chance.random(rows) < share, label, ~label) for _ in range(2)]
    columns = [(2.0 * (label & each), 1.0 * label + each) for each in both]
    return np.stack([column for pair in columns for column in pair], axis=1)


@pytest.mark.parametrize("rows", [60, 600])
def test_bounds_of_quotients_keep_their_chances(rows: int) -> None:
    """Simulated at the truth: neither end is on the wrong side more often than alpha.

    With a seed of its own: 150 draws of a chance of 0.1 exceed 30 once in 20,000.
    """
    chance, alpha, wrong = np.random.default_rng(7), 0.1, np.zeros(4)
    truth, change = 0.34 / 0.49, 0.0  # 2 tp over positives and called, of 100 rows
    corners = np.array([[0, 0], [0, 1], [2, 2]], float)
    pairs = np.array([[*a, *b] for a in corners for b in corners])
    for _ in range(150):
        found = of(f1_rows(chance, rows, 0.85))
        one = Quotient(Means(found.mapped(np.eye(2, 4)), corners))
        two = Gain(Means(found, pairs), shared=False)
        wrong += [
            one.reaches(truth, alpha),
            one.is_below(truth, alpha),
            two.reaches(change, alpha),
            two.is_below(change, alpha),
        ]
    assert (wrong <= 30).all(), wrong


def test_a_gate_on_latency_counts_nothing_of_rows() -> None:
    """Beside clusters, whose sums are kept for the gates' metrics alone."""
    settings = replace(TASKS["binary"], cluster="c")
    wanted = plan(settings, [("latency.ratio", ""), ("accuracy", "")])
    whole = fold(batch("binary", 0, weighted=False, clustered=True), wanted).whole
    assert whole.clusters and [*whole.clusters] == ["accuracy"]
