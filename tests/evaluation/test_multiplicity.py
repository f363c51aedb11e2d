"""Families of tests: the adjusted p-values are those of the definitions."""

from math import pi

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from interlock.evaluation import multiplicity

families = st.lists(st.floats(0, 1), max_size=12)


@given(families, st.floats(0.001, 0.5))
def test_holm_rejects_step_by_step(p_values: list[float], alpha: float) -> None:
    """While the next smallest is at most alpha over how many are left."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = set()
    for step, index in enumerate(order):
        if p_values[index] * (len(order) - step) > alpha:
            break
        rejected.add(index)
    adjusted = multiplicity.holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


@given(families.filter(len))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    """Ties and ends as well."""
    theirs = stats.false_discovery_control(p_values)
    assert multiplicity.benjamini_hochberg(p_values) == pytest.approx(theirs.tolist())


@given(st.lists(st.floats(0, 1e6), max_size=12), st.floats(0.001, 0.5))
@example([5e-324, 0.0], 0.5)
def test_e_bh_rejects_the_largest(e_values: list[float], alpha: float) -> None:
    """Those above S / (alpha i), for the largest i with i of them there."""
    count = len(e_values)
    ranked = sorted(e_values, reverse=True)
    kept = max(
        (i for i, e in enumerate(ranked, 1) if e * i * alpha >= count), default=0
    )
    least = ranked[kept - 1] if kept else float("inf")
    adjusted = multiplicity.e_bh(e_values)
    for e, p in zip(e_values, adjusted, strict=True):
        if abs(p - alpha) > 1e-9:
            assert (p <= alpha) == (e >= least)


def test_no_ledger_spends_more_than_alpha() -> None:
    """The even one over its uses, the other over any number."""
    assert sum(multiplicity.even(0.05, 365) for _ in range(365)) == pytest.approx(0.05)
    spent = sum(multiplicity.spending(0.05, use) for use in range(1, 10_000))
    assert 0.05 * (1 - 6 / pi**2 / 9_999) <= spent < 0.05
