"""A year of nights on real flights: does the gate cry wolf, and what does it find?

    python -m benchmarks.nights [--quick]

The flights of 2013 (examples/flights). Four tenths of them, drawn at random, train; the
others are 365 nights of some 540 rows. Production is trained on one half of the
training rows. Each night one gate judges, at the level of one of 365 uses:

- twins: the same recipe on the other half, and on halves that are drawn anew;
- a quarter: the same recipe on a quarter as many rows, a little worse;
- dep_delay lost: production itself, but that column no longer arrives.

Beside it: the watch, which adds nights up; the same gate on a number, which knows what
production's accuracy of the year will be, less a point; and that number as a bare
threshold. Then the same recipes on one large set: trained on January to September,
judged on the 82,609 flights of October to December.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, log
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.gate import ALPHA, NIGHTS, table
from interlock.config import Evaluation, Gate
from interlock.evaluation import betting, gates
from interlock.evaluation.batch import Batch
from interlock.evaluation.counts import Counts, fold, plan
from interlock.evaluation.gates import State, Verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

Numbers: TypeAlias = npt.NDArray[np.float64]
Columns: TypeAlias = dict[str, npt.NDArray[Any]]
Model: TypeAlias = Callable[[Columns], Numbers]
Recipe: TypeAlias = Callable[[pa.Table], Model]

SEED, TRAINED, TOLERANCE = 2013, 0.4, 0.005
PAIRED = f"accuracy >= production.accuracy - {TOLERANCE}"
STRICT = "accuracy >= production.accuracy"


def regression(flights: pa.Table) -> Model:
    """The example's own model."""
    from flights import model, train

    weights = train.fit(flights)
    return lambda columns: model.predict(weights, columns)


def trees(flights: pa.Table) -> Model:
    """Boosted trees, of the same five columns; those of two trainings differ more."""
    from flights import data, model
    from sklearn.ensemble import HistGradientBoostingClassifier

    training = data.batch(flights)
    known = {name: np.unique(training[name]) for name in model.CATEGORIES}

    def matrix(columns: Columns) -> Numbers:
        codes = [np.searchsorted(known[name], columns[name]) for name in known]
        return np.column_stack([*(columns[name] for name in model.NUMBERS), *codes])

    fitted = HistGradientBoostingClassifier(max_iter=60, random_state=SEED)
    fitted.fit(matrix(dict(training)), flights["late"].to_numpy())
    return lambda columns: np.asarray(fitted.predict_proba(matrix(columns))[:, 1])


RECIPES: dict[str, Recipe] = {"regression": regression, "trees": trees}


@dataclass(frozen=True)
class Rows:
    """Labelled rows, and what each model answers on them; production comes first."""

    labels: npt.NDArray[np.bool_]
    nights: npt.NDArray[np.int64]  # from 0 on
    answers: dict[str, Numbers]

    def counted(self, name: str, wanted: npt.NDArray[np.bool_]) -> Counts:
        """The counts of a candidate beside production on some of the rows."""
        both = {"candidate": name, "production": "production"}
        answers: Any = {r: self.answers[n][wanted] for r, n in both.items()}
        return fold(Batch(self.labels[wanted], answers), plan(_settings(PAIRED)))

    def accuracy(self, name: str) -> float:
        """Of one model, on all rows."""
        return float(((self.answers[name] >= 0.5) == self.labels).mean())


def _settings(gate: str) -> Evaluation:
    return Evaluation("", "late", (Gate(gate),), false_alarm=ALPHA, uses=NIGHTS)


def judged(gate: str, counts: Counts) -> Verdict:
    """What the package says of one gate."""
    settings = _settings(gate)
    (verdict,) = gates.judge(
        [gates.parse(settings.gates[0], settings)], counts, settings
    )
    return verdict


def rows_of(recipe: Recipe, training: pa.Table, judging: pa.Table, twins: int) -> Rows:
    """Train everything, and let it answer."""
    from flights import data

    columns = dict(data.batch(judging))
    late = judging["late"].to_numpy()
    days = judging["month"].to_numpy() * 100 + judging["day"].to_numpy()
    models = {"production": recipe(_part(training, 0, 0, 2))}
    for seed in range(twins):
        models[f"twin {seed + 1}"] = recipe(_part(training, seed, 1, 2))
    models["a quarter of the rows"] = recipe(_part(training, 0, 0, 8))
    answers = {name: model(columns) for name, model in models.items()}
    lost = columns | {"dep_delay": np.full(len(late), np.nan)}
    answers["dep_delay lost"] = models["production"](lost)
    return Rows(late, np.unique(days, return_inverse=True)[1], answers)


