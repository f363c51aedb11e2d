"""A year of nights: how often each gate cries wolf, and how soon it finds a drop.

    python -m benchmarks.gate [--quick]

Two models of accuracy 0.90 disagree on 5 % of the rows: a tenth of the rows are tossed
by each training anew, all others are the same for both. Each of 365 nights judges a
candidate beside production on 10,000 rows:

- fresh rows: every night has rows of its own;
- one test set: every night has a new candidate and the same rows;
- best of 20: the same, with production the best of 20 trainings on those very rows.

The gate and the watch are the package's own; false alarms may be made in 5 % of years.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np
import numpy.typing as npt
from scipy import special

from interlock.evaluation import betting, planning, sizes
from interlock.evaluation.intervals import Difference

Counts = npt.NDArray[np.int64]  # (2, years, nights): better, worse
Alarms = npt.NDArray[np.bool_]  # (years, nights)

ROWS, NIGHTS, TOSSED, ALPHA = 10_000, 365, 0.1, 0.05
DROPS = (0.005, 0.01, 0.02)
AMONG = planning.CHOSEN_FROM


def fresh(chance: np.random.Generator, years: int, nights: int, drop: float) -> Counts:
    """Every night has rows of its own."""
    tossed = chance.binomial(ROWS, TOSSED, (years, nights))
    right = chance.binomial(tossed, 0.5)
    return beside(chance, tossed, right, drop)


def reused(chance: np.random.Generator, years: int, among: int) -> Counts:
    """A year on the same rows, beside the best of `among` on them."""
    tossed = chance.binomial(ROWS, TOSSED, (years, 1))
    right = chance.binomial(tossed, 0.5, (years, among)).max(axis=1, keepdims=True)
    every = np.broadcast_to(right, (years, NIGHTS))
    return beside(chance, np.broadcast_to(tossed, every.shape), every, 0.0)


def beside(
    chance: np.random.Generator, tossed: Counts, right: Counts, drop: float
) -> Counts:
    """A candidate beside a production that has `right` of the rows that are tossed."""
    luck = 0.5 - drop / TOSSED
    better = chance.binomial(tossed - right, luck)
    return np.array([better, chance.binomial(right, 1 - luck)])


@dataclass
class Gate:
    """The FAIL of `accuracy >= production.accuracy - tolerance`, in the package."""

    tolerance: float
    level: float = ALPHA / NIGHTS

    def __post_init__(self) -> None:
        self._least: dict[int, int] = {}

    def __call__(self, counts: Counts) -> Alarms:
        better, worse = counts
        differ = better + worse
        for each in range(int(differ.min()), int(differ.max()) + 1):
            if each not in self._least:
                self._least[each] = self._found(each)
        least = np.array([self._least.get(n, 0) for n in range(int(differ.max()) + 1)])
        return np.asarray(worse >= least[differ])

    def _found(self, differ: int) -> int:
        """The fewest `worse` of so many that differ with which it FAILs."""

        def fails(worse: int) -> bool:
            sample = Difference(differ - worse, worse, ROWS)
            return sample.is_below(-self.tolerance, self.level)

        least = self._least.get(differ - 1, differ // 2)
        while least <= differ and not fails(least):
            least += 1
        while least > 0 and fails(least - 1):
            least -= 1
        return least


def point(tolerance: float) -> Callable[[Counts], Alarms]:
    """FAIL where the candidate is worse by more than the tolerance."""
    return lambda counts: np.asarray((counts[0] - counts[1]) / ROWS < -tolerance)


def nightly(tolerance: float) -> Callable[[Counts], Alarms]:
    """FAIL where a paired test at 95 % rejects "no worse than the tolerance"."""

    def alarms(counts: Counts) -> Alarms:
        gain = (counts[0] - counts[1]) / ROWS
        error = np.sqrt((counts.sum(axis=0) / ROWS - gain**2) / ROWS)
        return np.asarray(gain + tolerance < special.ndtri(ALPHA) * error)

    return alarms


def hoeffding(tolerance: float) -> Callable[[Counts], Alarms]:
    """FAIL beyond the tolerance that ease.ml/ci reaches with these rows and uses."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        enough = sizes.hoeffding(middle, 1 - ALPHA, NIGHTS, gain=True) <= ROWS
        low, high = (low, middle) if enough else (middle, high)
    return lambda counts: np.asarray((counts[0] - counts[1]) / ROWS < -tolerance - high)


