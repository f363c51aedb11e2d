"""The watch over production: nights in, an alarm out, and what it forgets."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from interlock.config import Watch
from interlock.evaluation import watch
from interlock.evaluation.watch import Night
from interlock.registry.ledger import Entry, Use

FLOOR = Watch(0.86)


def _nights(values: list[float], production: str = "a" * 64) -> list[Night]:
    return [
        Night("2026-11-23T00:00:00Z", production, "accuracy", 10, value)
        for value in values
    ]


def _use(rows: str, value: str, count: int = 10, **more: Any) -> Use:
    night = {"floor": "0.86", "metric": "accuracy", "nights": 365, "rows": count}
    night |= {"value": value, "without": [], "false_alarm": "0.05", **more}
    return Use(
        name="toy",
        rows=rows,
        candidate="c",
        production="p",
        judged_by="g",
        data="d",
        version="toy@1",
        state="PASS",
        judged="2026-11-23T00:00:00Z",
        uses=365,
        false_alarm="0.05",
        night=night,
    )


def test_good_nights_are_silent_and_bad_ones_sound() -> None:
    """What lost its best feature is found in weeks, what is broken in days."""
    good = watch.trend(_nights([0.9] * 400), FLOOR)
    assert not any(point.alarm for point in good)
    for value, within in ((0.767, 21), (0.5, 9), (0.0, 6)):
        points = watch.trend(_nights([0.9] * 100 + [value] * 40), FLOOR)
        first = next(n for n, point in enumerate(points) if point.alarm)
        assert 100 <= first < 100 + within, (value, first)


def test_an_alarm_stands_until_production_changes() -> None:
    """Also when the nights get better; then the watch begins anew."""
    bad = _nights([0.0] * 8 + [1.0])
    points = watch.trend([*bad, *_nights([0.9], "b" * 64)], FLOOR)
    assert [point.alarm for point in points[-3:]] == [True, True, False]
    fresh = watch.trend(_nights([0.9]), FLOOR)
    assert points[-1].evidence == fresh[0].evidence
    assert watch.sentence(points[:-1], FLOOR).startswith(
        "ALARM: production is at 11.1 %"
    )
    assert watch.to_record(points, FLOOR)["alarm"] is False


@hypothesis(max_examples=25)
@given(st.lists(st.floats(0.0, 1.0), max_size=6), st.floats(0.3, 0.95))
def test_the_band_is_where_the_next_night_sounds(
    values: list[float], floor: float
) -> None:
    """At it and below, and not above it by a step or more."""
    settings = Watch(floor, nights=10, false_alarm=0.5)
    *_, last = watch.trend(_nights([*values, 1.0]), settings)

    def sounds(value: float) -> bool:
        points = watch.trend(_nights([*values, value]), settings)
        earlier = watch.trend(_nights(values), settings)
        stood = bool(earlier) and earlier[-1].alarm
        fresh = points[-1].evidence >= log(10 / 0.5)
        assert points[-1].alarm is (stood or fresh)
        return fresh

    if last.alarm_below is None:
        assert not sounds(0.0)
    else:
        assert sounds(last.alarm_below)
        assert last.alarm_below == 1.0 or not sounds(
            min(1.0, last.alarm_below + 2 / watch.STEPS)
        )


def test_nights_that_vary_together_sound_as_seldom_as_promised() -> None:
    """Rows of a night that all go up or down together, at the floor itself."""
    chance = np.random.default_rng(20261123)
    settings = Watch(0.86, nights=60, false_alarm=0.25)
    alarms = 0
    for _ in range(20):
        values = np.clip(chance.normal(0.86, 0.053, 60), 0, 1)
        alarms += watch.trend(_nights(values.tolist()), settings)[-1].alarm
    assert alarms <= 5


def test_a_set_of_rows_is_one_night() -> None:
    """Used twice, or at the same time under another name, it counts once."""
    one, again = _use("r1", "0.9", 100), _use("r1", "0.1")
    raced = _use("r2", "0.2")
    entries = {"r1": Entry(), "r2": Entry(shares={"r1"}), "r3": Entry(shares={"r1"})}
    left_out = _use("r3", "0.8", without=["r1"])
    nothing = replace(one, rows="r4", night=None)
    uses = [one, again, raced, left_out, nothing]
    found = watch.nights(uses, {**entries, "r4": Entry()}, "accuracy")
    assert [(night.rows, night.value) for night in found] == [(100, 0.9), (10, 0.8)]


def test_a_night_on_which_the_metric_is_undefined_or_another_is_left_out() -> None:
    """As precision is where nothing was called positive."""
    uses = [_use("r1", "nan"), _use("r2", "0.5"), _use("r3", "0.7", metric="recall")]
    entries = {use.rows: Entry() for use in uses}
    assert [n.value for n in watch.nights(uses, entries, "accuracy")] == [0.5]


def test_the_settings_are_those_of_the_newest_night() -> None:
    """As pyproject.toml had them when it was judged."""
    assert watch.settings_of([]) is None
    newer = _use("r2", "0.5")
    assert newer.night
    newer = replace(newer, night={**newer.night, "floor": "0.9"})
    assert watch.settings_of([_use("r1", "0.5"), newer]) == Watch(0.9)
