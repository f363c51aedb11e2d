"""Each version predicts in a process of its own, and is held to its contract."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interlock.errors import CheckBroken
from interlock.evaluation import data, predict
from interlock.evaluation.predict import Version
from interlock.model import Model, Schema
from tests.evaluation.conftest import Toy, Write

X = {"x": np.linspace(0, 1, 1000)}


def answers(
    tmp_path: Path, source: Path, *versions: Version, rows: int = 300
) -> list[Any]:
    """The predictions of each version as columns."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = predict.side_by_side(versions, source, rows, scratch)
    return [pq.read_table(path).to_pydict() for path in paths]


def test_two_versions_with_one_module_name_do_not_mix(
    tmp_path: Path, toy: Toy, write: Write
) -> None:
    """Every row is numbered; what a model prints is no harm."""
    one = toy("print('{\"found\": 1}'); return batch['x']", "toy@1")
    two = toy("return 1 - batch['x']", "toy@2")
    mine, theirs = answers(tmp_path, write(X), one, two)
    assert mine["row"] == theirs["row"] == list(range(1000))
    assert mine["prediction"] == X["x"].tolist()
    assert theirs["prediction"] == (1 - X["x"]).tolist()


def test_modules_of_the_current_folder_are_not_found(
    tmp_path: Path, toy: Toy, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a version lacks, it lacks on a host as well."""
    (tmp_path / "helper.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckBroken, match="No module named 'helper'"):
        answers(tmp_path, write(X), toy("import helper"))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: np.where(x == 0.75, np.nan, x), "nan at row 1003"),
        (lambda x: x / (x != 0.25), "inf at row 1001"),
        (lambda x: x[:-1], "row 1003 is the first without"),
        (lambda x: [*x, 1.0], r"shape \(5,\)"),
        (lambda x: x.reshape(-1, 1), r"shape \(4, 1\)"),
        (lambda x: ["a"] * len(x), "values of type <U1"),
        (lambda x: [{0.5: "row 9"}.get(v, v) / 1 for v in x], "Error at row 1002: "),
    ],
)
def test_a_refusal_counts_rows_over_the_whole(
    call: Callable[[Any], Any], says: str
) -> None:
    """The model only knows its batch, here the one that starts at row 1000."""
    model = Model(Schema({"x": "number"}), None, lambda _, batch: call(batch["x"]))
    batch = pa.record_batch({"x": [0.0, 0.25, 0.5, 0.75]})
    with pytest.raises(CheckBroken, match=says), np.errstate(divide="ignore"):
        model.predict(data.arrays(batch), 1000)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "assert not (batch['x'] > 0.7).any(), 'row 3 is odd'; return batch['x']",
            "v@1: AssertionError at row 700: row 3 is odd",
        ),
        ("raise SystemExit(7)", "SystemExit at row 0: 7"),
        ("os._exit(0)", "exit code 0, and no predictions"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    ],
)
def test_a_broken_predict_breaks_the_check(
    tmp_path: Path, toy: Toy, write: Write, body: str, says: str
) -> None:
    """However the child ends."""
    with pytest.raises(CheckBroken, match=says):
        answers(tmp_path, write(X), toy(body, "v@1"))


def test_a_broken_contract_breaks_the_check(
    tmp_path: Path, toy: Toy, write: Write
) -> None:
    """Even where the child calls it a matter of configuration."""
    version = toy()
    nowhere = Version("v", version.folder, {**version.contract, "load": "toy:no"})
    with pytest.raises(CheckBroken, match="v: AttributeError") as refusal:
        answers(tmp_path, write(X), nowhere)
    assert refusal.value.exit_code == 5


def test_a_null_is_named_by_its_row() -> None:
    """Where the schema wants a value."""
    model = Model(Schema({"x": "integer"}), None, lambda _, batch: batch["x"])
    with pytest.raises(CheckBroken, match="row 702: None"):
        model.predict(data.arrays(pa.record_batch({"x": [1, 2, None]})), 700)


def test_when_one_breaks_the_other_is_ended(
    tmp_path: Path, toy: Toy, write: Write
) -> None:
    """Nobody waits for predictions that nobody needs."""
    slow = toy("import time; time.sleep(60)", "slow@1")
    started = time.monotonic()
    with pytest.raises(CheckBroken, match="bad@1"):
        answers(tmp_path, write(X), toy("return 1", "bad@1"), slow)
    assert time.monotonic() - started < 30


def test_the_child_says_no_in_json(tmp_path: Path, toy: Toy, write: Write) -> None:
    """On the last line of its output, with the refusal's own exit code."""
    version = toy("print('chatter'); return batch['x'] * np.inf")
    contract, out = tmp_path / "contract.json", tmp_path / "out.parquet"
    contract.write_text(json.dumps(version.contract))
    command = [sys.executable, "-m", "interlock.evaluation.predict", "--rows", "100"]
    command += [str(path) for path in (version.folder, contract, write(X), out)]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 5
    assert "chatter" in child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said.keys() == {"expected", "found", "todo"}
    assert not list(tmp_path.glob("*out.parquet*"))
