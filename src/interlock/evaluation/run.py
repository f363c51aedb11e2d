"""One evaluation from end to end, and the four files it leaves.

A batch is read, predicted, checked, kept and counted, and then forgotten. The verdict
follows from predictions.parquet alone: `recount` gives the very counts it rests on.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from interlock import progress
from interlock.config import Evaluation
from interlock.errors import CheckBroken
from interlock.evaluation import data, engine, files, gates, latency
from interlock.evaluation import record, report, rows
from interlock.evaluation.counts import Counts, Plan, fold, plan
from interlock.evaluation.gates import Condition, State, Verdict
from interlock.evaluation.latency import Ratios
from interlock.evaluation.predict import Models, Version
from interlock.evaluation.record import Record

__all__ = ["FILES", "Outcome", "Version", "evaluate", "recount", "stream"]

FILES = ("metrics.json", "predictions.parquet", "report.html", "summary.md")
ENCODINGS = {
    "row": "DELTA_BINARY_PACKED",
    "candidate": "BYTE_STREAM_SPLIT",
    "production": "BYTE_STREAM_SPLIT",
}


@dataclass(frozen=True)
class Outcome:
    """What an evaluation came to: State.PASS, FAIL or UNKNOWN, and why."""

    state: State
    sentences: tuple[str, ...]  # one for each gate
    verdicts: tuple[Verdict, ...]
    paths: Mapping[str, Path]  # by file name, as in FILES
    self_test: tuple[str, ...] = ()  # what it says, where it was asked for


# Tests the gates on predictions and their verdicts. Raises CheckBroken where they fail.
Test: TypeAlias = Callable[[Path, Sequence[Verdict]], Record]


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
    test: Test | None = None,
) -> Outcome:
    """Judge `candidate`, beside `production` where there is one, and write `out`.

    `root` is the folder that a relative `settings.data` starts from and that its module
    is imported from. Raises BadConfiguration before any work for a gate that cannot be
    judged, and CheckBroken when the check breaks: then `out` holds none of FILES, and
    no account was kept.
    """
    started = time.monotonic()
    conditions = [gates.parse(gate, settings) for gate in settings.gates]
    own = None
    if settings.score:
        own = data.function(settings.score.function, root)
    paths = cleared(out)
    try:
        with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
            source = data.prepare(settings.data, root, Path(scratch))
            if account:
                account.look(source)
            predictions = paths["predictions.parquet"]
            facts, counts, ratios = _predicted(
                candidate, production, settings, source, predictions, own
            )
        return _judged(
            facts, counts, ratios, conditions, settings, paths, started, account, test
        )
    except pa.ArrowException as error:
        cleared(out)
        raise CheckBroken("data that Arrow can read", str(error), "mend it") from error
    except BaseException:
        cleared(out)
        raise


def cleared(out: Path) -> dict[str, Path]:
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
    out: Path,
    own: rows.Own | None,
) -> tuple[record.Facts, Counts, Ratios | None]:
    """Write predictions.parquet; what it was made from, its counts, and the latency."""
    versions = [candidate] + ([production] if production else [])
    digest = files.digest(source)
    counts = stream(versions, settings, source, out, own)
    ratios = timed(versions, settings, source)
    if files.digest(source) != digest:
        raise CheckBroken(
            "the data to stay the same while it is read",
            f"other bytes in {source}",
            "evaluate a copy that nobody writes to",
        )
    names = [version.name for version in versions]
    facts = record.Facts(names[0], names[1] if production else None, digest)
    return facts, counts, ratios


def stream(
    versions: Sequence[Version],
    settings: Evaluation,
    source: Path,
    out: Path,
    own: rows.Own | None = None,
) -> Counts:
    """Predict batch by batch, write the predictions of each, and add up the counts.

    `own` is the team's function of evaluation.score.
    """
    read = data.batches(source, _columns(versions, settings), settings.batch_rows)
    batches = rows.whole_queries(read, settings.query)
    work = partial(_part, settings, own)
    each = engine.mapped(work, versions, batches, settings)
    counts: Counts | None = None
    with files.replacing(out) as path, progress.in_rows(data.total(source)) as bar:
        with _writer(path, settings) as writer, closing(each) as parts:
            for joined, part in parts:
                writer.write(joined)
                counts = part if counts is None else counts + part
                bar.update(joined.num_rows)
    assert counts is not None, "data.batches refuses data without a row"
    return counts


def timed(
    versions: Sequence[Version], settings: Evaluation, source: Path
) -> Ratios | None:
    """How fast the candidate is beside production, if a gate asks for it."""
    asked = any(latency.ASKED in gate.expect for gate in settings.gates)
    if not asked or len(versions) < 2:
        return None
    inputs = data.narrowest(version.contract["input"] for version in versions)
    first = next(data.batches(source, inputs, latency.PAIRS))
    both = versions[0], versions[1]
    return latency.measured(both, data.arrays(first), settings.patience, latency.PAIRS)


def _columns(versions: Sequence[Version], settings: Evaluation) -> data.Columns:
    """All that is read: the models' columns by type, and what each row keeps."""
    inputs = data.narrowest(version.contract["input"] for version in versions)
    return {**rows.columns(settings), **inputs}


