"""An existing Dask cluster as the engine.

The versions' files travel to the workers, also to those that join later, and batches
and predictions travel with the tasks: a worker needs no folder in common with us, no
access to the data, and no credential. What it needs is this package and what the models
import, in the versions that are installed here. Dask gives the tasks of a worker that
is lost to another.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa
from distributed import Client, KilledWorker, Worker, WorkerPlugin, get_worker

from interlock.config import Evaluation
from interlock.errors import BadConfiguration, CheckBroken
from interlock.evaluation.engine import AHEAD, Work, in_order
from interlock.evaluation.files import members
from interlock.evaluation.predict import Models, Version
from interlock.packages import installed

SECONDS = 30  # to wait for the scheduler

Part = TypeVar("Part")


def mapped(
    work: Work[Part],
    versions: Sequence[Version],
    batches: Iterable[pa.RecordBatch],
    settings: Evaluation,
) -> Generator[Part, None, None]:
    """As engine.mapped, by the workers of the cluster at `settings.scheduler`.

    Raises BadConfiguration when there is no cluster, or one of other packages, and
    CheckBroken when batches kill its workers.
    """
    with ExitStack() as stack:
        client = stack.enter_context(_connected(settings.scheduler))
        ours = f"interlock-{uuid4()}"
        # Before it is there, for a worker that refuses it has it all the same.
        stack.callback(client.unregister_worker_plugin, ours)
        client.register_plugin(_Shipped(versions, settings.patience), name=ours)
        ask = partial(client.submit, _asked, ours, work, pure=False)
        try:
            yield from in_order(ask, batches, AHEAD * _threads(client))
        except KilledWorker as error:
            raise CheckBroken(
                "Dask's workers to survive", str(error), "look at the workers' logs"
            ) from error


def _connected(address: str) -> Client:
    try:
        client = Client(address, timeout=SECONDS)
    except (OSError, ValueError) as error:
        raise BadConfiguration(
            f"a Dask scheduler at {address}",
            str(error),
            "correct evaluation.scheduler, or start the cluster",
        ) from error
    if not _threads(client):
        client.close()
        raise BadConfiguration(
            f"workers of the Dask scheduler at {address}", "none", "start workers"
        )
    return client


def _threads(client: Client) -> int:
    return sum(client.nthreads().values())


def _asked(ours: str, work: Work[Part], first: int, batch: pa.RecordBatch) -> Part:
    """On a worker: what `work` makes of the batch."""
    return work(get_worker().plugins[ours].models, first, batch)


class _Shipped(WorkerPlugin):  # type: ignore[misc]
    """The versions, unpacked and started on every worker."""

    models: Models

    def __init__(self, versions: Sequence[Version], patience: float) -> None:
        self._versions = [(version, _read(version.folder)) for version in versions]
        self._patience, self._packages = patience, _packages()

    def setup(self, worker: Worker) -> None:
        """On a worker: unpack the files; processes start when they are needed."""
        self._held = ExitStack()
        _demand_same(self._packages, worker.address)
        scratch = self._held.enter_context(
            tempfile.TemporaryDirectory(prefix="interlock-")
        )
        there = [
            _unpacked(version, files, Path(scratch, str(place)))
            for place, (version, files) in enumerate(self._versions)
        ]
        self.models = Models(there, self._patience, worker.state.nthreads)
        self._held.callback(self.models.close)

    def teardown(self, worker: Worker) -> None:
        """On a worker: leave nothing behind."""
        self._held.close()


def _read(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in members(folder)}


def _unpacked(version: Version, files: Mapping[str, bytes], folder: Path) -> Version:
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return replace(version, folder=folder)


def _packages() -> dict[str, str]:
    return {**installed(), "python": platform.python_version()}


def _demand_same(expected: Mapping[str, str], address: str) -> None:
    """Refuse a worker whose packages would judge another model than those here."""
    here = _packages()
    odd = [
        f"{n} {here[n]}" for n in expected if here.get(n, expected[n]) != expected[n]
    ]
    if odd:
        raise BadConfiguration(
            f"the worker {address} to have the packages of who asks",
            ", ".join(odd),
            "install what requirements.lock pins, on the workers too",
        )
