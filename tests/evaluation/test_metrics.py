"""Counts that merge, and metrics that agree with scikit-learn."""

import pickle
from dataclasses import dataclass, replace
from math import isclose, isnan, nan
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from interlock.config import Evaluation
from interlock.evaluation.batch import Batch
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import MISSING, Counts, fold, plan
from interlock.evaluation.group import Group
from interlock.evaluation.moments import Moments
from interlock.evaluation.tables import ROLES

SETTINGS = Evaluation("", "", (), slices=("group",), clip={"log_loss": 2.0})
JUDGED = [("log_loss", "group"), ("f1", "group"), ("f1", ""), ("brier", "")]


@dataclass(frozen=True)
class Rows:
    """Labels, two models' scores, weights, a slice and a cluster, of one length."""

    labels: Any
    candidate: Any
    production: Any
    weights: Any
    group: list[str | None]
    cluster: list[str]

    def counts(
        self,
        low: int = 0,
        high: int | None = None,
        *,
        of: str = "",
        paired: bool = True,
    ) -> Counts:
        """The counts of some rows; `of` names what else they have: w, c or both."""
        part = slice(low, high)
        given = {"candidate": self.candidate[part]}
        given |= {"production": self.production[part]} if paired else {}
        batch = Batch(
            self.labels[part],
            given,  # type: ignore[arg-type]
            {"group": pa.array(self.group[part], pa.string())},
            weights=self.weights[part] if "w" in of else None,
            clusters=pa.array(self.cluster[part]) if "c" in of else None,
        )
        return fold(batch, plan(SETTINGS, JUDGED))


# Scores a threshold, an end or a bin's edge away, as well as any others.
scores = st.sampled_from([0.0, 0.25, 0.5, 0.999, 1.0]) | st.floats(0, 1)
row = st.tuples(
    st.booleans(),
    scores,
    scores,
    st.floats(0.25, 4),
    st.sampled_from(["a", "b", "ü", "", None]),
    st.sampled_from(["x", "y", "z"]),
)


@st.composite
def rows(draw: st.DrawFn, least: int = 1) -> Rows:
    """Some rows, in columns."""
    found = draw(st.lists(row, min_size=least, max_size=60))
    labels, mine, theirs, weights, group, cluster = zip(*found, strict=True)
    return Rows(
        np.array(labels),
        np.array(mine),
        np.array(theirs),
        np.array(weights),
        list(group),
        list(cluster),
    )


def same_moments(one: Moments, other: Moments) -> None:
    """Assert that they are equal up to rounding."""
    assert one.rows == other.rows
    assert np.allclose(one.mean, other.mean, rtol=1e-12, atol=1e-12)
    assert np.allclose(one.scatter, other.scatter, rtol=1e-9, atol=1e-9)


def same(one: Group, other: Group) -> None:
    """Assert that counts are equal, and float sums up to rounding."""
    assert (one.rows, one.heaviest) == (other.rows, other.heaviest)
    assert one.table.cells.keys() == other.table.cells.keys()
    for code, cell in one.table.cells.items():
        assert cell[0] == other.table.cells[code][0]
        assert cell == pytest.approx(other.table.cells[code], rel=1e-12)
    for name, found in one.means.items():
        same_moments(found, other.means[name])
    for role in ROLES:
        mine, theirs = getattr(one, role), getattr(other, role)
        if mine is not None:
            assert np.allclose(mine.histogram, theirs.histogram, rtol=1e-12)
    assert (one.clusters or {}).keys() == (other.clusters or {}).keys()
    for name, sums in (one.clusters or {}).items():
        assert np.array_equal(sums.keys, other.clusters[name].keys)  # type: ignore
        assert np.allclose(sums.sums, other.clusters[name].sums)  # type: ignore


@settings(max_examples=20)
@given(rows(3), st.data(), st.sampled_from(["", "w", "c", "wc"]))
def test_counts_merge_in_any_order(found: Rows, data: st.DataObject, of: str) -> None:
    """Three parts, grouped and ordered as one likes, are the whole folded at once."""
    number = len(found.labels)
    first = data.draw(st.integers(1, number - 2))
    second = data.draw(st.integers(first + 1, number - 1))
    ends = ((0, first), (first, second), (second, None))
    a, b, c = (pickle.loads(pickle.dumps(found.counts(*e, of=of))) for e in ends)
    whole = found.counts(of=of)
    for merged in ((a + b) + c, a + (b + c), (c + b) + a, b + (a + c)):
        assert merged.groups.keys() == whole.groups.keys()
        for key, group in merged.groups.items():
            same(group, whole.groups[key])