def _part(
    settings: Evaluation,
    own: rows.Own | None,
    models: Models,
    first: int,
    batch: pa.RecordBatch,
) -> tuple[pa.RecordBatch, Counts]:
    """What is kept of one batch, and what it counts for; what every worker does."""
    names = [name for name in batch.schema.names if name in models.columns]
    given = models.predict(data.arrays(batch.select(names)), first)
    joined = rows.joined(batch, given, settings, first, own)
    wanted = _plan(settings, drawn=True)
    return joined, fold(rows.batch_of(joined, settings), wanted)


def _writer(path: Path, settings: Evaluation) -> pq.ParquetWriter:
    """Of predictions.parquet, in the encodings that cost a third of the usual ones.

    And in the usual compression, for zstd takes twice the time to save 4 % of the size.
    """
    schema = rows.schema(settings)
    return pq.ParquetWriter(
        path,
        schema,
        use_dictionary=[n for n in schema.names if schema.field(n).type == data.TEXT],
        column_encoding=ENCODINGS if settings.task != "multiclass" else None,
        write_statistics=False,
    )


def recount(predictions: Path, settings: Evaluation) -> Counts:
    """The counts of a predictions.parquet: all that a verdict rests on."""
    return counted(kept(predictions, settings), settings)


def kept(predictions: Path, settings: Evaluation) -> Iterator[pa.RecordBatch]:
    """The rows of a predictions.parquet, in batches."""
    names = pq.read_schema(predictions).names
    return data.batches(predictions, dict.fromkeys(names), settings.batch_rows)


def counted(batches: Iterable[pa.RecordBatch], settings: Evaluation) -> Counts:
    """The counts of rows like those of predictions.parquet.

    Raises CheckBroken where there is none.
    """
    wanted = _plan(settings)
    whole = rows.whole_queries(batches, "query" if settings.query else "")
    parts = (fold(rows.batch_of(batch, settings), wanted) for batch in whole)
    if (first := next(parts, None)) is None:
        raise CheckBroken("rows with predictions", "no row", "give labelled rows")
    return sum(parts, start=first)


def _plan(settings: Evaluation, drawn: bool = False) -> Plan:
    conditions = [gates.parse(gate, settings) for gate in settings.gates]
    judged = [(each.metric, each.per) for each in conditions]
    return plan(settings, judged, drawn)


def _judged(
    facts: record.Facts,
    counts: Counts,
    ratios: Ratios | None,
    conditions: Sequence[Condition],
    settings: Evaluation,
    paths: Mapping[str, Path],
    started: float,
    account: Account | None,
    test: Test | None,
) -> Outcome:
    measured = {latency.ASKED: ratios} if ratios else {}
    verdicts = gates.judge(conditions, counts, settings, measured)
    digest = files.digest(paths["predictions.parquet"])
    seconds = time.monotonic() - started
    metrics = record.metrics(facts, counts, verdicts, settings, digest, seconds)
    metrics["latency"] = ratios and record.latency(ratios)
    tested = test(paths["predictions.parquet"], verdicts) if test else None
    metrics["self_test"] = tested
    if account:
        metrics |= account.entry(metrics, paths["predictions.parquet"])
    _written(metrics, paths)
    sentences = tuple(verdict.sentence for verdict in verdicts)
    said = tuple(tested["sentences"]) if tested else ()
    return Outcome(gates.overall(verdicts), sentences, verdicts, paths, said)


def _written(metrics: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """The three readable files; metrics.json last, for it says that all went well."""
    files.write_text(paths["report.html"], report.html(metrics))
    _summarised(report.markdown(metrics), paths["summary.md"])
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    files.write_text(paths["metrics.json"], text + "\n")


def _summarised(text: str, summary: Path) -> None:
    """Write summary.md, and add it to the page of the job if it has one."""
    files.write_text(summary, text)
    if job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(job, "a", encoding="utf-8") as file:
            file.write(text)
