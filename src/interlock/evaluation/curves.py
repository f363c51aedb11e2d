"""How the probabilities of a binary classifier are spread: histograms, and their areas.

A bin is 1/256 of an octave of the distance to the nearer of 0 and 1, down to 2 ** -20:
0.001 wide in the middle, and 0.4 % of the value near both ends, so that a model whose
probabilities are all small is told apart as well as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import NamedTuple

import numpy as np

from interlock.evaluation.intervals import Proportion
from interlock.evaluation.moments import Floats, Integers

PARTS, OCTAVES = 256, 19
HALF = PARTS * OCTAVES  # bins on each side of 0.5
BINS = 2 * HALF
JOINT = 128  # coarser bins, for the two models together: equal in log-odds
FARTHEST = 8.0  # of the log-odds that are told apart there
TOP = 126 << 8  # of the float32 nearest below 0.5: its exponent, and 8 more bits


def _centres() -> Floats:
    """The middle of each bin, (BINS,)."""
    steps = np.arange(HALF + 1)
    edges = np.ldexp(1 + steps % PARTS / PARTS, steps // PARTS - OCTAVES - 1)
    edges[0] = 0.0
    low = (edges[1:] + edges[:-1]) / 2
    return np.concatenate([low, 1 - low[::-1]])


CENTRES = _centres()
COARSE = np.clip(
    (np.log(CENTRES / (1 - CENTRES)) / FARTHEST + 1) * JOINT / 2, 0, JOINT - 1
).astype(np.int64)


def bins(scores: Floats) -> Integers:
    """The bin of each probability, (n,)."""
    nearer = np.minimum(scores, 1 - scores).astype(np.float32)
    steps = (nearer.view(np.int32) >> 15) - (TOP - HALF)
    steps = np.clip(steps, 0, HALF - 1)
    upper = (scores >= 0.5).astype(np.int32)
    found: Integers = (steps ^ -upper) + BINS * upper  # there, BINS - 1 - steps
    return found


class Area(NamedTuple):
    """An area, or a difference of two, and its standard error; NaN if undefined."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Scores:
    """One model's probabilities: rows, or their weights, by label and by bin."""

    histogram: Floats  # (2, BINS)

    def __add__(self, other: Scores) -> Scores:
        return Scores(self.histogram + other.histogram)

    @property
    def labels(self) -> Floats:
        """Rows by label, (2,)."""
        return np.asarray(self.histogram.sum(axis=1))

    @property
    def roc_auc(self) -> float:
        """P(a positive scores above a negative), ties half; NaN without one of both.

        Scores of one bin count as ties: within 1e-3 of the area without bins where
        they are spread as logistic or normal scores are, typically within 1e-6.
        """
        return _delong(self.histogram).value

    @property
    def pr_auc(self) -> float:
        """Average precision: each threshold's precision, by the recall it adds.

        Scores of one bin share a threshold, with the same error as for `roc_auc`.
        """
        called = np.cumsum(self.histogram[:, ::-1], axis=1)
        precision = called[1] / np.maximum(called.sum(axis=0), 1e-300)
        positives = float(called[1, -1])
        found = float(precision @ self.histogram[1, ::-1])
        return found / positives if positives else nan

    @property
    def area(self) -> Area:
        """`roc_auc` with its standard error by DeLong, DeLong and Clarke-Pearson.

        Asymptotic. Source: Biometrics 44 (1988) 837, on the binned scores.
        """
        return _delong(self.histogram)

    def roc(self) -> tuple[Floats, Floats]:
        """False and true positive rates, (BINS + 1,) each, from threshold 1 to 0."""
        called = np.cumsum(self.histogram[:, ::-1], axis=1)
        rates = called / np.maximum(called[:, -1:], 1e-300)
        return np.insert(rates[0], 0, 0.0), np.insert(rates[1], 0, 0.0)

    def coarse(self, number: int) -> Floats:
        """Rows by label and by bin of equal width, (2, number)."""
        place = (CENTRES * number).astype(np.int64)
        found = [np.bincount(place, row, number) for row in self.histogram]
        return np.array(found, np.float64)

    def calibration(self, number: int = 20) -> tuple[Floats, list[Proportion]]:
        """The mean probability (to half a fine bin) and the positives of each bin.

        Bins without a row are left out; weights are rounded to whole rows.
        """
        coarse = self.coarse(number)
        rows = coarse.sum(axis=0)
        place = (CENTRES * number).astype(np.int64)
        sums = np.bincount(place, self.histogram.sum(axis=0) * CENTRES, number)
        kept = rows > 0
        pairs = np.rint(np.stack([coarse[1], rows])[:, kept]).astype(np.int64)
        return sums[kept] / rows[kept], [Proportion(*pair) for pair in pairs.T.tolist()]

    @property
    def calibration_error(self) -> float:
        """The mean distance of probability and share of positives, over 20 bins.

        Biased upward: a perfectly calibrated model has an error above 0 for the noise
        in each bin, the more the fewer the rows. So it is reported, and no gate may
        rest on it; log_loss and brier punish bad calibration without that bias.
        """
        rows = self.coarse(20).sum(axis=0)
        means, hits = self.calibration()
        gaps = np.abs(means - [hit.estimate for hit in hits])
        return float(gaps @ rows[rows > 0] / rows.sum())


