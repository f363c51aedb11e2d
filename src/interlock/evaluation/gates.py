"""Gates: conditions on metrics, parsed, and judged from intervals.

    gate  = METRIC (">=" | "<=") bound ["per" COLUMN]
    bound = NUMBER | "production." METRIC [("-" | "+") NUMBER]

">=" where the metric is better when it is higher, "<=" where it is lower. A verdict
rests on two tests with stated chances of error. FAIL: "no worse than the bound" is
rejected at false_alarm, divided over the uses of the test set and the gates
(Bonferroni) and the slices (Holm), so that a project whose models are all good sees a
FAIL in the life of the test set with probability false_alarm at most. PASS: "worse than
the bound" is rejected at false_pass. Neither: UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite, isnan, nan

from interlock.config import Evaluation, Gate
from interlock.errors import BadConfiguration, CheckBroken
from interlock.evaluation import multiplicity, wording
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import Counts
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Interval, Sample
from interlock.evaluation.metrics import Mean, Metric
from interlock.evaluation.samples import is_asymptotic
from interlock.evaluation.tables import ROLES

LEVEL = 0.95  # of the intervals that are shown; the verdicts have levels of their own
MOST_ROWS = 10**9
LEAST_P = 1e-30  # evidence beyond this is not told apart
TOGETHER = 1.5  # a design effect that a sentence names


class State(StrEnum):
    """What a gate, or all of them together, came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    NO_PRODUCTION = "NO_PRODUCTION"  # only of a gate against production


@dataclass(frozen=True)
class Condition:
    """A parsed gate: METRIC, or its change from production, on one side of `bound`."""

    text: str
    metric: str
    bound: float  # of the metric, or of its change
    paired: bool = False
    per: str = ""  # a slice column, or none
    on_unknown: str = "block"
    higher: bool = True  # is better
    share: bool = True  # shown in percent and points

    @property
    def least(self) -> float:
        """What the sample, which is the better the higher, is to reach."""
        return self.bound if self.higher else -self.bound

    def turned(self, interval: Interval) -> Interval:
        """An interval of the sample as one of the metric."""
        low, high = interval
        return interval if self.higher else Interval(-high, -low)


@dataclass(frozen=True)
class Levels:
    """The two chances of error of one test."""

    false_alarm: float
    false_pass: float


@dataclass(frozen=True)
class Finding:
    """What one gate found on the whole (`slice` is empty) or on one slice."""

    slice: str
    state: State
    rows: int
    estimate: float  # the metric, or its change from production; NaN of no rows
    interval: Interval  # at LEVEL
    further: int | None  # rows like these that would settle it; None: no number would
    harm: float = 1.0  # p-value of "no worse than the bound"
    suspect: bool = False  # among the slices with evidence of harm (BH at 1 - LEVEL)
    asymptotic: bool = False  # the test's chances of error hold for many rows only
    design: float = nan  # the design effect of the clusters, where there are some


@dataclass(frozen=True)
class Verdict:
    """A gate's state, the sentence that says why, and what it rests on."""

    condition: Condition
    state: State
    sentence: str
    findings: tuple[Finding, ...] = ()
    further: int | None = None  # rows of the whole data set that would settle it


SHARE = r"(?:0?[.]\d+|1[.]0+|[01])(?![\w.])"
NUMBER = r"-?(?:\d+(?:[.]\d+)?|[.]\d+)(?![\w.])"
MEASURED = ("latency.ratio",)  # not counted from rows: timed, candidate to production


def parse(gate: Gate, settings: Evaluation) -> Condition:
    """The condition that `gate.expect` states of the metrics of `settings`.

    Raises BadConfiguration, with a caret under the place, for anything else.
    """
    reader, known = _Reader(gate.expect), catalogue(settings)
    gated = [name for name, metric in known.items() if not metric.refused]
    choice = ", ".join((*gated, *MEASURED))
    name = reader.one_of((*known, *MEASURED), f"a metric: {choice}")
    if name in MEASURED:
        return _measured(reader, gate, name)
    metric = known[name]
    _refuse_ungated(reader, metric, settings)
    _direction(reader, name, metric.higher)
    paired = bool(reader.maybe("production[.]"))
    bound = _change(reader, metric) if paired else _floor(reader, metric)
    per = _column(reader, metric, settings) if reader.maybe(r"per\b") else ""
    reader.end()
    return Condition(
        *(gate.expect, name, bound, paired, per, gate.on_unknown),
        *(metric.higher, metric.share),
    )


def _measured(reader: _Reader, gate: Gate, name: str) -> Condition:
    _direction(reader, name, higher=False)
    bound = float(reader.take(NUMBER, "a number, as in 1.10"))
    reader.end()
    return Condition(gate.expect, name, bound, False, "", gate.on_unknown, False, False)


