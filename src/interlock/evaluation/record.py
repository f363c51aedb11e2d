"""metrics.json as a value: every number of an evaluation, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any, TypeAlias

from interlock.config import Evaluation
from interlock.evaluation.counts import Counts
from interlock.evaluation.gates import LEVEL, Finding, Verdict, overall
from interlock.evaluation.intervals import Difference, Sample, mcnemar
from interlock.evaluation.latency import Ratios
from interlock.evaluation.metrics import Group, Metric, catalogue
from interlock.evaluation.samples import is_asymptotic
from interlock.evaluation.tables import Role

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
    """All of metrics.json; a number that is undefined, or infinite, is null."""
    known = catalogue(settings)
    leading = next(iter(known.values()))
    return {
        "state": overall(verdicts),
        "gates": [_gate(verdict) for verdict in verdicts],
        "candidate": facts.candidate,
        "production": facts.production,
        "rows": counts.whole.rows,
        "confidence": LEVEL,
        "whole": _whole(counts, known),
        "metrics": [_described(metric) for metric in known.values()],
        "slices": _slices(counts, settings.slices, leading),
        "data": {"from": settings.data, "sha256": facts.data},
        "predictions": {"sha256": predictions},
        "settings": asdict(settings),
        "budget": None,  # these two are for who keeps account
        "watch": None,
        "seconds": round(seconds, 3),
    }


def _described(metric: Metric) -> Record:
    return {
        "name": metric.name,
        "title": metric.title,
        "better": "higher" if metric.higher else "lower",
        "share": metric.share,
        "not_gated": metric.refused or None,
    }


def latency(ratios: Ratios) -> Record:
    """The latency of metrics.json; its ratios are all that a verdict rests on."""
    low, high = ratios.interval(1 - LEVEL)
    return {
        "ratio": {"value": _number(ratios.ratio), "low": -high, "high": _number(-low)},
        "pairs": ratios.pairs,
        "ratios": ratios.values,
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
        "low": _number(finding.interval.low),
        "high": _number(finding.interval.high),
        "further_rows": finding.further,
        "harm": finding.harm,
        "suspect": finding.suspect,
        "guarantee": "asymptotic" if finding.asymptotic else "every size",
        "design_effect": _number(finding.design),
    }


def _whole(counts: Counts, known: Mapping[str, Metric]) -> Record:
    whole = counts.whole
    return {
        "positives": _positives(whole),
        "candidate": _model(whole, "candidate", known),
        "production": _model(whole, "production", known) if whole.paired else None,
        "pair": _pair(whole, *known.values()) if whole.paired else None,
    }


def _positives(whole: Group) -> int | None:
    """Rows with label 1 of a binary classifier."""
    if whole.candidate is None:
        return None
    return int(whole.table.confusion("candidate")[1].sum())


def _model(group: Group, role: Role, known: Mapping[str, Metric]) -> Record:
    found: Record = {name: _metric(m, group, role) for name, m in known.items()}
    if group.candidate is not None:
        cells = group.table.confusion(role).ravel().tolist()
        found["confusion"] = dict(zip(CONFUSION, cells, strict=True))
    return found


CONFUSION = ("true_negative", "false_positive", "false_negative", "true_positive")


def _metric(metric: Metric, group: Group, role: Role) -> Record:
    """A metric's value and, where its error is known, its interval."""
    value = _number(metric.value(group, role))
    return {"value": value, **_ends(metric, metric.sample(group, role))}


def _ends(metric: Metric, sample: Sample | None) -> Record:
    if sample is None:
        return {}
    low, high = sample.interval(1 - LEVEL)
    if not metric.higher:
        low, high = -high, -low
    guarantee = "asymptotic" if is_asymptotic(sample) else "every size"
    return {"low": _number(low), "high": _number(high), "guarantee": guarantee}


def _pair(group: Group, leading: Metric, *others: Metric) -> Record:
    """The change of each metric from production; of the leading one, how it comes.

    For a share of right answers: rows that only one of the two has right, and the
    one-sided p-value of "no worse".
    """
    found: Record = _change(leading, group)
    if others:
        found["metrics"] = {m.name: _change(m, group) for m in (leading, *others)}
    gain = leading.gain(group)
    if isinstance(gain, Difference):
        found |= {
            "better": gain.better,
            "worse": gain.worse,
            "disagreement": (gain.better + gain.worse) / gain.rows,
            "mcnemar": mcnemar(gain.better, gain.worse),
        }
    return found


def _change(metric: Metric, group: Group) -> Record:
    value = metric.value(group, "candidate") - metric.value(group, "production")
    return {"value": _number(value), **_ends(metric, metric.gain(group))}


def _slices(counts: Counts, columns: Sequence[str], leading: Metric) -> list[Record]:
    """A record for each slice, within its column from the worst to the best."""
    return [
        record
        for column in columns
        for record in sorted(
            (_slice(column, *item, leading) for item in counts.per(column).items()),
            key=lambda record: _badness(record, leading.sign),
        )
    ]


def _badness(slice_: Record, sign: int) -> tuple[float, str]:
    value = (slice_["pair"] or slice_["candidate"])["value"]
    return inf if value is None else sign * value, slice_["value"]


def _slice(column: str, value: str, group: Group, leading: Metric) -> Record:
    return {
        "column": column,
        "value": value,
        "rows": group.rows,
        "candidate": _metric(leading, group, "candidate"),
        "production": _metric(leading, group, "production") if group.paired else None,
        "pair": _pair(group, leading) if group.paired else None,
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
