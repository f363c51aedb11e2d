"""A data set as a stream of batches: Parquet or CSV, a file or a folder of them.

Rows are numbered from 0 over the whole data set, in the order of the files' paths and
of the rows in each, and every refusal names a row by that number.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import csv, fs

from interlock.errors import BadConfiguration, CheckBroken, Refusal
from interlock.evaluation.files import digest, members
from interlock.model import entry_point

__all__ = ["Columns", "TEXT", "arrays", "batches", "digest", "labels"]
__all__ += ["function", "narrowest", "prepare", "text", "total"]

# The columns to read. CSV holds no types: there, a type says what its text is read as,
# and None leaves that to Arrow's guess.
Columns: TypeAlias = Mapping[str, "pa.DataType | None"]

TEXT = pa.dictionary(pa.int32(), pa.string())  # few values, on many rows

# The types of a schema, from the narrowest to the widest, and text.
ARROW = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
}

FUNCTION = re.compile(r"[\w.]+:\w+")
PARQUET, CSV = (".parquet", ".pq"), (".csv", ".csv.gz")


def prepare(spec: str, root: Path, scratch: Path) -> Path:
    """The local file or folder that `spec` of `[tool.interlock.evaluation]` means.

    A path is relative to `root`; a URI (`s3://...`) is copied into `scratch`; and
    `module:function`, importable from `root`, writes its data into `scratch`.

    Raises BadConfiguration when there is nothing there, CheckBroken when the function
    or the copy fails.
    """
    if "://" in spec:
        path = _copied(spec, scratch)
    elif FUNCTION.fullmatch(spec):
        path = _written(spec, root, scratch)
    else:
        path = root / spec
    if not path.exists():
        raise BadConfiguration(
            f"data at {spec!r}",
            f"nothing at {path}",
            "correct evaluation.data in pyproject.toml",
        )
    return path


def _copied(uri: str, scratch: Path) -> Path:
    target = scratch / Path(uri).name
    try:
        source, path = fs.FileSystem.from_uri(uri)
        if source.get_file_info(path).type == fs.FileType.Directory:
            target.mkdir()
        fs.copy_files(path, str(target), source_filesystem=source)
    except (OSError, pa.ArrowException) as error:
        raise CheckBroken(
            f"data at {uri}", str(error), "check the address and the credentials"
        ) from error
    return target


def _written(reference: str, root: Path, scratch: Path) -> Path:
    with _importable(root):
        try:
            return Path(entry_point(reference)(scratch))
        except Refusal:
            raise
        except Exception as error:
            raise CheckBroken(
                f"{reference} to write the data and return its path",
                f"{type(error).__name__}: {error}",
                "mend the function, or install what it needs",
            ) from error


def function(reference: str, root: Path) -> Callable[..., Any]:
    """What `module:function` names, importable from `root`.

    Raises BadConfiguration when there is no such function.
    """
    with _importable(root):
        return entry_point(reference)


@contextmanager
def _importable(root: Path) -> Iterator[None]:
    before = sys.path.copy()
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path[:] = before


def batches(path: Path, columns: Columns, rows: int) -> Iterator[pa.RecordBatch]:
    """The `columns` of the data in batches of `rows` rows; the last may have fewer.

    Memory is a few batches, however many rows there are. Raises CheckBroken for a
    missing column, data that cannot be read, and data without a row.
    """
    empty = True
    try:
        source = _opened(path, columns)
        for batch in _recut(_scanned(source, columns, rows), rows):
            empty = False
            yield batch
    except (OSError, pa.ArrowException) as error:
        raise CheckBroken(
            f"readable data in {path.name}", str(error), "mend the data"
        ) from error
    if empty:
        raise CheckBroken(
            f"rows in {path.name}", "no row", "give evaluation.data labelled rows"
        )


def narrowest(types: Iterable[Mapping[str, str]]) -> dict[str, pa.DataType]:
    """What to read each column as, for all who read it by these types of a schema.

    Whoever wants numbers takes whole ones, and booleans. Raises CheckBroken where one
    wants text and another does not: CSV could not be read for both.
    """
    wanted: dict[str, set[str]] = {}
    for schema in types:
        for name, kind in schema.items():
            wanted.setdefault(name, set()).add(kind)
    for name, kinds in wanted.items():
        if "string" in kinds and len(kinds) > 1:
            raise CheckBroken(
                f"one type of column {name!r} for candidate and production",
                " and ".join(sorted(kinds)),
                "give the column another name in the data and in the schema",
            )
    return {
        name: next(ARROW[kind] for kind in ARROW if kind in kinds)
        for name, kinds in wanted.items()
    }


def _scanned(
    source: ds.Dataset, columns: Columns, rows: int
) -> Iterator[pa.RecordBatch]:
    """The columns piece by piece, a row group of Parquet or a CSV file at a time.

    A scan of it all would read on, up to a gigabyte ahead of a slow reader.
    """
    _demand(source.schema, columns)
    for file in source.get_fragments():
        is_parquet = isinstance(file, ds.ParquetFileFragment)
        for piece in file.split_by_row_group() if is_parquet else [file]:
            scanner = piece.scanner(
                source.schema, columns=list(columns), batch_size=rows
            )
            yield from scanner.to_batches()


def total(path: Path) -> int | None:
    """The number of rows, where the files say so without being read (Parquet)."""
    return None if _is_csv(_files(path)) else int(_opened(path, {}).count_rows())


def names(path: Path) -> list[str]:
    """The columns of the data. Raises CheckBroken where they cannot be read."""
    try:
        return [*_opened(path, {}).schema.names]
    except (OSError, pa.ArrowException) as error:
        raise CheckBroken(
            f"readable data in {path.name}", str(error), "mend the data"
        ) from error


def _opened(path: Path, columns: Columns) -> ds.Dataset:
    files = _files(path)
    if not _is_csv(files):
        # Buffered up front, a whole file would stay in memory until it is read.
        lean = ds.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
        # Text is kept as it is stored: each different value once.
        text = [name for name, kind in columns.items() if kind == pa.string()]
        columnar = ds.ParquetFileFormat(
            ds.ParquetReadOptions(dictionary_columns=text),
            default_fragment_scan_options=lean,
        )
        return ds.dataset([str(file) for file in files], format=columnar)
    types = {name: kind for name, kind in columns.items() if kind is not None}
    separated = ds.CsvFileFormat(
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types),
    )
    return ds.dataset([str(file) for file in files], format=separated)


def _files(path: Path) -> list[Path]:
    """The data files; in a folder those named with . or _ hold none (Spark, Hive)."""
    if path.is_file():
        return [path]
    return [file for file in members(path) if file.name[0] not in "._"]


def _is_csv(files: list[Path]) -> bool:
    for suffixes in (PARQUET, CSV):
        if files and all(file.name.lower().endswith(suffixes) for file in files):
            return suffixes is CSV
    raise CheckBroken(
        "data as Parquet or as CSV files",
        ", ".join(file.name for file in files[:3]) or "no file",
        f"name the files {', '.join(PARQUET + CSV)}; one kind in a folder",
    )


def _demand(schema: pa.Schema, columns: Columns) -> None:
    for name in columns:
        if name not in schema.names:
            raise CheckBroken(
                f"a column {name!r} in the data",
                f"columns {', '.join(schema.names)}",
                "name a column that is there, or add it to the data",
            )


def _recut(parts: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    room = rows
    for part in parts:
        while part.num_rows:
            piece = part.slice(0, room)
            held.append(piece)
            room -= piece.num_rows
            part = part.slice(piece.num_rows)
            if not room:
                yield pa.concat_batches(held)
                held, room = [], rows
    if held:
        yield pa.concat_batches(held)


def arrays(batch: pa.RecordBatch) -> dict[str, npt.NDArray[Any]]:
    """The columns of `batch` for NumPy, each of shape (rows,); null becomes None."""
    return {name: _array(batch[name]) for name in batch.schema.names}


def _array(column: pa.Array) -> npt.NDArray[Any]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type) and not column.null_count:
        # Each different value becomes a Python object, not each row: 50 times faster.
        values: npt.NDArray[Any] = np.array(column.dictionary.to_pylist())
        spread: npt.NDArray[Any] = values.take(column.indices.to_numpy())
        return spread
    return _plain(column)


def _plain(column: pa.Array) -> npt.NDArray[Any]:
    if column.null_count and not pa.types.is_floating(column.type):
        return np.array(column.to_pylist(), dtype=object)
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def text(column: pa.Array) -> pa.DictionaryArray:
    """Any column as text, each value once, in the order in which they first come.

    So the same rows are the same bytes, whatever the files were like.
    """
    if pa.types.is_dictionary(column.type):
        places = column.indices.dictionary_encode()
        indices, values = places.indices, column.dictionary.take(places.dictionary)
    else:
        column = column.dictionary_encode()
        indices, values = column.indices, column.dictionary
    return pa.DictionaryArray.from_arrays(indices, values.cast(pa.string()))


def labels(column: pa.Array, first: int) -> npt.NDArray[np.bool_]:
    """The truth of each row, shape (rows,), from booleans or from 0 and 1.

    Raises CheckBroken naming the row, counted from `first`, of any other value.
    """
    values = _plain(column)
    if values.dtype == np.bool_:
        return values
    wrong = np.flatnonzero(~np.isin(values, (0, 1)))
    if wrong.size:
        raise CheckBroken(
            "every label to be a boolean, or 0 or 1",
            f"{column[int(wrong[0])].as_py()!r} at row {first + wrong[0]}",
            "mend the label, or leave the row out of the data",
        )
    return values.astype(np.bool_)
