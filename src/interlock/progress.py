"""Progress of long work, for a person who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast


class Bar(Protocol):
    """Is told what was done since it was last told."""

    update: Callable[[int], object]


class _Unseen:
    update = int


def in_bytes(size: int, what: str) -> AbstractContextManager[Bar]:
    """A bar with rate and time left, shown after a second and on a terminal only."""
    if not sys.stderr.isatty():
        return nullcontext(cast(Bar, _Unseen))  # importing tqdm takes its time, too
    from tqdm import tqdm

    return cast(
        AbstractContextManager[Bar],
        tqdm(total=size, desc=what, unit="B", unit_scale=True, delay=1),
    )
