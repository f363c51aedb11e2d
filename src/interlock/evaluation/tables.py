"""Rows by their class and by what the two models called them.

Counts of rows are whole numbers, so that their sum is exact in any order. Weights add
up as floats, equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from interlock.evaluation.intervals import Difference, Proportion
from interlock.evaluation.moments import Floats, Integers

Role: TypeAlias = Literal["candidate", "production"]
ROLES: tuple[Role, Role] = ("candidate", "production")
Cell: TypeAlias = tuple[int, float, float]  # rows, sums of their weights and squares

MOST_CELLS = 1_000_000  # of a dense count


@dataclass(frozen=True)
class Table:
    """The cells that occur, by (label * classes + candidate) * classes + production.

    Without a production, that one is 0 throughout. There are classes ** 3 cells at
    most, however many rows.
    """

    classes: int = 2
    cells: Mapping[int, Cell] = field(default_factory=dict)

    def __add__(self, other: Table) -> Table:
        cells = dict(self.cells)
        for code, cell in other.cells.items():
            mine = cells.get(code)
            cells[code] = _sum(mine, cell) if mine else cell
        return Table(self.classes, cells)

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(rows for rows, _, _ in self.cells.values())

    def arrays(self) -> tuple[Integers, Integers, Integers, Floats]:
        """Label, candidate and production of each cell, (m,), and the cell, (m, 3)."""
        codes = np.array(sorted(self.cells), np.int64)
        cells = np.array([self.cells[code] for code in codes.tolist()], np.float64)
        label, called = np.divmod(codes, self.classes**2)
        return label, *np.divmod(called, self.classes), cells.reshape(-1, 3)

    def confusion(self, role: Role) -> Integers:
        """Rows by class, downward, and by what one model called them, (k, k)."""
        label, candidate, production, cells = self.arrays()
        called = candidate if role == "candidate" else production
        found = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(found, (label, called), cells[:, 0].astype(np.int64))
        return found

    def accuracy(self, role: Role) -> Proportion:
        """Right answers, of all rows."""
        found = self.confusion(role)
        return Proportion(int(np.trace(found)), int(found.sum()))

    @property
    def pair(self) -> Difference:
        """Rows where only the candidate, and where only production, is right."""
        label, candidate, production, cells = self.arrays()
        right, theirs = candidate == label, production == label
        better, worse = cells[right & ~theirs, 0].sum(), cells[theirs & ~right, 0].sum()
        return Difference(int(better), int(worse), self.rows)


def _sum(one: Cell, other: Cell) -> Cell:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def tabulate(
    codes: Integers,
    groups: npt.NDArray[Any],
    count: int,
    classes: int,
    weights: Floats | None,
) -> list[Table]:
    """A table for each of `count` groups; `codes`, `groups`, `weights` are (n,)."""
    size = classes**3
    flat = codes if count == 1 else groups.astype(np.int64) * size + codes
    keys = np.arange(size * count) if size * count <= MOST_CELLS else None
    if keys is None:
        keys, flat = np.unique(flat, return_inverse=True)
    rows = np.bincount(flat, minlength=len(keys))
    kept = np.flatnonzero(rows)
    columns: list[npt.NDArray[Any]] = [rows, rows, rows]
    if weights is not None:
        columns[1:] = (np.bincount(flat, w, len(keys)) for w in (weights, weights**2))
    found: list[dict[int, Cell]] = [{} for _ in range(count)]
    cells = zip(*(column[kept].tolist() for column in columns), strict=True)
    for key, cell in zip(keys[kept].tolist(), cells, strict=True):
        found[key // size][key % size] = cell
    return [Table(classes, each) for each in found]
