"""Multi-class, regression, ranking and a team's own score, as scikit-learn has them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from interlock.config import Evaluation, Score
from interlock.errors import BadConfiguration
from interlock.evaluation import ranking
from interlock.evaluation.batch import Batch
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import Counts, fold, plan
from interlock.evaluation.tables import ROLES

CLASSES = ("cat", "dog", "eel", "fox")
SETTINGS = {
    "multiclass": Evaluation(
        *("", "", ()), task="multiclass", classes=CLASSES, top_k=2
    ),
    "regression": Evaluation("", "", (), task="regression", quantile=0.9),
    "ranking": Evaluation("", "", (), task="ranking", query="q", top_k=3),
}
few = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1)


def halves(batch: dict[str, Any], number: int, task: str) -> tuple[Counts, Counts]:
    """The counts of the whole at once, and of two parts added up."""
    chosen = plan(SETTINGS[task])

    def part(low: int, high: int) -> Counts:
        return fold(
            Batch(
                batch["labels"][low:high],
                {role: batch[role][low:high] for role in ROLES},
                weights=None if batch.get("w") is None else batch["w"][low:high],
            ),
            chosen,
        )

    middle = max(1, number // 3)
    return part(0, number), part(0, middle) + part(middle, number)


@few
@given(seeds, st.integers(2, 60), st.booleans())
def test_classes_are_told_apart_as_by_scikit_learn(
    seed: int, number: int, weighted: bool
) -> None:
    """To 1e-9, ties and classes without a row included."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, chance.integers(1, 5), number)
    raw = chance.integers(1, 6, (2, number, 4)).astype(float)
    both = raw / raw.sum(axis=2, keepdims=True)
    weights = chance.uniform(0.5, 2, number) if weighted else None
    found = {
        "labels": labels,
        "candidate": both[0],
        "production": both[1],
        "w": weights,
    }
    known = catalogue(SETTINGS["multiclass"])
    for counts in halves(found, number, "multiclass"):
        for role, scores in zip(ROLES, both, strict=True):
            called = scores.argmax(axis=1)
            of: Any = {"sample_weight": weights}
            each: Any = {"labels": range(4), "average": None, "zero_division": np.nan}
            expected = {
                "accuracy": oracle.accuracy_score(labels, called, **of),
                "micro_f1": oracle.f1_score(labels, called, average="micro", **of),
                "macro_f1": oracle.f1_score(labels, called, average="macro", **of),
                "log_loss": oracle.log_loss(labels, scores, labels=range(4), **of),
                "top_k_accuracy": oracle.top_k_accuracy_score(
                    labels, scores, k=2, labels=range(4), **of
                ),
            }
            recalls = oracle.recall_score(labels, called, **each, **of)
            expected["balanced_accuracy"] = np.nanmean(recalls)
            precisions = oracle.precision_score(labels, called, **each, **of)
            for name, recall, precision in zip(
                CLASSES, recalls, precisions, strict=True
            ):
                expected[f"recall[{name}]"] = recall
                expected[f"precision[{name}]"] = precision
            for name, value in expected.items():
                ours = known[name].value(counts.whole, role)
                assert ours == pytest.approx(value, rel=1e-9, nan_ok=True), name


@few
@given(seeds, st.integers(2, 60), st.booleans(), st.sampled_from([0.0, 1e6]))
def test_regression_is_scikit_learns(
    seed: int, number: int, weighted: bool, far: float
) -> None:
    """To 1e-6 of the labels' spread, however far they are from 0."""
    chance = np.random.default_rng(seed)
    labels = far + chance.normal(size=number)
    both = labels + chance.normal(0.1, 1, (2, number))
    weights = chance.uniform(0.5, 2, number) if weighted else None
    found = {
        "labels": labels,
        "candidate": both[0],
        "production": both[1],
        "w": weights,
    }
    known, of = catalogue(SETTINGS["regression"]), {"sample_weight": weights}
    for counts in halves(found, number, "regression"):
        for role, given_ in zip(ROLES, both, strict=True):
            expected = {
                "mae": oracle.mean_absolute_error(labels, given_, **of),
                "rmse": oracle.root_mean_squared_error(labels, given_, **of),
                "r2": oracle.r2_score(labels, given_, **of),
                "bias": np.average(given_ - labels, weights=weights),
                "quantile_loss": oracle.mean_pinball_loss(
                    labels, given_, alpha=0.9, **of
                ),
            }
            for name, value in expected.items():
                ours = known[name].value(counts.whole, role)
                assert ours == pytest.approx(value, rel=1e-6, abs=1e-8), name


