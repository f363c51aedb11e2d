"""Sets of rows as sorted digests."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.registry import rows

DIGESTS = st.integers(0, 2**64 - 1) | st.integers(0, 20) | st.just(2**64 - 1)
BATCHES = st.lists(st.lists(DIGESTS, max_size=20), max_size=4)


def _written(folder: Path, name: str, batches: list[list[int]]) -> Path:
    scratch = folder / f"{name}.parts"
    scratch.mkdir()
    rows.write((np.array(b, np.uint64) for b in batches), scratch, folder / name)
    assert not [*scratch.iterdir()]
    return folder / name


@settings(max_examples=25)
@given(BATCHES)
@example([[0, 2**58 - 1, 2**58, 2**64 - 1], [2**63, 0]])
def test_a_set_is_its_rows_sorted_and_each_once(batches: list[list[int]]) -> None:
    """In whatever batches and order they came."""
    with TemporaryDirectory() as folder:
        path = _written(Path(folder), "set", batches)
        expected = sorted({row for batch in batches for row in batch})
        assert rows.view(path).tolist() == expected
        assert rows.count(path) == len(expected)
        turned = [batch[::-1] for batch in batches[::-1]]
        again = _written(Path(folder), "again", turned)
        assert again.read_bytes() == path.read_bytes()


@settings(max_examples=25)
@given(st.lists(DIGESTS, max_size=30), st.lists(DIGESTS, max_size=30))
@example([5], [5])
@example([], [0])
def test_two_sets_share_what_python_says(one: list[int], other: list[int]) -> None:
    """As sets of integers do; and each row is told from the others."""
    with TemporaryDirectory() as folder:
        first = _written(Path(folder), "one", [one])
        second = _written(Path(folder), "other", [other])
        assert rows.share(first, second) is bool({*one} & {*other})
        assert rows.share(second, first) is bool({*one} & {*other})
        found = rows.known(np.array(one, np.uint64), [second, second])
        assert found.tolist() == [row in other for row in one]
