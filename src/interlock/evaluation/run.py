"""One evaluation from end to end, and the four files it leaves.

The verdict is derived from predictions.parquet as it is kept, by `recount` and
`gates.judge`: whoever has that file can derive it again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from interlock.config import Evaluation
from interlock.errors import CheckBroken
from interlock.evaluation import data, files, gates, predict, record, report
from interlock.evaluation.gates import Condition, State, Verdict
from interlock.evaluation.metrics import Counts, fold
from interlock.evaluation.predict import Version
from interlock.evaluation.record import Record

__all__ = ["FILES", "Outcome", "Version", "evaluate", "recount"]

FILES = ("metrics.json", "predictions.parquet", "report.html", "summary.md")
SLICE = "slice."  # before a slice column's name in predictions.parquet


@dataclass(frozen=True)
class Outcome:
    """What an evaluation came to: State.PASS, FAIL or UNKNOWN, and why."""

    state: State
    sentences: tuple[str, ...]  # one for each gate
    verdicts: tuple[Verdict, ...]
    paths: Mapping[str, Path]  # by file name, as in FILES


class Account(Protocol):
    """What keeps account of the uses of a test set."""

    def look(self, source: Path) -> None:
        """Before anything is predicted. Raises Unknown where the budget is spent."""

    def entry(self, metrics: Mapping[str, Any], predictions: Path) -> Record:
        """Once there is a verdict: the `budget` and `watch` of metrics.json."""


def evaluate(
    candidate: Version,
    production: Version | None,
    settings: Evaluation,
    root: Path,
    out: Path,
    account: Account | None = None,
) -> Outcome:
    """Judge `candidate`, beside `production` where there is one, and write `out`.

    `root` is the folder that a relative `settings.data` starts from and that its module
    is imported from. Raises BadConfiguration before any work for a gate that cannot be
    judged, and CheckBroken when the check breaks: then `out` holds none of FILES.
    """
    started = time.monotonic()
    conditions = [gates.parse(gate, settings.slices) for gate in settings.gates]
    paths = _cleared(out)
    try:
        with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
            source = data.prepare(settings.data, root, Path(scratch))
            if account:
                account.look(source)
            facts = _predicted(candidate, production, settings, source, paths)
        return _judged(facts, conditions, settings, paths, started, account)
    except pa.ArrowException as error:
        _cleared(out)
        raise CheckBroken("data that Arrow can read", str(error), "mend it") from error
    except BaseException:
        _cleared(out)
        raise


def _cleared(out: Path) -> dict[str, Path]:
    """The paths of FILES, without what an earlier evaluation left there."""
    out.mkdir(parents=True, exist_ok=True)
    paths = {name: out / name for name in FILES}
    for path in paths.values():
        path.unlink(missing_ok=True)
    return paths


def _predicted(
    candidate: Version,
    production: Version | None,
    settings: Evaluation,
    source: Path,
    paths: Mapping[str, Path],
) -> record.Facts:
    """Write predictions.parquet, and say what it was made from."""
    versions = [candidate] + ([production] if production else [])
    digest = files.digest(source)
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        answers = predict.side_by_side(
            versions, source, settings.batch_rows, Path(scratch)
        )
        _join(source, answers, settings, paths["predictions.parquet"])
    if files.digest(source) != digest:
        raise CheckBroken(
            "the data to stay the same while it is read",
            f"other bytes in {source}",
            "evaluate a copy that nobody writes to",
        )
    names = [version.name for version in versions]
    return record.Facts(names[0], names[1] if production else None, digest)


def _join(
    source: Path, answers: Sequence[Path], settings: Evaluation, out: Path
) -> None:
    """Each row's label, slices and predictions in one file, row by row."""
    columns = {name: pa.string() for name in settings.slices}
    truth = data.batches(source, {**columns, settings.label: None}, settings.batch_rows)
    streams = [_answers(path, settings.batch_rows) for path in answers]
    with files.replacing(out) as part:
        with pq.ParquetWriter(part, _schema(settings), compression="zstd") as writer:
            first = 0
            for batch in truth:
                given = [next(stream, None) for stream in streams]
                writer.write(_joined(batch, given, settings, first))
                first += batch.num_rows
            if any(next(stream, None) for stream in streams):
                raise _lengths("more")


