"""Each version predicts in a process of its own, and is held to its contract."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from interlock.errors import CheckBroken
from interlock.evaluation import predict
from interlock.evaluation.predict import Version
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
    ("body", "says"),
    [
        (
            "return np.where(batch['x'] == batch['x'].max(), np.nan, 0.5)"
            " if batch['x'].max() == 1 else batch['x']",
            "nan at row 999",
        ),
        (
            "assert not (batch['x'] > 0.7).any(), 'row 3 is odd'; return batch['x']",
            "AssertionError at row 700: row 3 is odd",
        ),
        (
            "return batch['x'][:-1] if batch['x'].max() > 0.7 else batch['x']",
            "row 899 is the first without an answer",
        ),
        ("return batch['x'].reshape(-1, 1)", r"shape \(300, 1\)"),
        ("return ['a'] * len(batch['x'])", "could not convert string"),
        ("raise SystemExit(7)", "exit code 7"),
        ("os._exit(0)", "exit code 0, and no predictions"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    ],
)
def test_a_broken_predict_breaks_the_check(
    tmp_path: Path, toy: Toy, write: Write, body: str, says: str
) -> None:
    """And the row is named as the data set counts it, not the batch."""
    with pytest.raises(CheckBroken, match=says):
        answers(tmp_path, write(X), toy(body))


def test_a_broken_contract_breaks_the_check(
    tmp_path: Path, toy: Toy, write: Write
) -> None:
    """Even where the child calls it a matter of configuration."""
    version = toy()
    nowhere = Version("v", version.folder, {**version.contract, "load": "toy:no"})
    with pytest.raises(CheckBroken, match="v: AttributeError") as refusal:
        answers(tmp_path, write(X), nowhere)
    assert refusal.value.exit_code == 5


def test_a_null_is_named_by_its_row(tmp_path: Path, toy: Toy, write: Write) -> None:
    """Where the schema wants a value."""
    version = toy()
    contract = {**version.contract, "input": {"x": "integer"}}
    source = write({"x": [1] * 700 + [None] * 300})
    with pytest.raises(CheckBroken, match="row 700: None"):
        answers(tmp_path, source, Version("v", version.folder, contract))


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
    command = [sys.executable, "-m", "interlock.evaluation.predict", version.folder]
    command += [contract, write(X), out, "--rows", "100"]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 5
    assert "chatter" in child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said.keys() == {"expected", "found", "todo"}
    assert not list(tmp_path.glob("*out.parquet*"))
