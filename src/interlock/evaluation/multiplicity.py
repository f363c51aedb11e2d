"""Many tests at once.

Both functions adjust a family of p-values, which may be empty: the adjusted p-value of
a test is the smallest alpha at which it is rejected within the family, so "rejected" is
always `adjusted <= alpha`.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    overlap need not be. Source: Benjamini & Hochberg, Journal of the Royal
    Statistical Society B 57 (1995) 289.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * count / np.arange(1, count + 1)
    return _back(order, np.minimum.accumulate(scaled[::-1])[::-1])


def _back(order: npt.NDArray[np.intp], adjusted: Floats) -> list[float]:
    """`adjusted`, at most 1, from sorted order to the order given."""
    values = np.empty(len(order))
    values[order] = np.minimum(adjusted, 1)
    return [float(value) for value in values]
