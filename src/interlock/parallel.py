"""Work on many things at once: in their order, and in bounded memory.

Threads are enough, for what is done in them (hashing, sending, reading) lets go of the
interpreter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

WORKERS = 8  # requests under way: more gain nothing (benchmarks/clients.py)

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """`work(item)` of each item, in the order of the items.

    Items are taken as they are needed: at most WORKERS are under way, or done and not
    asked for yet. What `work` raises is raised here, and the rest is let go.
    """
    pool, waiting = ThreadPoolExecutor(WORKERS), deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
