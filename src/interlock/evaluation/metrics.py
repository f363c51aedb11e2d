"""The kinds of metric: which way each is better, and how it is tested.

A `Fraction` is read off the table of classes: num / den, or the mean of several such
(the classes of a macro average). A `Mean` is the mean over the rows of a number of each
row: a loss, or a team's own score. An `Area` is read off histograms. Samples are the
better the higher, so that of a loss is negative; `sign` turns it back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan, sqrt
from typing import Any, TypeAlias

import numpy as np

from interlock.config import Evaluation
from interlock.evaluation.batch import Batch
from interlock.evaluation.betting import Masses, put_down
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Difference, Interval, Proportion, Sample
from interlock.evaluation.moments import Floats, Integers, Moments, from_cells, of
from interlock.evaluation.samples import (
    LEAST_CLUSTERS,
    LEAST_ROWS,
    Gain,
    Means,
    Normal,
    Quotient,
    Root,
    RootGain,
    rule_of_three,
)
from interlock.evaluation.tables import ROLES, Role, Table

UNIT = Interval(0.0, 1.0)
Features: TypeAlias = Callable[[Integers, Integers, int], tuple[Any, Any]]
Rows: TypeAlias = Callable[[Batch, Role], Any]  # -> a number of each row, (n,)


@dataclass(frozen=True)
class Metric(ABC):
    """A metric by its name in a gate; `share` is shown in percent and points."""

    name: str
    title: str
    higher: bool = True  # is better
    share: bool = False
    refused: str = ""  # why no gate may rest on it

    @property
    def whole_only(self) -> bool:
        """Whether it is not counted by slice."""
        return False

    def unfit(self, settings: Evaluation) -> str:
        """Why no gate may rest on it under these settings; empty if one may."""
        return ""

    @property
    def tested(self) -> str:
        """The name of what is counted for its tests."""
        return self.name

    @property
    def sign(self) -> int:
        """Of the metric in its sample."""
        return 1 if self.higher else -1

    @abstractmethod
    def value(self, group: Group, role: Role) -> float:
        """The metric, NaN where it is undefined."""

    def sample(self, group: Group, role: Role) -> Sample | None:
        """What is tested against a number; None where nothing is known of its error."""
        return None

    def gain(self, group: Group) -> Sample | None:
        """What is tested against production on the same rows."""
        return None

    def by_row(self, group: Group) -> Moments | None:
        """Of num and den of each model, by class; None of what is no quotient."""
        return None

    def error(self, group: Group, roles: Sequence[Role]) -> float:
        """The standard error of one model's metric, or of the change from production.

        By the delta method, for forecasts: no verdict rests on it. NaN where nothing is
        known of it.
        """
        clustered = (group.clusters or {}).get(self.tested)
        moments = of(clustered.sums) if clustered else self.by_row(group)
        if moments is None or not moments.rows:
            return nan
        _, along = _influence(
            moments, roles, len(moments.mean) // (2 + 2 * group.paired)
        )
        return sqrt(moments.variance(along * self._slopes(group)) / moments.rows)

    def _slopes(self, group: Group) -> Floats:
        """How the metric moves with each of the numbers that it is made from."""
        return np.ones(1)

    def design_effect(self, group: Group, roles: Sequence[Role]) -> float:
        """How often the variance of independent rows fits into that of the clusters.

        Of one model's metric, or of the change from production; NaN where there are no
        clusters. So many rows are worth one. Source: Kish, Survey Sampling (1965),
        section 8.2, where it is deff.
        """
        rows, clusters = self.by_row(group), group.clusters or {}
        if rows is None or self.tested not in clusters:
            return nan
        whole = of(clusters[self.tested].sums)
        _, along = _influence(whole, roles, len(whole.mean) // (2 + 2 * group.paired))
        alone = rows.rows * rows.variance(along)
        return whole.rows * whole.variance(along) / alone if alone > 0 else nan


@dataclass(frozen=True)
class Fraction(Metric):
    """The mean over `classes` of num / den, each a sum over the rows.

    Exact where rows count alike: Clopper and Pearson's interval, and against
    production, where den does not depend on the model, the paired test of `Difference`.
    One quotient else: bounded, as `samples` describes. Several: the delta method, which
    is asymptotic.
    """

    features: Features = field(default=lambda *_: (0, 1))
    classes: tuple[int, ...] = (1,)
    exact: Callable[[int, int], Sample] = Proportion  # of num and den
    shared: bool = True  # den does not depend on the model

    def value(self, group: Group, role: Role) -> float:
        """From the table, every row by its weight."""
        return quotient(self.by_row(group), role, len(self.classes))

    def sample(self, group: Group, role: Role) -> Sample | None:
        """Exact, bounded or asymptotic, as the class says."""
        if len(self.classes) > 1:
            return self._normal(group, (role,))
        if group.is_plain:
            num, den = _columns(self.by_row(group), role)[:, 0] * group.rows
            return self.exact(round(num), round(den))
        means = self._means(group)
        return Quotient(_role(means, role), UNIT) if means else None

    def gain(self, group: Group) -> Sample | None:
        """Exact, bounded or asymptotic, as the class says."""
        if len(self.classes) > 1:
            return self._normal(group, ROLES)
        if self.shared and group.is_plain:
            return self._difference(group.table)
        means = self._means(group)
        return Gain(means, self.shared, UNIT) if means else None

    def vectors(self, label: Integers, *called: Integers) -> Floats:
        """num by class, then den by class, for each model; (n, models 2 classes)."""
        columns = [
            np.broadcast_to(kind, label.shape)
            for model in called
            for kinds in zip(
                *(self.features(label, model, k) for k in self.classes), strict=True
            )
            for kind in kinds
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    def _difference(self, table: Table) -> Difference:
        label, candidate, production, cells = table.arrays()
        mine, rows = self.features(label, candidate, self.classes[0])
        theirs, _ = self.features(label, production, self.classes[0])
        counts = cells[:, 0]
        better, worse = counts @ (mine > theirs), counts @ (mine < theirs)
        return Difference(int(better), int(worse), int((counts * rows).sum()))

    def by_row(self, group: Group) -> Moments:
        """From the table."""
        label, *called, cells = group.table.arrays()
        vectors = self.vectors(label, *called[: 1 + group.paired])
        return from_cells(vectors, cells[:, 1], cells[:, 2], group.rows)

    def _normal(self, group: Group, roles: Sequence[Role]) -> Normal | None:
        moments = group.counted(self.name, self.by_row)
        if moments is None:
            return None
        return _delta(moments, roles, len(self.classes), group)

    def _means(self, group: Group) -> Means | None:
        moments = group.counted(self.name, self.by_row)
        if moments is None:
            return None
        # Of a class among many, a row says no more than of a class among two.
        own = replace(self, classes=(min(self.classes[0], 1),))
        codes = np.arange(8)
        called = [codes >> 1 & 1, codes & 1][: 1 + group.paired]
        return group.means_of(moments, own.vectors(codes >> 2, *called))


@dataclass(frozen=True)
class Mean(Metric):
    """The mean over the rows of `rows`, a number of each row within `range`.

    Bounded where the range is finite: inherently, or by `clip`, beyond which a row
    counts as `clip`. Exact, as `Fraction`, where that number is 0 or 1. Else no gate
    may rest on it, and its interval is asymptotic: of a loss of which few rows make up
    most, an asymptotic test passes too easily (benchmarks/asymptotic.py). With `root`
    it is the square root of the mean.
    """

    rows: Rows = field(default=lambda batch, role: batch.predictions[role])
    range: Interval = Interval(0.0, inf)
    exact: bool = False  # the number is 0 or 1
    tail: bool = False  # few rows may make up most of it: a clip is of use
    clip: float | None = None  # of `rows`
    root: bool = False

    def unfit(self, settings: Evaluation) -> str:
        """Refuses what has no bound."""
        if np.isfinite(self._span).all():
            return ""
        return (
            "few rows may make up most of it, and no test of it holds its level; add "
            f"clip = {{ {self.name} = NUMBER }}, the most that a row counts with"
        )

    def value(self, group: Group, role: Role) -> float:
        """The mean itself, without `clip`, every row by its weight."""
        found = quotient(group.moments(self.name), role)
        return sqrt(found) if self.root else found

    def sample(self, group: Group, role: Role) -> Sample | None:
        """Exact, bounded or asymptotic, as the class says."""
        if self.exact and group.is_plain:
            num, den = _columns(group.moments(self.name), role)[:, 0] * group.rows
            return Proportion(round(num), round(den))
        means = self._means(group)
        if means is None:
            return None
        bets = group.bets.get(self.tested) if role == "candidate" else None
        quotient = Quotient(replace(_role(means, role), bets=bets), self._span)
        return Root(quotient) if self.root else quotient

    def gain(self, group: Group) -> Sample | None:
        """Exact, bounded or asymptotic, as the class says."""
        if self.exact and group.is_plain:
            return _difference(group.moments(self.name))
        means = self._means(group)
        if means is None:
            return None
        means = replace(means, bets=group.bets.get(f"{self.tested} gain"))
        gain = Gain(means, shared=True, each=self._span)
        return RootGain(gain) if self.root else gain

    def by_row(self, group: Group) -> Moments:
        """With the clip, if there is one."""
        return group.moments(self.tested)

    @property
    def tested(self) -> str:
        """The name of the moments that are tested."""
        return self.name if self.clip is None else f"{self.name} clipped"

    def bets(
        self, values: Floats, place: Integers, count: int
    ) -> dict[str, list[Masses]]:
        """What is bet on: the candidate's numbers and, less production's, the gain.

        Of each of `count` groups of rows; `values` has shape (n, models). Nothing of
        what has no bound, or a test of counts.
        """
        low, high = self._span
        if self.exact or not np.isfinite(self._span).all():
            return {}
        mine, *theirs = self.sign * values.T
        found = {self.tested: put_down(mine, low, high, place, count)}
        for each in theirs:
            ends = low - high, high - low
            gain = put_down(mine - each, *ends, place, count)
            found[f"{self.tested} gain"] = gain
        return found

    def _slopes(self, group: Group) -> Floats:
        """Of a root: 1 / (2 root), for each model."""
        if not self.root:
            return np.ones(1)
        found = self.by_row(group)
        roots = [sqrt(quotient(found, role)) for role in ROLES[: 1 + group.paired]]
        return np.repeat([0.5 / root if root else 0.0 for root in roots], 2)

    @property
    def apart(self) -> list[Mean]:
        """The mean that is tested and, where that has a clip, the mean itself."""
        if self.clip is None:
            return [self]
        limit = sqrt(self.clip) if self.root else self.clip
        title = f"{self.title}, clipped at {limit:g}"
        ends = Interval(self.range.low, self.clip)
        one = replace(self, name=self.tested, title=title, range=ends, clip=None)
        return [one, replace(self, clip=None)]

    @property
    def _span(self) -> Interval:
        low, high = self.range
        high = high if self.clip is None else self.clip
        return Interval(low, high) if self.higher else Interval(-high, -low)

    def _means(self, group: Group) -> Means | None:
        found = group.counted(self.tested, self.by_row)
        if found is None:
            return None
        moments = found.mapped(np.diag([self.sign, 1] * (1 + group.paired)))
        if not np.isfinite(self._span).all():
            return Means(moments, None, group.clusters is not None)
        return group.means_of(moments, self._corners(group.paired))

    def _corners(self, paired: bool) -> Floats:
        ends = np.array([[end, 1.0] for end in self._span])
        if not paired:
            return ends
        return np.array([[*one, *other] for one in ends for other in ends])

    def imagined(
        self, rows: int, spread: float, score: float | None, clusters: bool = False
    ) -> Sample:
        """What so many rows of this spread would be, for a forecast; of no root.

        With a `score`, that of a model whose numbers have this standard deviation;
        without, of a model beside an equal one, from which they differ by so much.
        With `clusters`, each row is one of its own, which is the best that can be.
        """
        paired = score is None
        mean = np.array([self.sign * (score or 0.0), 1.0] * (1 + paired))
        scatter = np.zeros((len(mean), len(mean)))
        scatter[0, 0] = (rows - 1) * spread**2
        bounded = np.isfinite(self._span).all()
        corners = self._corners(paired) if bounded else None
        means = Means(Moments(rows, mean, scatter), corners, clusters)
        if paired:
            return Gain(means, shared=True, each=self._span)
        return Quotient(means, self._span)


@dataclass(frozen=True)
class Area(Metric):
    """An area below a curve of a binary classifier's scores.

    The area below the ROC by DeLong's method, which is asymptotic, from LEAST_LABELS
    rows of either label on, for rows that are independent and count alike.
    """

    of: str = "roc_auc"  # the attribute of Scores

    @property
    def whole_only(self) -> bool:
        """Its histograms are too large to be kept for every slice."""
        return True

    def unfit(self, settings: Evaluation) -> str:
        """Refuses weights and clusters."""
        odd = settings.weight or settings.cluster
        return odd and f"its error has no estimate here where rows have a {odd!r}"

    def value(self, group: Group, role: Role) -> float:
        """From the histogram, every row by its weight."""
        scores = group.candidate if role == "candidate" else group.production
        return float(getattr(scores, self.of)) if scores else nan

    def sample(self, group: Group, role: Role) -> Normal | None:
        """DeLong's; none for the other areas."""
        scores = group.candidate if role == "candidate" else group.production
        if self.refused or scores is None or not group.is_plain:
            return None
        return _area(*scores.area, scores.labels)

    def gain(self, group: Group) -> Normal | None:
        """DeLong's paired test, from both models' scores together."""
        if self.refused or group.joint is None or not group.is_plain:
            return None
        change = self.value(group, "candidate") - self.value(group, "production")
        return _area(change, group.joint.error, group.joint.labels)

    def error(self, group: Group, roles: Sequence[Role]) -> float:
        """DeLong's."""
        paired = len(roles) > 1
        found = self.gain(group) if paired else self.sample(group, roles[0])
        return found.error if found else nan


