"""Gates: what can be written, and when they pass, fail or cannot tell."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from interlock.config import Evaluation, Gate
from interlock.errors import BadConfiguration
from interlock.evaluation import gates
from interlock.evaluation.counts import WHOLE, Counts
from interlock.evaluation.gates import Condition, State, Verdict
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Difference, Proportion, Sample
from interlock.evaluation.tables import Table

SLICES = ("carrier", "dep-hour", "the month")
SETTINGS = Evaluation("", "", (), uses=1, slices=SLICES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy >= 0.80", ("accuracy", 0.8, False, "")),
        ("accuracy>=1", ("accuracy", 1.0, False, "")),
        ("  precision  >=  .5 ", ("precision", 0.5, False, "")),
        ("recall >= 0.25 per carrier", ("recall", 0.25, False, "carrier")),
        ("accuracy >= production.accuracy", ("accuracy", 0.0, True, "")),
        ("accuracy >= production.accuracy - 0.005", ("accuracy", -0.005, True, "")),
        ("accuracy>=production.accuracy-0.005", ("accuracy", -0.005, True, "")),
        ("accuracy >= production.accuracy + 0.01", ("accuracy", 0.01, True, "")),
        (
            "accuracy >= production.accuracy per dep-hour",
            ("accuracy", 0.0, True, "dep-hour"),
        ),
        (
            "accuracy >= production.accuracy - 0.1 per the month",
            ("accuracy", -0.1, True, "the month"),
        ),
    ],
)
def test_a_gate_says_what_it_says(
    text: str, expected: tuple[str, float, bool, str]
) -> None:
    """Spaces are free; a slice column may have any name."""
    found = gates.parse(Gate(text, "warn"), SETTINGS)
    assert found == Condition(text, *expected, on_unknown="warn")


@pytest.mark.parametrize(
    ("text", "caret", "expected"),
    [
        ("", 0, "a metric"),
        ("acuracy >= 0.8", 0, "a metric: accuracy, balanced_accuracy, precision"),
        ("accuracy_x >= 0.8", 0, "a metric"),
        ("log_loss >= 0.8", 9, "'<=', for log_loss is better when it is lower"),
        ("calibration_error <= 0.1", 0, "cannot, for noise alone makes it larger"),
        ("pr_auc >= 0.5", 0, "gate roc_auc"),
        ("roc_auc >= 0.5 per carrier", 19, "counted on the whole only"),
        ("latency.ratio >= 1.1", 14, "'<='"),
        ("latency.ratio <= fast", 17, "a number"),
        ("latency.ratio <= 1.1 per carrier", 21, "to end here"),
        ("latency <= 1.1", 0, "a metric"),
        ("accuracy <= 0.8", 9, "is better when it is higher"),
        ("accuracy == 0.8", 9, "'>='"),
        ("accuracy > 0.8", 9, "'>='"),
        ("accuracy >=", 11, "a number"),
        ("accuracy >= 80", 12, "a number from 0 to 1"),
        ("accuracy >= 1.5", 12, "a number from 0 to 1"),
        ("accuracy >= -0.5", 12, "a number from 0 to 1"),
        ("accuracy >= 0.8e1", 12, "a number"),
        ("accuracy >= 0.8.1", 12, "a number"),
        ("accuracy >= nan", 12, "a number"),
        ("accuracy >= 0.8 0.9", 16, "to end here"),
        ("accuracy >= 0.8 and recall >= 0.5", 16, "to end here"),
        ("accuracy >= 0.8 per", 19, "evaluation.slices: carrier"),
        ("accuracy >= 0.8 per carriers", 20, "evaluation.slices: carrier"),
        ("accuracy >= 0.8 per carrier x", 28, "to end here"),
        ("accuracy >= production.recall", 23, "same metric"),
        ("accuracy >= production.accuracy - ", 34, "a number"),
        ("accuracy >= production.accuracy * 2", 32, "to end here"),
        ("recall >= production.precision", 21, "recall, for both sides"),
        ("log_loss <= production.log_loss + -1", 34, "a number"),
        ("accuracy >= __import__('os')", 12, "a number"),
    ],
)
def test_anything_else_is_refused_at_its_place(
    text: str, caret: int, expected: str
) -> None:
    """The caret stands below the first character that does not fit."""
    with pytest.raises(BadConfiguration) as refusal:
        gates.parse(Gate(text), SETTINGS)
    lines = str(refusal.value).splitlines()
    assert expected in lines[0]
    assert lines[1] == f"found:    {text}"
    assert lines[2].index("^") == len("found:    ") + caret


def test_without_slices_no_gate_is_per_slice() -> None:
    """And the refusal says why."""
    with pytest.raises(BadConfiguration, match="there are none"):
        gates.parse(Gate("accuracy >= 0.8 per carrier"), replace(SETTINGS, slices=()))


def counted(
    right: int,
    wrong: int,
    better: int = 0,
    worse: int = 0,
    slices: Mapping[str, Table] | None = None,
) -> Counts:
    """Counts where both models are right, both wrong, or one of them is."""
    tables = {("carrier", value): table for value, table in (slices or {}).items()}
    groups = {WHOLE: table(right, wrong, better, worse), **tables}
    return Counts(
        {key: Group(each.rows, True, table=each) for key, each in groups.items()}
    )


def table(right: int, wrong: int, better: int = 0, worse: int = 0) -> Table:
    """Rows of label 0 where both models are right, both wrong, or one of them is."""
    cells = enumerate((right, better, worse, wrong))
    return Table(2, {code: (rows,) * 3 for code, rows in cells if rows})


def judged(counts: Counts, *texts: str, **others: Any) -> tuple[Verdict, ...]:
    """The verdicts of some gates."""
    settings = replace(SETTINGS, **others)
    conditions = [gates.parse(Gate(text), settings) for text in texts]
    return gates.judge(conditions, counts, settings)


@pytest.mark.parametrize(
    ("counts", "text", "sentence"),
    [
        (
            counted(8950, 1050),
            "accuracy >= 0.88",
            "PASS: accuracy is 89.5 % (95 % interval 88.9 to 90.1), "
            "expected at least 88 %",
        ),
        (
            counted(500, 500),
            "accuracy >= 0.88",
            "FAIL: accuracy is 50.0 % (95 % interval 46.9 to 53.1), "
            "expected at least 88 %",
        ),
        (
            counted(7500, 1000, better=165, worse=1335),
            "accuracy >= production.accuracy - 0.005",
            "FAIL: accuracy is 11.7 points below production "
            "(95 % interval -12.9 to -10.5), tolerance 0.5 points",
        ),
        (
            counted(90, 10),
            "accuracy >= 0.88",
            "UNKNOWN: accuracy is 90.0 % (95 % interval 82.4 to 95.1), "
            "expected at least 88 %; at least 622 more rows would settle it",
        ),
        (
            counted(90, 10),
            "accuracy >= production.accuracy",
            "UNKNOWN: accuracy is equal to production "
            "(95 % interval -5.2 to +5.2), tolerance 0 points; "
            "not even 1,000,000,000 rows like these would settle it; "
            "a tolerance would help, as in production.accuracy - 0.005",
        ),
        (
            counted(100, 0),
            "precision >= 0.5",
            "UNKNOWN: precision is undefined (no row counts towards it), "
            "expected at least 50 %; "
            "not even 1,000,000,000 rows like these would settle it",
        ),
        (
            counted(9700, 200, better=100),
            "accuracy >= production.accuracy + 0.005",
            "PASS: accuracy is 1.0 points above production "
            "(95 % interval +0.7 to +1.3), expected at least 0.5 points above "
            "production",
        ),
    ],
)
def test_a_verdict_says_why(counts: Counts, text: str, sentence: str) -> None:
    """State, estimate, interval, expectation; and what would settle it."""
    (verdict,) = judged(counts, text)
    assert verdict.sentence == sentence
    assert verdict.sentence.startswith(verdict.state)


def test_a_false_alarm_is_divided_over_uses_gates_and_slices() -> None:
    """FAIL needs p <= false_alarm / (uses x gates x slices), and no more than that."""
    p = float(stats.binom.cdf(70, 100, 0.8))
    a, b = table(70, 30), table(80, 20)
    for uses, others, slices, share in (
        (1, 0, 0, 1),
        (10, 0, 0, 10),
        (10, 1, 0, 20),
        (1, 0, 1, 2),
    ):
        counts = counted(70, 30, slices={"a": a, "b": b} if slices else {"a": a})
        gate = "accuracy >= 0.8" + (" per carrier" if slices else "")
        texts = [gate] + ["recall >= 0"] * others
        for false_alarm, state in (
            (p * share * 1.01, State.FAIL),
            (p * share * 0.99, State.UNKNOWN),
        ):
            found = judged(counts, *texts, uses=uses, false_alarm=false_alarm)
            assert found[0].state is state


@pytest.mark.parametrize(
    ("slices", "state", "says"),
    [
        (
            {"a": table(990, 10), "b": table(970, 30)},
            "PASS",
            "holds in all 2 slices; the lowest is b 97.0 %",
        ),
        (
            {"a": table(990, 10), "b": table(500, 500), "c": table(5, 0)},
            "FAIL",
            "fails in 1 of 3 slices: b 50.0 %",
        ),
        (
            {"a": table(990, 10), "c": table(5, 0)},
            "UNKNOWN",
            "is undecided in 1 of 2 slices: c 100.0 %",
        ),
    ],
)
def test_a_gate_per_slice_asks_every_slice(
    slices: dict[str, Table], state: str, says: str
) -> None:
    """One that fails is enough; one too small is named, never passed over."""
    (verdict,) = judged(counted(1, 0, slices=slices), "accuracy >= 0.9 per carrier")
    assert verdict.state == state
    assert says in verdict.sentence
    harms = [finding.harm for finding in verdict.findings]
    assert harms == sorted(harms)
    assert {finding.slice for finding in verdict.findings} == set(slices)


def test_a_small_slice_asks_for_rows_of_the_whole() -> None:
    """So many that the slice, at its share of the rows, gets what it lacks."""
    slices = {"a": table(990, 10), "c": table(5, 0)}
    counts = counted(995, 10, slices=slices)
    (verdict,) = judged(counts, "accuracy >= 0.9 per carrier")
    (small,) = [finding for finding in verdict.findings if finding.slice == "c"]
    assert small.further == 24  # 0.9 ** 29 <= 0.05 < 0.9 ** 28
    assert verdict.further == 24 * 1005 // 5


def test_hostile_slice_values_stay_on_one_short_line() -> None:
    """No line of a log can be forged by a value in the data."""
    evil = "x\n::error::owned\x1b[31m" + "y" * 500
    (verdict,) = judged(
        counted(1, 1, slices={evil: table(1, 1)}), "accuracy >= 0 per carrier"
    )
    assert verdict.sentence.isprintable()
    assert len(verdict.sentence) < 250


def test_without_production_a_paired_gate_is_not_judged() -> None:
    """It neither passes nor fails, and says why."""
    whole = replace(counted(90, 10).whole, paired=False)
    counts = Counts({WHOLE: whole})
    found = judged(counts, "accuracy >= production.accuracy", "accuracy >= 0.5")
    assert [verdict.state for verdict in found] == ["NO_PRODUCTION", "PASS"]
    assert "this is the first" in found[0].sentence
    assert gates.overall(found) is State.PASS
    assert gates.overall(found[:1]) is State.UNKNOWN


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("PASS", "PASS"),
        ("PASS FAIL UNKNOWN", "FAIL"),
        ("PASS UNKNOWN", "UNKNOWN"),
        ("PASS UNKNOWN/warn", "PASS"),
        ("FAIL/warn PASS", "FAIL"),
        ("NO_PRODUCTION PASS", "PASS"),
        ("NO_PRODUCTION UNKNOWN", "UNKNOWN"),
        ("NO_PRODUCTION", "UNKNOWN"),
        ("", "UNKNOWN"),
    ],
)
def test_the_gates_together(states: str, expected: str) -> None:
    """`warn` softens UNKNOWN alone."""
    verdicts = [
        Verdict(Condition("", "", 0.0, on_unknown=mode or "block"), State(state), "")
        for state, _, mode in (word.partition("/") for word in states.split())
    ]
    assert gates.overall(verdicts) is State(expected)


ORDER = {State.FAIL: 0, State.UNKNOWN: 1, State.PASS: 2}
LEVELS = gates.Levels(0.05 / 365, 0.05)


@given(st.integers(1, 3000), st.floats(0, 1), st.data())
def test_more_hits_never_make_a_verdict_worse(
    rows: int, bound: float, data: st.DataObject
) -> None:
    """FAIL, then UNKNOWN, then PASS."""
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, rows)] * 2)))
    worse, better = (
        gates._decide(Proportion(hits, rows), bound, LEVELS) for hits in (low, high)
    )
    assert ORDER[worse] <= ORDER[better]


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.0, -0.005, -0.05]))
def test_a_better_row_never_makes_a_verdict_worse(
    better: int, worse: int, bound: float
) -> None:
    """Nor does a worse row make it better."""
    state = gates._decide(Difference(better, worse, 2000), bound, LEVELS)
    up = gates._decide(Difference(better + 1, worse, 2000), bound, LEVELS)
    down = gates._decide(Difference(better, worse + 1, 2000), bound, LEVELS)
    assert ORDER[down] <= ORDER[state] <= ORDER[up]


samples = st.integers(1, 2000).flatmap(
    lambda rows: st.builds(Proportion, st.integers(0, rows), st.just(rows))
    | st.builds(
        Difference,
        st.integers(0, rows // 2),
        st.integers(0, rows // 2),
        st.just(rows),
    )
)


@given(samples, st.sampled_from([-0.05, -0.005, 0.0, 0.5, 0.9]))
@example(Difference(1, 1, 2), 0.9)
def test_the_rows_that_would_settle_it_do(
    sample: Proportion | Difference, bound: float
) -> None:
    """With that many more at the same rates it is settled; with one fewer, not."""

    def decide(rows: int) -> State:
        scaled: Sample = sample.scaled(rows, sample.rows)
        return gates._decide(scaled, bound, LEVELS)

    further = gates.further_rows(decide, sample.rows)
    if further is None:
        assert decide(gates.MOST_ROWS) is State.UNKNOWN
    elif further == 0:
        assert decide(sample.rows) is not State.UNKNOWN
    else:
        assert decide(sample.rows) is State.UNKNOWN
        assert decide(sample.rows + further) is not State.UNKNOWN
        assert decide(sample.rows + further - 1) is State.UNKNOWN


def test_the_chances_of_error_are_kept() -> None:
    """Enumerated at the bound: FAIL at most at false_alarm, PASS at false_pass."""
    rows, bound = 300, 0.9
    hits = np.arange(rows + 1)
    chance = stats.binom.pmf(hits, rows, bound)
    levels = gates.Levels(0.01, 0.05)
    states = [gates._decide(Proportion(int(h), rows), bound, levels) for h in hits]
    for state, most in ((State.FAIL, 0.01), (State.PASS, 0.05)):
        found = chance[[each is state for each in states]].sum()
        assert most / 3 < found <= most