def _refuse_ungated(reader: _Reader, metric: Metric, settings: Evaluation) -> None:
    if metric.refused:
        raise reader.refusal(
            f"a metric that can be gated: {metric.name} cannot, for {metric.refused}", 0
        )
    if why := metric.unfit(settings):
        raise reader.refusal(f"no {metric.name}, for {why}", 0)


def _direction(reader: _Reader, name: str, higher: bool) -> None:
    sign, better = (">=", "higher") if higher else ("<=", "lower")
    reader.take(sign, f"{sign!r}, for {name} is better when it is {better}")


def _floor(reader: _Reader, metric: Metric) -> float:
    kind = SHARE if metric.share else NUMBER
    what = "a number from 0 to 1" if metric.share else "a number"
    return float(reader.take(kind, f"{what}, or production.{metric.name}"))


def _change(reader: _Reader, metric: Metric) -> float:
    reader.one_of((metric.name,), f"{metric.name}, for both sides are the same metric")
    sign = reader.maybe("[-+]")
    kind = SHARE if metric.share else NUMBER.removeprefix("-?")
    what = "a number from 0 to 1" if metric.share else "a number"
    amount = float(reader.take(kind, what)) if sign else 0.0
    return -amount if sign == "-" else amount


def _column(reader: _Reader, metric: Metric, settings: Evaluation) -> str:
    if metric.whole_only:
        raise reader.refusal(f"no slices: {metric.name} is counted on the whole only")
    known = ", ".join(settings.slices) or "there are none"
    return reader.one_of(settings.slices, f"one of evaluation.slices: {known}")


