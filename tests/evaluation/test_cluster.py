"""A Dask cluster gives the very numbers of this machine; for the slow session."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interlock.config import Evaluation
from interlock.errors import BadConfiguration, CheckBroken
from interlock.evaluation import files
from interlock.evaluation.predict import Version
from interlock.evaluation.run import stream
from tests.evaluation.conftest import Settings, Toy, flips

distributed = pytest.importorskip("distributed")

SQUARE = "return batch['x'] ** 2"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two processes on loopback."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def chosen(tmp_path: Path, settings: Settings) -> Evaluation:
    """3000 rows in batches of 100."""
    pq.write_table(pa.table(flips(3000, 0.9)), tmp_path / "data.parquet")
    return replace(settings("accuracy >= 0"), batch_rows=100, workers=2)


def digest(tmp_path: Path, versions: list[Version], chosen: Evaluation) -> str:
    """Of the predictions, which say all."""
    out = tmp_path / f"{chosen.engine}.parquet"
    stream(versions, chosen, tmp_path / "data.parquet", out)
    return files.digest(out)


def on(address: str, chosen: Evaluation) -> Evaluation:
    """The same settings, on the cluster."""
    return replace(chosen, engine="dask", scheduler=address)


def test_the_cluster_gives_the_same_bytes(
    tmp_path: Path, toy: Toy, chosen: Evaluation, address: str
) -> None:
    """And keeps neither files nor processes of ours."""
    versions = [toy(SQUARE, "toy@2"), toy()]
    expected = digest(tmp_path, versions, chosen)
    assert digest(tmp_path, versions, on(address, chosen)) == expected
    _nothing_is_left(address)


def _nothing_is_left(address: str) -> None:
    with distributed.Client(address) as client:
        assert client.run(_left) == dict.fromkeys(client.nthreads(), [])


def _left(dask_worker: Any) -> list[str]:
    return [name for name in dask_worker.plugins if name.startswith("interlock")]


def test_a_killed_worker_changes_no_number(
    tmp_path: Path, toy: Toy, chosen: Evaluation, address: str
) -> None:
    """Dask starts another one, which is given the versions and its batches."""
    slow = f"import time; time.sleep(0.1); {SQUARE}"
    expected = digest(tmp_path, [toy(SQUARE, "toy@2"), toy()], chosen)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(_kill_one, address)
        found = digest(
            tmp_path, [toy(slow, "toy@3"), toy(name="t")], on(address, chosen)
        )
    assert late.result() and found == expected


def _kill_one(address: str) -> bool:
    with distributed.Client(address) as client:
        while not any(client.run(_left).values()):
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    return True


def test_a_refusal_travels(
    tmp_path: Path, toy: Toy, chosen: Evaluation, address: str
) -> None:
    """With its row, counted over the whole data."""
    body = "assert not (batch['x'] > 0.9099).any(); return batch['x']"
    here, there = (
        pytest.raises(CheckBroken, match="AssertionError at row [0-9]{3}:"),
        pytest.raises(CheckBroken),
    )
    version = toy(body)
    with here as one:
        digest(tmp_path, [version], chosen)
    with there as other:
        digest(tmp_path, [version], on(address, chosen))
    assert str(one.value) == str(other.value)


def test_a_cluster_that_is_not_there_is_refused(
    tmp_path: Path, toy: Toy, chosen: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a matter of configuration."""
    monkeypatch.setattr("interlock.evaluation.cluster.SECONDS", 0.5)
    with pytest.raises(BadConfiguration, match="a Dask scheduler at tcp://127.0.0.1:9"):
        digest(tmp_path, [toy()], on("tcp://127.0.0.1:9", chosen))


def test_workers_of_other_packages_are_refused(
    tmp_path: Path,
    toy: Toy,
    chosen: Evaluation,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They would judge another model."""
    monkeypatch.setattr(
        "interlock.evaluation.cluster.installed", lambda: {"numpy": "0.1"}
    )
    with pytest.raises(BadConfiguration, match="(?s)to have the packages.*numpy"):
        digest(tmp_path, [toy()], on(address, chosen))
    _nothing_is_left(address)