def expected(found: Rows, given_: Any, weights: Any) -> dict[str, float]:
    """The metrics by scikit-learn; those that are undefined are left out."""
    labels, called = found.labels, given_ >= 0.5
    of = {"sample_weight": weights}
    one = {"average": "binary", "zero_division": nan, **of}
    values = {
        "accuracy": oracle.accuracy_score(labels, called, **of),
        "precision": oracle.precision_score(labels, called, **one),
        "recall": oracle.recall_score(labels, called, **one),
        "specificity": oracle.recall_score(labels, called, pos_label=0, **one),
        "f1": oracle.f1_score(labels, called, **one),
        "log_loss": oracle.log_loss(labels, given_, labels=[False, True], **of),
        "brier": oracle.brier_score_loss(labels, given_, pos_label=True, **of),
    }
    if len(set(labels)) == 2:
        both = oracle.balanced_accuracy_score(labels, called, **of)
        values["balanced_accuracy"] = both
    return values


@settings(max_examples=25)
@given(rows(), st.booleans(), st.booleans())
def test_metrics_are_scikit_learns(found: Rows, weighted: bool, paired: bool) -> None:
    """To 1e-9, NaN where they are undefined, with weights and without."""
    group = found.counts(of="w" * weighted, paired=paired).whole
    known = catalogue(SETTINGS)
    for role in ROLES[: 1 + paired]:
        oracles = expected(
            found, getattr(found, role), found.weights if weighted else None
        )
        for name, value in oracles.items():
            ours = known[name].value(group, role)
            assert ours == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


@settings(max_examples=40)
@given(rows())
def test_the_rows_answer_for_the_sums(found: Rows) -> None:
    """A gate's estimate is the metric, or its change; of a clipped loss, clipped."""
    group, known = found.counts().whole, catalogue(SETTINGS)
    for name, metric in known.items():
        sample, gain = metric.sample(group, "candidate"), metric.gain(group)
        values = [metric.value(group, role) for role in ROLES]
        if name == "log_loss":
            truths = [
                np.where(found.labels, s, 1 - s)
                for s in (found.candidate, found.production)
            ]
            with np.errstate(divide="ignore"):
                values = [np.minimum(-np.log(truth), 2.0).mean() for truth in truths]
        if sample and name != "roc_auc":
            ours = metric.sign * sample.estimate
            assert ours == pytest.approx(values[0], abs=1e-9, nan_ok=True), name
        if gain and name != "roc_auc":
            ours = metric.sign * gain.estimate
            change = values[0] - values[1]
            assert ours == pytest.approx(change, abs=1e-9, nan_ok=True), name


def smooth(rows: int, seed: int = 3, shift: float = 0.0) -> tuple[Any, Any]:
    """Labels and logistic scores."""
    chance = np.random.default_rng(seed)
    labels = chance.random(rows) < 0.3
    return labels, 1 / (1 + np.exp(-chance.normal(2 * labels - 1 + shift, 1.0)))


@pytest.mark.parametrize("shift", [0.0, -6.0, 6.0, -9.0])
def test_the_areas_are_scikit_learns_up_to_binning(shift: float) -> None:
    """Even where all probabilities are near one end."""
    labels, given_ = smooth(20_000, shift=shift)
    ours = fold(Batch(labels, {"candidate": given_}), plan(SETTINGS)).whole.candidate
    assert ours
    assert isclose(ours.roc_auc, oracle.roc_auc_score(labels, given_), abs_tol=1e-5)
    precise = oracle.average_precision_score(labels, given_)
    assert isclose(ours.pr_auc, precise, abs_tol=1e-3)
    assert isclose(ours.roc_auc, np.trapezoid(*ours.roc()[::-1]), abs_tol=1e-12)


def test_the_area_counts_ties_half_and_needs_both_labels() -> None:
    """Constant scores tell nothing; one label alone has no area."""
    labels, flat = np.array([True, False, True]), np.full(3, 0.7)
    found = fold(Batch(labels, {"candidate": flat}), plan(SETTINGS)).whole.candidate
    assert found and found.roc_auc == 0.5
    alone = fold(Batch(labels[:1], {"candidate": flat[:1]}), plan(SETTINGS)).whole
    assert alone.candidate and isnan(alone.candidate.roc_auc)


def delong(labels: Any, *models: Any) -> tuple[float, float]:
    """The area, or a difference of two, and its error, from every pair of rows."""
    parts = []
    for given_ in models:
        positive, negative = given_[labels][:, None], given_[~labels][None]
        wins = (positive > negative) + 0.5 * (positive == negative)
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    rows = parts[0] if len(parts) == 1 else [a - b for a, b in zip(*parts, strict=True)]
    error = sum(each.var(ddof=1) / len(each) for each in rows) ** 0.5
    return float(rows[0].mean()), float(error)


