"""Counts that merge, and metrics that agree with scikit-learn."""

from dataclasses import dataclass
from math import isclose, isnan, nan
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from interlock.evaluation.metrics import (
    MISSING,
    Booleans,
    Counts,
    Floats,
    fold,
)


@dataclass(frozen=True)
class Rows:
    """Labels, two models' scores and a slice column, all of one length."""

    labels: Booleans
    candidate: Floats
    production: Floats
    group: list[str | None]

    def counts(self, low: int = 0, high: int | None = None) -> Counts:
        """The counts of some of the rows."""
        part = slice(low, high)
        groups = {"group": pa.array(self.group[part], pa.string())}
        scores = self.candidate[part], self.production[part]
        return fold(self.labels[part], *scores, groups, 0.5)


# Scores a threshold, an end or a bin's edge away, as well as any others.
scores = st.sampled_from([0.0, 0.25, 0.5, 0.999, 1.0]) | st.floats(0, 1)
row = st.tuples(
    st.booleans(), scores, scores, st.sampled_from(["a", "b", "ü", "", None])
)


@st.composite
def rows(draw: st.DrawFn, least: int = 1) -> Rows:
    """Some rows, in columns."""
    found = draw(st.lists(row, min_size=least, max_size=60))
    labels, candidate, production, group = zip(*found, strict=True)
    return Rows(
        np.array(labels), np.array(candidate), np.array(production), list(group)
    )


def same(one: Counts, other: Counts) -> None:
    """Assert that two counts are equal, their float sums up to rounding."""
    assert one.tables == other.tables
    assert one.production is not None and other.production is not None
    pairs = (one.candidate, other.candidate), (one.production, other.production)
    for mine, theirs in pairs:
        assert np.array_equal(mine.histogram, theirs.histogram)
        assert isclose(mine.squared_errors, theirs.squared_errors, abs_tol=1e-12)
        assert isclose(mine.log_losses, theirs.log_losses, rel_tol=1e-12, abs_tol=1e-12)


@given(rows(3), st.data())
def test_counts_merge_in_any_order(found: Rows, data: st.DataObject) -> None:
    """Three parts, grouped and ordered as one likes, are the whole folded at once."""
    number = len(found.labels)
    first = data.draw(st.integers(1, number - 2))
    second = data.draw(st.integers(first + 1, number - 1))
    a, b, c = (
        found.counts(*ends) for ends in ((0, first), (first, second), (second, None))
    )
    whole = found.counts()
    for merged in ((a + b) + c, a + (b + c), (c + b) + a, b + (a + c)):
        same(merged, whole)


@given(rows())
def test_thresholded_metrics_are_scikit_learns(found: Rows) -> None:
    """Accuracy, precision, recall and F1, NaN where they are undefined."""
    for role, given_ in (
        ("candidate", found.candidate),
        ("production", found.production),
    ):
        called = given_ >= 0.5
        ours = found.counts().whole.confusion(role)  # type: ignore[arg-type]
        expected = oracle.precision_recall_fscore_support(
            found.labels, called, average="binary", zero_division=nan
        )[:3]
        values = ours.precision.estimate, ours.recall.estimate, ours.f1
        assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)
        accuracy = oracle.accuracy_score(found.labels, called)
        assert isclose(ours.accuracy.estimate, accuracy, abs_tol=1e-12)


@given(rows())
def test_losses_are_scikit_learns(found: Rows) -> None:
    """Brier score and log loss, certain and wrong answers included."""
    ours = found.counts().candidate
    brier = oracle.brier_score_loss(found.labels, found.candidate, pos_label=True)
    loss = oracle.log_loss(found.labels, found.candidate, labels=[False, True])
    assert isclose(ours.brier, brier, abs_tol=1e-12)
    assert isclose(ours.log_loss, loss, rel_tol=1e-12, abs_tol=1e-12)


def test_the_area_is_scikit_learns_up_to_binning() -> None:
    """A thousand bins are fine enough for smooth scores."""
    chance = np.random.default_rng(3)
    labels = chance.random(20_000) < 0.3
    given_ = 1 / (1 + np.exp(-chance.normal(2 * labels - 1, 1.0)))
    ours = fold(labels, given_, None, {}, 0.5).candidate
    exact = oracle.roc_auc_score(labels, given_)
    assert isclose(ours.roc_auc, exact, abs_tol=1e-3)
    assert isclose(ours.roc_auc, np.trapezoid(*ours.roc()[::-1]), abs_tol=1e-12)


def test_the_area_counts_ties_half_and_needs_both_labels() -> None:
    """Constant scores tell nothing; one label alone has no area."""
    labels, flat = np.array([True, False, True]), np.full(3, 0.7)
    assert fold(labels, flat, None, {}, 0.5).candidate.roc_auc == 0.5
    alone = fold(labels[:1], flat[:1], None, {}, 0.5).candidate
    assert isnan(alone.roc_auc)


@given(rows())
def test_slices_add_up_to_the_whole(found: Rows) -> None:
    """Every row is in one slice; null and empty values share one."""
    counts = found.counts()
    per = counts.per("group")
    assert sum((table.rows for table in per.values())) == counts.whole.rows
    for value, table in per.items():
        mine = [(each or MISSING) == value for each in found.group]
        assert table.rows == sum(mine)
        labels, called = found.labels[mine], found.candidate[mine] >= 0.5
        assert table.confusion("candidate").accuracy.hits == (labels == called).sum()


@given(rows())
def test_the_pair_counts_who_alone_is_right(found: Rows) -> None:
    """And the two accuracies differ by just that."""
    whole = found.counts().whole
    right = (found.candidate >= 0.5) == found.labels
    theirs = (found.production >= 0.5) == found.labels
    assert whole.pair.better == (right & ~theirs).sum()
    assert whole.pair.worse == (~right & theirs).sum()
    gap = whole.confusion("candidate").accuracy.estimate
    gap -= whole.confusion("production").accuracy.estimate
    assert isclose(whole.pair.estimate, gap, abs_tol=1e-12)


def test_calibration_is_the_share_of_positives_by_score() -> None:
    """Empty bins are left out."""
    labels = np.array([True, True, False, False])
    counts = fold(labels, np.array([0.91, 0.93, 0.91, 0.11]), None, {}, 0.5)
    means, hits = counts.candidate.calibration()
    assert means == pytest.approx([0.1105, 0.917166], abs=1e-3)
    assert [(hit.hits, hit.rows) for hit in hits] == [(0, 1), (2, 3)]


def test_counts_with_and_without_production_do_not_mix() -> None:
    """Their sum would compare different rows."""
    labels, given_ = np.array([True]), np.array([0.5])
    alone: Any = fold(labels, given_, None, {}, 0.5)
    with pytest.raises(ValueError, match="production in both"):
        alone + fold(labels, given_, given_, {}, 0.5)


@pytest.mark.parametrize(
    ("column", "values"),
    [([1, 2, 1], {"1", "2"}), ([True, None, True], {"true", MISSING})],
)
def test_slices_of_other_types_are_named_by_their_text(
    column: list[Any], values: set[str]
) -> None:
    """As CSV would spell them."""
    labels, given_ = np.array([True] * 3), np.array([0.5] * 3)
    counts = fold(labels, given_, None, {"c": pa.array(column)}, 0.5)
    assert set(counts.per("c")) == values
