"""Bets: valid at every look, whatever the order, and strong enough to be of use."""

import json
from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from interlock.evaluation import betting
from interlock.evaluation.betting import Watch

PAIR = (-1, 0, 1)
counts3 = st.tuples(*[st.integers(0, 500)] * 3)


def test_a_night_is_worth_1_on_average_enumerated() -> None:
    """E[e] <= 1 under "the mean is m or more", and is 1 at the boundary."""
    rows, mean = 12, -0.1
    for chances in ((0.1, 0.9, 0.0), (0.45, 0.2, 0.35), (0.2, 0.3, 0.5)):
        expected = 0.0
        trinomial = stats.multinomial(rows, chances)
        for low in range(rows + 1):
            for same in range(rows + 1 - low):
                counts = (low, same, rows - low - same)
                night = exp(betting.evidence(PAIR, counts, mean, 1))
                expected += night * float(trinomial.pmf(counts))
        assert expected <= 1 + 1e-9
        if chances[2] - chances[0] == pytest.approx(mean):
            assert expected == pytest.approx(1)


@given(counts3, counts3)
def test_capitals_of_two_sets_of_rows_add_up(
    one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    """So shards merge, in any order."""
    stake = betting.stakes(-0.005, 1)
    both = np.add(one, other)
    parts = [betting.log_capitals(PAIR, each, -0.005, stake) for each in (one, other)]
    whole = betting.log_capitals(PAIR, both, -0.005, stake)
    assert whole == pytest.approx(parts[0] + parts[1], abs=1e-9)


@given(counts3, st.floats(-0.9, 0.9), st.floats(0, 0.09))
def test_evidence_rises_with_the_mean_it_is_against(
    counts: tuple[int, ...], mean: float, more: float
) -> None:
    """Which is what makes a confidence sequence an interval."""
    low = betting.evidence(PAIR, counts, mean, 1)
    assert low <= betting.evidence(PAIR, counts, mean + more, 1) + 1e-9


@given(counts3.filter(any), st.floats(0.001, 0.3))
@settings(max_examples=25)
def test_a_confidence_sequence_holds_what_is_not_rejected(
    counts: tuple[int, ...], alpha: float
) -> None:
    """Its upper end is where the evidence reaches 2 / alpha; and it mirrors."""
    low, high = betting.confidence_sequence(PAIR, counts, -1, 1, alpha)
    mean = (counts[2] - counts[0]) / sum(counts)
    assert -1 <= low <= mean <= high <= 1
    if high < 1 - 1e-6:
        assert betting.evidence(PAIR, counts, high, 1) >= log(2 / alpha)
        below = high - 1e-6
        assert betting.evidence(PAIR, counts, below, 1) <= log(2 / alpha)
    mirrored = betting.confidence_sequence(PAIR, counts[::-1], -1, 1, alpha)
    assert mirrored == pytest.approx((-high, -low), abs=1e-8)


def test_a_confidence_sequence_is_of_use() -> None:
    """At 10,000 rows less than twice the width of the normal curve's interval."""
    low, high = betting.confidence_sequence(PAIR, (250, 9500, 250), -1, 1, 0.05)
    assert 2 * 0.00438 < high - low < 2 * 2 * 0.00438


def test_a_tuned_stake_beats_the_mixture_where_it_fits() -> None:
    """And is bounded like the others."""
    counts = (300, 9500, 200)
    stake = betting.tuned(0.0, 1, 10_000, 0.05, 0.05 / 365)
    one = betting.log_e(betting.log_capitals(PAIR, counts, 0.0, stake))
    assert one > betting.evidence(PAIR, counts, 0.0, 1)
    assert betting.tuned(0.0, 1, 10, 0.0, 0.05) == [betting.BOLDEST]


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.95))
def test_the_floor_is_the_integral(hits: int, misses: int, floor: float) -> None:
    """Of the likelihood ratio over the proportions below it."""

    def likelihood(p: float) -> float:
        return float((p / floor) ** hits * ((1 - p) / (1 - floor)) ** misses)

    expected = integrate.quad(likelihood, 0, floor, limit=200)[0] / floor
    found = betting.log_e_of_floor(hits, hits + misses, floor)
    assert found == pytest.approx(log(expected), abs=1e-4)


def test_the_floor_at_many_rows() -> None:
    """Neither overflow nor a crash where the odds are beyond a float."""
    assert betting.log_e_of_floor(0, 10**6, 0.9) > 10**6
    assert betting.log_e_of_floor(999_999, 10**6, 0.1) < 0


def _nights(gain: float, nights: int, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    shares = [(0.05 - gain) / 2, 0.95, (0.05 + gain) / 2]
    return chance.multinomial(10_000, shares, nights)


def test_a_watch_finds_a_late_drop_and_no_early_one() -> None:
    """100 good nights do not make it slow; a drop of a point is found in a few."""
    stake = betting.stakes(0.0, 1)
    at = betting.threshold(365, 0.05)
    watch, heard = Watch(), []
    for night in (*_nights(0.0, 100, 1), *_nights(-0.01, 5, 2)):
        watch = watch.after(betting.log_capitals(PAIR, night, 0.0, stake))
        heard.append(watch.sounds(at))
    assert not any(heard[:100]) and any(heard[100:104])
    assert watch.nights == 105


def test_a_watch_is_worth_its_nights_on_average() -> None:
    """With nights of which each is worth 1 on average, it is t after t of them."""
    outcomes = [log(0.5), log(1.5)]
    states = [Watch()]
    for _ in range(5):
        states = [
            state.after(np.full(betting.BETS, each))
            for state in states
            for each in outcomes
        ]
    found = np.mean([exp(state.log_evidence) for state in states])
    assert found == pytest.approx(5)


def test_a_watch_survives_a_night_as_json() -> None:
    """Exactly, from the first state on."""
    for state in (Watch(), Watch().after(np.linspace(-3, 5, betting.BETS))):
        text = json.dumps(state.to_record())
        assert Watch.from_record(json.loads(text)) == state


def test_the_band_is_where_the_alarm_begins() -> None:
    """A night with that mean sounds, one with a row more does not."""
    at = betting.threshold(365, 0.05)
    counts = (250, 9500, 250)
    found = betting.alarm_below(Watch(), PAIR, counts, -0.005, at)
    assert found is not None and -0.03 < found < -0.005
    stake = betting.stakes(-0.005, 1)
    worse = round((500 - found * 10_000) / 2)
    for low, sounds in ((worse, True), (worse - 1, False)):
        night = (low, 9500, 500 - low)
        logs = betting.log_capitals(PAIR, night, -0.005, stake)
        assert Watch().after(logs).sounds(at) is sounds
    assert betting.alarm_below(Watch(), PAIR, (1, 9, 0), -0.005, at) is None
    assert betting.alarm_below(Watch(), PAIR, (0, 0, 0), -0.005, at) is None


def test_a_mean_that_no_row_can_reach_is_refuted() -> None:
    """Whatever was seen."""
    assert betting.evidence((0, 1), (0, 0), 1.0, 1.0) == inf