def test_the_errors_of_areas_are_delongs() -> None:
    """From histograms as from every pair of rows; paired to the coarser bins."""
    labels, mine = smooth(1500)
    theirs = np.clip(mine + np.random.default_rng(4).normal(0, 0.05, 1500), 0.001, 0.99)
    given_: Any = {"candidate": mine, "production": theirs}
    whole = fold(Batch(labels, given_), plan(SETTINGS)).whole
    assert whole.candidate and whole.joint
    assert whole.candidate.area == pytest.approx(delong(labels, mine), rel=1e-3)
    value, error = delong(labels, mine, theirs)
    gain = catalogue(SETTINGS)["roc_auc"].gain(whole)
    assert gain and gain.estimate == pytest.approx(value, abs=error / 20)
    assert whole.joint.error == pytest.approx(error, rel=0.05)


@settings(max_examples=40)
@given(rows())
def test_slices_add_up_to_the_whole(found: Rows) -> None:
    """Every row is in one slice; null and empty values share one."""
    counts = found.counts()
    per = counts.per("group")
    assert sum(group.rows for group in per.values()) == counts.whole.rows
    for value, group in per.items():
        mine = [(each or MISSING) == value for each in found.group]
        assert group.rows == group.table.rows == sum(mine)
        labels, called = found.labels[mine], found.candidate[mine] >= 0.5
        assert group.table.accuracy("candidate").hits == (labels == called).sum()
        loss = catalogue(SETTINGS)["log_loss"].value(group, "candidate")
        exact = oracle.log_loss(labels, found.candidate[mine], labels=[False, True])
        assert loss == pytest.approx(exact, rel=1e-9, abs=1e-9)


@settings(max_examples=40)
@given(rows())
def test_the_pair_counts_who_alone_is_right(found: Rows) -> None:
    """And the two accuracies differ by just that."""
    pair = found.counts().whole.table.pair
    right = (found.candidate >= 0.5) == found.labels
    theirs = (found.production >= 0.5) == found.labels
    assert pair.better == (right & ~theirs).sum()
    assert pair.worse == (~right & theirs).sum()


def test_calibration_is_the_share_of_positives_by_score() -> None:
    """Empty bins are left out; its error is the mean distance."""
    labels = np.array([True, True, False, False])
    given_ = {"candidate": np.array([0.91, 0.93, 0.91, 0.11])}
    found = fold(Batch(labels, given_), plan(SETTINGS)).whole.candidate  # type: ignore
    assert found
    means, hits = found.calibration()
    assert means == pytest.approx([0.11, 0.916667], abs=1e-3)
    assert [(hit.hits, hit.rows) for hit in hits] == [(0, 1), (2, 3)]
    error = (0.11 + 3 * (0.916667 - 2 / 3)) / 4
    assert found.calibration_error == pytest.approx(error, abs=1e-3)


def test_counts_with_and_without_production_do_not_mix() -> None:
    """Their sum would compare different rows."""
    labels, given_ = np.array([True]), np.array([0.5])
    alone = fold(Batch(labels, {"candidate": given_}), plan(SETTINGS))
    both: Any = {"candidate": given_, "production": given_}
    with pytest.raises(ValueError, match="production in both"):
        alone + fold(Batch(labels, both), plan(SETTINGS))


@pytest.mark.parametrize(
    ("column", "values"),
    [([1, 2, 1], {"1", "2"}), ([True, None, True], {"true", MISSING})],
)
def test_slices_of_other_types_are_named_by_their_text(
    column: list[Any], values: set[str]
) -> None:
    """As CSV would spell them."""
    batch = Batch(np.array([True] * 3), {"candidate": np.array([0.5] * 3)})
    counts = fold(replace(batch, slices={"c": pa.array(column)}), plan(SETTINGS))
    assert set(counts.per("c")) == values


def test_the_size_of_counts_does_not_depend_on_the_rows() -> None:
    """Beyond some thousands: the same, give or take the digits of the numbers."""
    sizes = []
    for number in (20_000, 80_000):
        labels, given_ = smooth(number)
        groups = {"group": pa.array(["a", "b"] * (number // 2))}
        both: Any = {"candidate": given_, "production": given_[::-1]}
        sizes.append(
            len(pickle.dumps(fold(Batch(labels, both, groups), plan(SETTINGS))))
        )
    assert abs(sizes[0] - sizes[1]) < 100