@few
@given(seeds, st.integers(1, 12), st.integers(1, 6))
def test_rankings_are_scikit_learns(seed: int, queries: int, k: int) -> None:
    """Query by query, ties included, and whole queries merge."""
    chance = np.random.default_rng(seed)
    sizes = chance.integers(2, 9, queries)
    query = np.repeat(np.arange(queries), sizes)
    labels = chance.integers(0, 3, len(query)).astype(float)
    scores = chance.integers(0, 6, len(query)) / 5
    gains = ranking.ndcg(labels, scores, query, k)
    ranks = ranking.reciprocal_rank(labels, scores, query)
    for each in range(queries):
        mine, given_ = labels[query == each][None], scores[query == each][None]
        assert gains[each] == pytest.approx(oracle.ndcg_score(mine, given_, k=k))
        # The best relevant answer alone is left: its precision is 1 / its rank.
        best = np.zeros_like(mine)
        if (mine > 0).any():
            best[0, np.where(mine[0] > 0, given_[0], -1).argmax()] = 1
            alone = oracle.label_ranking_average_precision_score(
                best[:, (mine[0] == 0) | (best[0] == 1)],
                given_[:, (mine[0] == 0) | (best[0] == 1)],
            )
            assert ranks[each] == pytest.approx(alone)
        else:
            assert ranks[each] == 0
    found = ranking.hits(labels, scores, query, k)
    assert np.array_equal(found, (ranks >= 1 / k).astype(float))


def test_a_query_counts_once_and_is_in_the_slice_of_its_first_row() -> None:
    """Rows are no unit of their own there."""
    both: Any = {role: np.array([3.0, 2.0, 1.0, 1.0, 2.0]) for role in ROLES}
    labels, query = np.array([0.0, 1, 0, 0, 2]), np.array([0, 0, 0, 1, 1])
    group = {"g": pa.array(["a", "b", "b", "b", "b"])}
    counts = fold(Batch(labels, both, group, queries=query), plan(SETTINGS["ranking"]))
    assert counts.whole.rows == 2
    assert {value: each.rows for value, each in counts.per("g").items()} == {
        "a": 1,
        "b": 1,
    }
    known = catalogue(SETTINGS["ranking"])
    assert known["mrr"].value(counts.whole, "candidate") == pytest.approx(0.75)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_an_own_score_is_a_mean_within_its_bounds(better: Any) -> None:
    """The better way is the one that it declares."""
    chosen = Evaluation("", "", (), score=Score("m:f", -2, 3, better))
    labels, given_ = np.array([True, False] * 50), np.full(100, 0.5)
    own: Any = {"candidate": np.linspace(-2, 3, 100), "production": np.zeros(100)}
    batch = Batch(labels, {role: given_ for role in ROLES}, scores=own)
    group, metric = fold(batch, plan(chosen)).whole, catalogue(chosen)["score"]
    assert metric.value(group, "candidate") == pytest.approx(0.5)
    gain = metric.gain(group)
    assert gain and metric.sign * gain.estimate == pytest.approx(0.5)
    low, high = gain.interval(0.05)
    assert -5 <= low < gain.estimate < high <= 5


@pytest.mark.parametrize("name", ["brier", "accuracy", "calibration_error", "speed"])
def test_only_losses_without_a_bound_are_clipped(name: str) -> None:
    """Another name would be passed over in silence."""
    with pytest.raises(BadConfiguration, match=f"'{name}' of a binary task"):
        catalogue(Evaluation("", "", (), clip={name: 1.0}))
