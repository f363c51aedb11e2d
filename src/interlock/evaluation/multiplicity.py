"""Many tests at once, and one test many times.

`holm`, `benjamini_hochberg` and `e_bh` adjust a family of p- or e-values: the adjusted
p-value of a test is the smallest alpha at which it is rejected within the family, so
"rejected" is always `adjusted <= alpha`. `even` and `spending` divide alpha over the
uses of a test set. All are pure functions; families may be empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given, for what blocks a release.

    Rejecting those that are at most alpha rejects any true hypothesis with probability
    at most alpha, however the tests depend on each other. Source: Holm, Scandinavian
    Journal of Statistics 6 (1979) 65.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * np.arange(count, 0, -1)
    return _back(order, np.maximum.accumulate(scaled))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given, for a list to look at.

    Among the tests rejected at alpha, true hypotheses make up a share of at most alpha
    on average, if the tests are independent or positively dependent; slices that
    overlap need not be: see `e_bh`. Source: Benjamini & Hochberg, Journal of the Royal
    Statistical Society B 57 (1995) 289.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * count / np.arange(1, count + 1)
    return _back(order, np.minimum.accumulate(scaled[::-1])[::-1])


def e_bh(e_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of e-values, in the order given, for a list to look at.

    As `benjamini_hochberg` of 1 / e, and the same holds for slices that overlap in any
    way. Source: Wang & Ramdas, Journal of the Royal Statistical Society B 84 (2022)
    822.
    """
    with np.errstate(divide="ignore", over="ignore"):
        return benjamini_hochberg((1 / np.asarray(e_values, float)).tolist())


def _back(order: npt.NDArray[np.intp], adjusted: Floats) -> list[float]:
    """`adjusted`, at most 1, from sorted order to the order given."""
    values = np.empty(len(order))
    values[order] = np.minimum(adjusted, 1)
    return [float(value) for value in values]


def even(alpha: float, uses: int) -> float:
    """What each of a known number of uses may spend of alpha (Bonferroni)."""
    return alpha / uses


def spending(alpha: float, use: int) -> float:
    """What the use of this number, from 1, may spend of alpha, of endlessly many.

    6 alpha / (pi use) ** 2: the sum over all uses is alpha. The first use may spend 61
    % of it, the 365th a 219,000th.
    """
    return 6 * alpha / (pi * use) ** 2
