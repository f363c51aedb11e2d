"""metrics.json as a value: every number of an evaluation, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any, TypeAlias

from interlock.config import Evaluation
from interlock.evaluation import drawn
from interlock.evaluation.catalogue import catalogue, shown
from interlock.evaluation.counts import Counts
from interlock.evaluation.gates import (
    LEVEL,
    Condition,
    Finding,
    State,
    Verdict,
    further_rows,
    overall,
    p_value,
)
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Difference, Sample, mcnemar
from interlock.evaluation.latency import Ratios
from interlock.evaluation.metrics import Metric
from interlock.evaluation.multiplicity import benjamini_hochberg
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
    known = shown(catalogue(settings))
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
        "curves": drawn.curves(counts.whole),
        "slices": _slices(counts, settings, leading, verdicts),
        "data": {"from": settings.data, "sha256": facts.data},
        "predictions": {"sha256": predictions},
        "settings": asdict(settings),
        "budget": None,  # these are for who keeps account, and tests
        "watch": None,
        "self_test": None,
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


CHOSEN = (
    "without a tolerance, false_alarm does not hold if the model in production was "
    "chosen on these very rows: its score there is partly luck; allow a tolerance, or "
    "judge on fresh rows"
)


def _gate(verdict: Verdict) -> Record:
    paired = verdict.condition.paired
    return {
        "gate": verdict.condition.text,
        "metric": verdict.condition.metric,
        "bound": verdict.condition.bound,
        "against_production": paired,
        "per": verdict.condition.per or None,
        "on_unknown": verdict.condition.on_unknown,
        "state": verdict.state,
        "sentence": verdict.sentence,
        "caution": CHOSEN if paired and verdict.condition.bound == 0 else None,
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
    elif group.table.cells:
        found["confusion"] = group.table.confusion(role).tolist()
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


def _slices(
    counts: Counts,
    settings: Evaluation,
    leading: Metric,
    verdicts: Sequence[Verdict],
) -> list[Record]:
    """A record for each slice, within its column by the evidence of harm."""
    judged = {m.name for m in catalogue(settings).values() if m.tested == leading.name}
    conditions = [v.condition for v in verdicts if v.condition.metric in judged]
    found = []
    for column in settings.slices:
        bound = _bound(conditions, column, counts.whole.paired)
        judge = _Judge(counts.whole, leading, bound, settings.false_pass)
        records = [
            _slice(column, value, group, leading) | judge.of(group)
            for value, group in counts.per(column).items()
        ]
        adjusted = benjamini_hochberg([record["harm"] for record in records])
        for record, q in zip(records, adjusted, strict=True):
            record["suspect"] = q <= 1 - LEVEL
        found += sorted(records, key=lambda record: _badness(record, leading.sign))
    return found


def _bound(conditions: Sequence[Condition], column: str, paired: bool) -> float | None:
    """What a slice is to reach: by its column's gate, else by that of the whole."""
    fit = {
        each.per: each.least for each in reversed(conditions) if each.paired is paired
    }
    return fit.get(column, fit.get(""))


@dataclass(frozen=True)
class _Judge:
    """What is said of a slice besides its numbers; no verdict rests on it."""

    whole: Group
    leading: Metric
    bound: float | None
    false_pass: float

    def of(self, group: Group) -> Record:
        """The p-value of "no worse", and the rows that it lacks.

        No worse than production; without one, than the candidate is on all rows.
        """
        sample, normal = self.leading.gain(group) if group.paired else None, 0.0
        if sample is None:
            sample = self.leading.sample(group, "candidate")
            normal = self.leading.sign * self.leading.value(self.whole, "candidate")
        if sample is None:
            return {"harm": 1.0, "further_rows": None}
        harm = p_value(sample, normal)
        return {"harm": harm, "further_rows": self._further(sample, group.rows)}

    def _further(self, sample: Sample, rows: int) -> int | None:
        """Rows like these until it is plain whether `bound` is reached."""
        bound = self.bound
        if bound is None:
            return 0

        def decide(number: int) -> State:
            scaled = sample.scaled(number, rows)
            if scaled.is_below(bound, 1 - LEVEL):
                return State.FAIL
            reached = scaled.reaches(bound, self.false_pass)
            return State.PASS if reached else State.UNKNOWN

        return further_rows(decide, rows)


def _badness(slice_: Record, sign: int) -> tuple[float, float, str]:
    value = (slice_["pair"] or slice_["candidate"])["value"]
    far = inf if value is None else sign * value
    return slice_["harm"], far, slice_["value"]


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
