"""Rows known again by digest: 64 bits for the values of a row, whatever its place.

Of Parquet, numbers of any width are equal when their values are, and so are times; text
is its characters. Of CSV all is text, as it stands there. A missing value is the same
in every type. The mixing is that of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014, 453):
it scatters well, and is no defence against somebody who wants two rows to look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view

from interlock.evaluation import data
from interlock.parallel import in_order
from interlock.registry.rows import Digests

ODD = [np.uint64(each) for each in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]
SHIFTS = [np.uint64(each) for each in (30, 27, 31)]
FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # n of 8 bytes
MISSING = np.uint64(0x9E3779B97F4A7C15)


def of(source: Path, identity: Sequence[str], rows: int) -> Iterator[Digests]:
    """The digests of the rows of a data set, (rows,) at a time, in their order.

    `identity` are the columns that tell a row from others; none: all columns.
    """
    names = identity or data.names(source)
    columns = dict.fromkeys(sorted(names), pa.string())
    yield from in_order(fingerprints, data.batches(source, columns, rows))


def fingerprints(batch: pa.RecordBatch) -> Digests:
    """A digest for each row, (rows,), from the names and values of its columns."""
    total = np.zeros(batch.num_rows, np.uint64)
    for name in batch.schema.names:
        seed = blake2b(name.encode(), digest_size=8).digest()
        total += _mixed(_values(batch[name]) ^ np.frombuffer(seed, "<u8"))
    return _mixed(total)


def _mixed(values: Digests) -> Digests:
    values = (values ^ (values >> SHIFTS[0])) * ODD[0]
    values = (values ^ (values >> SHIFTS[1])) * ODD[1]
    return values ^ (values >> SHIFTS[2])


def _values(column: pa.Array) -> Digests:
    """64 bits for each value of a column, (rows,), equal for equal values."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        return _values(column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _integers(column)
    if pa.types.is_floating(kind):
        return _bits(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy())
    coded = _as_text(column).dictionary_encode()  # few texts, on many rows
    codes = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy()
    found: Digests = np.append(_texts(coded.dictionary), MISSING)[codes]
    return found


def _integers(column: pa.Array) -> Digests:
    """Where a float tells them apart, as that float of the same value."""
    whole = pc.fill_null(column.cast(pa.int64(), safe=False), 0).to_numpy()
    small = (whole > -(2**53)) & (whole < 2**53)
    found = np.where(small, _bits(whole.astype(np.float64)), whole.view(np.uint64))
    return np.where(column.is_valid().to_numpy(zero_copy_only=False), found, MISSING)


def _bits(values: npt.NDArray[np.float64]) -> Digests:
    plain = values + 0.0  # -0.0 is 0.0
    return np.where(np.isnan(values), MISSING, plain.view(np.uint64))


def _as_text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.large_string())
    except pa.ArrowNotImplementedError:  # lists and the like
        texts = [None if each is None else repr(each) for each in column.to_pylist()]
        return pa.array(texts, pa.large_string())


def _texts(column: pa.Array) -> Digests:
    """By 8 bytes at a time, for all that have so many; an empty text is missing."""
    _, offsets, characters = column.buffers()
    ends = np.frombuffer(offsets, np.int64)[column.offset :][: len(column) + 1]
    length, start = np.diff(ends), ends[:-1]
    characters = np.frombuffer(characters or b"", np.uint8)
    eights = sliding_window_view(np.append(characters, np.zeros(8, np.uint8)), 8)
    total = np.where(length, _mixed(length.view(np.uint64)), MISSING)
    for done in range(0, int(length.max(initial=0)), 8):
        live = np.flatnonzero(length > done)
        words = eights[start[live] + done].view("<u8").ravel()
        words &= FIRST[np.minimum(length[live] - done, 8)]
        total[live] = _mixed(total[live] ^ words) + np.uint64(1)
    return total
