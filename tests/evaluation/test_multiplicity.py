"""Families of tests: the adjusted p-values are those of the definitions."""

import pytest
from hypothesis import given
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
