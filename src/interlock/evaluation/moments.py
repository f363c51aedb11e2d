"""How many rows, their mean and their spread: all that a test of a mean needs.

`+` merges the moments of any two sets of rows by the formula of Chan, Golub and LeVeque
(COMPSTAT 1982), which does not lose the digits that a difference of two large sums
would: equal to the moments of all rows up to rounding, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class Moments:
    """Of vectors of k numbers, one for each row."""

    rows: int
    mean: Floats  # (k,)
    scatter: Floats  # (k, k): sum of the outer products of the deviations

    def __add__(self, other: Moments) -> Moments:
        rows = self.rows + other.rows
        step = other.mean - self.mean
        share = other.rows / rows if rows else 0.0
        between = np.outer(step, step) * (self.rows * share)
        mean = self.mean + step * share
        return Moments(rows, mean, self.scatter + other.scatter + between)

    def mapped(self, matrix: Any, constant: Any = 0.0) -> Moments:
        """The moments of matrix @ x + constant, for x a row's vector."""
        by = np.asarray(matrix, np.float64)
        return Moments(self.rows, by @ self.mean + constant, by @ self.scatter @ by.T)

    def variance(self, along: Any) -> float:
        """The sample variance of along @ x, or 0 of fewer than two rows."""
        by = np.asarray(along, np.float64)
        return max(float(by @ self.scatter @ by), 0.0) / max(self.rows - 1, 1)

    def scaled(self, rows: int) -> Moments:
        """The same mean and variance, as of so many rows."""
        return Moments(rows, self.mean, self.scatter * (rows / max(self.rows, 1)))


def of(values: Floats) -> Moments:
    """The moments of an array of shape (rows, k)."""
    mean = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
    apart = values - mean
    # Not by BLAS, which wakes its threads for so little, and adds up as many parts.
    scatter = np.einsum("ni,nj->ij", apart, apart)
    return Moments(len(values), mean, scatter)


def grouped(values: Floats, groups: Integers, count: int) -> list[Moments]:
    """The moments of each of `count` groups of the rows of `values`, (n, k)."""
    if count == 1:
        return [of(values)]
    shift = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
    near = values - shift
    rows = np.bincount(groups, minlength=count)
    means = totals(near, groups, count) / np.maximum(rows, 1)[:, None]
    crosses = np.empty((count, near.shape[1], near.shape[1]))
    for i in range(near.shape[1]):
        for j in range(i + 1):
            both = np.bincount(groups, near[:, i] * near[:, j], minlength=count)
            crosses[:, i, j] = crosses[:, j, i] = both
    between = rows[:, None, None] * means[:, :, None] * means[:, None, :]
    return [
        Moments(int(n), mean + shift * (n > 0), scatter)
        for n, mean, scatter in zip(rows, means, crosses - between, strict=True)
    ]


def totals(values: Floats, groups: Integers, count: int) -> Floats:
    """The sum over each group, (count, k)."""
    sums = [np.bincount(groups, column, minlength=count) for column in values.T]
    return np.array(sums, np.float64).reshape(values.shape[1], count).T


def from_cells(values: Floats, weights: Floats, squares: Floats, rows: int) -> Moments:
    """The moments of w * x where only these (m, k) values of x occur.

    `weights` and `squares`, (m,), are the sums of w and of w squared over the rows
    with each value, `rows` the number of all rows.
    """
    mean = weights @ values / max(rows, 1)
    cross = values.T @ (squares[:, None] * values)
    return Moments(rows, mean, cross - rows * np.outer(mean, mean))


@dataclass(frozen=True)
class Spread:
    """Of labels, each by its weight: their sum of squares about their mean."""

    weight: float
    mean: float
    spread: float

    def __add__(self, other: Spread) -> Spread:
        weight = self.weight + other.weight
        share, step = other.weight / weight, other.mean - self.mean
        between = step * step * self.weight * share
        mean = self.mean + step * share
        return Spread(weight, mean, self.spread + other.spread + between)


def spread(values: Floats, weights: Floats | None) -> Spread:
    """The spread of a batch's labels, (n,)."""
    own = np.ones(len(values)) if weights is None else weights
    mean = float(own @ values / own.sum())
    return Spread(float(own.sum()), mean, float(own @ np.square(values - mean)))


@dataclass(frozen=True, eq=False)
class Clusters:
    """The sum of the rows' vectors for each cluster: 8 * (k + 1) bytes a cluster."""

    keys: npt.NDArray[np.uint64]  # (clusters,), sorted: a hash of the cluster's name
    sums: Floats  # (clusters, k)

    def __add__(self, other: Clusters) -> Clusters:
        keys = np.concatenate([self.keys, other.keys])
        found, place = np.unique(keys, return_inverse=True)
        sums = np.concatenate([self.sums, other.sums])
        return Clusters(found, totals(sums, place, len(found)))


def merged(one: Mapping[K, Any], other: Mapping[K, Any]) -> dict[K, Any]:
    """Two mappings whose values add up where both have the key."""
    both = dict(one)
    for key, value in other.items():
        both[key] = both[key] + value if key in both else value
    return both
