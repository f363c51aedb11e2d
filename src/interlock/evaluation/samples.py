"""What a gate tests where no exact test of counts does: quotients of sums.

A metric is the sum of one number of each row over the sum of another: precision is the
true positives over the rows called positive, a mean loss the losses over the rows, a
weighted mean the weighted ones over the weights. "num / den reaches c" says the same as
"num - c den has a mean of 0 or more", a mean of independent rows, and that is tested:

- if the rows' numbers are known to lie between bounds, by Bernstein's inequality with a
  bound of their mean square: the stated chance of error holds at every number of rows.
  A mean of rows that count alike is also tested by bets, of `betting`, each of the two
  tests at half the level (Bonferroni): they tell more where rows differ by little of
  what they might, Bernstein's a shade more elsewhere;
- else by Student's t. That is asymptotic: it holds in the limit of many rows, and no
  verdict rests on it below LEAST_ROWS rows or LEAST_CLUSTERS clusters. Where none of
  the rows is wrong their variance is 0, which proves little: of n rows without a case,
  3 / n may yet be cases (the rule of three), so the standard error is never taken for
  less than that many of the worst rows would make it.

Against production two quotients differ: "num / den >= theirs - t". Were theirs known to
be q, then num - (q - t) den - (num' - q den') would be a mean of 0 or more. So q is
bounded at a tenth of the level, and the mean is tested at the rest for every q within
(Berger and Boos, Journal of the American Statistical Association 89 (1994) 1012); the
bound of the mean is concave in q, so its ends are enough. Where both have the same
denominator, q makes no difference.

The numbers here are the better the higher; a loss is its own negative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isnan, log, nan, sqrt

import numpy as np
from scipy import special

from interlock.evaluation.betting import Masses
from interlock.evaluation.intervals import Interval, Proportion, Sample
from interlock.evaluation.moments import Floats, Moments

LEAST_ROWS = 1000  # of an asymptotic test: research with heavy tails, at small levels
LEAST_CLUSTERS = 50
NUISANCE = 0.1  # of a level that bounds the other quotient, or the mean square
STEPS = 32  # of a bisection
ANY = Interval(-inf, inf)


@dataclass(frozen=True, eq=False)
class Means:
    """The moments of the rows' vectors, and what is known of each row.

    Every row's vector lies in the hull of `corners`, (m, k); None: nothing is known.
    Tests are asymptotic then, from `least` rows on, and so they are of clusters: their
    corners are those of a cluster of the usual size.
    """

    moments: Moments
    corners: Floats | None
    clusters: bool = False
    bets: Masses | None = None  # of num, or of num - num', where den is 1

    @property
    def is_asymptotic(self) -> bool:
        """Whether the chances of error hold only in the limit of many rows."""
        return self.clusters or self.corners is None

    @property
    def least(self) -> int:
        """Rows, or clusters, that an asymptotic test wants."""
        return LEAST_CLUSTERS if self.clusters else LEAST_ROWS

    def margin(self, along: Sequence[float], alpha: float) -> float:
        """Above 0 only if the mean of along @ x is, but for a chance of alpha.

        Where there are bets, each of the two tests has half of it.
        """
        if self.bets is None:
            return self._lower_bound(along, alpha)
        side, bound = round(along[0]), -along[0] * sum(along[1::2])
        gained = self.bets.log_e(bound, side) + log(alpha / 2)
        return max(self._lower_bound(along, alpha / 2), gained)

    def _lower_bound(self, along: Sequence[float], alpha: float) -> float:
        """A lower bound of the mean of along @ x: P(bound > mean) <= alpha."""
        rows, variance = self.moments.rows, self.moments.variance(along)
        mean = float(np.dot(along, self.moments.mean))
        ends = np.zeros(1) if self.corners is None else self.corners @ along
        worst = float(np.abs(ends).max())
        if self.is_asymptotic:
            least = rule_of_three(worst, rows)
            reach = student(max(variance, least), rows, alpha)
            return mean - reach if rows >= self.least else -inf
        square = variance * (1 - 1 / max(rows, 1)) + mean * mean
        return mean - bernstein(square, float(ends.max()), worst, rows, alpha)

    def scaled(self, to: int, rows: int) -> Means:
        """The same means and variances, as if the data had `to` rows, not `rows`."""
        number = round(self.moments.rows * to / rows)
        bets = self.bets and self.bets.scaled(number / max(self.moments.rows, 1))
        return replace(self, moments=self.moments.scaled(number), bets=bets)


def bernstein(
    square: float, highest: float, worst: float, rows: int, alpha: float
) -> float:
    """How far the mean of `rows` numbers may be above its expectation.

    P(mean - expectation > this) <= alpha, for independent numbers that are `highest` at
    most and `worst` at most in size, and whose mean square is `square`. By Bernstein's
    inequality for numbers with an upper bound, given the expected mean square; and that
    is bounded at NUISANCE of the level, for squares are not negative, and their own
    squares at most `worst` ** 2 times as large. Convex in the numbers. Sources:
    Boucheron, Lugosi & Massart, Concentration Inequalities (2013), theorem 2.10;
    Maurer, Journal of Inequalities in Pure and Applied Mathematics 4 (2003) 15, theorem
    1.
    """
    if rows < 1:
        return inf
    chance, other = -log((1 - NUISANCE) * alpha), -log(NUISANCE * alpha)
    slack = worst * sqrt(other / (2 * rows))
    root = slack + sqrt(square + slack * slack)  # of the expected mean square
    return root * sqrt(2 * chance / rows) + max(highest, 0.0) * chance / (3 * rows)


def student(variance: float, rows: int, alpha: float) -> float:
    """The same by Student's t with rows - 1 degrees of freedom: asymptotic.

    Of cluster totals this is the cluster-robust test with G - 1 degrees of freedom.
    Source: Liang & Zeger, Biometrika 73 (1986) 13.
    """
    if rows < 2:
        return inf
    return -float(special.stdtrit(rows - 1, alpha)) * sqrt(variance / rows)


def rule_of_three(worst: float, rows: int) -> float:
    """The variance of a row if 3 of `rows` were `worst`, and all others 0.

    Of n rows without a case, the chance of a case is below 3 / n at 95 %. Source:
    Hanley & Lippman-Hand, Journal of the American Medical Association 249 (1983) 1743.
    """
    return 3 * worst * worst / max(rows, 1)


class Inverted(ABC):
    """Tests against a bound, and the interval of the bounds that none rejects."""

    means: Means

    @property
    @abstractmethod
    def range(self) -> Interval:
        """What it can be."""

    @property
    @abstractmethod
    def estimate(self) -> float:
        """The metric itself; NaN where no row counts towards it."""

    @abstractmethod
    def margin(self, bound: float, alpha: float, side: int) -> float:
        """A lower bound of how far the truth is above (side 1) or below `bound`."""

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "it is `bound` or more" is rejected at `alpha`."""
        return self.range.high < bound or self.margin(bound, alpha, -1) > 0

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "it is less than `bound`" is rejected at `alpha`."""
        return self.range.low >= bound or self.margin(bound, alpha, 1) >= 0

    def interval(self, alpha: float) -> Interval:
        """The bounds that neither test rejects at alpha / 2."""
        if isnan(self.estimate):
            return self.range
        return Interval(self._end(alpha / 2, 1), self._end(alpha / 2, -1))

    def _end(self, alpha: float, side: int) -> float:
        """The end of the interval below (side 1) or above the estimate."""
        inner = self.estimate
        outer = self.range.low if side == 1 else self.range.high
        if not np.isfinite(outer):
            outer = self._rejected(alpha, side)
        if not np.isfinite(outer) or self.margin(outer, alpha, side) <= 0:
            return outer
        for _ in range(STEPS):
            middle = (inner + outer) / 2
            if self.margin(middle, alpha, side) > 0:
                outer = middle
            else:
                inner = middle
        return outer

    def _rejected(self, alpha: float, side: int) -> float:
        """Some bound far enough to be rejected; infinite if there is none."""
        step = max(abs(self.estimate), 1e-9) / 8
        for _ in range(STEPS):
            if self.margin(self.estimate - side * step, alpha, side) > 0:
                return self.estimate - side * step
            step *= 2
        return -side * inf


@dataclass(frozen=True, eq=False)
class Quotient(Inverted):
    """One model's metric; rows are (num, den), den >= 0."""

    means: Means
    range: Interval = ANY

    @property
    def estimate(self) -> float:
        """sum(num) / sum(den)."""
        num, den = self.means.moments.mean
        return float(num / den) if den > 0 else nan

    def margin(self, bound: float, alpha: float, side: int) -> float:
        """Of num - bound den, times `side`."""
        return self.means.margin((side, -side * bound), alpha)

    def scaled(self, to: int, rows: int) -> Quotient:
        """The same rates as if the data had `to` rows where they have `rows`."""
        return replace(self, means=self.means.scaled(to, rows))


