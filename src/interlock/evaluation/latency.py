"""How long the candidate takes for a row, beside production: a ratio, in turns.

On a machine that others use as well, the time of a call varies by half from minute to
minute, and no limit in milliseconds can be held to. What can be told is a ratio: both
versions answer the same row one right after the other, the order changes from pair to
pair (ABBA), so that what slows the machine slows both, and the median over the pairs
leaves out the calls that something came between. No pair is measured a second time.

The tests and intervals are exact for pairs that are independent of each other. Pairs
that are close in time may not be, and two processes of the very same version differ by
a per cent or so: let a bound leave room for both, as 1.10 does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from math import exp, inf, log, nan
from statistics import median

from scipy import special

from interlock.child import Child, Ended
from interlock.errors import CheckBroken
from interlock.evaluation.intervals import Interval, Proportion, scale
from interlock.evaluation.predict import Version
from interlock.model import Array

ASKED = "latency.ratio"  # in a gate
PAIRS = 1000
SECONDS = 60  # after which no pair is begun
STARTS = 4  # fresh processes for both, for a process may be a slow one all its life
WARM = 20  # calls before the first that counts, of each process


@dataclass(frozen=True)
class Ratios:
    """Seconds of the candidate over those of production, one of each pair.

    As an intervals.Sample it is of the negative of their median, which is the better
    the higher.
    """

    values: tuple[float, ...]
    counted: int | None = None  # as if there were so many pairs like these

    def __add__(self, other: Ratios) -> Ratios:
        return Ratios(self.values + other.values)

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.values) if self.counted is None else self.counted

    @property
    def ratio(self) -> float:
        """The median, on the scale of logarithms; NaN of no pair."""
        return exp(median(map(log, self.values))) if self.values else nan

    @property
    def estimate(self) -> float:
        """The negative of the ratio."""
        return -self.ratio

    def interval(self, alpha: float) -> Interval:
        """Of the negative ratio, from two of the values: P(median outside) <= alpha.

        The k-th smallest of n values is above the median only if fewer than k are at
        or below it, which has the chance P(Bin(n, 1/2) < k) at most; k is the largest
        that keeps it to alpha / 2, on either side. Source: Thompson, Annals of
        Mathematical Statistics 7 (1936) 122.
        """
        ordered, place = sorted(self.values), _spared(len(self.values), alpha / 2)
        if not place:
            return Interval(-inf, 0.0)
        return Interval(-ordered[-place], -ordered[place - 1])

    def is_below(self, bound: float, alpha: float) -> bool:
        """Whether "the ratio is -`bound` or less" is rejected, by the sign test."""
        return self._within(-bound).is_below(0.5, alpha)

    def reaches(self, bound: float, alpha: float) -> bool:
        """Whether "the ratio is more than -`bound`" is rejected, by the sign test."""
        return self._within(-bound).reaches(0.5, alpha)

    def _within(self, ratio: float) -> Proportion:
        """The pairs at `ratio` or below: half of all, or more, if the median is."""
        hits = sum(value <= ratio for value in self.values)
        return Proportion(hits, len(self.values)).scaled(self.pairs, len(self.values))

    def scaled(self, to: int, rows: int) -> Ratios:
        """As if there were `to` pairs for every `rows` of these."""
        return Ratios(self.values, scale(len(self.values), to, rows))


def _spared(pairs: int, alpha: float) -> int:
    """The largest k for which P(Bin(pairs, 1/2) < k) <= alpha."""
    k = 0
    while special.bdtr(k, pairs, 0.5) <= alpha:
        k += 1
    return k


def measured(
    versions: tuple[Version, Version],
    rows: Mapping[str, Array],
    patience: float,
    pairs: int,
) -> Ratios:
    """Let candidate and production, in this order, answer single rows in turns.

    `rows` holds columns of one length, which are used over and over. The seconds are
    those of Model.predict, as a host calls it, inside each one's process. There are
    fewer pairs where they take longer than SECONDS, whatever their ratios are. Raises
    CheckBroken when a version refuses a row, or does not answer.
    """
    until = time.monotonic() + SECONDS
    found = Ratios(())
    for start in range(STARTS):
        with ExitStack() as stack:
            both = [stack.enter_context(_asked(v, patience, rows)) for v in versions]
            for ask in both:
                deque(map(ask, range(WARM)), maxlen=0)
            turns = range(start, pairs, STARTS)
            found += Ratios(tuple(_ratios(both[0], both[1], turns, until)))
    return found


@contextmanager
def _asked(
    version: Version, patience: float, rows: Mapping[str, Array]
) -> Iterator[Callable[[int], float]]:
    """A function that asks a fresh process for a row, and returns the seconds."""
    total = len(next(iter(rows.values())))
    own = {name: rows[name] for name in version.contract["input"] if name in rows}

    def ask(place: int) -> float:
        row = place % total
        question = {name: column[row : row + 1] for name, column in own.items()}
        try:
            return child.ask(question, row).seconds
        except Ended as end:
            raise CheckBroken(
                f"{version.name} to answer one row after another",
                f"a process that {end}",
                "read its error output above",
            ) from None

    with closing(Child(version.folder, version.contract, patience)) as child:
        yield ask


def _ratios(
    ours: Callable[[int], float],
    theirs: Callable[[int], float],
    places: Iterable[int],
    until: float,
) -> Iterator[float]:
    """Of pairs of which each is the first to answer in every other one."""
    for turn, place in enumerate(places):
        if time.monotonic() > until:
            return
        below = theirs(place) if turn % 2 else None
        above = ours(place)
        yield above / (below or theirs(place))
