"""Rows that are there more than once: copies, or equal by chance?

Copies add no knowledge, but they narrow every interval. Equal rows may be honest, where
columns hold few values, so no share of them is refused; what is refused is a pattern
that independent rows do not have. How often a row comes is then Poisson's, or a mixture
of such, and of the different rows that came at all no more than 1 in m came a multiple
of m times, for m of 2, 3 and 4. (For a mean l, the sum over the m-th roots of unity w
of exp(l w) gives the share; what is left to show is exp(-2 l) <= exp(-l) for 2, and the
like for 3 and 4.) Data that are there twice have nothing else.

Rows count as equal when label and answers are: the answer is a digest of the columns
that a model reads. Of the different rows, those with the smallest hashes are kept, with
all of their repeats; so memory is bounded, and the sample does not depend on repeats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from interlock.errors import CheckBroken
from interlock.evaluation.moments import Integers

KEPT = 8192  # different rows, or of one batch the rows with as many smallest hashes
TIMES = (2, 3, 4)
SURELY = 1e-9  # the chance that independent rows are refused, at each of TIMES
ENOUGH = 30  # different rows that are enough to see that all are there twice

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Repeats:
    """How often each of the different rows came whose hash is at most `last`."""

    keys: Keys  # (n,), sorted
    times: Integers  # (n,)
    last: int

    def __add__(self, other: Repeats) -> Repeats:
        last = min(self.last, other.last)
        one, two = self._until(last), other._until(last)
        both = np.concatenate([one.keys, two.keys])
        keys, place = np.unique(both, return_inverse=True)
        times = np.bincount(place, np.concatenate([one.times, two.times]))
        found = Repeats(keys, times.astype(np.int64), last)
        return found._until(int(keys[KEPT - 1])) if len(keys) > KEPT else found

    def _until(self, last: int) -> Repeats:
        number = int(np.searchsorted(self.keys, np.uint64(last), "right"))
        return Repeats(self.keys[:number], self.times[:number], last)

    @property
    def copies(self) -> int:
        """How many times everything seems to be there; 1 where nothing says so."""
        for often in reversed(TIMES):
            hits = int((self.times % often == 0).sum())
            chance = special.bdtrc(hits - 1, len(self.times), 1 / often)
            if hits and chance <= SURELY:
                return often
        return 1

    def demand_no_copies(self) -> None:
        """Raises CheckBroken for rows that seem to be there several times."""
        if (often := self.copies) > 1:
            hits = int((self.times % often == 0).sum())
            raise CheckBroken(
                "rows that are independent of each other",
                f"{hits:,} of {len(self.times):,} different rows {often} times, or a "
                f"multiple of {often}: copies",
                "leave the copies out; or name in evaluation.cluster the column whose "
                "equal values mark rows that belong together",
            )


def counted(columns: Iterable[npt.NDArray[np.generic]], rows: int) -> Repeats:
    """Of `rows` rows that are equal when all `columns`, (rows, ...), are."""
    keys = np.zeros(rows, np.uint64)
    for column in columns:
        for numbers in np.asarray(column, np.float64).reshape(rows, -1).T:
            keys = _mixed(keys + np.ascontiguousarray(numbers).view(np.uint64))
    last = 2**64 - 1
    if rows > KEPT:
        smallest = np.partition(keys, KEPT - 1)[:KEPT]
        last, tied = smallest[-1], keys[keys == smallest[-1]]
        keys = np.concatenate([smallest[smallest < last], tied])
    found, times = np.unique(keys, return_counts=True)
    return Repeats(found, times, int(last))


def _mixed(keys: Keys) -> Keys:
    """64 bits well mixed: the finaliser of SplitMix64 (Steele, Lea & Flood, 2014)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    return keys
