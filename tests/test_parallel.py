"""Many at once, in order, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from interlock import parallel
from interlock.parallel import at_once, in_order


def test_results_come_in_the_order_of_the_items() -> None:
    """Whoever ends first."""
    gate = threading.Event()

    def work(item: int) -> int:
        if item:
            gate.set()  # the first waits for the second
        assert gate.wait(10)
        return item * item

    assert [*in_order(work, range(50))] == [n * n for n in range(50)]


def test_no_more_is_taken_than_is_needed() -> None:
    """However many items there are, a few are in memory."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = in_order(abs, items())
    for number in range(1, 6):
        assert next(results) == number
    assert taken <= 5 + parallel.AHEAD
    results.close()


def test_a_slow_one_holds_up_no_other() -> None:
    """As many are done meanwhile as may be in hand, and no more are held to be done."""
    done, enough = [0], threading.Event()

    def work(item: int) -> int:
        done.append(item)
        if len(done) == parallel.MANY:
            enough.set()
        assert item or enough.wait(10)
        return item

    results = in_order(work, range(1000), parallel.MANY)
    assert next(results) == 0 and len(done) <= parallel.MANY + 1
    results.close()


def test_a_failure_comes_through_and_ends_the_rest() -> None:
    """What is not under way yet is not begun."""
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise KeyError("the first")

    with pytest.raises(KeyError, match="the first"):
        [*in_order(work, range(1000))]
    assert len(begun) <= parallel.AHEAD


def test_two_are_under_way_at_once() -> None:
    """Each waits for the other, and both come back in their places."""
    meeting = threading.Barrier(2, timeout=10)
    first, second = at_once(lambda: (meeting.wait(), "a")[1], lambda: meeting.wait())
    assert first == "a" and second in (0, 1)