@dataclass(frozen=True, eq=False)
class Gain(Inverted):
    """Candidate less production on the same rows: (num, den, num', den')."""

    means: Means
    shared: bool  # whether den and den' are the same in every row
    each: Interval = ANY  # what one model's metric can be

    @property
    def range(self) -> Interval:
        """What a difference of two metrics can be."""
        low, high = self.each
        return Interval(low - high, high - low)

    @property
    def theirs(self) -> Quotient:
        """Production's metric."""
        corners = self.means.corners
        own = Means(
            self.means.moments.mapped(np.eye(4)[2:]),
            None if corners is None else corners[:, 2:],
            self.means.clusters,
        )
        return Quotient(own, self.each)

    @property
    def estimate(self) -> float:
        """num / den - num' / den', of the sums."""
        num, den, num_, den_ = self.means.moments.mean
        return float(num / den - num_ / den_) if den > 0 and den_ > 0 else nan

    def margin(self, bound: float, alpha: float, side: int) -> float:
        """The least over all q that production's metric may be."""
        if self.shared:
            return self._margin(0.0, bound, alpha, side)
        ends = _others(self, NUISANCE * alpha)
        if not np.isfinite(ends).all():
            return -inf
        rest = (1 - NUISANCE) * alpha
        return min(self._margin(end, bound, rest, side) for end in ends)

    def _margin(self, other: float, bound: float, alpha: float, side: int) -> float:
        along = side * np.array([1, -(other + bound), -1, other])
        return self.means.margin(along.tolist(), alpha)

    def scaled(self, to: int, rows: int) -> Gain:
        """The same rates as if the data had `to` rows where they have `rows`."""
        return replace(self, means=self.means.scaled(to, rows))


