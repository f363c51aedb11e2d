"""Where batches are predicted: on the cores of this machine, or on a Dask cluster.

There is one seam. An engine is given a function and a stream of batches, and yields the
function's results in the order of the batches, whoever was ready first; what is added
up in that order has the same bits on any number of workers. It holds only so many
batches as keep the workers busy, so memory does not grow with the rows.

One reader feeds all, for reading is some ten times as fast as the fastest model; so the
workers need neither the data nor the right to read it. A worker is a thread that drives
processes, one for each version: threads share what is read without a copy, and nobody
can kill one of them (benchmarks/evaluation.py has both, and Dask, side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeAlias, TypeVar

import joblib
import pyarrow as pa

from interlock.config import Evaluation
from interlock.evaluation.predict import Models, Version
from interlock.parallel import Future, submitted

# Batches in hand for each worker: one that is predicted, one that another thread gets
# ready for it, or counts after it, meanwhile; and one that waits.
THREADS, AHEAD = 2, 3

Part = TypeVar("Part")
Work: TypeAlias = Callable[[Models, int, pa.RecordBatch], Part]


def mapped(
    work: Work[Part],
    versions: Sequence[Version],
    batches: Iterable[pa.RecordBatch],
    settings: Evaluation,
) -> Generator[Part, None, None]:
    """work(models, first, batch) of each batch, in order.

    `first` is the number of the batch's first row. Raises what `work` raises.
    """
    if settings.engine == "dask":
        from interlock.evaluation import cluster

        return cluster.mapped(work, versions, batches, settings)
    return _local(work, versions, batches, settings)


def _local(
    work: Work[Part],
    versions: Sequence[Version],
    batches: Iterable[pa.RecordBatch],
    settings: Evaluation,
) -> Generator[Part, None, None]:
    workers = settings.workers or joblib.cpu_count()  # those that a container may use
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(THREADS * workers))
        models = stack.enter_context(Models(versions, settings.patience, workers))
        yield from in_order(
            lambda first, batch: pool.submit(work, models, first, batch),
            batches,
            AHEAD * workers,
        )


def in_order(
    submit: Callable[[int, pa.RecordBatch], Future[Part]],
    batches: Iterable[pa.RecordBatch],
    ahead: int,
) -> Iterator[Part]:
    """The results in the order of the batches, with `ahead` of them in hand."""
    return submitted(lambda each: submit(*each), _numbered(batches), ahead)


def _numbered(
    batches: Iterable[pa.RecordBatch],
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each batch, with the number of its first row."""
    first = 0
    for batch in batches:
        yield first, batch
        first += batch.num_rows