def watch(tolerance: float) -> Callable[[Counts], Alarms]:
    """The watch over production; it is meant for fresh rows alone."""

    def alarms(counts: Counts) -> Alarms:
        stake = betting.stakes(-tolerance, 1)
        at = log(betting.threshold(NIGHTS, ALPHA))
        years, nights = counts.shape[1:]
        logs = np.full((betting.BETS, years), -inf)
        found = np.zeros((years, nights), bool)
        for night in range(nights):
            better, worse = counts[:, :, night]
            cells = np.array([worse, ROWS - better - worse, better])
            capitals = betting.log_capitals((-1, 0, 1), cells, -tolerance, stake)
            logs = betting.grown(logs, capitals)
            found[:, night] = betting.log_e(logs) >= at
        return found

    return alarms


RULES: dict[str, Callable[[float], Callable[[Counts], Alarms]]] = {
    "this gate": Gate,
    "watch (fresh rows)": watch,
    "new < production": point,
    "nightly 95 % test": nightly,
    "Hoeffding, ease.ml/ci": hoeffding,
}


def share(hits: Alarms) -> str:
    """In percent, with its Monte-Carlo standard error; of none, its 95 % bound."""
    p, n = float(hits.mean()), len(hits)
    if p in (0.0, 1.0):
        return f"{100 * p:.0f} (+-{100 * (1 - ALPHA ** (1 / n)):.2g})"
    return f"{100 * p:.3g} (+-{100 * sqrt(p * (1 - p) / n):.2g})"


def detection(alarms: Alarms) -> str:
    """How often on the first night, and the median night; of years of one drop."""
    first = np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1.0, inf)
    median = np.median(first)
    night = f"{median:.0f}" if median <= alarms.shape[1] else "never"
    return f"{alarms[:, 0].mean():.3f} / {night}"


def table(title: str, columns: Iterable[str], lines: dict[str, list[str]]) -> None:
    """Print a table of Markdown."""
    print(f"\n{title}\n")
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(next(iter(lines.values()))) + 1) + "|")
    for name, cells in lines.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the years")
    years = 200 if parser.parse_args().quick else 2000
    chance = np.random.default_rng(20261123)
    settings = {
        "fresh rows": (0.0, fresh(chance, years, NIGHTS, 0.0)),
        "one test set": (0.0, reused(chance, years, 1)),
        "best of 20, tolerance 0.5": (0.005, reused(chance, years, AMONG)),
        "best of 20, tolerance 0 (guarantee broken)": (
            0.0,
            reused(chance, years, AMONG),
        ),
    }
    rules = {(name, t): rule(t) for name, rule in RULES.items() for t in (0.0, 0.005)}
    wolf = {
        name: [
            (
                "-"
                if "fresh" in name and "fresh" not in column
                else share(np.any(rules[name, tolerance](counts), axis=1))
            )
            for column, (tolerance, counts) in settings.items()
        ]
        for name in RULES
    }
    title = f"Years with a false alarm in percent (Monte-Carlo error), of {years:,}"
    table(title, settings, wolf)
    for tolerance in (0.0, 0.005):
        drops = [fresh(chance, years, 60, drop) for drop in DROPS]
        found = {
            name: [detection(rules[name, tolerance](counts)) for counts in drops]
            for name in RULES
        }
        columns = [f"{100 * drop:g} points" for drop in DROPS]
        title = (
            f"Found on the first night / median night, fresh rows, tolerance "
            f"{100 * tolerance:g} points ({years:,} years of {60} nights)"
        )
        table(title, columns, found)


if __name__ == "__main__":
    main()