@lru_cache(maxsize=256)  # every bound that is tried asks the same
def _others(gain: Gain, alpha: float) -> Interval:
    return gain.theirs.interval(alpha)


@dataclass(frozen=True)
class Normal:
    """An estimate with its standard error: asymptotic, by Student's t."""

    estimate: float
    error: float
    rows: int  # rows or clusters, from `least` on
    least: int = LEAST_ROWS

    def _reach(self, alpha: float) -> float:
        enough = self.rows >= self.least and not isnan(self.estimate)
        return student(self.error**2 * self.rows, self.rows, alpha) if enough else inf

    def interval(self, alpha: float) -> Interval:
        """Estimate and standard error, half of alpha a side."""
        reach = self._reach(alpha / 2)
        if isnan(self.estimate):
            return Interval(-inf, inf)
        return Interval(self.estimate - reach, self.estimate + reach)

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "it is `bound` or more" is rejected at `alpha`."""
        return self.estimate + self._reach(alpha) < bound

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "it is less than `bound`" is rejected at `alpha`."""
        return self.estimate - self._reach(alpha) >= bound

    def scaled(self, to: int, rows: int) -> Normal:
        """The same rates as if the data had `to` rows where they have `rows`."""
        error = self.error * sqrt(rows / to)
        return replace(self, error=error, rows=round(self.rows * to / rows))


