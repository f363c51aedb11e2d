"""Exact bounds and tests of a proportion, from counts."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

Floats: TypeAlias = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """Two ends, both included."""

    low: float
    high: float


def lower_bound(hits: int, rows: int, alpha: float) -> float:
    """The one-sided lower Clopper-Pearson bound of a proportion.

    P(bound > p) <= alpha for every p and every number of rows: the bound reaches p0
    exactly when the binomial test rejects "p <= p0", P(Bin(rows, p0) >= hits) <= alpha.
    It is the alpha quantile of Beta(hits, rows - hits + 1). Source: Clopper & Pearson,
    Biometrika 26 (1934) 404.
    """
    return float(special.betaincinv(hits, rows - hits + 1, alpha)) if hits else 0.0


def upper_bound(hits: int, rows: int, alpha: float) -> float:
    """The one-sided upper Clopper-Pearson bound: P(bound < p) <= alpha."""
    return 1.0 - lower_bound(rows - hits, rows, alpha)


def clopper_pearson(hits: int, rows: int, alpha: float) -> Interval:
    """The two-sided interval of a proportion: P(p outside) <= alpha, half a side."""
    return Interval(
        lower_bound(hits, rows, alpha / 2), upper_bound(hits, rows, alpha / 2)
    )


def mcnemar(better: int, worse: int) -> float:
    """The one-sided exact p-value of "the candidate is no worse than production".

    Among the rows where exactly one of the two is right, the candidate is the right
    one with probability 1/2 or more under that hypothesis; so p is
    P(Bin(better + worse, 1/2) <= better). `mcnemar(worse, better)` tests "no better".
    Source: McNemar, Psychometrika 12 (1947) 153, in its exact binomial form.
    """
    return float(special.bdtr(better, better + worse, 0.5))


def at_least(hits: Floats, rows: Floats, chance: Floats) -> Floats:
    """P(Bin(rows, chance) >= hits), element by element; hits from 0 to rows + 1.

    The regularised incomplete beta function, as for `lower_bound`.
    """
    some = np.clip(hits, 1, np.maximum(rows, 1))
    tail = special.betainc(some, np.maximum(rows - some + 1, 1), chance)
    return np.where(hits <= 0, 1.0, np.where(hits > rows, 0.0, tail))