LEAST_LABELS = 100  # rows of the rarer label that DeLong's test wants


def _area(value: float, error: float, labels: Any) -> Normal:
    """Of a row, no more than 1 / labels of the area hangs on where it stands."""
    rarer = int(labels.min())
    least = sqrt(rule_of_three(1.0, rarer) / max(rarer, 1))
    return Normal(value, max(error, least), rarer, LEAST_LABELS)


def _columns(moments: Moments, role: Role, classes: int = 1) -> Floats:
    """The means of num and of den of one model, (2, classes)."""
    found = moments.mean.reshape(-1, 2, classes)
    return np.asarray(found[ROLES.index(role)])


def quotient(moments: Moments, role: Role, classes: int = 1) -> float:
    """The mean over the classes of num / den of one model; NaN where den is 0."""
    num, den = _columns(moments, role, classes)
    kept = den > 0
    return float((num[kept] / den[kept]).mean()) if kept.any() else nan


def _role(means: Means, role: Role) -> Means:
    """One model's part."""
    rows = np.eye(2, len(means.moments.mean), 2 * ROLES.index(role))
    corners = None if means.corners is None else means.corners @ rows.T
    return replace(means, moments=means.moments.mapped(rows), corners=corners)


def _delta(
    moments: Moments, roles: Sequence[Role], classes: int, group: Group
) -> Normal:
    """A mean of quotients, or the candidate's less production's, with its error."""
    value, along = _influence(moments, roles, classes)
    rows = max(moments.rows, 1)
    worst = float(np.abs(along).max(initial=0.0)) * 2 * group.rows / rows
    variance = max(moments.variance(along), rule_of_three(worst, rows))
    least = LEAST_ROWS if group.clusters is None else LEAST_CLUSTERS
    return Normal(value, sqrt(variance / rows), moments.rows, least)