@dataclass(frozen=True, eq=False)
class Root:
    """The negative of the square root of a mean square, which `square` tests.

    x reaches -b exactly when its square, negated, reaches -b * b: the tests and their
    guarantee are those of `square`.
    """

    square: Quotient

    @property
    def estimate(self) -> float:
        """-sqrt of the mean square."""
        return _rooted(self.square.estimate)

    def interval(self, alpha: float) -> Interval:
        """That of `square`, its ends rooted."""
        low, high = self.square.interval(alpha)
        return Interval(_rooted(low), _rooted(high))

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "it is `bound` or more" is rejected at `alpha`."""
        return bound > 0 or self.square.is_below(-bound * bound, alpha)

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "it is less than `bound`" is rejected at `alpha`."""
        return bound <= 0 and self.square.reaches(-bound * bound, alpha)

    def scaled(self, to: int, rows: int) -> Root:
        """The same rates as if the data had `to` rows where they have `rows`."""
        return Root(self.square.scaled(to, rows))


@dataclass(frozen=True, eq=False)
class RootGain(Inverted):
    """The gain in a Root, from `square`, the gain in the mean squares.

    Were production's root known to be q, then "the root is q + t at most" would say
    that the mean squares differ by 2 q t + t ** 2 at most, and that `square` tests. So
    q is bounded at a tenth of the level, as the module says, and the ends are enough,
    for the difference is monotone in q. The guarantee is that of `square`.
    """

    square: Gain  # of one denominator

    @property
    def means(self) -> Means:  # type: ignore[override]
        """Those of the squares."""
        return self.square.means

    @property
    def range(self) -> Interval:
        """What a difference of two roots can be."""
        reach = sqrt(-self.square.each.low)
        return Interval(-reach, reach)

    @property
    def estimate(self) -> float:
        """Production's root less the candidate's."""
        theirs = self.square.theirs.estimate
        return _rooted(self.square.estimate + theirs) - _rooted(theirs)

    def margin(self, bound: float, alpha: float, side: int) -> float:
        """The least, among the squares, over all roots that production may have."""
        ends = _others(self.square, NUISANCE * alpha)
        if not np.isfinite(ends).all():
            return -inf
        rest = (1 - NUISANCE) * alpha
        return min(self._margin(-_rooted(end), bound, rest, side) for end in ends)

    def _margin(self, other: float, bound: float, alpha: float, side: int) -> float:
        most = other - bound
        if most < 0:  # no root is so small
            return -side * inf
        return self.square.margin(other * other - most * most, alpha, side)

    def scaled(self, to: int, rows: int) -> RootGain:
        """The same rates as if the data had `to` rows where they have `rows`."""
        return RootGain(self.square.scaled(to, rows))


def _rooted(negative: float) -> float:
    return negative if isnan(negative) else -sqrt(max(-negative, 0.0))


@dataclass(frozen=True)
class Dice:
    """2 hits / (2 hits + misses), as F1 is: `share` is hits / (hits + misses).

    With t the share, that is 2 t / (1 + t), which rises with t; so it reaches b exactly
    when t reaches b / (2 - b). Exact, as `share` is. Sources: Dice, Ecology 26 (1945)
    297; Clopper & Pearson, Biometrika 26 (1934) 404.
    """

    share: Proportion

    @property
    def estimate(self) -> float:
        """The metric itself; NaN of no rows."""
        return _dice(self.share.estimate)

    def interval(self, alpha: float) -> Interval:
        """Clopper-Pearson of the share, its ends mapped."""
        low, high = self.share.interval(alpha)
        return Interval(_dice(low), _dice(high))

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "it is `bound` or more" is rejected at `alpha`; `bound` below 2."""
        return self.share.is_below(bound / (2 - bound), alpha)

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "it is less than `bound`" is rejected at `alpha`."""
        return self.share.reaches(bound / (2 - bound), alpha)

    def scaled(self, to: int, rows: int) -> Dice:
        """The same rates as if the data had `to` rows where they have `rows`."""
        return Dice(self.share.scaled(to, rows))


def _dice(share: float) -> float:
    return 2 * share / (1 + share)


def is_asymptotic(sample: Sample) -> bool:
    """Whether its chances of error hold only in the limit of many rows."""
    if isinstance(sample, Root):
        return is_asymptotic(sample.square)
    if isinstance(sample, Inverted):
        return sample.means.is_asymptotic
    return isinstance(sample, Normal)
