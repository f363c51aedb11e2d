"""What is kept of each row, in predictions.parquet, and how it is read again.

A verdict can be derived from that file alone, so it holds whatever a metric reads:
label, answers, slices, and where there are such, weight, cluster, query and the team's
own scores. A value that no metric could be read off is refused, and its row is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from interlock.config import Evaluation
from interlock.errors import CheckBroken
from interlock.evaluation import data
from interlock.evaluation.batch import Array, Batch
from interlock.evaluation.moments import Floats, Integers
from interlock.evaluation.tables import ROLES

SLICE = "slice."  # before a slice column's name in predictions.parquet
SCORE = "score."  # before the model whose rows have this score
FULL = ("row", "label", "candidate", "weight", SLICE)  # no null: that saves a pass
ADDS_UP = 1e-3  # how far from 1 the probabilities of a row may sum

Own: TypeAlias = Callable[..., Any]  # labels, predictions, columns -> (n,)


def columns(settings: Evaluation) -> data.Columns:
    """What is read of the data besides what models read."""
    text = (*settings.slices, settings.cluster, settings.query)
    wanted: dict[str, pa.DataType | None] = {name: pa.string() for name in text if name}
    own = settings.score.columns if settings.score else ()
    for name in (settings.label, settings.weight, *own):
        if name:
            wanted.setdefault(name, None)
    return wanted


def schema(settings: Evaluation) -> pa.Schema:
    """Of predictions.parquet."""
    label = {"binary": pa.bool_(), "multiclass": pa.int64()}
    answer: pa.DataType = pa.float64()
    if settings.task == "multiclass":
        answer = pa.list_(answer, len(settings.classes))
    fields = [("row", pa.int64()), ("label", label.get(settings.task, pa.float64()))]
    fields += [(role, answer) for role in ROLES]
    fields += [("weight", pa.float64())] if settings.weight else []
    fields += [
        (kind, data.TEXT) for kind in ("cluster", "query") if _named(settings, kind)
    ]
    fields += [(SCORE + role, pa.float64()) for role in ROLES if settings.score]
    fields += [(SLICE + name, data.TEXT) for name in settings.slices]
    return pa.schema([pa.field(*each, not each[0].startswith(FULL)) for each in fields])


def _named(settings: Evaluation, kind: str) -> str:
    return {"cluster": settings.cluster, "query": settings.query}[kind]


def joined(
    batch: pa.RecordBatch,
    given: Sequence[Array],
    settings: Evaluation,
    first: int,
    own: Own | None = None,
) -> pa.RecordBatch:
    """A batch of predictions.parquet; `given` are the answers of each model.

    Raises CheckBroken, naming the row counted from `first`, for a label, an answer, a
    weight or a score that is not what the task wants.
    """
    form, number = schema(settings), batch.num_rows
    labels = _labels(batch[settings.label], settings, first)
    kept: dict[str, Any] = {"row": np.arange(first, first + number), "label": labels}
    for role, answers in zip(ROLES, given, strict=False):
        _demand_answers(answers, settings, first)
        kept[role] = _listed(answers)
        if own and settings.score:
            kept[SCORE + role] = _scored(own, labels, answers, batch, settings, first)
    if settings.weight:
        kept["weight"] = _weights(batch[settings.weight], first)
    for kind in ("cluster", "query"):
        if _named(settings, kind):
            kept[kind] = data.text(batch[_named(settings, kind)])
    for name in settings.slices:  # a missing value is an empty one there
        kept[SLICE + name] = data.text(batch[name]).fill_null("")
    return pa.record_batch(
        [_filled(kept, field, number) for field in form], schema=form
    )


def _filled(kept: Mapping[str, Any], field: pa.Field, number: int) -> pa.Array:
    """The column of a field; null where there is no production."""
    if field.name not in kept:
        return pa.nulls(number, field.type)
    column = kept[field.name]
    return column if isinstance(column, pa.Array) else pa.array(column, field.type)


def _listed(answers: Array) -> pa.Array:
    if answers.ndim == 1:
        return pa.array(answers)
    flat = pa.array(np.ascontiguousarray(answers).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, answers.shape[1])


def _labels(column: pa.Array, settings: Evaluation, first: int) -> Array:
    if settings.task == "binary":
        return data.labels(column, first)
    if settings.task == "multiclass":
        return _classes(column, settings.classes, first)
    least = 0.0 if settings.task == "ranking" else -np.inf
    return _numbers(column, first, "every label to be a finite number", least)


def _classes(column: pa.Array, classes: Sequence[str], first: int) -> Integers:
    """The number of each row's class, by its name."""
    text = column.cast(pa.string())
    place = pc.index_in(text, pa.array(classes, pa.string()))
    if place.null_count:
        row = int(np.flatnonzero(place.is_null().to_numpy(zero_copy_only=False))[0])
        raise CheckBroken(
            f"every label to be a class: {', '.join(classes)}",
            f"{column[row].as_py()!r} at row {first + row}",
            "name the class in schema.classes, or mend the label",
        )
    return np.asarray(place.to_numpy(), np.int64)


