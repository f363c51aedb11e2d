"""Gates: conditions on metrics, parsed, and judged from intervals.

    gate  = METRIC ">=" bound ["per" COLUMN]
    bound = NUMBER | "production." METRIC [("-" | "+") NUMBER]

A verdict rests on two tests with stated chances of error. FAIL: "no worse than the
bound" is rejected at false_alarm, divided over the uses of the test set, the gates and
the slices (Bonferroni), so that a project whose models are all good sees a FAIL in the
life of the test set with probability false_alarm at most. PASS: "worse than the bound"
is rejected at false_pass. Neither: UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isnan

from interlock.config import Evaluation, Gate
from interlock.errors import BadConfiguration
from interlock.evaluation import wording
from interlock.evaluation.intervals import Interval, Sample
from interlock.evaluation.metrics import PROPORTIONS, Counts, Table

LEVEL = 0.95  # of the intervals that are shown; the verdicts have levels of their own
MOST_ROWS = 10**9


class State(StrEnum):
    """What a gate, or all of them together, came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    NO_PRODUCTION = "NO_PRODUCTION"  # only of a gate against production


@dataclass(frozen=True)
class Condition:
    """A parsed gate: METRIC, or its gain over production, is to reach `bound`."""

    text: str
    metric: str
    bound: float
    paired: bool = False
    per: str = ""  # a slice column, or none
    on_unknown: str = "block"

    def sample(self, table: Table) -> Sample:
        """What is tested against the bound, from the rows of one table."""
        if self.paired:
            return table.pair
        return PROPORTIONS[self.metric](table.confusion("candidate"))


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
    estimate: float  # the metric, or the gain over production; NaN of no rows
    interval: Interval  # at LEVEL
    further: int | None  # rows like these that would settle it; None: no number would


@dataclass(frozen=True)
class Verdict:
    """A gate's state, the sentence that says why, and what it rests on."""

    condition: Condition
    state: State
    sentence: str
    findings: tuple[Finding, ...] = ()
    further: int | None = None  # rows of the whole data set that would settle it


NUMBER = r"(?:0?[.]\d+|1[.]0+|[01])(?![\w.])"
METRIC = rf"(?:{'|'.join(PROPORTIONS)})\b"


def parse(gate: Gate, slices: Sequence[str]) -> Condition:
    """The condition that `gate.expect` states; `slices` are the columns for `per`.

    Raises BadConfiguration, with a caret under the place, for anything else.
    """
    reader = _Reader(gate.expect)
    metric = reader.take(METRIC, f"a metric: {', '.join(PROPORTIONS)}")
    reader.take(">=", f"'>=', for {metric} is better when it is higher")
    paired = bool(reader.maybe("production[.]"))
    bound = _gain(reader, metric) if paired else _floor(reader)
    per = _column(reader, slices) if reader.maybe(r"per\b") else ""
    reader.end()
    return Condition(gate.expect, metric, bound, paired, per, gate.on_unknown)


def _floor(reader: _Reader) -> float:
    return float(reader.take(NUMBER, "a number from 0 to 1, or production.accuracy"))


def _gain(reader: _Reader, metric: str) -> float:
    if metric != "accuracy":
        raise reader.refusal(f"a number, for {metric} has no paired test yet")
    reader.take(r"accuracy\b", "accuracy, for both sides are the same metric")
    sign = reader.maybe("[-+]")
    amount = float(reader.take(NUMBER, "a number from 0 to 1")) if sign else 0.0
    return -amount if sign == "-" else amount


def _column(reader: _Reader, slices: Sequence[str]) -> str:
    names = "|".join(map(re.escape, slices)) or "(?!)"
    known = f"one of evaluation.slices: {', '.join(slices) or 'there are none'}"
    return reader.take(rf"(?:{names})(?!\S)", known)


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

    def refusal(self, expected: str) -> BadConfiguration:
        """`expected`, with a caret below the place where it is missing."""
        indent = " " * (len("found:    ") + self.at)
        return BadConfiguration(
            expected,
            f"{self.text}\n{indent}^",
            "correct the gate in pyproject.toml; docs/evaluation.md has the grammar",
        )


