"""Work on many things at once: in their order, and in bounded memory.

Threads are enough, for what is done in them (hashing, sending, reading) lets go of the
interpreter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Protocol, TypeVar

WORKERS = 4  # under way at once: 8 were no faster on two cores, and held more memory
AHEAD = WORKERS + 2  # with those that wait, or are done where results are large
MANY = 64  # done and not asked for, of small results: a slow one holds up no other

Item = TypeVar("Item")
Result = TypeVar("Result")
Out = TypeVar("Out", covariant=True)


class Future(Protocol[Out]):
    """A result to come, of the standard library or of Dask."""

    def result(self) -> Out:
        """It, once it is there."""


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], in_hand: int = AHEAD
) -> Generator[Result, None, None]:
    """`work(item)` of each item, in the order of the items.

    Items are taken as they are needed: at most WORKERS are under way, AHEAD with those
    that wait, and `in_hand` with those that are done and not asked for yet. What `work`
    raises is raised here, and the rest is let go.
    """
    pool, places = ThreadPoolExecutor(WORKERS), Semaphore(AHEAD)

    def submit(item: Item) -> Future[Result]:
        places.acquire()
        begun = pool.submit(work, item)
        begun.add_done_callback(lambda _: places.release())
        return begun

    try:
        yield from submitted(submit, items, in_hand)
    finally:
        pool.shutdown(cancel_futures=True)


def at_once(
    one: Callable[[], Item], other: Callable[[], Result]
) -> tuple[Item, Result]:
    """What two pieces of work come to that do not wait for each other."""
    with ThreadPoolExecutor(1) as pool:
        begun, second = pool.submit(one), other()
        return begun.result(), second


def submitted(
    submit: Callable[[Item], Future[Result]], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
    """The results in the order of the items, with `ahead` of them in hand."""
    waiting = deque[Future[Result]]()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
