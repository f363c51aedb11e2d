"""Evidence by betting: tests that hold at every look, and the watch over production.

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
the same rows night after night, break that, and no bet is valid on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from interlock.evaluation.binomial import Interval

Floats: TypeAlias = npt.NDArray[np.float64]

BETS = 16
BOLDEST = 0.95  # of the capital is lost by the row that is worst for the gambler
TIMIDEST = 0.01
PRECISION = 1e-9  # of a confidence sequence's ends, relative to its range


def stakes(mean: float, high: float) -> Floats:
    """What the gamblers stake against "the mean is `mean` or more", (BETS,)."""
    return np.geomspace(TIMIDEST, BOLDEST, BETS) / (high - mean)


def tuned(mean: float, high: float, rows: int, variance: float, alpha: float) -> Floats:
    """One stake, (1,), for a test of a number of rows that is fixed beforehand.

    The best for rows of this variance, and valid for rows of any; it must not be read
    off the rows that it is used on.
    """
    best = sqrt(2 * log(1 / alpha) / (rows * variance)) if variance else inf
    return np.array([min(best, BOLDEST / (high - mean))])


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


def evidence(
    values: npt.ArrayLike, counts: npt.ArrayLike, mean: float, high: float
) -> float:
    """ln of the e-value against "the mean is `mean` or more"; inf from `high` on."""
    if mean >= high:
        return inf
    return float(log_e(log_capitals(values, counts, mean, stakes(mean, high))))


def confidence_sequence(
    values: npt.ArrayLike,
    counts: npt.ArrayLike,
    low: float,
    high: float,
    alpha: float,
) -> Interval:
    """An interval of the mean, for rows within `low` to `high`, at every look.

    P(the mean is ever outside) <= alpha, half of it a side. The means that the e-values
    do not reject: `evidence` never falls as its mean rises, for a stake s / (high - m)
    pays s (x - m) / (high - m), which falls in m; so bisection finds the ends.
    """
    values = np.asarray(values, float)

    def upper(values: Floats, low: float, high: float) -> float:
        inside, outside = low, high
        while outside - inside > PRECISION * (high - low):
            middle = (inside + outside) / 2
            if evidence(values, counts, middle, high) >= log(2 / alpha):
                outside = middle
            else:
                inside = middle
        return outside

    return Interval(-upper(-values, -high, -low), upper(values, low, high))


def log_e_of_floor(hits: int, rows: int, floor: float) -> float:
    """ln of the e-value against "the proportion is `floor` or more", 0 < floor < 1.

    The likelihood of `hits` of `rows` under all proportions below the floor, by a
    uniform prior, over that under the floor: in closed form
    B(a, b) I(a, b; floor) / (floor ** hits (1 - floor) ** misses floor), with a and b
    one more than hits and misses. Valid at every look as `log_e` is. Source: Robbins,
    as above, with the prior cut off at the floor.
    """
    a, b = hits + 1, rows - hits + 1
    inside = special.betaln(a, b) + _log_betainc(a, b, floor)
    return float(inside - special.xlogy(a, floor) - special.xlog1py(b - 1, -floor))


def _log_betainc(a: int, b: int, x: float) -> float:
    """ln I(a, b; x); where that is too small for a float, what it is at least."""
    value = float(special.betainc(a, b, x))
    if value > 1e-290:
        return log(value)
    leading = special.xlogy(a, x) + special.xlog1py(b, -x) - special.betaln(a, b)
    return float(leading) - log(a)


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

    def to_record(self) -> dict[str, Any]:
        """The state for JSON without floats; `from_record` reads it back exactly."""
        return {"nights": self.nights, "logs": [repr(each) for each in self.logs]}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Watch:
        """The state that `to_record` wrote."""
        return Watch(record["nights"], tuple(map(float, record["logs"])))


def threshold(nights: int, alpha: float) -> float:
    """Where a Watch sounds, for a false alarm within `nights` at most at alpha.

    Also the least time between false alarms that is to be expected, in nights: at 365
    nights and 0.05, it is 7,300.
    """
    return nights / alpha


def alarm_below(
    watch: Watch,
    values: Sequence[float],
    counts: Sequence[int],
    mean: float,
    at: float,
) -> float | None:
    """The highest mean of the next night that would sound the alarm: a plot's band.

    For a night like `counts` but for rows moved between the lowest and the highest of
    the `values`, which are sorted. None where even the lowest mean would not.
    """
    stake = stakes(mean, values[-1])
    movable, total = counts[0] + counts[-1], sum(counts)

    def night(lowest: int) -> list[int]:
        return [lowest, *counts[1:-1], movable - lowest]

    def sounds(lowest: int) -> bool:
        logs = log_capitals(values, night(lowest), mean, stake)
        return watch.after(logs).sounds(at)

    if not total or not sounds(movable):
        return None
    silent, sounding = -1, movable
    while sounding - silent > 1:
        middle = (silent + sounding) // 2
        silent, sounding = (silent, middle) if sounds(middle) else (middle, sounding)
    return float(np.dot(values, night(sounding))) / total
