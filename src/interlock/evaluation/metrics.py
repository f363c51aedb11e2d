"""Metrics as counts that add up.

`fold` turns a batch into `Counts`, `+` merges the counts of any two sets of rows, and
every metric is read off the sum. Counts are integers, so their merge is exact in any
order; the two sums of losses are floats, equal up to rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from interlock.evaluation.intervals import Difference, Proportion

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]
Role: TypeAlias = Literal["candidate", "production"]
Slice: TypeAlias = tuple[str, str]  # column, value

BINS = 1000  # of a score histogram, equal widths over 0 to 1
WHOLE: Slice = ("", "")
MISSING = "(missing)"  # the slice of the rows whose value is null or empty


@dataclass(frozen=True)
class Confusion:
    """Rows by truth and by what one model called them."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int

    @property
    def accuracy(self) -> Proportion:
        """Right answers, of all rows."""
        rows = self.true_negative + self.false_positive
        rows += self.false_negative + self.true_positive
        return Proportion(self.true_positive + self.true_negative, rows)

    @property
    def precision(self) -> Proportion:
        """True positives, of the rows called positive."""
        called = self.true_positive + self.false_positive
        return Proportion(self.true_positive, called)

    @property
    def recall(self) -> Proportion:
        """True positives, of the rows that are positive."""
        positive = self.true_positive + self.false_negative
        return Proportion(self.true_positive, positive)

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall."""
        errors = self.false_positive + self.false_negative
        both = 2 * self.true_positive
        return both / (both + errors) if both + errors else nan


# The metrics that are a proportion of rows, so that their interval is exact.
PROPORTIONS: Mapping[str, Callable[[Confusion], Proportion]] = {
    "accuracy": lambda confusion: confusion.accuracy,
    "precision": lambda confusion: confusion.precision,
    "recall": lambda confusion: confusion.recall,
}


@dataclass(frozen=True)
class Table:
    """Rows by (label, candidate positive, production positive), in binary order.

    Without a production, that last one is 0 throughout.
    """

    cells: tuple[int, ...] = (0,) * 8

    def __add__(self, other: Table) -> Table:
        return Table(tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)))

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.cells)

    def confusion(self, role: Role) -> Confusion:
        """The table of one of the two models."""
        bit = 1 if role == "candidate" else 0
        counts = [0] * 4
        for cell, count in enumerate(self.cells):
            counts[cell >> 2 << 1 | cell >> bit & 1] += count
        return Confusion(*counts)

    @property
    def pair(self) -> Difference:
        """Rows where only the candidate, and where only production, is right."""
        better = self.cells[0b001] + self.cells[0b110]
        worse = self.cells[0b010] + self.cells[0b101]
        return Difference(better, worse, self.rows)


@dataclass(frozen=True, eq=False)
class Scores:
    """What one model's probabilities add up to."""

    histogram: Integers  # (2, BINS): rows by label and by bin
    squared_errors: float  # sum of (p - y) ** 2
    log_losses: float  # sum of -ln of the probability given to the truth

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.histogram + other.histogram,
            self.squared_errors + other.squared_errors,
            self.log_losses + other.log_losses,
        )

    @property
    def rows(self) -> int:
        """All of them."""
        return int(self.histogram.sum())

    @property
    def brier(self) -> float:
        """The mean of (p - y) ** 2 (Brier, Monthly Weather Review 78 (1950) 1)."""
        return self.squared_errors / self.rows

    @property
    def log_loss(self) -> float:
        """The mean of -ln of the probability given to the truth, in nats."""
        return self.log_losses / self.rows

    @property
    def roc_auc(self) -> float:
        """P(a positive scores above a negative), ties half; NaN without one of both.

        Scores of one bin count as ties: at most 1e-3 off for smooth scores, and
        typically 1e-6. It is the trapezoid area below `roc`.
        """
        negatives, positives = self.histogram
        pairs = float(negatives.sum()) * float(positives.sum())
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below) / pairs if pairs else nan

    def roc(self) -> tuple[Floats, Floats]:
        """False and true positive rates, (BINS + 1,) each, from threshold 1 to 0."""
        called = np.cumsum(self.histogram[:, ::-1], axis=1)
        rates = called / np.maximum(called[:, -1:], 1)
        return np.insert(rates[0], 0, 0.0), np.insert(rates[1], 0, 0.0)

    def calibration(self, bins: int = 20) -> tuple[Floats, list[Proportion]]:
        """The mean probability (to half a fine bin) and the positives of each bin.

        Bins without a row are left out.
        """
        fine = self.histogram.reshape(2, bins, -1)
        centres = ((np.arange(BINS) + 0.5) / BINS).reshape(bins, -1)
        rows = fine.sum(axis=(0, 2))
        kept = rows > 0
        means = (fine.sum(axis=0) * centres).sum(axis=1)[kept] / rows[kept]
        hits = fine[1].sum(axis=1)[kept]
        pairs = zip(hits.tolist(), rows[kept].tolist(), strict=True)
        return means, [Proportion(hit, of) for hit, of in pairs]


