"""Progress of long work, for a person who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast


class Bar(Protocol):
    """Is told what was done since it was last told."""

    update: Callable[[int], object]


class _Unseen:
    update = int


def in_bytes(size: int, what: str) -> AbstractContextManager[Bar]:
    """A bar with rate and time left, shown after a second and on a terminal only."""
    return _bar(total=size, desc=what, unit="B")


def in_rows(rows: int | None) -> AbstractContextManager[Bar]:
    """A bar with rows a second and, where their number is known, the time left."""
    return _bar(total=rows, desc="predict", unit=" rows")


def _bar(**words: Any) -> AbstractContextManager[Bar]:
    if not sys.stderr.isatty():
        return nullcontext(cast(Bar, _Unseen))  # importing tqdm takes its time, too
    from tqdm import tqdm

    return cast(
        AbstractContextManager[Bar],
        tqdm(unit_scale=True, delay=1, **words),
    )
