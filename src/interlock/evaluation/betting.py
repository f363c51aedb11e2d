"""Evidence by betting: tests of bounded means, and the watch over production.

A gambler who bets against "the mean is m or more" pays x - m for every row, and may
stake so much of the capital on it that no row ruins it. If the hypothesis is true the
capital is a nonnegative supermartingale: it starts at 1 and reaches 1 / alpha, ever,
with probability alpha at most (Ville). So it may be looked at after every batch, and
rows may be added until it decides. Here BETS gamblers stake constant shares; what they
own together, on average, is the e-value. It depends on the rows only through sums, so
shards merge by addition and order plays no part. Sources: Waudby-Smith & Ramdas,
Journal of the Royal Statistical Society B 86 (2024) 1; for the mixture, Robbins,
Annals of Mathematical Statistics 41 (1970) 1397.

Each row's x is at most `high`, and its mean, given the rows before it, is what the
hypothesis is about: rows are fresh. Rows that were already used to choose a model, or
the same rows night after night, break that, and no bet is valid on them that is looked
at every night. A gate looks once, at a number of rows that was fixed: there the e-value
1 / alpha is a test at alpha (Markov), as any other, and its level is divided over the
uses of the rows as any other's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, log

import numpy as np
import numpy.typing as npt
from scipy import special

from interlock.evaluation.moments import Floats, Integers

BETS = 16
BOLDEST = 0.95  # of the capital is lost by the row that is worst for the gambler
TIMIDEST = 0.01


def stakes(mean: float, high: float) -> Floats:
    """What the gamblers stake against "the mean is `mean` or more", (BETS,)."""
    return np.geomspace(TIMIDEST, BOLDEST, BETS) / (high - mean)


def log_capitals(
    values: npt.ArrayLike, counts: npt.ArrayLike, mean: float, stake: Floats
) -> Floats:
    """ln of each gambler's capital after `counts` rows of each of `values`.

    Against "the mean is `mean` or more"; for "or less", negate values and mean. The
    capitals of two sets of rows multiply, so these add up. Shapes (v,), (v, ...) and
    (b,) give (b, ...).
    """
    payoff = np.outer(stake, np.asarray(values, float) - mean)
    logs: Floats = np.log1p(-payoff) @ np.asarray(counts, float)
    return logs


def log_e(logs: Floats) -> Floats:
    """ln of the e-value: of what the gamblers own together, on average; (b, ...) to ().

    P(e-value >= 1 / alpha at any look) <= alpha under the hypothesis.
    """
    mean: Floats = special.logsumexp(logs, axis=0) - log(len(logs))
    return mean


@dataclass(frozen=True, eq=False)
class Masses:
    """Numbers within `low` to `high`, as masses on the points of a grid.

    Each number lies on the two points beside it, in shares that keep its mean. For ln
    is concave, a gambler owns no more after the masses than after the numbers, so what
    is rejected by them is rejected by the numbers. Points are a fifth apart, so that is
    also not much less.
    """

    low: float
    high: float
    masses: Floats  # (points,)

    def __add__(self, other: Masses) -> Masses:
        return replace(self, masses=self.masses + other.masses)

    def scaled(self, times: float) -> Masses:
        """As of so many times the numbers."""
        return replace(self, masses=self.masses * times)

    def log_e(self, mean: float, side: int) -> float:
        """ln of the e-value against "`mean` or less" (side 1), or "or more" (side -1).

        For numbers that are independent, or whose mean, given those before, is that.
        """
        worst = self.low if side == 1 else self.high
        room = side * (mean - worst)
        if room <= 0:
            return inf if side * mean < side * worst else 0.0
        logs = log_capitals(
            -side * grid(self.low, self.high), self.masses, -side * mean, FIXED / room
        )
        return float(log_e(logs))


FIXED = np.geomspace(0.03, BOLDEST, 6)  # shares that are staked on a number of rows
FINENESS, OCTAVES = 4, 16  # points an octave


@lru_cache
def grid(low: float, high: float) -> Floats:
    """The points of Masses: the nearer to 0, or to what is nearest to it, the finer."""
    middle = min(max(0.0, low), high)
    steps = (high - low) * np.exp2(-np.arange(FINENESS * OCTAVES) / FINENESS)
    both = np.concatenate([middle - steps, [middle], middle + steps, [low, high]])
    return np.unique(np.clip(both, low, high))


def put_down(
    values: Floats, low: float, high: float, groups: Integers, count: int
) -> list[Masses]:
    """The masses of each of `count` groups of the values, (n,)."""
    points = grid(low, high)
    inside = np.clip(values, low, high)
    place = np.searchsorted(points, inside, side="right") - 1
    place = np.minimum(place, len(points) - 2)
    share = (inside - points[place]) / (points[place + 1] - points[place])
    at, size = groups * len(points) + place, count * len(points)
    found = np.bincount(at, 1 - share, size) + np.bincount(at + 1, share, size)
    masses = found.astype(np.float64).reshape(count, -1)
    return [Masses(low, high, each) for each in masses]


def grown(logs: Floats, night: Floats) -> Floats:
    """ln of what each gambler of a Watch has after one more night's log_capitals."""
    after: Floats = np.logaddexp(logs, 0) + night
    return after


@dataclass(frozen=True)
class Watch:
    """The detector over production, after some nights of fresh rows.

    The Shiryaev-Roberts sum of e-values: on each night every gambler gets 1 more, and
    what there is changes by the night's bets. As long as the hypothesis holds on every
    night, E[evidence after t nights] <= t. So an alarm at c comes after c nights or
    more on average, and within T nights with probability T / c at most: that is
    `threshold`. Unlike one long test it forgets, so a late drop is found as soon as an
    early one. Source: Shin, Ramdas & Rinaldo, E-detectors, New England Journal of
    Statistics in Data Science 2 (2024) 229.
    """

    nights: int = 0
    logs: tuple[float, ...] = (-inf,) * BETS  # ln of what each gambler has

    def after(self, night: Floats) -> Watch:
        """The state once a night's `log_capitals` of fresh rows, (BETS,), are in."""
        logs = grown(np.array(self.logs), night)
        return Watch(self.nights + 1, tuple(logs.tolist()))

    @property
    def log_evidence(self) -> float:
        """ln of the detector; alarm where it is at least ln of the threshold."""
        return float(log_e(np.array(self.logs)))

    def sounds(self, threshold: float) -> bool:
        """Whether this state is an alarm. After one, begin anew with Watch()."""
        return self.log_evidence >= log(threshold)


def threshold(nights: int, alpha: float) -> float:
    """Where a Watch sounds, for a false alarm within `nights` at most at alpha.

    Also the least time between false alarms that is to be expected, in nights: at 365
    nights and 0.05, it is 7,300.
    """
    return nights / alpha