class _Reader:
    """Reads a gate from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.maybe("")

    def maybe(self, pattern: str) -> str:
        """What `pattern` matches here, or nothing; and past the spaces after it."""
        found = re.compile(rf"({pattern})\s*").match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found[1]

    def one_of(self, names: Sequence[str], expected: str) -> str:
        """The longest of `names` that stands here, as a whole word; else a refusal."""
        ordered = sorted(names, key=len, reverse=True)
        choice = "|".join(map(re.escape, ordered)) or "(?!)"
        return self.take(rf"(?:{choice})(?![^\s<>=+-])", expected)

    def take(self, pattern: str, expected: str) -> str:
        """What `pattern` matches here; if nothing, a refusal."""
        found = self.maybe(pattern)
        if not found:
            raise self.refusal(expected)
        return found

    def end(self) -> None:
        """Refuses what is left over."""
        if self.at < len(self.text):
            raise self.refusal("the gate to end here, or 'per' and a slice column")

    def refusal(self, expected: str, at: int | None = None) -> BadConfiguration:
        """`expected`, with a caret below the place where it is missing, or `at`."""
        indent = " " * (len("found:    ") + (self.at if at is None else at))
        return BadConfiguration(
            expected,
            f"{self.text}\n{indent}^",
            "correct the gate in pyproject.toml; docs/evaluation.md has the grammar",
        )


def judge(
    conditions: Sequence[Condition],
    counts: Counts,
    settings: Evaluation,
    measured: Mapping[str, Sample] | None = None,
) -> tuple[Verdict, ...]:
    """The verdict of each gate, in their order.

    `measured` holds what is not counted from rows, by its name in MEASURED: a sample of
    the negative of the ratio, so that it is the better the higher. Raises CheckBroken
    for rows that no verdict may rest on: copies, and those that lack a slice.
    """
    _demand_sound(counts, settings)
    false_alarm = settings.false_alarm / settings.uses / max(len(conditions), 1)
    levels = Levels(false_alarm, settings.false_pass)
    bench = _Bench(counts, levels, catalogue(settings), measured or {})
    return tuple(bench.judge(condition) for condition in conditions)


def _demand_sound(counts: Counts, settings: Evaluation) -> None:
    if counts.repeats:
        counts.repeats.demand_no_copies()
    for column, values in settings.expected_slices.items():
        found = counts.per(column)
        if missing := [value for value in values if value not in found]:
            raise CheckBroken(
                f"rows in each of the {len(values)} expected slices of {column!r}",
                f"none in {', '.join(map(wording.name, missing))}",
                "mend the data; or correct evaluation.expected_slices",
            )


def overall(verdicts: Sequence[Verdict]) -> State:
    """FAIL if any fails; UNKNOWN if one that blocks is, or if none passes; else PASS.

    So `warn` lets a release go on what the other gates say, never on nothing.
    """
    states = [verdict.state for verdict in verdicts]
    blocks = [v.state for v in verdicts if v.condition.on_unknown == "block"]
    if State.FAIL in states:
        return State.FAIL
    if State.UNKNOWN in blocks or State.PASS not in states:
        return State.UNKNOWN
    return State.PASS


@dataclass(frozen=True)
class _Bench:
    """What every gate is judged from."""

    counts: Counts
    levels: Levels
    metrics: Mapping[str, Metric]
    measured: Mapping[str, Sample]

    def judge(self, condition: Condition) -> Verdict:
        """The verdict of one gate."""
        against = condition.paired or condition.metric in MEASURED
        if against and not self.counts.whole.paired:
            return Verdict(condition, State.NO_PRODUCTION, _no_production(condition))
        if condition.metric in MEASURED and condition.metric not in self.measured:
            return Verdict(condition, State.UNKNOWN, _not_measured(condition))
        findings = self._findings(condition)
        state = _joint([finding.state for finding in findings])
        further = None
        if state is State.UNKNOWN:
            further = _further_on_the_whole(findings, self.counts.whole.rows)
        sentence = f"{state}: {_said(condition, state, findings)}"
        if state is State.UNKNOWN:
            advice = _advice(condition, self.metrics.get(condition.metric))
            sentence += f"; {_settled(further)}{advice}"
        return Verdict(condition, state, sentence, findings, further)

    def _findings(self, condition: Condition) -> tuple[Finding, ...]:
        """On the whole, or on each slice, the strongest evidence of harm first."""
        groups = {"": self.counts.whole}
        if condition.per:
            groups = self.counts.per(condition.per)
        samples = {v: self._sample(condition, group) for v, group in groups.items()}
        harms = {v: p_value(sample, condition.least) for v, sample in samples.items()}
        ordered = sorted(harms, key=lambda value: (harms[value], value))
        family = [harms[value] for value in ordered]
        levels = _shared(self.levels, family)
        # Valid here, because the slices of a column share no row.
        listed = multiplicity.benjamini_hochberg(family)
        return tuple(
            replace(
                _find(condition, value, groups[value].rows, samples[value], levels),
                harm=harms[value],
                suspect=adjusted <= 1 - LEVEL,
                design=self._design(condition, groups[value]),
            )
            for value, adjusted in zip(ordered, listed, strict=True)
        )

    def _sample(self, condition: Condition, group: Group) -> Sample:
        if condition.metric in MEASURED:
            return self.measured[condition.metric]
        metric = self.metrics[condition.metric]
        found = metric.gain(group) if condition.paired else None
        found = found or metric.sample(group, "candidate")
        assert found, "parse lets no gate through whose metric has no sample"
        return found

    def _design(self, condition: Condition, group: Group) -> float:
        if condition.metric in MEASURED:
            return nan
        roles = ROLES if condition.paired else ROLES[:1]
        return self.metrics[condition.metric].design_effect(group, roles)


def p_value(sample: Sample, bound: float) -> float:
    """The least level at which "it is `bound` or more" is rejected; 1 if at none."""
    low, high = LEAST_P, 1.0
    if not sample.is_below(bound, 0.5):
        return 1.0
    for _ in range(24):
        middle = (low * high) ** 0.5
        if sample.is_below(bound, middle):
            high = middle
        else:
            low = middle
    return high


def _shared(levels: Levels, harms: Sequence[float]) -> Levels:
    """The levels that each slice is tested at, from the p-values of all of them.

    Holm's: false_alarm is divided by the slices that are left when the first that does
    not fail is met; those before it, which fail at a lower level, fail at that one too.
    """
    failing = sum(p <= levels.false_alarm for p in multiplicity.holm(harms))
    left = max(len(harms) - failing, 1)
    return replace(levels, false_alarm=levels.false_alarm / left)


def _joint(states: Sequence[State]) -> State:
    """FAIL if any slice fails, PASS if all pass."""
    if State.FAIL in states:
        return State.FAIL
    return State.UNKNOWN if State.UNKNOWN in states else State.PASS


def _find(
    condition: Condition, value: str, rows: int, sample: Sample, levels: Levels
) -> Finding:
    bound = condition.least

    def decide(number: int) -> State:
        return _decide(sample.scaled(number, rows), bound, levels)

    return Finding(
        value,
        decide(rows),
        rows,
        sample.estimate if condition.higher else -sample.estimate,
        condition.turned(sample.interval(1 - LEVEL)),
        further_rows(decide, rows),
        asymptotic=is_asymptotic(sample),
    )


def _decide(sample: Sample, bound: float, levels: Levels) -> State:
    if sample.is_below(bound, levels.false_alarm):
        return State.FAIL
    return State.PASS if sample.reaches(bound, levels.false_pass) else State.UNKNOWN


def further_rows(decide: Callable[[int], State], rows: int) -> int | None:
    """How many more than `rows` rows it takes until `decide` is not UNKNOWN.

    0 if it is not UNKNOWN now; None if it still is at MOST_ROWS. `decide` tells the
    state at any number of rows, at the rates seen so far. Found by doubling, then by
    bisection: one row fewer would still be UNKNOWN.
    """
    low = high = rows
    while decide(high) is State.UNKNOWN:
        if high >= MOST_ROWS:
            return None
        low, high = high, min(2 * high, MOST_ROWS)
    while high - low > 1:
        middle = (low + high) // 2
        if decide(middle) is State.UNKNOWN:
            low = middle
        else:
            high = middle
    return high - rows


def _further_on_the_whole(findings: Sequence[Finding], rows: int) -> int | None:
    """Rows of the whole data set that bring every slice what it lacks."""
    needs = [
        None if f.further is None else -(-f.further * rows // f.rows) for f in findings
    ]
    numbers = [need for need in needs if need is not None]
    return max(numbers) if len(numbers) == len(needs) else None


def _no_production(condition: Condition) -> str:
    return (
        f"{State.NO_PRODUCTION}: {condition.text!r} could not be judged, for no "
        "version is in production: this is the first"
    )


def _not_measured(condition: Condition) -> str:
    return f"{State.UNKNOWN}: {condition.metric} was not measured"


def _said(condition: Condition, state: State, findings: Sequence[Finding]) -> str:
    expected = _expected(condition)
    if any(finding.asymptotic for finding in findings):
        expected += ", by an asymptotic test"
    together = max((f.design for f in findings if f.design > TOGETHER), default=None)
    if together:
        expected += f", at a design effect of {together:.1f}"
    if not condition.per:
        return f"{condition.metric} is {_value(condition, findings[0])}, {expected}"
    odd = [finding for finding in findings if finding.state is state]
    subject = f"{condition.metric} per {condition.per}"
    if state is State.PASS:
        odd.sort(key=lambda f: f.estimate if condition.higher else -f.estimate)
        worst = "lowest" if condition.higher else "highest"
        shown = f"the {worst} is {_slice(condition, odd[0])}"
        return f"{subject} holds in all {len(odd)} slices; {shown}; {expected}"
    verb = "fails" if state is State.FAIL else "is undecided"
    shown = ", ".join(_slice(condition, finding) for finding in odd[:SHOWN])
    more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
    count = f"{len(odd)} of {len(findings)} slices"
    return f"{subject} {verb} in {count}: {shown}{more}; {expected}"


SHOWN = 5  # slices that a sentence names


def _slice(condition: Condition, finding: Finding) -> str:
    value = f"{wording.name(finding.slice)} {_value(condition, finding)}"
    if finding.state is not State.UNKNOWN:
        return value
    needs = "" if finding.further is None else f", needs {finding.further:,} more"
    return f"{value} on {finding.rows:,} rows{needs}"


def _value(condition: Condition, finding: Finding) -> str:
    """The estimate with its interval."""
    estimate, interval = finding.estimate, finding.interval
    if isnan(estimate):
        return "undefined (no row counts towards it)"
    if not all(map(isfinite, interval)):
        found = wording.value(estimate, None, condition.share)
        if condition.paired:
            found = wording.change(estimate, None, condition.share)
        return f"{found} (too few rows for an interval)"
    say, sign = (wording.change, "+") if condition.paired else (wording.value, "")
    span = wording.span(interval, sign, condition.share)
    said = say(estimate, interval, condition.share)
    return f"{said} ({wording.percent(LEVEL)} interval {span})"


def _expected(condition: Condition) -> str:
    share, bound = condition.share, condition.bound
    side = "at least" if condition.higher else "at most"
    if not condition.paired:
        return f"expected {side} {wording.value(bound, None, share)}"
    if condition.least <= 0:
        amount = wording.points(abs(bound)) + " points" if share else f"{abs(bound):g}"
        return f"tolerance {amount}"
    return f"expected {side} {wording.change(bound, None, share)}"


def _settled(further: int | None) -> str:
    if further is None:
        return f"not even {MOST_ROWS:,} rows like these would settle it"
    rows = "row" if further == 1 else "rows"
    return f"at least {further:,} more {rows} would settle it"


def _advice(condition: Condition, metric: Metric | None) -> str:
    """Where no number of rows, or very many, would settle it, what would."""
    if condition.paired and condition.bound == 0:
        # Equal models can never be told apart.
        sign = "-" if condition.higher else "+"
        example = f"production.{condition.metric} {sign} 0.005"
        return f"; a tolerance would help, as in {example}"
    if isinstance(metric, Mean) and metric.tail and metric.clip is None:
        return f"; a clip of {metric.name} would help"
    return ""
