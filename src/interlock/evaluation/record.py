"""metrics.json as a value: every number of an evaluation, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, TypeAlias

from interlock.config import Evaluation
from interlock.evaluation.gates import LEVEL, Finding, Verdict, overall
from interlock.evaluation.intervals import Difference, Sample, mcnemar
from interlock.evaluation.metrics import (
    PROPORTIONS,
    Confusion,
    Counts,
    Role,
    Scores,
    Table,
)

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What was evaluated: the versions' names, and the digest of the data."""

    candidate: str
    production: str | None
    data: str


def metrics(
    facts: Facts,
    counts: Counts,
    verdicts: Sequence[Verdict],
    settings: Evaluation,
    predictions: str,
    seconds: float,
) -> Record:
    """All of metrics.json; a number that is undefined is null."""
    return {
        "state": overall(verdicts),
        "gates": [_gate(verdict) for verdict in verdicts],
        "candidate": facts.candidate,
        "production": facts.production,
        "rows": counts.whole.rows,
        "confidence": LEVEL,
        "whole": _whole(counts),
        "slices": _slices(counts, settings.slices),
        "data": {"from": settings.data, "sha256": facts.data},
        "predictions": {"sha256": predictions},
        "settings": asdict(settings),
        "budget": None,  # these two are for who keeps account
        "watch": None,
        "seconds": round(seconds, 3),
    }


def _gate(verdict: Verdict) -> Record:
    return {
        "gate": verdict.condition.text,
        "on_unknown": verdict.condition.on_unknown,
        "state": verdict.state,
        "sentence": verdict.sentence,
        "further_rows": verdict.further,
        "findings": [_finding(finding) for finding in verdict.findings],
    }


def _finding(finding: Finding) -> Record:
    return {
        "slice": finding.slice or None,
        "state": finding.state,
        "rows": finding.rows,
        "value": _number(finding.estimate),
        "low": finding.interval.low,
        "high": finding.interval.high,
        "further_rows": finding.further,
    }


def _whole(counts: Counts) -> Record:
    table, production = counts.whole, counts.production
    return {
        "positives": sum(table.cells[4:]),
        "candidate": _model(table.confusion("candidate"), counts.candidate),
        "production": production and _model(table.confusion("production"), production),
        "pair": _pair(table.pair) if production else None,
    }


def _model(confusion: Confusion, scores: Scores) -> Record:
    exact = {name: _sample(of(confusion)) for name, of in PROPORTIONS.items()}
    points = {
        "f1": confusion.f1,
        "roc_auc": scores.roc_auc,
        "log_loss": scores.log_loss,
        "brier": scores.brier,
    }
    return {
        **exact,
        **{name: {"value": _number(value)} for name, value in points.items()},
        "confusion": asdict(confusion),
    }


def _sample(sample: Sample) -> Record:
    low, high = sample.interval(1 - LEVEL)
    return {"value": _number(sample.estimate), "low": low, "high": high}


def _pair(pair: Difference) -> Record:
    """The gain in accuracy, and the one-sided p-value of "no worse"."""
    return {
        **_sample(pair),
        "better": pair.better,
        "worse": pair.worse,
        "disagreement": (pair.better + pair.worse) / pair.rows,
        "mcnemar": mcnemar(pair.better, pair.worse),
    }


def _slices(counts: Counts, columns: Sequence[str]) -> list[Record]:
    """A record for each slice, within its column from the worst to the best."""
    paired = counts.production is not None
    return [
        record
        for column in columns
        for record in sorted(
            (_slice(column, *item, paired) for item in counts.per(column).items()),
            key=_badness,
        )
    ]


def _badness(slice_: Record) -> tuple[float, str]:
    worst = slice_["pair"] or slice_["candidate"]
    return worst["value"], slice_["value"]


def _slice(column: str, value: str, table: Table, paired: bool) -> Record:
    def accuracy(role: Role) -> Record:
        return _sample(table.confusion(role).accuracy)

    return {
        "column": column,
        "value": value,
        "rows": table.rows,
        "candidate": accuracy("candidate"),
        "production": accuracy("production") if paired else None,
        "pair": _pair(table.pair) if paired else None,
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
