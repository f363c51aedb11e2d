"""Data as a stream of batches, and refusals that name the row."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import BadConfiguration, CheckBroken
from interlock.evaluation import data

TABLE = pa.table({"n": range(25), "name": [f"r{i}" for i in range(25)]})


def save(table: pa.Table, path: Path) -> Path:
    """Write `table` in the format that the name says."""
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=3)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("rows", [1, 4, 7, 25, 100])
def test_batches_are_cut_to_size_and_in_order(
    tmp_path: Path, suffix: str, rows: int
) -> None:
    """All have `rows` rows but the last, whatever the file's own pieces are."""
    path = save(TABLE, tmp_path / f"data{suffix}")
    found = list(data.batches(path, {"n": None}, rows))
    sizes = [batch.num_rows for batch in found]
    assert sizes[:-1] == [rows] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= rows
    assert pa.Table.from_batches(found)["n"].to_pylist() == list(range(25))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_folder_is_read_in_order_of_its_paths(tmp_path: Path, suffix: str) -> None:
    """Batches cross the files' borders; names with . and _ hold no data."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for number, (low, high) in enumerate(pairwise([0, 3, 14, 25])):
        save(TABLE.slice(low, high - low), folder / f"part-{number}{suffix}")
    found = list(data.batches(folder, {"n": None}, 10))
    assert [batch.num_rows for batch in found] == [10, 10, 5]
    assert pa.Table.from_batches(found)["n"].to_pylist() == list(range(25))


def test_csv_text_becomes_what_the_model_reads(tmp_path: Path) -> None:
    """A number that looks whole for a million rows, an airline that is called NA."""
    path = tmp_path / "data.csv"
    path.write_text('x,code\n1,NA\n,007\n"3","two\nlines"\n')
    columns = {"x": pa.float64(), "code": pa.string()}
    (batch,) = data.batches(path, columns, 10)
    assert batch.to_pydict() == {
        "x": [1.0, None, 3.0],
        "code": ["NA", "007", "two\nlines"],
    }


def test_dictionary_columns_arrive_as_their_values(tmp_path: Path) -> None:
    """As pandas writes its categories."""
    table = pa.table({"c": pa.array(["a", "b", None, "a"]).dictionary_encode()})
    path = save(table, tmp_path / "data.parquet")
    found = [v for b in data.batches(path, {"c": None}, 3) for v in b["c"].to_pylist()]
    assert found == ["a", "b", None, "a"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """And so are those that are there."""
    path = save(TABLE, tmp_path / "data.parquet")
    with pytest.raises(CheckBroken, match="(?s)'late'.*columns n, name"):
        list(data.batches(path, {"late": None}, 5))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_data_without_a_row_is_refused(tmp_path: Path, suffix: str) -> None:
    """An empty result must never look like a good one."""
    path = save(TABLE.slice(0, 0), tmp_path / f"data{suffix}")
    with pytest.raises(CheckBroken, match="no row"):
        list(data.batches(path, {"n": None}, 5))


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nonsense"])
def test_damaged_data_is_refused(tmp_path: Path, content: bytes) -> None:
    """With what PyArrow says of it."""
    path = tmp_path / "data.parquet"
    path.write_bytes(content)
    with pytest.raises(CheckBroken, match="readable data in data.parquet"):
        list(data.batches(path, {"n": None}, 5))


@pytest.mark.parametrize("names", [[], ["a.txt"], ["a.csv", "b.parquet"]])
def test_other_formats_are_refused(tmp_path: Path, names: list[str]) -> None:
    """Neither guessed nor skipped."""
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CheckBroken, match="as Parquet or as CSV"):
        list(data.batches(tmp_path, {"n": None}, 5))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False], [True, False]),
        ([1, 0], [True, False]),
        ([0.0, 1.0], [False, True]),
    ],
)
def test_labels_are_booleans_or_0_and_1(
    values: list[Any], expected: list[bool]
) -> None:
    """Whichever type holds them."""
    assert data.labels(pa.array(values), 0).tolist() == expected


@pytest.mark.parametrize(
    "values",
    [[1, None], [True, None], [0, 2], [0.0, float("nan")], ["1", "0"], [0.0, 0.5]],
)
def test_any_other_label_is_refused_by_its_row(values: list[Any]) -> None:
    """Counted over the whole data set."""
    wrong = 0 if isinstance(values[0], str) else 1
    with pytest.raises(CheckBroken, match=f"at row {700 + wrong}\n"):
        data.labels(pa.array(values), 700)


def test_nulls_reach_the_model_as_none_or_nan() -> None:
    """NaN only in floats: an integer with a null must not turn into a float."""
    batch = pa.record_batch({"f": [1.5, None], "i": [1, None], "s": ["a", None]})
    found = data.arrays(batch)
    assert np.isnan(found["f"][1])
    assert found["i"].tolist() == [1, None]
    assert found["s"].tolist() == ["a", None]


@given(
    st.lists(st.sampled_from([None, "", "a", "b", "\0"]), min_size=1),
    st.integers(0, 3),
)
def test_text_is_the_same_however_it_was_stored(
    values: list[str | None], skipped: int
) -> None:
    """A dictionary that holds more, or in another order, leaves no trace."""
    plain = pa.array(values, pa.string())
    stored = pa.array([*"bax"[:skipped], *values]).dictionary_encode()[skipped:]
    one, other = data.text(plain), data.text(stored)
    assert one.to_pylist() == other.to_pylist() == values
    assert one.dictionary.equals(other.dictionary)
    assert one.type == other.type == data.TEXT


def test_other_types_become_text() -> None:
    """As Arrow writes them."""
    assert data.text(pa.array([10, None, 9])).to_pylist() == ["10", None, "9"]
    assert data.text(pa.array([True, False])).to_pylist() == ["true", "false"]
    assert data.text(pa.array([1.0, 0.5])).to_pylist() == ["1", "0.5"]


def test_csv_is_read_for_candidate_and_production() -> None:
    """The narrower type serves both; text and a number cannot be one column."""
    read = data.narrowest([{"a": "number", "b": "string"}, {"a": "integer"}])
    assert read == {"a": pa.int64(), "b": pa.string()}
    with pytest.raises(CheckBroken, match="'a' for candidate and production"):
        data.narrowest([{"a": "number"}, {"a": "string"}])


def test_a_path_is_relative_to_the_root(tmp_path: Path) -> None:
    """And must be there."""
    path = save(TABLE, tmp_path / "data.parquet")
    assert data.prepare("data.parquet", tmp_path, tmp_path) == path
    with pytest.raises(BadConfiguration, match="nothing at .*other.parquet"):
        data.prepare("other.parquet", tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["data.parquet", "folder"])
def test_a_uri_is_copied(tmp_path: Path, name: str) -> None:
    """So that all who read it read the same bytes."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "data.parquet", tmp_path / "folder" / "a.parquet"):
        save(TABLE, path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    copied = data.prepare(f"file://{tmp_path / name}", tmp_path, scratch)
    assert copied.is_relative_to(scratch)
    assert data.digest(copied) == data.digest(tmp_path / name)


def test_a_uri_of_nothing_is_refused(tmp_path: Path) -> None:
    """With what the file system says."""
    with pytest.raises(CheckBroken, match="data at file:///no/such"):
        data.prepare("file:///no/such/data.csv", tmp_path, tmp_path)


def test_a_function_writes_the_data(tmp_path: Path) -> None:
    """It is imported from the root, and leaves no trace in the module path."""
    code = "def write(folder):\n    (folder / 'd.csv').write_text('n\\n1\\n')\n"
    (tmp_path / "maker_of_data.py").write_text(code + "    return folder / 'd.csv'\n")
    before = sys.path.copy()
    path = data.prepare("maker_of_data:write", tmp_path, tmp_path)
    assert path.read_text() == "n\n1\n"
    assert sys.path == before


@pytest.mark.parametrize("body", ["raise OSError('disk full')", "return None"])
def test_a_function_that_fails_breaks_the_check(tmp_path: Path, body: str) -> None:
    """It never looks like data."""
    module = f"bad_maker_{len(body)}"
    (tmp_path / f"{module}.py").write_text(f"def write(folder):\n    {body}\n")
    with pytest.raises(CheckBroken, match=f"{module}:write"):
        data.prepare(f"{module}:write", tmp_path, tmp_path)