def _part(flights: pa.Table, seed: int, part: int, of: int) -> pa.Table:
    """One of `of` equal parts, at random."""
    order = np.random.default_rng((SEED, seed)).permutation(len(flights))
    return flights.take(np.sort(order[part::of]))


def watched(rows: Rows, name: str, tolerance: float) -> Iterator[bool]:
    """Whether the watch over production alarms, night by night."""
    stake, logs = betting.stakes(-tolerance, 1), np.full((betting.BETS, 1), -inf)
    right = rows.labels == (rows.answers["production"] >= 0.5)
    gain = (rows.labels == (rows.answers[name] >= 0.5)).astype(int) - right
    for night in range(rows.nights.max() + 1):
        cells = np.bincount(gain[rows.nights == night] + 1, minlength=3)[:, None]
        capitals = betting.log_capitals((-1, 0, 1), cells, -tolerance, stake)
        logs = betting.grown(logs, capitals)
        yield bool(betting.log_e(logs)[0] >= log(betting.threshold(NIGHTS, ALPHA)))


def first(alarms: Sequence[bool]) -> str:
    """The first night with an alarm, from 1 on."""
    return str(alarms.index(True) + 1) if True in alarms else "never"


def line(rows: Rows, name: str) -> list[str]:
    """A candidate's year: what each rule made of it."""
    mean = rows.accuracy("production")
    number = f"accuracy >= {mean - 0.01:.4f}"
    nights = [
        rows.counted(name, rows.nights == each) for each in range(rows.nights.max() + 1)
    ]
    alarms = {
        gate: [judged(gate, counts).state is State.FAIL for counts in nights]
        for gate in (PAIRED, STRICT, number)
    }
    bare = [_accuracy(counts) < mean - 0.01 for counts in nights]
    return [
        f"{100 * (rows.accuracy(name) - mean):+.2f}",
        shown(alarms[PAIRED]),
        shown(alarms[STRICT]),
        first([*watched(rows, name, TOLERANCE)]),
        first([*watched(rows, name, 0.0)]),
        shown(alarms[number]),
        shown(bare),
    ]


def shown(alarms: Sequence[bool]) -> str:
    """How many nights alarm, and the first that does."""
    return f"{sum(alarms)} / {first(alarms)}"


def _accuracy(counts: Counts) -> float:
    from interlock.evaluation.catalogue import catalogue

    metric = catalogue(_settings(PAIRED))["accuracy"]
    return metric.value(counts.whole, "candidate")


HEAD = (
    "change, points",
    "this gate",
    "this gate, tolerance 0",
    "watch",
    "watch, tolerance 0",
    "this gate, a number",
    "a bare threshold",
)


def main() -> None:
    """Replay, and print."""
    from flights import data

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="January, one twin")
    quick = parser.parse_args().quick
    months, twins = (range(1, 2), 1) if quick else (range(1, 13), 3)
    flights = data.flights(months)
    chosen = np.random.default_rng(SEED).random(len(flights)) < TRAINED
    for name, recipe in RECIPES.items():
        split = flights.filter(pa.array(chosen)), flights.filter(pa.array(~chosen))
        rows = rows_of(recipe, *split, twins)
        nights, number = rows.nights.max() + 1, len(rows.labels)
        title = f"{name}: {nights} nights, {number:,} rows; nights of alarm / the first"
        table(title, HEAD, {each: line(rows, each) for each in [*rows.answers][1:]})
        if not quick:
            print_whole(name, recipe, twins)


def print_whole(name: str, recipe: Recipe, twins: int) -> None:
    """The verdicts on the example's whole test set."""
    from flights import data

    parts = data.flights(data.TRAINING), data.flights(data.HELD_OUT)
    rows = rows_of(recipe, *parts, twins)
    every = np.ones(len(rows.labels), bool)
    print(f"\n{name}, {len(every):,} rows at once, {PAIRED}\n")
    for each in [*rows.answers][1:]:
        print(f"- {each}: {judged(PAIRED, rows.counted(each, every)).sentence}")


if __name__ == "__main__":
    main()