@dataclass(frozen=True, eq=False)
class Counts:
    """All that is kept of the rows: its size depends on the slices, not on the rows."""

    tables: Mapping[Slice, Table]
    candidate: Scores
    production: Scores | None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            _summed((*self.tables.items(), *other.tables.items())),
            self.candidate + other.candidate,
            _both(self.production, other.production),
        )

    @property
    def whole(self) -> Table:
        """The table of all rows."""
        return self.tables[WHOLE]

    def per(self, column: str) -> dict[str, Table]:
        """The table of each value of a slice column, in order of the value."""
        tables = sorted(self.tables.items())
        return {value: table for (name, value), table in tables if name == column}


def _summed(items: Iterable[tuple[Slice, Table]]) -> dict[Slice, Table]:
    sums: defaultdict[Slice, Table] = defaultdict(Table)
    for key, table in items:
        sums[key] += table
    return dict(sums)


def _both(one: Scores | None, other: Scores | None) -> Scores | None:
    if one is None or other is None:
        if one is not other:
            raise ValueError("expected production in both counts or in neither")
        return None
    return one + other


def fold(
    labels: Booleans,
    candidate: Floats,
    production: Floats | None,
    slices: Mapping[str, pa.Array],
    threshold: float,
) -> Counts:
    """The counts of one batch.

    `labels` and the scores have shape (n,), scores are probabilities in 0..1 and count
    as positive from `threshold` on; `slices` holds a column of n values for each name.
    """
    cells = labels * 4 + (candidate >= threshold) * 2
    if production is not None:
        cells = cells + (production >= threshold)
    tables = [(WHOLE, _tables(cells, np.zeros_like(cells), 1)[0])]
    for name, column in slices.items():
        tables.extend(((name, value), t) for value, t in _sliced(cells, column))
    other = None if production is None else _scores(labels, production)
    return Counts(_summed(tables), _scores(labels, candidate), other)


def _sliced(cells: Integers, column: pa.Array) -> Iterator[tuple[str, Table]]:
    """(value, table) for each distinct value of `column` as text."""
    text = pc.fill_null(column.cast(pa.string()), "")
    encoded = text.dictionary_encode()
    values = [value or MISSING for value in encoded.dictionary.to_pylist()]
    return zip(values, _tables(cells, encoded.indices.to_numpy(), len(values)))


def _tables(cells: Integers, groups: npt.NDArray[Any], count: int) -> list[Table]:
    """A table for each of `count` groups; `groups` has shape (n,)."""
    flat = np.bincount(groups.astype(np.int64) * 8 + cells, minlength=8 * count)
    return [Table(tuple(row)) for row in flat.reshape(count, 8).tolist()]


def _scores(labels: Booleans, scores: Floats) -> Scores:
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    histogram = np.bincount(labels * BINS + bins, minlength=2 * BINS)
    # An answer of exactly 0 or 1 that is wrong costs 36 nats, not infinitely many: the
    # same epsilon as scikit-learn's log_loss.
    epsilon = np.finfo(np.float64).eps
    truth = np.clip(np.where(labels, scores, 1 - scores), epsilon, 1 - epsilon)
    return Scores(
        histogram.reshape(2, BINS),
        float(np.square(scores - labels).sum()),
        float(-np.log(truth).sum()),
    )
