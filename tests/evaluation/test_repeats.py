"""Copies are told from rows that are equal by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import CheckBroken
from interlock.evaluation import repeats

few = settings(max_examples=25)


def of(values: np.ndarray) -> repeats.Repeats:
    """The repeats of rows that have one column."""
    return repeats.counted([values], len(values))


@few
@given(st.lists(st.integers(0, 50), min_size=2, max_size=200), st.integers(1, 199))
def test_parts_add_up_to_the_whole(values: list[int], cut: int) -> None:
    """Every different row, with how often it came."""
    rows, cut = np.array(values), min(cut, len(values) - 1)
    whole, parts = of(rows), of(rows[:cut]) + of(rows[cut:])
    assert parts.keys.tolist() == whole.keys.tolist()
    assert parts.times.tolist() == whole.times.tolist()
    assert sorted(whole.times) == sorted(np.unique(rows, return_counts=True)[1])


def test_of_many_rows_a_sample_is_kept_with_all_its_repeats() -> None:
    """Whatever the batches are; and so much memory, not more."""
    rows = np.random.default_rng(3).permutation(np.repeat(np.arange(30_000), 2))
    parts = [of(part) for part in np.array_split(rows, 3)]
    kept = parts[0] + parts[1] + parts[2]
    other = parts[0] + (parts[1] + parts[2])
    assert kept.keys.tolist() == other.keys.tolist()
    assert 1000 < len(kept.keys) <= repeats.KEPT
    assert set(kept.times) == {2}


@pytest.mark.parametrize("often", [2, 3, 4, 6, 20])
def test_copies_are_refused(often: int) -> None:
    """Of few different rows, and of many that were equal here and there before."""
    chance = np.random.default_rng(often)
    for rows in (np.arange(repeats.ENOUGH), chance.integers(0, 500, 900)):
        assert of(rows).copies == 1
        with pytest.raises(CheckBroken, match="times, or a multiple of .*: copies"):
            of(np.tile(rows, often)).demand_no_copies()


@pytest.mark.parametrize("values", [2, 30, 1000, 10**6])
@pytest.mark.parametrize("rows", [50, 3000, 100_000])
def test_rows_that_are_equal_by_chance_are_not_refused(values: int, rows: int) -> None:
    """However few values there are, evenly spread or not."""
    chance = np.random.default_rng(values + rows)
    even = chance.integers(0, values, rows)
    assert of(even).copies == 1
    assert of(np.floor(values * chance.random(rows) ** 4)).copies == 1
    assert of(chance.poisson(values / 10, rows)).copies == 1


def test_all_but_some_rows_twice_are_copies_too() -> None:
    """A file that was appended to itself, and to which some rows were added."""
    rows = np.arange(1200)
    assert of(np.concatenate([rows, rows, np.arange(1200, 1500)])).copies == 2
    assert of(np.concatenate([rows, rows[:200]])).copies == 1


def test_rows_are_equal_when_all_columns_are() -> None:
    """Columns of classes' probabilities included."""
    label, answers = np.array([0, 0, 1]), np.array([[1.0, 0], [1, 0], [1, 0]])
    found = repeats.counted([label, answers], 3)
    assert sorted(found.times) == [1, 2]
