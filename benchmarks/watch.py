"""The watch over production on the real flights of 2013: false alarms, and delays.

    python benchmarks/watch.py

The example model is judged on each day's flights, 365 nights. Its training has seen
January to September; two dozen weights cannot have learned them by heart. What is
planted is a production that loses `dep_delay` on night 100, or answers the contrary.
Beside the watch stands the same detector with rows in place of nights, which takes the
rows of a night for independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from flights import data, model

from interlock.config import Watch
from interlock.evaluation import betting, watch
from interlock.evaluation.watch import Night

Numbers = npt.NDArray[Any]

EXAMPLES = Path(__file__).parents[1] / "examples"
FROM = 100  # the night of the change
YEARS = 200


def answers(table: pa.Table) -> tuple[Numbers, Numbers, Numbers]:
    """The night of each flight, (n,), and whether two models are right about it.

    The model as it is, and without dep_delay.
    """
    batch, late = data.batch(table), table["late"].to_numpy()
    ready = model.load(EXAMPLES)
    blind = {**batch, "dep_delay": np.zeros(len(late))}
    day = table["month"].to_numpy() * 31 + table["day"].to_numpy()
    _, night = np.unique(day, return_inverse=True)
    right = [(model.predict(ready, each) >= 0.5) == late for each in (batch, blind)]
    return night, right[0].astype(float), right[1].astype(float)


def nightly(night: Numbers, right: Numbers) -> tuple[Numbers, Numbers]:
    """Rows and the share of right ones of each night."""
    rows = np.bincount(night)
    return rows, np.bincount(night, right) / rows


def first_alarm(values: Iterable[float], settings: Watch) -> int | None:
    """The night on which the watch sounds, from 0 on."""
    nights = [Night("", "a", "accuracy", 1, value) for value in values]
    points = enumerate(watch.trend(nights, settings))
    return next((number for number, point in points if point.alarm), None)


def by_rows(rows: Numbers, values: Numbers, settings: Watch) -> int | None:
    """The night on which a detector sounds that takes rows for independent."""
    state, at = betting.Watch(), betting.threshold(settings.nights, 0.05)
    stake = betting.stakes(settings.floor, 1.0)
    for number, (count, value) in enumerate(zip(rows, values, strict=True)):
        counts = [count * (1 - value), count * value]
        state = state.after(betting.log_capitals([0, 1], counts, settings.floor, stake))
        if state.sounds(at):
            return number
    return None


def main() -> None:
    """Print the table."""
    night, right, blind = answers(data.flights(range(1, 13)))
    rows, good = nightly(night, right)
    bad = nightly(night, blind)[1]
    print(f"{len(rows)} nights; accuracy {good.mean():.3f}, sd {good.std():.3f}, ")
    print(f"lowest {good.min():.3f}; without dep_delay {bad.mean():.3f}\n")
    print("floor | false alarm | lost dep_delay | says the contrary | by rows: false")
    chance = np.random.default_rng(1)
    for floor in (0.88, 0.86, 0.84, 0.80):
        settings = Watch(floor)
        cases = [good]
        for after in (bad, 1 - good):
            cases.append(np.concatenate([good[:FROM], after[FROM:]]))
        found = [first_alarm(values, settings) for values in cases]
        found.append(by_rows(rows, good, settings))
        print(floor, *(_told(each) for each in found), sep=" | ")
    spread = good - good.mean() + 0.86
    alarms = sum(
        first_alarm(np.clip(chance.choice(spread, 365), 0, 1), Watch(0.86)) is not None
        for _ in range(YEARS)
    )
    print(f"\nat the floor itself: an alarm in {alarms} of {YEARS} years of 365 nights")


def _told(night: int | None) -> str:
    return "none" if night is None else f"night {night}"


if __name__ == "__main__":
    main()
