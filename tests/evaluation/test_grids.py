"""A grid holds numbers of any size in bounded memory, and merges in any order."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.evaluation import grids
from interlock.evaluation.grids import Grid

numbers = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=60)


def of(values: Sequence[tuple[float, float]]) -> Grid:
    """The grid of these rows, each of weight 1."""
    array = np.array(values, float).reshape(-1, 2)
    return grids.counted(array, np.ones((len(array), 1)))


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that every example has too many."""
    monkeypatch.setattr(grids, "CELLS", 7)


@given(rows, st.integers(0, 60), st.integers(0, 60))
@example([(0.0, 0.0), (1e-300, -1e300), (5e-324, 1.0)], 1, 2)
@example([(0.0, 0.0)] * 7 + [(0.0, 1e127), (0.0, -5e-206)], 0, 7)
@settings(max_examples=60)
def test_any_parts_in_any_order_are_the_whole(
    values: list[tuple[float, float]], one: int, other: int
) -> None:
    """Cell by cell, and each row is in the cell that it lies in."""
    whole = of(values)
    low, high = sorted((one, other))
    parts = [part for part in (values[high:], values[:low], values[low:high]) if part]
    merged = of(parts[0])
    for part in parts[1:]:
        merged = merged + of(part)
    assert merged.level == whole.level
    assert (merged.places == whole.places).all() and (merged.sums == whole.sums).all()
    assert len(whole.places) <= grids.CELLS
    assert whole.sums.sum() == len(values)
    expected = {tuple(_floor(each, whole.level) for each in row) for row in values}
    assert expected == {*map(tuple, whole.places.tolist())}


def _floor(value: float, level: int) -> int:
    """The cell of a number, in whole numbers, which nothing is too small for."""
    top, bottom = value.as_integer_ratio()
    return (top << max(0, -level)) // (bottom << max(0, level))


def test_it_is_no_coarser_than_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as wide cells would be too many; and an outlier costs one cell."""
    chance = np.random.default_rng(1)
    values = chance.normal(size=(500, 2))
    found = of([*map(tuple, values.tolist())])
    finer = np.floor(np.ldexp(values, 1 - found.level))
    assert len(np.unique(finer, axis=0)) > grids.CELLS
    monkeypatch.setattr(grids, "CELLS", 400)
    one = of([*map(tuple, values.tolist())])
    two = of([*map(tuple, values.tolist()), (1e6, -1e6)])
    assert two.level - one.level <= 1
    assert one.sums.sum() + 1 == two.sums.sum()
