"""Bets: valid at every look, whatever the order, and strong enough to be of use."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interlock.evaluation import betting
from interlock.evaluation.betting import Masses, Watch

PAIR = (-1, 0, 1)
counts3 = st.tuples(*[st.integers(0, 500)] * 3)


def test_a_night_is_worth_1_on_average_enumerated() -> None:
    """E[e] <= 1 under "the mean is m or more", and is 1 at the boundary."""
    rows, mean = 12, -0.1
    stake = betting.stakes(mean, 1)
    for chances in ((0.1, 0.9, 0.0), (0.45, 0.2, 0.35), (0.2, 0.3, 0.5)):
        expected = 0.0
        trinomial = stats.multinomial(rows, chances)
        for low in range(rows + 1):
            for same in range(rows + 1 - low):
                counts = (low, same, rows - low - same)
                logs = betting.log_capitals(PAIR, counts, mean, stake)
                night = exp(betting.log_e(logs))
                expected += night * float(trinomial.pmf(counts))
        assert expected <= 1 + 1e-9
        if chances[2] - chances[0] == pytest.approx(mean):
            assert expected == pytest.approx(1)


ranges = st.sampled_from([(0.0, 1.0), (-36.0, 0.0), (-4.0, 4.0), (2.0, 7.0)])


def _laid(values: np.ndarray, low: float, high: float) -> Masses:
    (found,) = betting.put_down(values, low, high, np.zeros(len(values), int), 1)
    return found


@given(ranges, st.integers(1, 50), st.integers(0, 2**32 - 1), st.booleans())
def test_masses_keep_the_mean_and_win_no_more(
    ends: tuple[float, float], rows: int, seed: int, small: bool
) -> None:
    """Than the numbers that they stand for, and not much less; parts add up."""
    (low, high), chance = ends, np.random.default_rng(seed)
    values = chance.uniform(low, high, rows)
    if small:
        values = np.clip(0.01 * values, low, high)
    masses, points = _laid(values, low, high), betting.grid(low, high)
    assert masses.masses.sum() == pytest.approx(rows)
    assert masses.masses @ points == pytest.approx(values.sum(), abs=1e-9)
    cut = rows // 2
    parts = _laid(values[:cut], low, high) + _laid(values[cut:], low, high)
    assert parts.masses == pytest.approx(masses.masses)
    for mean in (low + 0.2 * (high - low), 0.99 * values.mean() + 0.01 * high):
        for side, worst in ((1, low), (-1, high)):
            stake = betting.FIXED / abs(mean - worst)
            logs = betting.log_capitals(
                -side * values, np.ones(rows), -side * mean, stake
            )
            assert masses.log_e(mean, side) <= betting.log_e(logs) + 1e-9
            if small:
                assert masses.log_e(mean, side) >= betting.log_e(logs) - 0.002 * rows


@pytest.mark.parametrize("side", [1, -1])
def test_a_fixed_number_of_rows_is_worth_1_on_average(side: int) -> None:
    """Of numbers that are 0 or 1, enumerated; less on the other side of the bound."""
    rows, bound = 40, 0.3
    hits = np.arange(rows + 1)
    logs = np.array(
        [
            _laid(np.repeat([0.0, 1.0], [rows - h, h]), 0, 1).log_e(bound, side)
            for h in hits
        ]
    )
    for rate in (bound, bound - 0.1 * side):
        worth = np.exp(logs + stats.binom.logpmf(hits, rows, rate)).sum()
        assert worth <= 1 + 1e-9
        assert rate != bound or worth == pytest.approx(1)


def test_what_no_row_can_reach_is_refuted() -> None:
    """And what all rows do, never."""
    masses = _laid(np.array([0.5, 0.5]), 0, 1)
    assert masses.log_e(-0.1, 1) == masses.log_e(1.1, -1) == np.inf
    assert masses.log_e(0.0, 1) == masses.log_e(1.0, -1) == 0.0


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
