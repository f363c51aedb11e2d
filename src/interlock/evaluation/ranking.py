"""How good the order is that a model brings a query's answers into.

Labels are relevances, 0 or more, and predictions scores, the higher the earlier. All of
them are numbers of each query, within 0 and 1, shape (queries,); `queries` numbers each
row's query from 0 on, rows of one together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interlock.evaluation.moments import Floats, Integers


def ndcg(labels: Floats, scores: Floats, queries: Integers, k: int) -> Floats:
    """The discounted gain of the first k answers, as a share of the best order's.

    Gains are the relevances, discounts 1 / log2(place + 1); answers with the same score
    share their places' discounts; without a relevant answer it is 0. As scikit-learn's
    ndcg_score. Source: Järvelin & Kekäläinen, ACM Transactions on Information Systems
    20 (2002) 422.
    """
    best = _gains(labels, labels, queries, k)
    found = _gains(labels, scores, queries, k)
    return np.divide(found, best, out=np.zeros_like(best), where=best > 0)


def _gains(labels: Floats, scores: Floats, queries: Integers, k: int) -> Floats:
    order, places = _ordered(scores, queries)
    discounts = np.where(places < k, 1 / np.log2(places + 2), 0.0)
    shared = _shared(discounts, scores[order], places)
    gains = np.bincount(queries[order], labels[order] * shared)
    return gains.astype(np.float64)


def _shared(values: Floats, scores: Floats, places: Integers) -> Floats:
    """Each answer's value, or the mean of those with its score; all (n,), in order."""
    new = np.diff(scores, prepend=np.nan) != 0
    tied = np.cumsum(new | (places == 0)) - 1
    means = np.bincount(tied, values) / np.bincount(tied)
    return np.asarray(means[tied])


def _ordered(scores: Floats, queries: Integers) -> tuple[Integers, Integers]:
    """The rows, query by query, from the best score on, and their places from 0."""
    order = np.lexsort((-scores, queries))
    starts = np.flatnonzero(np.diff(queries, prepend=-1))
    return order, np.arange(len(scores)) - starts[queries]


def first_relevant(labels: Floats, scores: Floats, queries: Integers) -> Floats:
    """The place, from 1 on, of the best answer that is relevant; inf of none.

    Of answers with the same score, those that are not relevant come first.
    """
    count = int(queries[-1]) + 1
    best = np.full(count, -np.inf)
    relevant = labels > 0
    np.maximum.at(best, queries[relevant], scores[relevant])
    before = (scores >= best[queries]) & ~relevant
    places = 1.0 + np.bincount(queries[before], minlength=count)
    return np.where(np.isfinite(best), places, np.inf)


def reciprocal_rank(labels: Floats, scores: Floats, queries: Integers) -> Floats:
    """1 / place of the first relevant answer; its mean is the MRR.

    Source: Voorhees, TREC-8 (1999) 77.
    """
    return 1 / first_relevant(labels, scores, queries)


def hits(labels: Floats, scores: Floats, queries: Integers, k: int) -> Floats:
    """1 where a relevant answer is among the first k, else 0."""
    return (first_relevant(labels, scores, queries) <= k).astype(np.float64)


PLACES = 10  # from the first on, that a plot shows
BINS = 20  # of a metric of each query, from 0 to 1


@dataclass(frozen=True, eq=False)
class Places:
    """One model's answers by their place, and its queries by how well they went."""

    asked: Floats  # (PLACES,): queries with so many answers, each by its weight
    relevant: Floats  # (PLACES,): those with a relevant answer there
    queries: Floats  # (BINS,): by their NDCG

    def __add__(self, other: Places) -> Places:
        return Places(
            self.asked + other.asked,
            self.relevant + other.relevant,
            self.queries + other.queries,
        )


def by_place(
    labels: Floats,
    scores: Floats,
    queries: Integers,
    gains: Floats,
    weights: Floats | None,
) -> Places:
    """The places of a batch; `gains`, the NDCG, and `weights` are (queries,).

    Answers with the same score share their places.
    """
    order, places = _ordered(scores, queries)
    weight = np.ones(len(gains)) if weights is None else weights
    shown = places < PLACES
    found = (labels[order] > 0).astype(np.float64)
    relevant = _shared(found, scores[order], places)
    by_row = weight[queries[order]]
    asked, good = (
        np.bincount(places[shown], each[shown], PLACES).astype(np.float64)
        for each in (by_row, relevant * by_row)
    )
    return Places(
        asked,
        good,
        np.histogram(np.clip(gains, 0, 1), BINS, (0.0, 1.0), weights=weight)[0],
    )