def _numbers(
    column: pa.Array, first: int, expected: str, least: float = -np.inf
) -> Floats:
    try:
        values = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    except pa.ArrowException as error:
        raise CheckBroken(expected, str(error), "mend the data") from error
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= least)))
    if wrong.size:
        bound = f", {least:g} or more" if least > -np.inf else ""
        raise CheckBroken(
            expected + bound,
            f"{column[int(wrong[0])].as_py()!r} at row {first + wrong[0]}",
            "mend the value, or leave the row out of the data",
        )
    return np.asarray(values, np.float64)


def _weights(column: pa.Array, first: int) -> Floats:
    values = _numbers(column, first, "every weight to be a finite number", 0.0)
    zero = np.flatnonzero(values == 0)
    if zero.size:
        raise CheckBroken(
            "every weight to be above 0",
            f"0 at row {first + zero[0]}",
            "leave rows out that do not count",
        )
    return values


def _demand_answers(answers: Array, settings: Evaluation, first: int) -> None:
    if settings.task not in ("binary", "multiclass"):
        return
    bad = ~((answers >= 0) & (answers <= 1))  # NaN too
    if settings.task == "multiclass":
        bad = bad.any(axis=1) | (np.abs(answers.sum(axis=1) - 1) > ADDS_UP)
    wrong = np.flatnonzero(bad)
    if wrong.size:
        many = settings.task == "multiclass"
        raise CheckBroken(
            "every prediction to be a probability from 0 to 1"
            + (" of each class, 1 together" if many else ""),
            f"{answers[wrong[0]]} at row {first + wrong[0]}",
            "let predict return probabilities",
        )


def _scored(
    own: Own,
    labels: Array,
    answers: Array,
    batch: pa.RecordBatch,
    settings: Evaluation,
    first: int,
) -> Floats:
    """The team's own score of each row, held to its bounds."""
    assert settings.score
    given = data.arrays(batch.select(list(settings.score.columns)))
    try:
        values = np.asarray(own(labels, answers, given), np.float64)
    except Exception as error:
        raise CheckBroken(
            f"{settings.score.function} to score rows from {first} on",
            f"{type(error).__name__}: {error}",
            "mend the function",
        ) from error
    if values.shape != (len(labels),):
        raise CheckBroken(
            f"{settings.score.function} to return shape ({len(labels)},)",
            f"shape {values.shape}",
            "return one number for each row",
        )
    low, high = settings.score.low, settings.score.high
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))
    if wrong.size:
        raise CheckBroken(
            f"every score to be from {low:g} to {high:g}, as evaluation.score declares",
            f"{values[wrong[0]]} at row {first + wrong[0]}",
            "mend the function, or declare its bounds",
        )
    return values


def batch_of(kept: pa.RecordBatch, settings: Evaluation) -> Batch:
    """Rows of predictions.parquet as the arrays that metrics are counted from."""
    models = [role for role in ROLES if kept[role].null_count < kept.num_rows]
    return Batch(
        kept["label"].to_numpy(zero_copy_only=False),
        {role: _answers(kept[role]) for role in models},
        {name: kept[SLICE + name] for name in settings.slices},
        weights=kept["weight"].to_numpy() if settings.weight else None,
        clusters=kept["cluster"] if settings.cluster else None,
        queries=_runs(kept["query"])[0] if settings.query else None,
        scores={r: kept[SCORE + r].to_numpy() for r in models if settings.score},
    )


def _answers(column: pa.Array) -> Array:
    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.to_numpy())
    return np.asarray(column.flatten().to_numpy()).reshape(len(column), -1)


def _runs(column: pa.Array) -> tuple[Integers, Integers]:
    """The number of each row's query, from 0 on, and each query's first row."""
    codes = data.text(column).indices.fill_null(-1).to_numpy()
    new = np.concatenate([[True], codes[1:] != codes[:-1]])
    return np.cumsum(new) - 1, np.flatnonzero(new)


def whole_queries(
    batches: Iterable[pa.RecordBatch], column: str
) -> Iterator[pa.RecordBatch]:
    """The same rows, cut where a query ends; as they are where there is no column.

    Raises CheckBroken for a query whose rows are not all together. That takes a hash
    of each query: some 60 bytes.
    """
    if not column:
        yield from batches
        return
    seen, held, first = set[int](), None, 0
    for batch in batches:
        batch = batch if held is None else pa.concat_batches([held, batch])
        _, starts = _runs(batch[column])
        yield from _new(batch.slice(0, starts[-1]), column, starts[:-1], seen, first)
        first += int(starts[-1])
        held = batch.slice(starts[-1])
    if held is not None:
        yield from _new(held, column, np.zeros(1, np.int64), seen, first)


def _new(
    batch: pa.RecordBatch, column: str, starts: Integers, seen: set[int], first: int
) -> Iterator[pa.RecordBatch]:
    """`batch`, if it has rows and none of its queries was seen before."""
    for start in starts.tolist():
        name = batch[column][start].as_py()
        if hash(name) in seen:
            raise CheckBroken(
                f"the rows of each {column} one after another",
                f"{name!r} again at row {first + start}",
                f"sort the data by {column}",
            )
        seen.add(hash(name))
    if batch.num_rows:
        yield batch
