"""How a regression's predictions lie about the truth: what its plots are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interlock.evaluation import grids
from interlock.evaluation.grids import Grid
from interlock.evaluation.moments import Floats


@dataclass(frozen=True, eq=False)
class Fit:
    """One model's predictions, counted; an error is prediction less truth."""

    answers: Grid  # by truth and prediction: weight, and w p, w error, w error ** 2
    errors: Grid  # by error: weight

    def __add__(self, other: Fit) -> Fit:
        return Fit(self.answers + other.answers, self.errors + other.errors)


def counted(labels: Floats, given: Floats, weights: Floats | None) -> Fit:
    """The fit of a batch, from arrays of shape (n,)."""
    error = given - labels
    weight = np.ones(len(labels)) if weights is None else weights
    amounts = np.stack([weight, weight * given, weight * error], axis=1)
    amounts = np.column_stack([amounts, amounts[:, 2] * error])
    return Fit(
        grids.counted(np.stack([labels, given], axis=1).astype(np.float64), amounts),
        grids.counted(error[:, None].astype(np.float64), weight[:, None]),
    )


def quantile(values: Floats, weights: Floats, share: float) -> float:
    """The least of the values up to which `share` of the weight lies."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    place = np.searchsorted(reached, share * reached[-1])
    return float(values[order][min(place, len(order) - 1)])
