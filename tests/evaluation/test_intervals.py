"""The intervals keep their guarantee, and agree with SciPy."""

from fractions import Fraction
from math import isclose, isnan

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from interlock.evaluation import binomial, paired
from interlock.evaluation.intervals import Difference, Proportion

counts = st.integers(1, 10**6).flatmap(
    lambda rows: st.tuples(st.integers(0, rows), st.just(rows))
)
alphas = st.floats(1e-6, 0.5)


@given(counts, alphas)
def test_clopper_pearson_is_scipys(count: tuple[int, int], alpha: float) -> None:
    """Two-sided and one-sided, at the ends as well."""
    ours = binomial.clopper_pearson(*count, alpha)
    theirs = stats.binomtest(*count).proportion_ci(1 - alpha, method="exact")
    assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-9)
    one = stats.binomtest(*count, alternative="greater").proportion_ci(1 - alpha)
    low = binomial.lower_bound(*count, alpha)
    assert low == pytest.approx(one.low, rel=1e-6, abs=1e-9)


@given(st.integers(0, 5000), st.integers(0, 5000))
@example(10, 1065)
@example(1, 1074)
def test_mcnemar_is_the_binomial_test(better: int, worse: int) -> None:
    """One-sided, of a half: in whole numbers, and SciPy's where that is not 0 yet."""
    rows = better + worse
    ours = binomial.mcnemar(better, worse)
    exact = float(Fraction(_tail(rows, better), 2**rows))
    assert isclose(ours, exact, rel_tol=1e-9, abs_tol=1e-300)  # no denormals
    theirs = stats.binomtest(better, rows, alternative="less").pvalue if rows else 1.0
    if exact > 1e-250:
        assert isclose(ours, theirs, rel_tol=1e-9)


def _tail(rows: int, most: int) -> int:
    """The outcomes of `rows` throws of a coin with `most` heads or fewer."""
    term = total = 1
    for heads in range(1, most + 1):
        term = term * (rows - heads + 1) // heads
        total += term
    return total


@pytest.mark.parametrize("p", [0.001, 0.02, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("rows", [1, 10, 57, 400])
def test_clopper_pearson_covers_exactly_enumerated(rows: int, p: float) -> None:
    """The chance of missing p, summed over every outcome, is at most alpha."""
    alpha = 0.05
    hits = np.arange(rows + 1)
    chance = stats.binom.pmf(hits, rows, p)
    lows = np.array([binomial.lower_bound(int(hit), rows, alpha) for hit in hits])
    highs = np.array([binomial.upper_bound(int(hit), rows, alpha) for hit in hits])
    assert chance[lows > p].sum() <= alpha + 1e-12
    assert chance[highs < p].sum() <= alpha + 1e-12


def test_the_paired_interval_covers_at_ten_thousand_rows() -> None:
    """Simulated with a fixed seed; and it is not so wide that it says nothing."""
    draws = np.random.default_rng(5).multinomial(10_000, [0.03, 0.02, 0.95], 400)
    found = [paired.gain_interval(int(b), int(w), 10_000, 0.05) for b, w, _ in draws]
    assert sum(i.low <= 0.01 <= i.high for i in found) >= 400 * 0.95
    assert max(i.high - i.low for i in found) < 0.016


@given(counts, alphas, st.floats(0, 1))
def test_a_bound_is_the_test_turned_round(
    count: tuple[int, int], alpha: float, bound: float
) -> None:
    """`reaches` rejects exactly where the binomial test does."""
    hits, rows = count
    p = float(stats.binom.sf(hits - 1, rows, bound))
    if abs(p - alpha) > 1e-6 * alpha and 0 < bound < 1:
        assert Proportion(hits, rows).reaches(bound, alpha) == (p <= alpha)


@given(counts, alphas, st.floats(0.01, 0.99))
def test_below_and_reached_mirror_each_other(
    count: tuple[int, int], alpha: float, bound: float
) -> None:
    """Counting the misses instead of the hits swaps the two tests."""
    hits, rows = count
    p = float(stats.binom.cdf(hits, rows, bound))
    if abs(p - alpha) > 1e-6 * alpha:
        assert Proportion(hits, rows).is_below(bound, alpha) == (p <= alpha)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(-0.2, 0.2), alphas)
def test_a_difference_is_antisymmetric(
    better: int, worse: int, bound: float, alpha: float
) -> None:
    """What one model gains, the other loses."""
    ours, theirs = Difference(better, worse, 600), Difference(worse, better, 600)
    assert ours.estimate == -theirs.estimate
    high, low = ours.interval(alpha).high, theirs.interval(alpha).low
    assert high == -low
    assert ours.is_below(bound, alpha) == theirs.reaches(-bound, alpha)


def test_no_rows_say_nothing() -> None:
    """The estimate is undefined and the interval is everything."""
    assert isnan(Proportion(0, 0).estimate) and isnan(Difference(0, 0, 0).estimate)
    assert Proportion(0, 0).interval(0.05) == (0.0, 1.0)
    assert Difference(0, 0, 0).interval(0.05) == (-1.0, 1.0)
