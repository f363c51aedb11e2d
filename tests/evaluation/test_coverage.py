"""Every interval and test within its guarantee: enumerated wherever that is possible.

The chance of every outcome is known, so these are sums and not simulations. A few cases
run with the unit tests; `nox -s statistics` runs all of them, and compares with
statsmodels and ville.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import log

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from interlock.evaluation import betting, binomial, paired, planning
from interlock.evaluation.intervals import Difference, Proportion
from interlock.evaluation.moments import Moments, of
from interlock.evaluation.samples import Dice, Gain, Means, Quotient, RootGain

Floats = npt.NDArray[np.float64]

ALL = "INTERLOCK_STATISTICS" in os.environ
ROWS = (10, 100, 1_000, 10_000, 100_000) if ALL else (10, 300)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5) if ALL else (0.01, 0.35)
RATES += tuple(1 - rate for rate in reversed(RATES[:-1]))
ALPHAS = (0.05, 0.05 / 365)
SAMPLED = 200
TAIL = 1e-9  # of outcomes so rare that they are counted as errors


def _likely(rows: int, rate: float) -> tuple[int, int]:
    """The outcomes of a binomial but for TAIL of them."""
    binomial = stats.binom(rows, rate)
    return int(binomial.ppf(TAIL / 2)), int(binomial.isf(TAIL / 2))


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The least number from which on `holds` does, or high + 1."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("rows", ROWS)
def test_a_proportion_is_covered(rows: int, rate: float) -> None:
    """Clopper-Pearson misses at most alpha / 2 on each side."""
    low, high = _likely(rows, rate)
    for alpha in ALPHAS:
        above = _least(low, high, lambda h: _ends(h, rows, alpha).low > rate)
        below = _least(low, high, lambda h: _ends(h, rows, alpha).high >= rate)
        assert stats.binom.sf(above - 1, rows, rate) <= alpha / 2 + TAIL
        assert stats.binom.cdf(below - 1, rows, rate) <= alpha / 2 + TAIL


def _ends(hits: int, rows: int, alpha: float) -> binomial.Interval:
    return binomial.clopper_pearson(hits, rows, alpha)


@pytest.mark.parametrize("betting_too", [False, True])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("rows", ROWS)
def test_a_bounded_mean_is_covered(rows: int, rate: float, betting_too: bool) -> None:
    """Of numbers that are 0 or 1, than which none within 0 and 1 are more skewed."""
    points = betting.grid(0, 1)
    low, high = _likely(rows, rate)
    corners = np.array([[0.0, 1.0], [1.0, 1.0]])

    def margin(hits: int, alpha: float, side: int) -> float:
        share = hits / rows
        scatter = np.diag([rows * share * (1 - share), 0])
        masses = (rows - hits) * (points == 0) + hits * (points == 1.0)
        bets = betting.Masses(0, 1, masses) if betting_too else None
        moments = Moments(rows, np.array([share, 1]), scatter)
        found = Means(moments, corners, bets=bets)
        return Quotient(found).margin(rate, alpha, side)

    for alpha in ALPHAS:
        above = _least(low, high, lambda h: margin(h, alpha, 1) > 0)
        below = _least(low, high, lambda h: margin(h, alpha, -1) <= 0)
        assert stats.binom.sf(above - 1, rows, rate) <= alpha + TAIL
        assert stats.binom.cdf(below - 1, rows, rate) <= alpha + TAIL


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("union", [0.1, 0.6])
def test_f1_is_covered(share: float, union: float) -> None:
    """Whatever the number of rows that are positive or called so, enumerated."""
    rows, alpha, missed = 25, 0.1, np.zeros(2)
    truth = 2 * share / (1 + share)
    for some in range(rows + 1):
        weight = stats.binom.pmf(some, rows, union)
        for hits in range(some + 1):
            chance = weight * stats.binom.pmf(hits, some, share)
            low, high = Dice(Proportion(hits, some)).interval(alpha)
            missed += [chance * (low > truth), chance * (high < truth)]
    assert (missed <= alpha / 2).all()


def test_f1_is_tested_as_its_interval_says() -> None:
    """The bounds that neither test rejects, and those alone."""
    found, alpha = Dice(Proportion(31, 40)), 0.1
    assert found.estimate == pytest.approx(62 / 71)
    low, high = found.interval(alpha)
    assert found.reaches(low - 1e-9, alpha / 2)
    assert not found.reaches(low + 1e-9, alpha / 2)
    assert found.is_below(high + 1e-9, alpha / 2)
    assert not found.is_below(high - 1e-9, alpha / 2)
    assert found.reaches(0, alpha) and not found.reaches(1, alpha)
    assert Dice(Proportion(40, 40)).interval(alpha).high == 1


@pytest.mark.parametrize("rows", [300, 3_000, 30_000] if ALL else [300])
@pytest.mark.parametrize("clip", [3.0, 30.0])
def test_clipped_losses_keep_their_chances(rows: int, clip: float) -> None:
    """Heavy tails, simulated at the truth: rejected no more often than alpha.

    With a seed of its own: 100 draws of a chance of 0.1 exceed 20 once in 1,200.
    """
    chance, alpha, draws = np.random.default_rng(11), 0.1, 2000 if ALL else 100
    scales = np.array([1.0, 0.9])
    roots = [_root(scale, clip) for scale in scales]
    bound, change = -(roots[0] ** 2), roots[1] - roots[0]
    ends = np.array([[-(clip**2), 1.0], [0.0, 1.0]])
    corners = np.array([[*a, *b] for a in ends for b in ends])
    each = binomial.Interval(-(clip**2), 0.0)
    wrong = np.zeros(4)
    for _ in range(draws):
        errors = chance.standard_t(3, (rows, 2)) * scales
        losses = -np.minimum(np.square(errors), clip**2)
        vectors = np.insert(losses, [1, 2], 1.0, axis=1)
        places = np.zeros(rows, np.int64)
        (own,) = betting.put_down(losses[:, 0], -(clip**2), 0.0, places, 1)
        apart = losses[:, 0] - losses[:, 1]
        (gain,) = betting.put_down(apart, -(clip**2), clip**2, places, 1)
        one = Quotient(Means(of(vectors[:, :2]), ends, bets=own), each)
        means = Means(of(vectors), corners, bets=gain)
        two = RootGain(Gain(means, shared=True, each=each))
        wrong += [
            *(one.reaches(bound, alpha), one.is_below(bound, alpha)),
            *(two.reaches(change, alpha), two.is_below(change, alpha)),
        ]
    assert (wrong <= (alpha if ALL else 0.2) * draws).all(), wrong


def _root(scale: float, clip: float) -> float:
    """Of the mean of the clipped squares."""

    def square(error: float) -> float:
        return float(min((scale * error) ** 2, clip**2))

    return float(np.sqrt(stats.t(3).expect(square)))


def test_the_gain_of_a_root_is_that_of_the_roots() -> None:
    """Its interval is around it, and narrows on it; each end is where a test turns."""
    chance = np.random.default_rng(2)
    widths = []
    for rows in (2_000, 200_000):
        errors = chance.uniform(0, 1, (rows, 2)) * [1.0, 0.5]
        vectors = np.insert(-np.square(errors), [1, 2], 1.0, axis=1)
        ends = np.array([[-1.0, 1.0], [0.0, 1.0]])
        corners = np.array([[*a, *b] for a in ends for b in ends])
        each = binomial.Interval(-1.0, 0.0)
        gain = RootGain(Gain(Means(of(vectors), corners), shared=True, each=each))
        roots = np.sqrt(np.square(errors).mean(axis=0))
        assert gain.estimate == pytest.approx(roots[1] - roots[0])
        low, high = gain.interval(0.1)
        assert low < -(0.5 / 3**0.5) < high
        assert gain.reaches(low - 1e-6, 0.05) and not gain.reaches(low + 1e-6, 0.05)
        assert gain.is_below(high + 1e-6, 0.05) and not gain.is_below(high - 1e-6, 0.05)
        assert gain.reaches(-2, 0.05) and gain.is_below(0.9, 0.05)
        widths.append(high - low)
    assert widths[1] < widths[0] / 8


GAINS = (-0.9, -0.3, 0.0, 0.1, 0.7, 1.0) if ALL else (-0.3, 0.0)  # of the disagreement


def _rejected(
    rows: int,
    d: float,
    gain: float,
    rejects: Callable[[int, int], bool],
    most: int = SAMPLED,
) -> float:
    """The chance of `rejects(better, worse)`, which more `better` never undoes.

    Summed over every number of rows that differ; where those are more than `most`, over
    so many of them, spread evenly over their distribution.
    """
    low, high = _likely(rows, d)
    differs = np.arange(low, high + 1)
    chance = stats.binom.pmf(differs, rows, d)
    if len(differs) > most:
        spread = stats.binom.ppf((np.arange(most) + 0.5) / most, rows, d)
        differs, times = np.unique(spread.astype(int), return_counts=True)
        chance = times / most
    least = [_least_better(int(n), rejects) for n in differs]
    reached = stats.binom.sf(np.array(least) - 1, differs, (1 + gain / d) / 2)
    return float(chance @ reached)


def _least_better(differ: int, rejects: Callable[[int, int], bool]) -> int:
    return _least(0, differ, lambda better: rejects(better, differ - better))


@pytest.mark.parametrize("share", GAINS)
@pytest.mark.parametrize("d", RATES)
@pytest.mark.parametrize("rows", ROWS)
def test_a_gain_is_covered(rows: int, d: float, share: float) -> None:
    """The closed interval of a paired difference misses at most alpha a side."""
    gain = share * d
    for alpha in ALPHAS:

        def misses(better: int, worse: int, alpha: float = alpha) -> bool:
            return paired.gain_lower_bound(better, worse, rows, alpha) > gain + 1e-12

        assert _rejected(rows, d, gain, misses) <= alpha + TAIL


SPOTS = [(0.005, 0.001), (0.05, 0.005)]  # of many rows
SIZES = [
    (rows, d, margin)
    for rows in (ROWS if ALL else (10, 60))
    for d in ((0.001, 0.005, 0.01, 0.02, 0.05, 0.2, 0.6, 1.0) if ALL else (0.02, 0.3))
    for margin in (
        (-0.05, -0.005, -0.001, 0.001, 0.005, 0.05) if ALL else (-0.02, 0.01)
    )
    if abs(margin) <= d and (rows <= 1_000 or (d, abs(margin)) in SPOTS)
]


@pytest.mark.parametrize(("rows", "d", "margin"), SIZES)
def test_the_test_against_a_margin_keeps_its_size(
    rows: int, d: float, margin: float
) -> None:
    """At the margin, where it is largest; near alpha where many rows differ."""
    for alpha in ALPHAS:

        def rejects(better: int, worse: int, alpha: float = alpha) -> bool:
            return paired.rejects(better, worse, rows, margin, alpha)

        most = SAMPLED if rows <= 1_000 else 20  # each takes seconds
        size = _rejected(rows, d, margin, rejects, most)
        assert size <= alpha + TAIL
        if rows * (d - abs(margin)) > 200:
            assert size >= 0.7 * alpha


@pytest.mark.parametrize(
    ("rows", "d"),
    [(2_000, 0.05), (10_000, 0.02), (10_000, 0.05), (10_000, 0.2), (40_000, 0.05)],
)
@pytest.mark.skipif(not ALL, reason="takes minutes: nox -s statistics")
def test_a_plan_is_near_the_truth(rows: int, d: float) -> None:
    """The chance that an equal model passes, enumerated and as planned."""
    setting = planning.Setting(rows, 365, d)
    planned = planning.against_production(setting, 0.005).passes

    def passes(better: int, worse: int) -> bool:
        return Difference(better, worse, rows).reaches(-0.005, 0.05)

    found = _rejected(rows, d, 0.0, passes, most=20)
    assert found == pytest.approx(planned, abs=0.03)


@pytest.mark.parametrize("mean", [-0.005, 0.0] if ALL else [-0.005])
def test_bets_hold_at_every_look(mean: float) -> None:
    """Simulated at the boundary, fixed seed: how often they ever reach 1 / alpha."""
    paths, looks = (4000, 400) if ALL else (400, 60)
    chance = np.random.default_rng(3)
    shares = [(0.05 - mean) / 2, 0.95, (0.05 + mean) / 2]
    nights = chance.multinomial(500, shares, (paths, looks)).cumsum(axis=1)
    logs = betting.log_capitals(
        (-1, 0, 1),
        np.moveaxis(nights, 2, 0).reshape(3, -1),
        mean,
        betting.stakes(mean, 1),
    )
    ever = betting.log_e(logs).reshape(paths, looks).max(axis=1)
    for alpha in (0.2, 0.05, 0.01):
        assert (ever >= -log(alpha)).mean() <= alpha


@pytest.mark.skipif(not ALL, reason="statsmodels is in nox -s statistics only")
def test_statsmodels_agrees() -> None:
    """On intervals of a proportion, McNemar's test, and families of tests."""
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint

    from interlock.evaluation import multiplicity

    chance = np.random.default_rng(4)
    for _ in range(500):
        rows = int(chance.integers(1, 10**5))
        hits = int(chance.integers(0, rows + 1))
        theirs = proportion_confint(hits, rows, 0.05, "beta")
        ours = binomial.clopper_pearson(hits, rows, 0.05)
        assert ours == pytest.approx(theirs, abs=1e-9)
        better, worse = (int(n) for n in chance.integers(0, 300, 2))
        both = mcnemar([[0, better], [worse, 0]], exact=True).pvalue
        one = binomial.mcnemar(min(better, worse), max(better, worse))
        assert min(1, 2 * one) == pytest.approx(both)
        family = chance.uniform(0, 0.2, int(chance.integers(1, 30))).tolist()
        for name, ours_ in (
            ("holm", multiplicity.holm),
            ("fdr_bh", multiplicity.benjamini_hochberg),
        ):
            assert ours_(family) == pytest.approx(multipletests(family, method=name)[1])


