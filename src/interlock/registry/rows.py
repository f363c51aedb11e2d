"""Sets of rows as sorted digests: 64 bits a row, each once, smallest first.

A file of them holds 8 bytes a row, little-endian; its SHA-256 names the set, in
whatever order the rows came. Two unrelated sets of n and m rows look as if they shared
one with a chance of n m / 2 ** 64: for a million rows against a billion, 0.00005. That
errs on the safe side, for a row that looks known spends budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Digests: TypeAlias = npt.NDArray[np.uint64]

LITTLE = np.dtype("<u8")
PARTS = 64  # sorted one after the other: memory is that of one
PIECE = 1 << 20  # digests looked up at a time


def write(batches: Iterable[Digests], folder: Path, out: Path) -> None:
    """Sort digests into the file `out`; memory is that of a PARTS-th of them.

    `folder` must be empty: it takes the parts for as long as this runs.
    """
    names = [folder / f"{number:02}" for number in range(PARTS)]
    with ExitStack() as stack:
        parts = [stack.enter_context(name.open("wb")) for name in names]
        for batch in batches:
            ordered = np.sort(batch).astype(LITTLE)
            firsts = np.arange(PARTS, dtype=np.uint64) << np.uint64(58)
            ends = [*np.searchsorted(ordered, firsts)[1:], len(ordered)]
            for part, one in zip(parts, np.split(ordered, ends[:-1]), strict=True):
                part.write(one.tobytes())
    with out.open("wb") as file:
        for name in names:
            file.write(np.unique(np.fromfile(name, LITTLE)).tobytes())
            name.unlink()


def count(path: Path) -> int:
    """How many rows a set has."""
    return path.stat().st_size // LITTLE.itemsize


def share(one: Path, other: Path) -> bool:
    """Whether two sets have a row in common."""
    return any(known(piece, [other]).any() for piece in _pieces(one))


def known(digests: Digests, sets: Sequence[Path]) -> npt.NDArray[np.bool_]:
    """Which of `digests`, (n,), stand in one of the sets at least: (n,)."""
    found = np.zeros(len(digests), np.bool_)
    for each in map(view, sets):
        at = np.minimum(np.searchsorted(each, digests), len(each) - 1)
        found |= each[at] == digests if len(each) else False
    return found


def _pieces(path: Path) -> Iterator[Digests]:
    rows = view(path)
    for first in range(0, len(rows), PIECE):
        yield np.asarray(rows[first : first + PIECE])


def view(path: Path) -> Digests:
    """The digests in a file, read as they are needed."""
    if not count(path):
        return np.zeros(0, LITTLE)
    return np.memmap(path, LITTLE, "r", shape=(count(path),))
