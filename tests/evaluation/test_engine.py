"""Wherever batches are predicted, and whoever dies there: the same numbers."""

import json
import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.config import Evaluation
from interlock.errors import CheckBroken
from interlock.evaluation import files, record
from interlock.evaluation.engine import in_order
from interlock.evaluation.counts import Counts
from interlock.evaluation.run import recount, stream
from tests.evaluation.conftest import Settings, Toy, flips

SLEEP = "import time; time.sleep(60)"


def batches(rows: int) -> list[pa.RecordBatch]:
    """Batches of 1, 2, 3, ... rows."""
    return [pa.record_batch({"x": np.zeros(1 + i)}) for i in range(rows)]


@given(
    number=st.integers(0, 12),
    ahead=st.integers(1, 5),
    delays=st.lists(st.floats(0, 0.002), min_size=12, max_size=12),
    workers=st.integers(1, 4),
)
def test_results_come_in_the_order_of_the_batches(
    number: int, ahead: int, delays: list[float], workers: int
) -> None:
    """Whoever is ready first; and no more are in hand than was said."""
    handed_out = []

    def work(first: int, batch: pa.RecordBatch) -> tuple[int, int]:
        time.sleep(delays[batch.num_rows - 1])
        return first, batch.num_rows

    def submit(first: int, batch: pa.RecordBatch) -> Future[tuple[int, int]]:
        handed_out.append(first)
        return pool.submit(work, first, batch)

    with ThreadPoolExecutor(workers) as pool:
        found = []
        for part in in_order(submit, batches(number), ahead):
            found.append(part)
            assert len(handed_out) - len(found) < ahead
    assert found == [(i * (i + 1) // 2, i + 1) for i in range(number)]


@dataclass(frozen=True)
class Bench:
    """Evaluates 1500 rows with two versions, up to the counts."""

    folder: Path
    toy: Toy
    settings: Evaluation

    def found(
        self, name: str, source: str = "r.parquet", workers: int = 1, **body: str
    ) -> tuple[str, Any]:
        """The digest of predictions.parquet, and every number that was counted."""
        chosen = replace(self.settings, batch_rows=170, workers=workers)
        bodies = {"two": "return batch['x'] ** 2", "one": "return batch['x']", **body}
        versions = [self.toy(bodies[each], name + each) for each in bodies]
        out = self.folder / f"{name}.parquet"
        counts = stream(versions, chosen, self.folder / source, out)
        assert numbers(counts, chosen) == numbers(recount(out, chosen), chosen)
        return files.digest(out), numbers(counts, chosen)


def numbers(counts: Counts, settings: Evaluation) -> Any:
    """Every number that a record holds."""
    facts = record.Facts("two", "one", "")
    found = record.metrics(facts, counts, (), settings, "", 0.0)
    return json.loads(json.dumps([found["whole"], found["slices"]]))


@pytest.fixture
def bench(tmp_path: Path, toy: Toy, settings: Settings) -> Bench:
    """With r.parquet, in pieces that fit no batch."""
    pq.write_table(
        pa.table(flips(1500, 0.9)), tmp_path / "r.parquet", row_group_size=99
    )
    return Bench(tmp_path, toy, settings("accuracy >= 0"))


def test_neither_workers_nor_files_change_a_number(bench: Bench) -> None:
    """The same bits, from any pieces of Parquet or from CSV."""
    expected = bench.found("reference")
    table = pq.read_table(bench.folder / "r.parquet")
    pa.csv.write_csv(table, bench.folder / "d.csv")
    (bench.folder / "folder").mkdir()
    for place, first in enumerate(range(0, 1500, 333)):
        path = bench.folder / "folder" / f"{place}.parquet"
        pq.write_table(table.slice(first, 333), path)
    for workers, source in ((1, "d.csv"), (2, "folder")):
        assert bench.found(source[0], source, workers) == expected


def test_a_killed_process_changes_no_number(bench: Bench) -> None:
    """Each worker's first one is shot while it predicts."""
    log = bench.folder / "pids"
    body = f"open({str(log)!r}, 'a').write(f'{{os.getpid()}} ')\n"
    body += "    import time; time.sleep(0.1)\n    return batch['x'] ** 2"
    with ThreadPoolExecutor() as pool:
        shots = pool.submit(_shoot, log, 2)
        shot = bench.found("shot", workers=2, two=body)
    assert len(shots.result()) == 2
    assert shot == bench.found("calm")


def _shoot(log: Path, number: int) -> set[str]:
    """Kill the first so many processes, once all of them predict."""
    pids: list[str] = []
    while len(pids) < number:
        time.sleep(0.01)
        seen = log.read_text().split(" ")[:-1] if log.exists() else []
        pids = list(dict.fromkeys(seen))[:number]
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    return {*pids}


def test_when_one_breaks_the_others_are_ended(bench: Bench) -> None:
    """Nobody waits for predictions that nobody needs."""
    started = time.monotonic()
    with pytest.raises(CheckBroken, match="at row 0"):
        bench.found("bad", workers=2, two="assert batch['x'][0] < 0", one=SLEEP)
    assert time.monotonic() - started < 30
    assert not (bench.folder / "bad.parquet").exists()
