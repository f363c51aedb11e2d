"""Rows are known again by their values, wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.evaluation import data
from interlock.evaluation.fingerprints import fingerprints, of

VALUE = (
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(-3, 3)
    | st.integers(2**53 - 2, 2**53 + 2)
)
TEXT = st.text(max_size=20)


def _digests(columns: dict[str, Any]) -> list[int]:
    found: list[int] = fingerprints(pa.record_batch(columns)).tolist()
    return found


@given(st.lists(st.tuples(VALUE, st.floats(), TEXT), min_size=1, max_size=30))
@example([(0, 0.0, "ab"), (0, -0.0, "ab"), (1, float("nan"), "abcdefgh")])
@example([(0, 0.0, "a"), (0, 0.0, "a\0"), (0, 0.0, "a" * 9), (0, 0.0, "a" * 8 + "\0")])
@example([(2**53 + 1, 0.0, ""), (2**53, 0.0, ""), (-(2**63), 0.0, "")])
def test_rows_are_equal_when_their_values_are(rows: list[tuple[Any, ...]]) -> None:
    """As Python's own values are: NaN equals NaN, and 0.0 equals -0.0."""
    known = [(i, "nan" if f != f else f + 0.0, t) for i, f, t in rows]
    names = dict(zip("ift", map(list, zip(*rows, strict=True)), strict=True))
    found = _digests({"i": pa.array(names["i"], pa.int64()), **names})
    assert len({*found}) == len({*known})
    digest_of = dict(zip(known, found, strict=True))
    assert found == [digest_of[row] for row in known]


@given(st.lists(st.none() | TEXT, min_size=1, max_size=20), st.integers(0, 19))
def test_a_part_of_a_batch_has_the_digests_of_its_rows(
    texts: list[str | None], first: int
) -> None:
    """Whatever stood before it."""
    batch = pa.record_batch({"t": pa.array(texts, pa.string())})
    part = fingerprints(batch.slice(first)).tolist()
    assert part == fingerprints(batch).tolist()[first:]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2, None], pa.int8()), pa.array([1, 2, None], pa.float32())),
        (pa.array([1, 0, None], pa.uint64()), pa.array([True, False, None])),
        (pa.array(["a", "", None]), pa.array(["a", None, ""]).dictionary_encode()),
        (pa.array([None, 1.5]), pa.array([float("nan"), 1.5])),
        (
            pa.array([7, None], pa.timestamp("s")),
            pa.array([7000, None], pa.timestamp("ms")),
        ),
        (pa.array(["ä"]), pa.array(["ä"], pa.large_string())),
        (pa.array([[1], None]), pa.array([[1], None], pa.large_list(pa.int64()))),
    ],
)
def test_the_same_values_are_the_same_in_another_type(
    one: pa.Array, other: pa.Array
) -> None:
    """Of another width, unit or encoding; and a missing value is missing."""
    assert _digests({"c": one}) == _digests({"c": other})


def test_a_value_in_another_column_is_another_row() -> None:
    """A row is what its columns hold, by name and not by place."""
    straight = _digests({"a": [1], "b": [2]})
    assert straight == _digests({"b": [2], "a": [1]})
    assert straight != _digests({"a": [2], "b": [1]})
    assert straight != _digests({"a": [1], "c": [2]})


def test_batches_and_formats_make_no_difference(tmp_path: Path) -> None:
    """The same rows in one file or two, in large batches or small, by id or by all."""
    chance = np.random.default_rng(1)
    table = pa.table({"id": np.arange(50), "x": chance.random(50), "t": ["é"] * 50})
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=7)
    (tmp_path / "two").mkdir()
    for number, part in enumerate((table.slice(0, 20), table.slice(20))):
        pq.write_table(part, tmp_path / f"two/{number}.parquet")
    one = np.concatenate([*of(tmp_path / "one.parquet", (), 8)])
    two = np.concatenate([*of(tmp_path / "two", (), 50)])
    assert one.tolist() == two.tolist()
    wider = table.append_column("new", pa.array([0.5] * 50))
    pq.write_table(wider, tmp_path / "wider.parquet")
    known = [
        np.concatenate([*of(tmp_path / f"{name}.parquet", ("id",), 50)]).tolist()
        for name in ("one", "wider")
    ]
    assert known[0] == known[1]
    assert "x" in data.names(tmp_path / "one.parquet")
