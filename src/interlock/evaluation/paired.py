"""A paired difference of two proportions: an exact test and an exact interval.

`better` and `worse` count the rows, of `rows`, where only the candidate and where only
production is right; p+ and p- are their chances, the disagreement is d = p+ + p-, the
gain is p+ - p-. Rows are independent of each other.

The test asks whether the gain is `margin` or less. That fixes the gain and leaves d
open, so an exact p-value has to hold for every d. It is the unconditional test:

- outcomes are ordered by Wald's statistic, whose variance is no less than the margin
  allows, T = (better - worse - rows margin) / sqrt(max(better + worse, rows |margin|)).
  T rises with `better` and falls with `worse` (the convexity of Barnard, Biometrika 34
  (1947) 123); so, at any d, of all gains up to the margin the margin itself makes "T as
  large as observed" the likeliest;
- the p-value is the largest chance of that over the d in a Clopper-Pearson interval
  that misses d with probability MISSED, plus MISSED (Berger & Boos, Journal of the
  American Statistical Association 89 (1994) 1012).

The largest chance is not looked for at points: d is cut into cells, `worse` into
blocks, and on each the chance is bounded by the corner where `better` is likeliest and
`worse` least so. Hence P(p-value <= alpha) <= alpha for every p+, p- and number of rows
is proved, whatever the size of the cells; they cost as much power as a margin 0.05
standard errors further off.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, log, sqrt

import numpy as np
from scipy.optimize import brentq

from interlock.evaluation.binomial import (
    Floats,
    Interval,
    at_least,
    clopper_pearson,
    lower_bound,
    upper_bound,
)

MISSED = 1e-10
CELL = 0.03  # of d: half of it shifts the gain by so many of its standard errors
BLOCK = 0.06  # of `worse`, in its standard deviations
REACH = 7.5  # standard deviations that are cut into blocks; the rest is one block
FARTHEST, POINTS = 32.0, 24  # where a forecast looks: standard errors, disagreements
SHARE = 0.2  # of an interval's alpha that goes to the disagreement


def statistic(better: int, worse: int, rows: int, margin: float) -> float:
    """T of this module's docstring: standard errors above the margin."""
    gain = better - worse - rows * margin
    return gain / sqrt(max(better + worse, rows * abs(margin))) if gain else 0.0


def rejects(better: int, worse: int, rows: int, margin: float, alpha: float) -> bool:
    """Whether "the gain is `margin` or less" is rejected: `p_value` <= alpha.

    Sooner than by the p-value, for most cases are clear from few and large cells.
    """
    if statistic(better, worse, rows, margin) <= 0:
        return False
    counts = (better, worse, rows, margin)
    if p_value(*counts, cells=0) > alpha:
        return False
    return any(p_value(*counts, cells=cells) <= alpha for cells in (0.1, 1))


@lru_cache(maxsize=4096)
def p_value(
    better: int, worse: int, rows: int, margin: float, cells: float = 1
) -> float:
    """The p-value of "the gain is `margin` or less", -1 < margin < 1.

    P(p_value <= alpha) <= alpha for every gain up to the margin, every disagreement and
    every number of rows. It is never below MISSED, and 1 where the observed gain is not
    above the margin. `p_value(worse, better, rows, -margin)` is that of "`margin` or
    more". Fewer `cells` than 1, relatively, give a larger and cheaper one; 0 gives the
    chance at the disagreement observed alone, which is a little less. For the source
    see this module's docstring.
    """
    observed = statistic(better, worse, rows, margin)
    if observed <= 0:
        return 1.0
    edges = _disagreements(better + worse, rows, abs(margin), cells)
    plus = np.minimum((edges[1:] + margin) / 2, 1)
    minus = np.maximum((edges[:-1] - margin) / 2, 0)
    chances = _chances(observed, rows, margin, plus, minus, cells or 1)
    return min(1.0, float(chances.max()) + MISSED)


