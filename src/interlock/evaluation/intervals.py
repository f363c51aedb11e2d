"""Exact intervals and tests for proportions and for paired differences.

Everything here is a function of counts, so it holds at any number of rows and for rows
counted anywhere. "Exact" means that the stated chance of error is an upper bound at
every sample size, for independent rows; nothing is approximated by a normal curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import NamedTuple, Protocol, Self

from scipy import special


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


def paired_lower_bound(better: int, worse: int, rows: int, alpha: float) -> float:
    """A lower bound of p+ - p-, the gain in accuracy: P(bound > p+ - p-) <= alpha.

    p+ and p- are the proportions of rows where only the candidate, and only
    production, is right. Each is bounded by Clopper-Pearson at alpha / 2, and both
    hold together with probability 1 - alpha at least (Bonferroni): conservative, and
    exact at every size.
    """
    gain = lower_bound(better, rows, alpha / 2)
    return gain - upper_bound(worse, rows, alpha / 2)


def paired(better: int, worse: int, rows: int, alpha: float) -> Interval:
    """The two-sided interval of p+ - p-: P(outside) <= alpha, half of it a side."""
    low = paired_lower_bound(better, worse, rows, alpha / 2)
    return Interval(low, -paired_lower_bound(worse, better, rows, alpha / 2))


class Sample(Protocol):
    """Counts that estimate one quantity, and can test it against a bound."""

    @property
    def estimate(self) -> float: ...

    def interval(self, alpha: float) -> Interval: ...

    def is_below(self, bound: float, alpha: float) -> bool: ...

    def reaches(self, bound: float, alpha: float) -> bool: ...

    def scaled(self, to: int, rows: int) -> Self: ...


@dataclass(frozen=True)
class Proportion:
    """`hits` out of `rows`: an accuracy, a precision, a recall."""

    hits: int
    rows: int

    @property
    def estimate(self) -> float:
        """hits / rows, or NaN of no rows."""
        return self.hits / self.rows if self.rows else nan

    def interval(self, alpha: float) -> Interval:
        """Clopper-Pearson, two-sided."""
        return clopper_pearson(self.hits, self.rows, alpha)

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "the proportion is `bound` or more" is rejected at `alpha`."""
        return upper_bound(self.hits, self.rows, alpha) < bound

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "the proportion is less than `bound`" is rejected at `alpha`."""
        return lower_bound(self.hits, self.rows, alpha) >= bound

    def scaled(self, to: int, rows: int) -> Proportion:
        """The same rates as if the data had `to` rows where they have `rows`."""
        return Proportion(scale(self.hits, to, rows), scale(self.rows, to, rows))


@dataclass(frozen=True)
class Difference:
    """Candidate against production on the same `rows`: right where it is wrong."""

    better: int
    worse: int
    rows: int

    @property
    def estimate(self) -> float:
        """The gain in accuracy, -1 to 1, or NaN of no rows."""
        return (self.better - self.worse) / self.rows if self.rows else nan

    def interval(self, alpha: float) -> Interval:
        """`paired`."""
        return paired(self.better, self.worse, self.rows, alpha)

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "the gain is `bound` or more" is rejected; McNemar at 0."""
        if bound == 0:
            return mcnemar(self.better, self.worse) <= alpha
        low = paired_lower_bound(self.worse, self.better, self.rows, alpha)
        return -low < bound

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "the gain is less than `bound`" is rejected at `alpha`."""
        if bound == 0:
            return mcnemar(self.worse, self.better) <= alpha
        low = paired_lower_bound(self.better, self.worse, self.rows, alpha)
        return low >= bound

    def scaled(self, to: int, rows: int) -> Difference:
        """The same rates as if the data had `to` rows where they have `rows`."""
        counts = (self.better, self.worse, self.rows)
        return Difference(*(scale(count, to, rows) for count in counts))


def scale(count: int, to: int, rows: int) -> int:
    """count * to / rows, rounded half up."""
    return (2 * count * to + rows) // (2 * rows)