@dataclass(frozen=True, eq=False)
class Joint:
    """Both models' probabilities: rows by label and by coarse bin of each."""

    histogram: Integers  # (2, JOINT, JOINT): label, candidate, production

    def __add__(self, other: Joint) -> Joint:
        return Joint(self.histogram + other.histogram)

    @property
    def labels(self) -> Integers:
        """Rows by label, (2,)."""
        return np.asarray(self.histogram.sum(axis=(1, 2)))

    @property
    def error(self) -> float:
        """The standard error of the candidate's area less production's.

        DeLong's for the same rows (Biometrics 44 (1988) 837), on scores rounded to
        coarse bins. Asymptotic.
        """
        return _delong(self.histogram).error


def _delong(histogram: Floats | Integers) -> Area:
    """The area, or the gain where there are two scores, and its standard error.

    A row's part in the area is the share of the other label's rows that it stands on
    the right side of; the variance is that of these parts, within each label.
    """
    negatives, positives = histogram.sum(axis=tuple(range(1, histogram.ndim)))
    if min(negatives, positives) <= 0:
        return Area(nan, nan)
    error, value = 0.0, nan
    for label, rows in enumerate((negatives, positives)):
        parts = _parts(histogram, label)
        value = float((histogram[label] * parts).sum() / rows)
        spread = float((histogram[label] * (parts - value) ** 2).sum())
        error += spread / max(rows - 1, 1) / rows
    return Area(value, sqrt(error))


def _parts(histogram: Floats | Integers, label: int) -> Floats:
    """Each bin's part in the area (candidate's less production's, if two)."""
    other = histogram[1 - label]
    if other.ndim == 1:
        return _beyond(other, label)
    mine, theirs = _beyond(other.sum(axis=1), label), _beyond(other.sum(axis=0), label)
    return np.asarray(mine[:, None] - theirs[None, :], np.float64)


def _beyond(other: Floats | Integers, label: int) -> Floats:
    """The share of the other label's rows below (for negatives: above) each bin."""
    below = (np.cumsum(other) - other / 2) / other.sum()
    return np.asarray(below if label else 1 - below, np.float64)


def spread(labels: Integers, scores: Floats, weights: Floats | None) -> Scores:
    """The histogram of a batch; `labels` are 0 or 1."""
    found = np.bincount(labels * BINS + bins(scores), weights, 2 * BINS)
    return Scores(found.reshape(2, BINS).astype(np.float64))


def together(labels: Integers, candidate: Floats, production: Floats) -> Joint:
    """The joint histogram of a batch."""
    mine, theirs = (COARSE[bins(each)] for each in (candidate, production))
    flat = (labels * JOINT + mine) * JOINT + theirs
    counts = np.bincount(flat, minlength=2 * JOINT * JOINT)
    return Joint(counts.reshape(2, JOINT, JOINT))
