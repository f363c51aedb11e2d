"""The watch over production: one observation a night, and an alarm that is kept apart.

The rows of one night are not independent: on the real flights the nightly accuracy
varies 17 times as much as independent rows would. So a night is one observation, its
metric, which lies in 0 to 1 whatever the rows have in common. The hypothesis is that
its mean, given the nights before, is the floor or more; `betting.Watch` is the
detector, with a stated time between false alarms.

Nothing is remembered between nights but what the ledger holds: the trend is derived
from it anew each time. A night is rows that nobody had used before it; each counts
once. When production changes the watch begins anew; until then an alarm stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite, log, nan
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from interlock.config import Evaluation, Watch
from interlock.errors import BadConfiguration
from interlock.evaluation import betting, rows
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import fold, plan
from interlock.evaluation.moments import Floats
from interlock.evaluation.wording import percent
from interlock.registry.ledger import Entry, Use, related

STEPS = 1_000  # a band is found to this part of 1


@dataclass(frozen=True)
class Night:
    """What production did on one night's fresh rows."""

    judged: str
    production: str  # Manifest.model
    metric: str
    rows: int
    value: float  # of the metric


@dataclass(frozen=True)
class Point:
    """A night in the trend."""

    night: Night
    evidence: float  # ln of the detector after it
    alarm_below: float | None  # where this night would have sounded; None: nowhere
    alarm: bool  # whether one stands after it


def check(settings: Evaluation) -> None:
    """Raise BadConfiguration for a metric that cannot be watched."""
    known = catalogue(settings)
    fit = [each.name for each in known.values() if each.share and each.higher]
    if settings.watch and settings.watch.metric not in fit:
        raise BadConfiguration(
            f"evaluation.watch.metric to be one of {', '.join(fit)}",
            settings.watch.metric,
            "watch one of those; only shares lie between 0 and 1",
        )


def observed(
    kept: Iterable[pa.RecordBatch], settings: Evaluation, metric: str
) -> tuple[int, float]:
    """How many rows these batches of predictions.parquet have, and production on them.

    The metric is NaN where it is undefined.
    """
    alone = replace(settings, slices=(), cluster="", gates=())
    wanted = plan(alone, [(metric, "")])
    filled = (batch for batch in kept if batch.num_rows)
    whole = rows.whole_queries(filled, "query" if settings.query else "")
    counts = None
    for batch in whole:
        part = fold(rows.batch_of(batch, alone), wanted)
        counts = part if counts is None else counts + part
    if counts is None:
        return 0, nan
    value = catalogue(alone)[metric].value(counts.whole, "production")
    return counts.whole.rows, value


def settings_of(uses: Iterable[Use]) -> Watch | None:
    """The settings of the newest night of a ledger."""
    found = [use.night for use in uses if use.night]
    if not found:
        return None
    night = found[-1]
    return Watch(
        floor=float(night["floor"]),
        metric=night["metric"],
        nights=night["nights"],
        false_alarm=float(night["false_alarm"]),
    )


def nights(
    uses: Iterable[Use], entries: Mapping[str, Entry], metric: str
) -> list[Night]:
    """The nights in `uses`, which are in their order: each row in one of them.

    Of sets that share rows and were used at once, so that neither could leave out the
    other's, the first counts. A night on which the metric is undefined, such as
    precision where nothing was called positive, is left out; so is one of another
    metric.
    """
    taken: dict[str, Use] = {}
    for use in uses:
        if use.night:
            shared = related(entries, use.rows) - {*use.night["without"]}
            if not shared & taken.keys():
                taken[use.rows] = use
    found = [_night(use, use.night) for use in taken.values() if use.night]
    return [
        night for night in found if night.metric == metric and isfinite(night.value)
    ]


def _night(use: Use, said: Mapping[str, Any]) -> Night:
    value = float(said["value"])
    return Night(use.judged, use.production, said["metric"], said["rows"], value)


def trend(observed: Iterable[Night], settings: Watch) -> list[Point]:
    """The state after each night, from the first on."""
    at = betting.threshold(settings.nights, settings.false_alarm)
    state, alarm, production = betting.Watch(), False, None
    points = []
    for night in observed:
        if night.production != production:
            state, alarm, production = betting.Watch(), False, night.production
        below = alarm_below(state, settings.floor, at)
        state = _after(state, night.value, settings.floor)
        evidence = state.log_evidence
        if state.sounds(at):
            state, alarm = betting.Watch(), True
        points.append(Point(night, evidence, below, alarm))
    return points


def _after(state: betting.Watch, value: float, floor: float) -> betting.Watch:
    stake = betting.stakes(floor, 1.0)
    return state.after(betting.log_capitals([value], [1], floor, stake))


def alarm_below(state: betting.Watch, floor: float, at: float) -> float | None:
    """The highest value of the next night that would sound; None where none would."""
    night = _payoffs(floor)
    logs = special.logsumexp(np.logaddexp(state.logs, 0) + night, axis=1)
    sounding = np.flatnonzero(logs - log(betting.BETS) >= log(at))
    return float(sounding[-1] / STEPS) if sounding.size else None


@lru_cache
def _payoffs(floor: float) -> Floats:
    """The log_capitals of nights of each value, (STEPS + 1, BETS)."""
    values, stake = np.linspace(0, 1, STEPS + 1), betting.stakes(floor, 1.0)
    found: Floats = np.log1p(-np.outer(values - floor, stake))
    return found


def sentence(points: Sequence[Point], settings: Watch) -> str:
    """What is to be said of production, in one line."""
    floor = f"{settings.metric} of {percent(settings.floor)} or more"
    if not points:
        return f"WATCH: no fresh rows of production yet; expected {floor} a night"
    last = points[-1]
    own = [p for p in points if p.night.production == last.night.production]
    mean = f"{sum(100 * each.night.value for each in own) / len(own):.1f} %"
    count = f"{len(own)} night" + ("s" if len(own) > 1 else "")
    if last.alarm:
        return f"ALARM: production is at {mean} over {count}; expected {floor}"
    return f"WATCH: production is at {mean} over {count}, no alarm; expected {floor}"


def to_record(points: Sequence[Point], settings: Watch) -> dict[str, Any]:
    """What metrics.json says of the watch."""
    at = betting.threshold(settings.nights, settings.false_alarm)
    return {
        "metric": settings.metric,
        "floor": settings.floor,
        "nights": settings.nights,
        "false_alarm": settings.false_alarm,
        "threshold": at,
        "alarm": bool(points) and points[-1].alarm,
        "sentence": sentence(points, settings),
        "trend": [
            {
                "judged": point.night.judged,
                "production": point.night.production[:12],
                "rows": point.night.rows,
                "value": point.night.value,
                "alarm_below": point.alarm_below,
                "log_evidence": point.evidence,
                "alarm": point.alarm,
            }
            for point in points
        ],
    }
