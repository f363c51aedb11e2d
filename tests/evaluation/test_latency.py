"""The candidate's latency beside production's: a ratio, tested by its sign."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interlock.errors import CheckBroken
from interlock.evaluation import record
from interlock.evaluation.latency import Ratios, measured
from interlock.evaluation.run import timed
from tests.evaluation.conftest import Settings, Toy, Write, flips

ROWS = {"x": np.linspace(0, 1, 7)}
SLOW = "import time; time.sleep(0.003); return batch['x']"

values = st.lists(st.floats(0.01, 100), min_size=1, max_size=60)
levels = st.sampled_from([0.4, 0.1, 0.05, 0.001])


@given(values, st.floats(0.5, 2), levels)
def test_the_test_is_scipys_quantile_test(
    found: list[float], bound: float, alpha: float
) -> None:
    """Of the median, on either side."""
    ratios = Ratios(tuple(found))
    above, below = (
        stats.quantile_test(found, q=bound, p=0.5, alternative=side).pvalue
        for side in ("greater", "less")
    )
    if not np.isclose(above, alpha):
        assert ratios.is_below(-bound, alpha) == (above < alpha)
    # It calls "less than": a value at the bound is one that keeps to it.
    at = any(value == bound for value in found)
    if not np.isclose(below, alpha) and not at:
        assert ratios.reaches(-bound, alpha) == (below < alpha)


@given(values, levels)
def test_the_interval_is_scipys(found: list[float], alpha: float) -> None:
    """Between two of the values, or without an end where there are too few."""
    low, high = Ratios(tuple(found)).interval(alpha)
    theirs: Any = stats.quantile_test(found, p=0.5).confidence_interval(1 - alpha)
    if np.isnan(theirs.low) or np.isnan(theirs.high):
        assert (low, high) == (-np.inf, 0)
    else:
        assert (-high, -low) == (theirs.low, theirs.high)


def test_the_median_lies_in_the_interval_as_often_as_it_says() -> None:
    """By the exact distribution of the order statistics, at any number of pairs."""
    for pairs in range(1, 300):
        place = int(-Ratios(tuple(range(1, pairs + 1))).interval(0.05).high)
        outside = 2 * stats.binom.cdf(place - 1, pairs, 0.5)
        more = 2 * stats.binom.cdf(place, pairs, 0.5)
        assert outside <= 0.05 < more


def test_pairs_add_up_and_scale() -> None:
    """The parts are those of fresh processes; more pairs like these settle it."""
    one, other = Ratios((1.0, 1.25)), Ratios((0.8,))
    both = one + other
    assert (both.pairs, both.ratio, both.estimate) == (3, 1.0, -1.0)
    assert not both.reaches(-1.1, 0.05)
    more = both.scaled(30, 3)
    assert (more.pairs, more.estimate) == (30, -1.0)
    assert not more.reaches(-1.1, 0.01) and more.reaches(-1.3, 0.01)
    assert np.isnan(Ratios(()).ratio)


def test_a_slower_model_is_found_out(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sleep is longer than none on whatever machine."""
    monkeypatch.setattr("interlock.evaluation.latency.STARTS", 1)
    found = measured((toy(SLOW, "slow"), toy()), ROWS, 60, pairs=40)
    assert found.pairs == 40
    assert found.is_below(-1.1, 0.001)


def test_they_answer_in_turns(toy: Toy, tmp_path: Path) -> None:
    """ABBA, each pair the same row, after some calls that do not count."""
    log = tmp_path / "log"
    body = f"open({str(log)!r}, 'a').write(f'{{}}{{{{batch[\"x\"][0]:.2f}}}} ')"
    body += "; return batch['x']"
    one, other = (toy(body.format(name), name) for name in "AB")
    measured((one, other), {"x": np.array([0.25, 0.5])}, 60, pairs=16)
    words = log.read_text().split()
    last = words[-8:]
    assert [word[0] for word in last] == [*"ABBAABBA"]
    assert all(a[1:] == b[1:] for a, b in zip(last[::2], last[1::2], strict=True))
    assert len(words) == 4 * 2 * 20 + 32


def test_it_is_measured_where_a_gate_asks(
    toy: Toy, settings: Settings, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And production is there; its record holds every ratio."""
    monkeypatch.setattr("interlock.evaluation.latency.PAIRS", 12)
    monkeypatch.setattr("interlock.evaluation.latency.STARTS", 1)
    source, both = write(flips(50, 0.9)), [toy(name="a"), toy(name="b")]
    chosen = replace(settings("latency.ratio <= 1.10"), batch_rows=7)
    assert timed(both, settings("accuracy >= 0.5"), source) is None
    assert timed(both[:1], chosen, source) is None
    found = timed(both, chosen, source)
    assert found and found.pairs == 12
    kept = json.loads(json.dumps(record.latency(found)))
    assert Ratios(tuple(kept["ratios"])) == found
    assert kept["ratio"]["low"] <= kept["ratio"]["value"] <= kept["ratio"]["high"]


@pytest.mark.parametrize(
    ("body", "says"),
    [("os._exit(1)", "bad to answer one row"), ("return [np.nan]", "nan at row 0")],
)
def test_a_model_that_does_not_answer_breaks_the_check(
    toy: Toy, body: str, says: str
) -> None:
    """It is not asked again."""
    with pytest.raises(CheckBroken, match=says):
        measured((toy(), toy(body, "bad")), ROWS, 60, pairs=8)
