"""How often the asymptotic tests of a gate err, simulated where the bound is the truth.

    python benchmarks/asymptotic.py

prints the share of draws in which each one-sided test rejects at its level: it should
be the level or less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm

from interlock.config import Evaluation
from interlock.evaluation.batch import Batch
from interlock.evaluation.counts import fold, plan
from interlock.evaluation.metrics import catalogue
from interlock.evaluation.moments import of
from interlock.evaluation.samples import Gain, Means, Quotient

CORNERS = np.array([[a, 1, b, 1] for a in (0, 1) for b in (0, 1)], np.float64)
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


def heavy(rows: int) -> Any:
    """A mean loss of 1: the square of Student's t with 5 degrees of freedom."""
    loss = CHANCE.standard_t(5, rows) ** 2 * 3 / 5
    return Quotient(Means(of(np.stack([-loss, np.ones(rows)], axis=1)), None))


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


def main() -> None:
    """Print the table."""
    truth = float(norm.cdf(1.5 / np.sqrt(2 * (1 + SPREAD**2))))
    cases: list[tuple[str, Callable[[], Any], float, int]] = [
        ("clusters, 60", lambda: clusters(60), 0.0, 5000),
        ("clusters, 500", lambda: clusters(500), 0.0, 5000),
        ("clusters, 2,000", lambda: clusters(2000), 0.0, 5000),
        ("heavy loss, 1,000 rows", lambda: heavy(1000), -1.0, 4000),
        ("heavy loss, 10,000 rows", lambda: heavy(10_000), -1.0, 4000),
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


if __name__ == "__main__":
    main()
