"""What is counted of a group of rows, in one piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from interlock.evaluation.betting import Masses
from interlock.evaluation.curves import Joint, Scores
from interlock.evaluation.fits import Fit
from interlock.evaluation.moments import Clusters, Floats, Moments, Spread, of
from interlock.evaluation.ranking import Places
from interlock.evaluation.samples import Means
from interlock.evaluation.tables import Role, Table


@dataclass(frozen=True, eq=False)
class Group:
    """What is kept of all rows, or of one slice: its size does not depend on them.

    But for `clusters`, which are there only where rows belong together: 8 (k + 1) bytes
    for each cluster and each metric that a gate judges.
    """

    rows: int  # or queries
    paired: bool  # whether there is a production
    weighted: bool = False
    heaviest: float = 1.0  # weight of a row
    table: Table = field(default_factory=Table)
    means: Mapping[str, Moments] = field(default_factory=dict)
    bets: Mapping[str, Masses] = field(default_factory=dict)
    clusters: Mapping[str, Clusters] | None = None
    candidate: Scores | None = None
    production: Scores | None = None
    joint: Joint | None = None
    labels: Spread | None = None  # of a regression's labels
    plots: Mapping[Role, Fit | Places] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether rows are independent of each other and count alike."""
        return not self.weighted and self.clusters is None

    def moments(self, name: str) -> Moments:
        """Of a mean's (num, den), or (num, den, num', den'), row by row."""
        place = np.arange(1 + self.paired)
        spread = np.zeros((2 * len(place), len(place) + self.weighted))
        spread[2 * place, place] = 1
        if self.weighted:
            spread[2 * place + 1, -1] = 1
        constant = np.tile([0.0, 0.0 if self.weighted else 1.0], len(place))
        return self.means[name].mapped(spread, constant)

    def counted(self, name: str, by_row: Callable[[Group], Moments]) -> Moments | None:
        """By row, or of the clusters' totals; None of what was not counted for them."""
        if self.clusters is None:
            return by_row(self)
        found = self.clusters.get(name)
        return of(found.sums) if found else None

    def means_of(self, moments: Moments, corners: Floats) -> Means:
        """`moments` of rows with these corners, or of clusters of such rows."""
        if self.clusters is not None:
            size = self.rows / max(moments.rows, 1)
            return Means(moments, corners * size, clusters=True)
        if self.weighted:
            nothing = np.zeros_like(corners[:1])
            corners = np.vstack([corners * self.heaviest, nothing])
        return Means(moments, corners)
