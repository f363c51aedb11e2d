"""The exact test of a paired difference keeps its size, and has power."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interlock.evaluation import paired

ROWS = 14
CELLS = [(b, w) for b in range(ROWS + 1) for w in range(ROWS + 1 - b)]
MARGINS = (-0.3, -0.05, 0.0, 0.02, 0.4)


@cache
def _p_values(margin: float) -> list[float]:
    return [paired.p_value(b, w, ROWS, margin) for b, w in CELLS]


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("below", [0.0, 0.1])
def test_the_size_is_at_most_alpha_enumerated(margin: float, below: float) -> None:
    """At every attainable alpha, for gains at the margin and below, over all d."""
    gain = margin - below
    order = np.argsort(_p_values(margin), kind="stable")
    p_values = np.array(_p_values(margin))[order]
    for d in np.linspace(abs(gain), 1, 23):
        trinomial = stats.multinomial(ROWS, [(d + gain) / 2, (d - gain) / 2, 1 - d])
        chances = trinomial.pmf([(b, w, ROWS - b - w) for b, w in CELLS])
        size = np.cumsum(chances[order])
        last = np.append(p_values[1:] > p_values[:-1], True)  # ties reject together
        assert (size[last] <= p_values[last] + 1e-9).all()


@pytest.mark.parametrize("margin", MARGINS)
def test_better_rows_are_better_evidence(margin: float) -> None:
    """The p-value never rises with `better`, and never falls with `worse`."""
    found = dict(zip(CELLS, _p_values(margin), strict=True))
    for (better, worse), p in found.items():
        assert p >= found.get((better + 1, worse), 0) - 1e-12
        assert p <= found.get((better, worse + 1), 1) + 1e-12


@settings(max_examples=40)
@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.sampled_from([-0.05, -0.005, 0.01]),
    st.floats(1e-6, 0.3),
)
def test_rejects_is_the_p_value_at_most_alpha(
    better: int, worse: int, margin: float, alpha: float
) -> None:
    """Found sooner, but never where the p-value would not."""
    p = paired.p_value(better, worse, 2000, margin)
    if p <= 0.98 * alpha or p > alpha:
        assert paired.rejects(better, worse, 2000, margin, alpha) == (p <= alpha)


@pytest.mark.parametrize(
    ("better", "worse", "rows", "margin"),
    [
        (250, 250, 10_000, -0.005),
        (300, 250, 10_000, -0.005),
        (500, 350, 10_000, 0.005),
        (2_600, 2_500, 100_000, -0.001),
        (25_000_000, 25_000_000, 10**9, -0.00001),
    ],
)
def test_it_is_near_the_normal_curve_where_that_holds(
    better: int, worse: int, rows: int, margin: float
) -> None:
    """At most a tenth of a standard error worse: hardly any power is lost."""
    gain, differ = better - worse, better + worse
    z = (gain - rows * margin) / np.sqrt(differ - gain**2 / rows)
    ours = stats.norm.isf(paired.p_value(better, worse, rows, margin))
    assert z - 0.1 <= min(ours, stats.norm.isf(2e-10)) <= z + 0.05


@pytest.mark.parametrize(
    ("better", "worse", "rows", "margin", "low", "high"),
    [
        (0, 0, 0, -0.1, 1, 1),  # no rows
        (0, 0, 50, 0.1, 1, 1),  # no better than a margin above 0
        (0, 0, 2000, -0.05, 0, 1e-9),  # equal models
        (0, 1, 1, -0.5, 1, 1),
        (1, 0, 1, -1.0, 0, 1e-9),  # nothing is worse than that
        (30, 0, 30, 0.9, 0.95**30, 0.95**30 + 1e-6),  # d is 1
    ],
)
def test_at_the_edges(
    better: int, worse: int, rows: int, margin: float, low: float, high: float
) -> None:
    """No row, no difference, nothing but differences."""
    assert low <= paired.p_value(better, worse, rows, margin) <= high


@pytest.mark.parametrize("gain", [(0.0, 0.0), (0.1, 0.1), (0.02, 0.3), (0.5, 0.4)])
@pytest.mark.parametrize("rows", [3, 25])
def test_the_interval_covers_exactly_enumerated(
    rows: int, gain: tuple[float, float]
) -> None:
    """Over every (better, worse) of a trinomial, each side misses at most alpha / 2."""
    alpha, (plus, minus) = 0.1, gain
    cells = [(b, w) for b in range(rows + 1) for w in range(rows + 1 - b)]
    trinomial = stats.multinomial(rows, [plus, minus, 1 - plus - minus])
    below = above = 0.0
    for better, worse in cells:
        chance = float(trinomial.pmf([better, worse, rows - better - worse]))
        found = paired.gain_interval(better, worse, rows, alpha)
        below += chance * (found.high < plus - minus)
        above += chance * (found.low > plus - minus)
    assert below <= alpha / 2 and above <= alpha / 2


def test_the_interval_is_not_wide() -> None:
    """A fifth wider than the normal curve's, at most, for models that are alike."""
    for better, worse in ((250, 250), (300, 250), (60, 40)):
        low, high = paired.gain_interval(better, worse, 10_000, 0.05)
        wald = 2 * 1.96 * np.sqrt(better + worse) / 10_000
        assert wald < high - low < 1.4 * wald
