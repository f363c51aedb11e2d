"""Counts of numbers of any size on a grid that is as fine as its memory allows.

A cell is 2 ** level wide, and begins at a multiple of that. The level is the least at
which no more than CELLS cells are occupied: numbers that lie far apart cost a cell, and
no precision. A coarser grid follows from a finer one, and what is too many cells in a
part is too many in the whole; so the grid of all rows is the same from any parts, in
any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interlock.evaluation.moments import Floats, Integers, totals

CELLS = 4096
BITS = 30  # of a place: two of them make a key
FINEST = -1100  # no float has a finer place


@dataclass(frozen=True, eq=False)
class Grid:
    """What was counted in each cell that is occupied."""

    level: int
    places: Integers  # (cells, k): a cell's corner, in cells
    sums: Floats  # (cells, s)

    def __add__(self, other: Grid) -> Grid:
        level = max(self.level, other.level)
        places = [_coarser(each.places, level - each.level) for each in (self, other)]
        sums = np.concatenate([self.sums, other.sums])
        return _fitted(level, np.concatenate(places), sums)

    @property
    def centres(self) -> Floats:
        """The middle of each cell, (cells, k)."""
        return np.asarray(np.ldexp(self.places + 0.5, self.level))


def counted(values: Floats, amounts: Floats) -> Grid:
    """The sums of `amounts`, (n, s), over the cells of `values`, (n, k), k 1 or 2."""
    largest = float(np.abs(values).max(initial=0.0))
    level = int(np.frexp(largest)[1]) - BITS if largest else FINEST
    return _fitted(level, _floor(np.ldexp(values, -level), values), amounts)


def _floor(scaled: Floats, values: Floats) -> Integers:
    """The cell of each; scaling may have left nothing of a number below 0."""
    places = np.floor(scaled).astype(np.int64)
    return np.where(values < 0, np.minimum(places, -1), places)


def _fitted(level: int, places: Integers, sums: Floats) -> Grid:
    """The grid at the least level from this one on that has few enough cells."""
    low, high = 0, BITS + 1  # at which a cell holds all of one sign
    while low < high:
        middle = (low + high) // 2
        keys = np.sort(_keys(_coarser(places, middle)))
        if np.count_nonzero(np.diff(keys)) < CELLS:
            high = middle
        else:
            low = middle + 1
    found = _coarser(places, low)
    _, first, cell = np.unique(_keys(found), return_index=True, return_inverse=True)
    return Grid(level + low, found[first], totals(sums, cell, len(first)))


def _coarser(places: Integers, levels: int) -> Integers:
    return places >> min(levels, 2 * BITS)


def _keys(places: Integers) -> Integers:
    """A number for each row of places, (n,)."""
    first, *second = places.T
    return np.asarray((first << 32) + second[0] if second else first)
