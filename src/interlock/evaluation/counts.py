"""Rows folded into counts that add up.

`fold` turns a batch into `Counts`, `+` merges the counts of any two sets of rows, and
every metric is read off the sum. Counts of rows are whole numbers, so their merge is
exact in any order; sums of losses and of weights are equal up to rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from interlock.config import Evaluation
from interlock.evaluation import curves, fits, moments, ranking, repeats, tables
from interlock.evaluation.batch import Batch
from interlock.evaluation.betting import Masses
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.fits import Fit
from interlock.evaluation.group import Group
from interlock.evaluation.metrics import Fraction, Mean, Metric
from interlock.evaluation.moments import Clusters, Floats, Integers, Moments, merged
from interlock.evaluation.ranking import Places
from interlock.evaluation.repeats import Repeats
from interlock.evaluation.tables import ROLES, Role, Table

Slice: TypeAlias = tuple[str, str]  # column, value

WHOLE: Slice = ("", "")
MISSING = "(missing)"  # the slice of the rows whose value is null or empty


@dataclass(frozen=True)
class Plan:
    """What is to be counted: every metric on the whole, and some by slice."""

    metrics: Mapping[str, Metric]
    judged: Mapping[str, frozenset[str]]  # the gates' metrics by `per` column, or ""
    task: str = "binary"
    threshold: float = 0.5
    classes: int = 2
    drawn: bool = False  # whether also what only plots show

    def means(self, column: str) -> list[Mean]:
        """The means to count on the whole (""), or by the slices of a column."""
        found = [each for each in self.metrics.values() if isinstance(each, Mean)]
        leading = next(iter(self.metrics))
        wanted = {*self.judged.get(column, ()), leading} if column else {*self.metrics}
        return [each for each in found if each.name in wanted]


def plan(
    settings: Evaluation, judged: Iterable[tuple[str, str]] = (), drawn: bool = False
) -> Plan:
    """The plan for these settings; `judged` are the gates' (metric, `per` column)."""
    known, by = catalogue(settings), dict[str, frozenset[str]]()
    for metric, column in judged:
        if metric in known:  # latency is not counted from rows
            by[column] = by.get(column, frozenset()) | {metric}
    classes = len(settings.classes) or 2
    return Plan(known, by, settings.task, settings.threshold, classes, drawn)


@dataclass(frozen=True, eq=False)
class Counts:
    """All that is kept of the rows: its size depends on the slices, not on the rows."""

    groups: Mapping[Slice, Group]
    repeats: Repeats | None = None  # none where rows may belong together

    def __add__(self, other: Counts) -> Counts:
        groups = dict(self.groups)
        for key, group in other.groups.items():
            groups[key] = _both(groups[key], group) if key in groups else group
        return Counts(groups, _sum(self.repeats, other.repeats))

    @property
    def whole(self) -> Group:
        """The group of all rows."""
        return self.groups[WHOLE]

    def per(self, column: str) -> dict[str, Group]:
        """The group of each value of a slice column, in order of the value."""
        groups = sorted(self.groups.items(), key=lambda item: item[0])
        return {value: group for (name, value), group in groups if name == column}


def _both(one: Group, other: Group) -> Group:
    if one.paired is not other.paired:
        raise ValueError("expected production in both counts or in neither")
    clusters = None
    if one.clusters is not None and other.clusters is not None:
        clusters = merged(one.clusters, other.clusters)
    return replace(
        one,
        rows=one.rows + other.rows,
        heaviest=max(one.heaviest, other.heaviest),
        table=one.table + other.table,
        means=merged(one.means, other.means),
        bets=merged(one.bets, other.bets),
        clusters=clusters,
        candidate=_sum(one.candidate, other.candidate),
        production=_sum(one.production, other.production),
        joint=_sum(one.joint, other.joint),
        labels=_sum(one.labels, other.labels),
        plots=merged(one.plots, other.plots),
    )


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