def judge(
    conditions: Sequence[Condition], counts: Counts, settings: Evaluation
) -> tuple[Verdict, ...]:
    """The verdict of each gate, in their order."""
    false_alarm = settings.false_alarm / settings.uses / max(len(conditions), 1)
    levels = Levels(false_alarm, settings.false_pass)
    return tuple(_judge(condition, counts, levels) for condition in conditions)


def overall(verdicts: Sequence[Verdict]) -> State:
    """FAIL if any fails; UNKNOWN if one that blocks is, or if none could be judged."""
    states = [verdict.state for verdict in verdicts]
    blocks = [v.state for v in verdicts if v.condition.on_unknown == "block"]
    if State.FAIL in states:
        return State.FAIL
    if State.UNKNOWN in blocks or set(states) <= {State.NO_PRODUCTION}:
        return State.UNKNOWN
    return State.PASS


def _judge(condition: Condition, counts: Counts, levels: Levels) -> Verdict:
    if condition.paired and counts.production is None:
        return Verdict(condition, State.NO_PRODUCTION, _no_production(condition))
    findings = _findings(condition, counts, levels)
    state = _joint([finding.state for finding in findings])
    further = None
    if state is State.UNKNOWN:
        further = _further_on_the_whole(findings, counts.whole.rows)
    sentence = f"{state}: {_said(condition, state, findings)}"
    if state is State.UNKNOWN:
        sentence += f"; {_settled(further)}{_advice(condition)}"
    return Verdict(condition, state, sentence, findings, further)


def _findings(
    condition: Condition, counts: Counts, levels: Levels
) -> tuple[Finding, ...]:
    if not condition.per:
        return (_find(condition, "", counts.whole, levels),)
    tables = counts.per(condition.per)
    shared = replace(levels, false_alarm=levels.false_alarm / max(len(tables), 1))
    return tuple(_find(condition, *item, shared) for item in tables.items())


def _joint(states: Sequence[State]) -> State:
    """FAIL if any slice fails, PASS if all pass."""
    if State.FAIL in states:
        return State.FAIL
    return State.UNKNOWN if State.UNKNOWN in states else State.PASS


def _find(condition: Condition, value: str, table: Table, levels: Levels) -> Finding:
    sample, bound = condition.sample(table), condition.bound

    def decide(rows: int) -> State:
        return _decide(sample.scaled(rows, table.rows), bound, levels)

    return Finding(
        value,
        decide(table.rows),
        table.rows,
        sample.estimate,
        sample.interval(1 - LEVEL),
        further_rows(decide, table.rows),
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


def _said(condition: Condition, state: State, findings: Sequence[Finding]) -> str:
    expected = _expected(condition)
    if not condition.per:
        return f"{condition.metric} is {_value(condition, findings[0])}, {expected}"
    odd = sorted((f for f in findings if f.state is state), key=lambda f: f.estimate)
    subject = f"{condition.metric} per {condition.per}"
    if state is State.PASS:
        lowest = f"the lowest is {_slice(condition, odd[0])}"
        return f"{subject} holds in all {len(odd)} slices; {lowest}; {expected}"
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
    return f"{value} on {finding.rows:,} rows"


def _value(condition: Condition, finding: Finding) -> str:
    """The estimate with its interval."""
    estimate, interval = finding.estimate, finding.interval
    if isnan(estimate):
        return "undefined (no row counts towards it)"
    say, sign = (wording.gain, "+") if condition.paired else (wording.percent, "")
    span = wording.span(interval, sign)
    return f"{say(estimate, interval)} ({wording.percent(LEVEL)} interval {span})"


def _expected(condition: Condition) -> str:
    if not condition.paired:
        return f"expected at least {wording.percent(condition.bound)}"
    if condition.bound <= 0:
        return f"tolerance {wording.points(abs(condition.bound))} points"
    return f"expected at least {wording.gain(condition.bound)}"


def _settled(further: int | None) -> str:
    if further is None:
        return f"not even {MOST_ROWS:,} rows like these would settle it"
    rows = "row" if further == 1 else "rows"
    return f"at least {further:,} more {rows} would settle it"


def _advice(condition: Condition) -> str:
    """Where no difference is allowed, equal models can never be told apart."""
    if condition.paired and condition.bound == 0:
        return "; a tolerance would help, as in production.accuracy - 0.005"
    return ""