@pytest.mark.skipif(not ALL, reason="ville is in nox -s statistics only")
def test_ville_agrees() -> None:
    """Its Bernoulli test is a bet on every chance there may be, evenly weighted."""
    import ville

    chance = np.random.default_rng(5)
    grid = (np.arange(20_000) + 0.5) / 20_000
    for p0 in (0.1, 0.5, 0.93):
        rows = (chance.random(3000) < chance.uniform(0, 1)).astype(float)
        test = ville.BernoulliTest(p0=p0).fit(rows)
        stakes = (p0 - grid) / (p0 * (1 - p0))  # what makes a chance of p0 one of grid
        for n in (1, 10, 500, 3000):
            hits = int(rows[:n].sum())
            logs = betting.log_capitals((0, 1), (n - hits, hits), p0, stakes)
            theirs = float(test.log_e_values_[n - 1])
            assert betting.log_e(logs) == pytest.approx(theirs, abs=1e-3)


@pytest.mark.skipif(not ALL, reason="ville is in nox -s statistics only")
def test_our_interval_is_no_wider_than_villes_sequences() -> None:
    """Of a bounded mean: its empirical Bernstein and its betting one."""
    import ville

    chance = np.random.default_rng(6)
    rows = chance.choice([-1.0, 0.0, 1.0], 10_000, p=[0.025, 0.95, 0.025])
    (bets,) = betting.put_down(rows, -1.0, 1.0, np.zeros(len(rows), np.int64), 1)
    vectors = of(np.stack([rows, np.ones(len(rows))], axis=1))
    ends = np.array([[-1.0, 1.0], [1.0, 1.0]])
    found = Quotient(Means(vectors, ends, bets=bets), binomial.Interval(-1.0, 1.0))
    low, high = found.interval(0.05)
    for kind in (ville.EmpiricalBernsteinCS, ville.BettingCS):
        theirs = kind(bounds=(-1, 1), alpha=0.05, intersect=False).fit(rows)
        assert high - low <= float(theirs.upper_[-1] - theirs.lower_[-1])