def fold(batch: Batch, plan: Plan) -> Counts:
    """The counts of one batch.

    For a binary task scores are probabilities in 0..1 and count as positive from the
    plan's threshold on.
    """
    folded = _Fold(batch, plan)
    everyone = np.zeros(folded.rows, np.int64)
    whole = folded.groups("", everyone, 1)[0]
    groups = {WHOLE: folded.with_curves(whole)}
    for name, column in batch.slices.items():
        values, place = _encoded(folded.first(column))
        found = folded.groups(name, place, len(values))
        groups |= {(name, values[each]): group for each, group in found.items()}
    return Counts(groups, _repeats(batch))


def _repeats(batch: Batch) -> Repeats | None:
    if batch.clusters is not None or batch.queries is not None:
        return None
    columns = batch.labels, *batch.predictions.values()
    return repeats.counted(columns, len(batch.labels))


def _encoded(column: pa.Array) -> tuple[list[str], Integers]:
    """Values of a column as text, and each row's place among them; some have no row."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    names = [v or MISSING for v in column.dictionary.cast(pa.string()).to_pylist()]
    codes = column.indices
    if codes.null_count:
        codes = codes.fill_null(len(names))
    names.append(MISSING)
    known = {value: each for each, value in enumerate(dict.fromkeys(names))}
    place = np.array([known[name] for name in names])
    return list(known), place.take(codes.to_numpy())


class _Fold:
    """A batch on its way into groups: what is the same for every column of slices."""

    def __init__(self, batch: Batch, plan: Plan) -> None:
        self.batch, self.plan = batch, plan
        self.weights, self.named = self.first(batch.weights), self.first(batch.clusters)
        self.roles = [role for role in ROLES if role in batch.predictions]
        self.called = {role: self._called(role) for role in self.roles}
        self.codes = self._codes()
        self.means = {each.tested: self._rows(each) for each in plan.means("")}
        self.means |= {m.name: self._rows(replace(m, clip=None)) for m in self._clipped}

    @property
    def rows(self) -> int:
        """Rows, or queries where the task is ranking: what a metric is a mean of."""
        queries = self.batch.queries
        return len(self.batch.labels) if queries is None else int(queries[-1]) + 1

    def first(self, column: Any) -> Any:
        """A column by row, or by the first row of each query."""
        queries = self.batch.queries
        if queries is None or column is None:
            return column
        return column.take(np.flatnonzero(np.diff(queries, prepend=-1)))

    @property
    def _clipped(self) -> list[Mean]:
        return [mean for mean in self.plan.means("") if mean.clip is not None]

    def _called(self, role: Role) -> Integers:
        """The class that a model calls each row, (n,)."""
        scores = self.batch.predictions[role]
        if self.plan.task != "multiclass":
            return (scores >= self.plan.threshold).astype(np.int64)
        return np.asarray(scores.argmax(axis=1))

    def _rows(self, mean: Mean) -> Floats:
        """A number of each row for each model, and its weight if it has one."""
        columns = [np.asarray(mean.rows(self.batch, role)) for role in self.roles]
        if mean.clip is not None:
            columns = [np.minimum(column, mean.clip) for column in columns]
        weights = self.weights
        if weights is not None:
            columns = [column * weights for column in columns] + [weights]
        return np.array(columns, np.float64).T

    def groups(self, column: str, place: Integers, count: int) -> dict[int, Group]:
        """A group for each of `count` places that has rows; `place` has shape (n,)."""
        n = self.rows
        rows = np.bincount(place, minlength=count) if count > 1 else np.array([n])
        weights = self.weights
        heaviest = np.ones(count) if weights is None else np.zeros(count)
        if weights is not None:
            np.maximum.at(heaviest, place, weights)
        tables = self._tables(place, count)
        means = self._means(column, place, count)
        bets = self._bets(column, place, count)
        clusters = self._clusters(column, place, count)
        return {
            each: Group(
                rows=int(rows[each]),
                paired=len(self.roles) == 2,
                weighted=weights is not None,
                heaviest=float(heaviest[each]),
                table=tables[each],
                means={name: found[each] for name, found in means.items()},
                bets={name: found[each] for name, found in bets.items()},
                clusters=None if clusters is None else clusters[each],
            )
            for each in np.flatnonzero(rows).tolist()
        }

    def _codes(self) -> Integers | None:
        """The cell of a Table that each row is in; none where there are no classes."""
        if self.plan.task not in ("binary", "multiclass"):
            return None
        codes = self.batch.labels.astype(np.int64)
        for role in ROLES:
            codes = codes * self.plan.classes + self.called.get(role, 0)
        return codes

    def _tables(self, place: Integers, count: int) -> list[Table]:
        if self.codes is None:
            return [Table()] * count
        classes = self.plan.classes
        return tables.tabulate(self.codes, place, count, classes, self.weights)

    def _means(
        self, column: str, place: Integers, count: int
    ) -> dict[str, list[Moments]]:
        wanted = {n for m in self.plan.means(column) for n in (m.name, m.tested)}
        return {
            name: moments.grouped(self.means[name], place, count) for name in wanted
        }

    def _bets(
        self, column: str, place: Integers, count: int
    ) -> dict[str, list[Masses]]:
        """Of the gates' means, where rows are independent and count alike."""
        found: dict[str, list[Masses]] = {}
        if self.weights is None and self.named is None:
            for name in sorted(self.plan.judged.get(column, ())):
                metric = self.plan.metrics[name]
                if isinstance(metric, Mean):
                    found |= metric.bets(self.means[metric.tested], place, count)
        return found

    def _clusters(
        self, column: str, place: Integers, count: int
    ) -> list[dict[str, Clusters]] | None:
        if self.named is None:
            return None
        values, own = _encoded(self.named)
        keys = np.array([_key(value) for value in values], np.uint64)
        both, inverse = np.unique(place * len(values) + own, return_inverse=True)
        groups, members = np.divmod(both, len(values))
        found: list[dict[str, Clusters]] = [{} for _ in range(count)]
        for name in sorted(self.plan.judged.get(column, ())):
            metric = self.plan.metrics[name]
            vectors = self._vectors(metric)
            if vectors is None:
                continue
            sums = moments.totals(vectors, inverse, len(both))
            for group in range(count):
                mine = np.flatnonzero(groups == group)
                mine = mine[np.argsort(keys[members[mine]])]
                found[group][metric.tested] = Clusters(keys[members[mine]], sums[mine])
        return found

    def _vectors(self, metric: Metric) -> Floats | None:
        """What adds up for a cluster: num and den of each model, by weight."""
        weights = self.weights
        if isinstance(metric, Fraction):
            labels = self.batch.labels.astype(np.int64)
            found = metric.vectors(labels, *self.called.values())
            return found if weights is None else found * weights[:, None]
        if not isinstance(metric, Mean):
            return None
        values = self.means[metric.tested]
        den = np.ones(len(values)) if weights is None else weights
        kinds = [
            each for role in range(len(self.roles)) for each in (values[:, role], den)
        ]
        return np.stack(kinds, axis=1)

    def with_curves(self, group: Group) -> Group:
        """The whole, with what is counted of it alone."""
        if self.plan.drawn:
            group = replace(group, plots=self._plots())
        if self.plan.task == "regression":
            own = moments.spread(self.batch.labels, self.batch.weights)
            return replace(group, labels=own)
        if self.plan.task != "binary":
            return group
        labels, given = self.batch.labels.astype(np.int64), self.batch.predictions
        spread: Callable[[Role], Any] = lambda role: curves.spread(  # noqa: E731
            labels, given[role], self.batch.weights
        )
        if len(self.roles) == 1:
            return replace(group, candidate=spread("candidate"))
        both = [given[role] for role in ROLES]
        return replace(
            group,
            candidate=spread("candidate"),
            production=spread("production"),
            joint=curves.together(labels, *both),
        )

    def _plots(self) -> dict[Role, Fit | Places]:
        labels, given = self.batch.labels, self.batch.predictions
        queries, weights = self.batch.queries, self.weights
        if self.plan.task == "regression":
            return {r: fits.counted(labels, given[r], weights) for r in self.roles}
        if queries is None:
            return {}
        gains = self.means["ndcg"][:, : len(self.roles)].T
        if weights is not None:
            gains = gains / weights
        return {
            role: ranking.by_place(labels, given[role], queries, own, weights)
            for role, own in zip(self.roles, gains, strict=True)
        }


def _key(value: str) -> int:
    """64 bits of a cluster's name: two of a million clusters collide in 1 of 4e7."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest())