def _answers(path: Path, rows: int) -> Iterator[pa.Array]:
    for batch in data.batches(path, {"prediction": None}, rows):
        yield batch["prediction"]


def _schema(settings: Evaluation) -> pa.Schema:
    fixed = [("row", pa.int64()), ("label", pa.bool_())]
    fixed += [("candidate", pa.float64()), ("production", pa.float64())]
    return pa.schema(fixed + [(SLICE + name, pa.string()) for name in settings.slices])


def _joined(
    batch: pa.RecordBatch, given: Sequence[pa.Array], settings: Evaluation, first: int
) -> pa.RecordBatch:
    rows = batch.num_rows
    if any(answers is None or len(answers) != rows for answers in given):
        raise _lengths("fewer")
    for answers in given:
        _demand_probabilities(answers, first)
    padded = [*given, pa.nulls(rows, pa.float64())][:2]
    slices = [pc.cast(batch[name], pa.string()) for name in settings.slices]
    label = pa.array(data.labels(batch[settings.label], first))
    numbers = pa.array(np.arange(first, first + rows))
    return pa.record_batch([numbers, label, *padded, *slices], _schema(settings))


def _demand_probabilities(answers: pa.Array, first: int) -> None:
    values = answers.to_numpy()
    wrong = np.flatnonzero((values < 0) | (values > 1))
    if wrong.size:
        raise CheckBroken(
            "every prediction to be a probability from 0 to 1",
            f"{values[wrong[0]]} at row {first + wrong[0]}",
            "let predict return probabilities",
        )


def _lengths(found: str) -> CheckBroken:
    return CheckBroken(
        "one prediction for each row", f"{found} predictions than rows", "mend the data"
    )


def recount(predictions: Path, settings: Evaluation) -> Counts:
    """The counts of a predictions.parquet: all that a verdict rests on."""
    names = pq.read_schema(predictions).names
    rows = data.batches(predictions, dict.fromkeys(names), settings.batch_rows)
    first = _counted(next(rows), settings)
    return sum((_counted(batch, settings) for batch in rows), start=first)


def _counted(batch: pa.RecordBatch, settings: Evaluation) -> Counts:
    label, candidate = (data.arrays(batch)[name] for name in ("label", "candidate"))
    paired = batch["production"].null_count == 0
    production = batch["production"].to_numpy() if paired else None
    slices = {name: batch[SLICE + name] for name in settings.slices}
    return fold(label, candidate, production, slices, settings.threshold)


def _judged(
    facts: record.Facts,
    conditions: Sequence[Condition],
    settings: Evaluation,
    paths: Mapping[str, Path],
    started: float,
    account: Account | None,
) -> Outcome:
    counts = recount(paths["predictions.parquet"], settings)
    verdicts = gates.judge(conditions, counts, settings)
    digest = files.digest(paths["predictions.parquet"])
    seconds = time.monotonic() - started
    metrics = record.metrics(facts, counts, verdicts, settings, digest, seconds)
    if account:
        metrics |= account.entry(metrics, paths["predictions.parquet"])
    _written(metrics, counts, paths)
    sentences = tuple(verdict.sentence for verdict in verdicts)
    return Outcome(gates.overall(verdicts), sentences, verdicts, paths)


def _written(
    metrics: Mapping[str, Any], counts: Counts, paths: Mapping[str, Path]
) -> None:
    """The three readable files; metrics.json last, for it says that all went well."""
    summary = report.markdown(metrics)
    files.write_text(paths["report.html"], report.html(metrics, counts))
    files.write_text(paths["summary.md"], summary)
    if job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(job, "a", encoding="utf-8") as file:
            file.write(summary)
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    files.write_text(paths["metrics.json"], text + "\n")
