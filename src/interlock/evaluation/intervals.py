"""Samples: counts that estimate one quantity and can be tested against a bound.

Everything here is a function of counts, so it holds at any number of rows and for rows
counted anywhere. "Exact" means that the stated chance of error is an upper bound at
every sample size, for independent rows; nothing is approximated by a normal curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Protocol, Self

from interlock.evaluation.binomial import (
    Interval,
    clopper_pearson,
    lower_bound,
    mcnemar,
    upper_bound,
)
from interlock.evaluation.paired import gain_interval, p_value, rejects

__all__ = ["Difference", "Interval", "Proportion", "Sample", "mcnemar", "scale"]


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
        """`paired.gain_interval`, exact."""
        return gain_interval(self.better, self.worse, self.rows, alpha)

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "the gain is `bound` or more" is rejected; McNemar at 0."""
        return self._exceeds(self.worse, self.better, -bound, alpha)

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "the gain is less than `bound`" is rejected; McNemar at 0."""
        return self._exceeds(self.better, self.worse, bound, alpha)

    def _exceeds(self, better: int, worse: int, bound: float, alpha: float) -> bool:
        if bound == 0:
            return mcnemar(worse, better) <= alpha
        return rejects(better, worse, self.rows, bound, alpha)

    def scaled(self, to: int, rows: int) -> Difference:
        """The same rates as if the data had `to` rows where they have `rows`."""
        if to == rows:
            return self
        counts = (self.better, self.worse, self.rows)
        better, worse, scaled = (scale(count, to, rows) for count in counts)
        # Both halves rounded up would be a row more than there are.
        return Forecast(better, min(worse, scaled - better), scaled)


@dataclass(frozen=True)
class Forecast(Difference):
    """Counts that are yet to come, tested at the disagreement forecast alone.

    That is quick, and as near as a forecast need be; it is no verdict.
    """

    def _exceeds(self, better: int, worse: int, bound: float, alpha: float) -> bool:
        if bound == 0:
            return mcnemar(worse, better) <= alpha
        return p_value(better, worse, self.rows, bound, cells=0) <= alpha


def scale(count: int, to: int, rows: int) -> int:
    """count * to / rows, rounded half up."""
    return (2 * count * to + rows) // (2 * rows)
