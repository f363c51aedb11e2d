"""Progress of long work, for a person who watches."""

from __future__ import annotations

from typing import NoReturn

from tqdm import tqdm


def in_bytes(size: int, what: str) -> tqdm[NoReturn]:
    """A bar with rate and time left, shown after a second and on a terminal only."""
    return tqdm(total=size, desc=what, unit="B", unit_scale=True, delay=1, disable=None)


def in_rows(rows: int | None) -> tqdm[NoReturn]:
    """A bar with rows a second and, where their number is known, the time left."""
    return tqdm(
        total=rows, desc="predict", unit=" rows", unit_scale=True, delay=1, disable=None
    )
