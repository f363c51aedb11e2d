"""How often the tests of a gate err, and how wide what is bounded is.

    python benchmarks/asymptotic.py

prints the share of draws, simulated where the bound is the truth, in which each
one-sided test rejects at its level: it should be the level or less. Then half the
widths of intervals of a mean of bounded rows, beside those of the normal curve, of
Bernstein's bound alone and of Maurer and Pontil's: at 95 %, and at the level at which
one of three gates FAILs on one of 365 uses. Then how often a gate on a log loss tells
what it is to tell: with a tolerance of 0.005 nats, and without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, log, sqrt
from typing import Any

import numpy as np
from scipy.stats import norm, t

from interlock.config import Evaluation
from interlock.evaluation import betting
from interlock.evaluation.batch import Batch
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import fold, plan
from interlock.evaluation.intervals import Interval
from interlock.evaluation.moments import from_cells, of
from interlock.evaluation.samples import Gain, Means, Quotient

CORNERS = np.array([[a, 1, b, 1] for a in (0, 1) for b in (0, 1)], np.float64)
ALPHA = 0.05
CHANCE = np.random.default_rng(3)
SPREAD = 0.3  # of what two twins' scores differ by


def clusters(count: int) -> Any:
    """Twins on clusters of 1 to 20 rows, each leaning to one of the two."""
    size = CHANCE.integers(1, 21, count)
    differ = CHANCE.binomial(size, CHANCE.beta(0.5, 9.5, count))
    mine = np.where(CHANCE.random(count) < 0.5, differ, 0)
    base = 0.9 * size - 0.5 * differ
    columns = [base + mine, size, base + differ - mine, size]
    sums = np.stack(columns, axis=1).astype(np.float64)
    return Gain(Means(of(sums), CORNERS * size.mean(), clusters=True), shared=True)


def heavy(rows: int, clip: float = inf) -> Any:
    """A mean loss of 1: the square of Student's t with 5 degrees of freedom."""
    loss = np.minimum(CHANCE.standard_t(5, rows) ** 2 * 3 / 5, clip)
    moments = of(np.stack([-loss, np.ones(rows)], axis=1))
    if clip == inf:
        return Quotient(Means(moments, None))
    (bets,) = betting.put_down(-loss, -clip, 0.0, np.zeros(rows, np.int64), 1)
    corners = np.array([[-clip, 1.0], [0.0, 1.0]])
    return Quotient(Means(moments, corners, bets=bets))


def clipped(clip: float) -> float:
    """The mean of the same loss, clipped."""

    def loss(error: float) -> float:
        return float(min(error**2 * 3 / 5, clip))

    return float(t(5).expect(loss, limit=200))


def halves(values: Any, counts: Any, alpha: float) -> tuple[float, ...]:
    """Of intervals of the mean of rows with these values, (v,), and counts."""
    rows, width = int(counts.sum()), float(np.ptp(values))
    found = from_cells(values[:, None], counts, counts, rows)
    vectors = found.mapped([[1], [0]], [0, 1])
    corners = np.array([[values[0], 1.0], [values[-1], 1.0]])
    ends = Interval(float(values[0]), float(values[-1]))
    rows_ = np.repeat(values, counts.astype(int))
    (bets,) = betting.put_down(rows_, *ends, np.zeros(rows, np.int64), 1)
    means = Means(vectors, corners)
    bounded, ours = (
        float(np.ptp(Quotient(each, ends).interval(alpha))) / 2
        for each in (means, replace(means, bets=bets))
    )
    variance, chance = found.variance([1]), log(4 / alpha)
    normal = norm.isf(alpha / 2) * sqrt(variance / rows)
    usual = sqrt(2 * variance * chance / rows) + 7 * width * chance / 3 / (rows - 1)
    return normal, ours, bounded, usual


def area(rows: int, paired: bool) -> Any:
    """ROC AUC of normal scores, 10 % of the rows positive; of twins if paired."""
    settings = Evaluation("", "", ())
    labels = CHANCE.random(rows) < 0.1
    latent = CHANCE.normal(size=rows) + 1.5 * labels
    scores = 1 / (1 + np.exp(-latent - SPREAD * CHANCE.normal(size=(2, rows))))
    given: Any = {"candidate": scores[0], "production": scores[1]}
    group = fold(Batch(labels, given), plan(settings)).whole
    metric = catalogue(settings)["roc_auc"]
    return metric.gain(group) if paired else metric.sample(group, "candidate")


def far(bound: float) -> Any:
    """Changes of 0.1, where they might be as large as `bound`."""
    return np.array([-bound, -0.1, 0.1, bound])


