"""Some rows, as the arrays that metrics are counted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from interlock.evaluation.moments import Floats, Integers
from interlock.evaluation.tables import Role

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one data set; whole queries, where the task is ranking."""

    labels: Array  # (n,): the class's number, the value, or the relevance
    predictions: Mapping[Role, Array]  # (n,), or (n, classes); no production: no key
    slices: Mapping[str, pa.Array] = field(default_factory=dict)
    weights: Floats | None = None  # (n,), above 0
    clusters: pa.Array | None = None
    queries: Integers | None = None  # (n,): from 0 on, in the order of the rows
    scores: Mapping[Role, Floats] = field(default_factory=dict)  # the team's own