def _influence(
    moments: Moments, roles: Sequence[Role], classes: int
) -> tuple[float, Floats]:
    """A mean of quotients, or the candidate's less production's, and what moves it.

    To first order it moves with a row as the sum of (num - quotient den) / mean(den)
    does, whose standard error is its own: that sum is the second part @ the row's
    vector. Source: the delta method, van der Vaart, Asymptotic Statistics (1998),
    theorem 3.1.
    """
    along = np.zeros_like(moments.mean).reshape(-1, 2, classes)
    value = 0.0
    for role, sign in zip(roles, (1, -1), strict=False):
        num, den = _columns(moments, role, classes)
        kept = np.flatnonzero(den > 0)
        quotients = num[kept] / den[kept]
        value += sign * (float(quotients.mean()) if kept.size else nan)
        place = along[ROLES.index(role)]
        place[0, kept] = sign / den[kept] / max(kept.size, 1)
        place[1, kept] = -place[0, kept] * quotients
    return value, along.ravel()


def _difference(moments: Moments) -> Difference:
    """Rows that only one of two models gets right, from means and products."""
    rows = moments.rows
    both = moments.scatter[0, 2] + rows * moments.mean[0] * moments.mean[2]
    mine, theirs = (round(rows * moments.mean[place] - both) for place in (0, 2))
    return Difference(mine, theirs, rows)