def widths() -> None:
    """Print the second table."""
    print("| half an interval | normal | ours | Bernstein | Maurer, Pontil |")
    print("|---|---|---|---|---|")
    share, pair = np.array([0.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    for name, values, shares, rows in (
        ("share 0.9, 1,000 rows", share, (0.1, 0.9), 1000),
        ("share 0.9, 10,000 rows", share, (0.1, 0.9), 10_000),
        ("5 % differ, 10,000 rows", pair, (0.025, 0.95, 0.025), 10_000),
        ("5 % differ, 100,000 rows", pair, (0.025, 0.95, 0.025), 100_000),
        ("0.1 up or down, within 4", far(4), (0.0, 0.5, 0.5, 0.0), 10_000),
        ("0.1 up or down, within 36", far(36), (0.0, 0.5, 0.5, 0.0), 10_000),
    ):
        for level, alpha in (("95 %", ALPHA), ("FAIL", 2 * ALPHA / 365 / 3)):
            found = halves(values, rows * np.array(shares), alpha)
            cells = " | ".join(f"{each:.5f}" for each in found)
            print(f"| {name}, {level} | {cells} |")


def losses(rows: int, worse: float) -> Any:
    """Log losses, clipped at 4, of a model with so much noise more, and of another."""
    labels = CHANCE.random(rows) < 0.3
    latent = 2.0 * labels - 1 + CHANCE.normal(size=rows)
    noise = SPREAD * CHANCE.normal(size=(2, rows)) * np.array([[1 + worse], [1.0]])
    given = 1 / (1 + np.exp(-(latent + noise)))
    return np.minimum(-np.log(np.where(labels, given, 1 - given)), 4.0)


def power() -> None:
    """Print the third table."""
    print("| log loss, clipped at 4 | rows | ours | Bernstein |\n|---|---|---|---|")
    ends, corners = Interval(-4.0, 0.0), np.array([[-4.0, 1], [0, 1]])
    both = np.array([[*one, *other] for one in corners for other in corners])
    for rows in (3_000, 10_000, 30_000):
        for name, worse, bound in (
            ("an equal one", 0, -0.005),
            ("a worse one", 0.7, 0),
        ):
            found = np.zeros(2)
            for _ in range(DRAWS):
                mine, theirs = losses(rows, worse)
                ones = np.ones(rows)
                moments = of(np.stack([-mine, ones, -theirs, ones], axis=1))
                places = np.zeros(rows, np.int64)
                (bets,) = betting.put_down(theirs - mine, -4.0, 4.0, places, 1)
                for place, each in enumerate((bets, None)):
                    gain = Gain(Means(moments, both, bets=each), True, ends)
                    fails = gain.is_below(bound, ALPHA / 365 / 3)
                    found[place] += fails if worse else gain.reaches(bound, ALPHA)
            what = "FAIL" if worse else "PASS"
            ours, bounded = found / DRAWS
            print(f"| {name}: {what} | {rows:,} | {ours:.2f} | {bounded:.2f} |")


DRAWS = 200


def main() -> None:
    """Print the tables."""
    truth = float(norm.cdf(1.5 / np.sqrt(2 * (1 + SPREAD**2))))
    cases: list[tuple[str, Callable[[], Any], float, int]] = [
        ("clusters, 60", lambda: clusters(60), 0.0, 5000),
        ("clusters, 500", lambda: clusters(500), 0.0, 5000),
        ("clusters, 2,000", lambda: clusters(2000), 0.0, 5000),
        ("heavy loss, 1,000 rows", lambda: heavy(1000), -1.0, 4000),
        ("heavy loss, 10,000 rows", lambda: heavy(10_000), -1.0, 4000),
        ("clipped at 20, 1,000 rows", lambda: heavy(1000, 20), -clipped(20), 4000),
        ("clipped at 20, 10,000 rows", lambda: heavy(10_000, 20), -clipped(20), 4000),
        ("ROC AUC, 300 positives", lambda: area(3000, False), truth, 1500),
        ("ROC AUC, paired", lambda: area(3000, True), 0.0, 1500),
    ]
    print("| at the bound, level 0.05 | false PASS | false FAIL |\n|---|---|---|")
    for name, draw, bound, draws in cases:
        wrong = np.zeros(2)
        for _ in range(draws):
            sample = draw()
            wrong += [sample.reaches(bound, 0.05), sample.is_below(bound, 0.05)]
        passed, failed = wrong / draws
        print(f"| {name} | {passed:.3f} | {failed:.3f} |", flush=True)
    print()
    widths()
    print()
    power()


if __name__ == "__main__":
    main()