@lru_cache(maxsize=4096)
def critical(rows: int, margin: float, differ: int, alpha: float) -> float:
    """The T from which on "the gain is `margin` or less" is rejected, for a forecast.

    Where `differ` rows differ. The largest chance is looked for at POINTS disagreements
    that the interval leaves: the test, which proves it, asks for about 0.05 more.
    """
    low, high = np.sqrt(clopper_pearson(differ, rows, MISSED))
    d = np.maximum(np.square(np.linspace(low, high, POINTS)), abs(margin))
    plus, minus = np.minimum((d + margin) / 2, 1), np.maximum((d - margin) / 2, 0)

    def beyond(observed: float) -> float:
        chance = float(_chances(observed, rows, margin, plus, minus, 1).max())
        return log(chance + MISSED) - log(alpha)

    if beyond(0.0) < 0:
        return 0.0
    far = beyond(FARTHEST) < 0
    return float(brentq(beyond, 0.0, FARTHEST, xtol=1e-3)) if far else FARTHEST


def _disagreements(differ: int, rows: int, least: float, cells: float) -> Floats:
    """The edges of the cells of d, none below `least`: equal steps of its root."""
    if not cells:
        return np.full(2, max(differ / rows, least))
    found = clopper_pearson(differ, rows, MISSED)
    step = CELL / cells / sqrt(rows)
    low, high = (sqrt(max(end, least)) / step for end in found)
    # The same cells for every outcome: so one more `better` never raises a chance.
    edges = np.arange(floor(low), max(ceil(high), floor(low) + 1) + 1) * step
    squares: Floats = np.clip(np.square(edges), least, 1)
    return squares


def _chances(
    observed: float,
    rows: int,
    margin: float,
    plus: Floats,
    minus: Floats,
    blocks: float,
) -> Floats:
    """Upper bounds of P(T >= observed), (c,), at the p+ and p- of c cells."""
    first = _blocks(rows, minus, BLOCK / blocks)
    after = np.vstack([first[1:], np.full_like(minus, rows + 1)])
    beyond = at_least(after, np.asarray(rows), minus)
    block = -np.diff(beyond, axis=0, prepend=1)
    others = rows - first  # the rows that may be better
    needed = np.clip(_needed(observed, rows, margin, first), 0, others + 1)
    chance = plus / np.maximum(1 - minus, np.maximum(plus, 1e-300))
    bounds: Floats = (block * at_least(needed, others, chance)).sum(axis=0)
    return bounds


def _blocks(rows: int, minus: Floats, size: float) -> Floats:
    """Where the blocks of `worse` begin, (b, c), for each of c chances p-."""
    deviation = np.sqrt(rows * minus * (1 - minus))
    half = ceil(REACH * min(1 / size, max(1, deviation.max())))
    steps = np.linspace(-REACH, REACH, 2 * half + 1)[:, None]
    starts = np.clip(np.floor(rows * minus + steps * deviation), 1, rows)
    return np.vstack([np.zeros_like(minus), starts])


def _needed(observed: float, rows: int, margin: float, worse: Floats) -> Floats:
    """The fewest `better` with which T is `observed` or more; a shade fewer is safe."""
    least, differ = rows * abs(margin), 2 * worse + rows * margin
    flat = observed * sqrt(least)
    root = np.sqrt(np.maximum(observed**2 / 4 + differ, 0))
    gain = np.where(differ + flat < least, flat, observed * (observed / 2 + root))
    return np.ceil(worse + rows * margin + gain - 1e-6)


def gain_lower_bound(better: int, worse: int, rows: int, alpha: float) -> float:
    """A lower bound of the gain p+ - p-: P(bound > gain) <= alpha.

    The gain is d (2 t - 1), where t is the chance that the candidate is the one that is
    right where only one is. t is bounded by Clopper-Pearson among those rows, given
    their number, and d among all rows, from the side that the sign of 2 t - 1 calls
    for; both hold together with probability 1 - alpha (Bonferroni, in shares of
    1 - SHARE and SHARE). Exact at every size; a sixth wider than the test would give
    near a gain of 0, and more far from it, in exchange for a closed form.
    """
    differ = better + worse
    tilt = 2 * lower_bound(better, differ, (1 - SHARE) * alpha) - 1
    bound = upper_bound if tilt < 0 else lower_bound
    return tilt * bound(differ, rows, SHARE * alpha)


def gain_interval(better: int, worse: int, rows: int, alpha: float) -> Interval:
    """The two-sided interval of p+ - p-: P(outside) <= alpha, half of it a side."""
    low = gain_lower_bound(better, worse, rows, alpha / 2)
    return Interval(low, -gain_lower_bound(worse, better, rows, alpha / 2))
