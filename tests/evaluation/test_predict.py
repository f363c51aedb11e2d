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
import pytest

from interlock.errors import CheckBroken
from interlock.evaluation import data
from interlock.evaluation.predict import Models, Version
from interlock.model import Model, Schema
from tests.evaluation.conftest import Toy

X = {"x": np.linspace(0, 1, 1000)}


def answers(columns: Any, *versions: Version, patience: float = 60) -> list[Any]:
    """The predictions of each version, asked in batches of 300 rows."""
    with Models(versions, patience, 1) as models:
        parts = [
            models.predict(
                {k: v[first : first + 300] for k, v in columns.items()}, first
            )
            for first in range(0, len(next(iter(columns.values()))), 300)
        ]
    return [np.concatenate(of) for of in zip(*parts, strict=True)]


def test_two_versions_with_one_module_name_do_not_mix(toy: Toy) -> None:
    """What a model prints is no harm, by whatever way."""
    one = toy("print('{'); os.write(1, b'='); return batch['x']", "toy@1")
    two = toy("return 1 - batch['x']", "toy@2")
    mine, theirs = answers(X, one, two)
    assert mine.tolist() == X["x"].tolist()
    assert theirs.tolist() == (1 - X["x"]).tolist()


def test_each_is_given_its_own_columns(toy: Toy) -> None:
    """Though they are read once."""
    one, two = toy(), toy("assert [*batch] == ['y']; return batch['y']", "toy@2")
    other = Version("v", two.folder, {**two.contract, "input": {"y": "number"}})
    mine, theirs = answers({**X, "y": X["x"] / 2}, one, other)
    assert (mine / 2).tolist() == theirs.tolist()


def test_modules_of_the_current_folder_are_not_found(
    tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a version lacks, it lacks on a host as well."""
    (tmp_path / "helper.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CheckBroken, match="No module named 'helper'"):
        answers(X, toy("import helper"))


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
        ("os._exit(0)", "rows 0 to 299, it ended with exit code 0"),
        (
            "batch['x'][0] > 0.5 and os._exit(3); return batch['x']",
            "rows 600 to 899, it ended with exit code 3, and no answer a second time",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("return np.sort(batch['x'])[::-1]", "v@1: 0.0300.* at row 269, but 0.28"),
        ("return np.random.default_rng().permutation(batch['x'])", "at row .* 32 rows"),
    ],
)
def test_a_broken_predict_breaks_the_check(toy: Toy, body: str, says: str) -> None:
    """However the child ends, and where it only mixes up the rows."""
    with pytest.raises(CheckBroken, match=says):
        answers(X, toy(body, "v@1"))


def test_a_broken_contract_breaks_the_check(toy: Toy) -> None:
    """Even where the child calls it a matter of configuration."""
    version = toy()
    nowhere = Version("v", version.folder, {**version.contract, "load": "toy:no"})
    with pytest.raises(CheckBroken, match="v: AttributeError") as refusal:
        answers(X, nowhere)
    assert refusal.value.exit_code == 5


def test_a_null_is_named_by_its_row() -> None:
    """Where the schema wants a value."""
    model = Model(Schema({"x": "integer"}), None, lambda _, batch: batch["x"])
    with pytest.raises(CheckBroken, match="row 702: None"):
        model.predict(data.arrays(pa.record_batch({"x": [1, 2, None]})), 700)


@pytest.mark.parametrize("where", ["load", "predict"])
def test_a_model_that_hangs_breaks_the_check(toy: Toy, where: str) -> None:
    """After the time that it is given, with its rows, and without a second try."""
    version = toy("import time; time.sleep(60)", "v@1")
    if where == "load":
        code = version.folder / "toy.py"
        code.write_text(code.read_text().replace("return 1", "signal.pause()"))
    started = time.monotonic()
    with pytest.raises(CheckBroken, match="v@1.*(?s:.*)rows 0 to 299, it gave no ans"):
        answers(X, version, patience=0.5)
    assert time.monotonic() - started < 30


def test_a_process_that_is_killed_is_replaced(toy: Toy, tmp_path: Path) -> None:
    """Once for a batch, and as often as it takes: the answers are the same."""
    mark = tmp_path / "mark"
    version = toy(
        f"mark = {str(mark)!r} + str(batch['x'][0])\n"
        "    if not os.path.exists(mark):\n"
        "        open(mark, 'w').close()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return batch['x']"
    )
    (found,) = answers({"x": X["x"][:600]}, version)
    assert found.tolist() == X["x"][:600].tolist()
    assert len(list(tmp_path.glob("mark*"))) >= 2


def test_a_process_ends_with_the_one_that_asks(toy: Toy) -> None:
    """Even if that is killed: nobody is left to ask."""
    version = toy("print(os.getpid(), flush=True); return batch['x']")
    code = (
        "import os, sys, json; from pathlib import Path\n"
        "from interlock.child import Child\n"
        "child = Child(Path(sys.argv[1]), json.loads(sys.argv[2]), 60)\n"
        "child.ask({'x': [1.0]}); os.kill(os.getpid(), 9)"
    )
    contract = json.dumps(version.contract)
    run = subprocess.run(
        [sys.executable, "-c", code, str(version.folder), contract],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,  # stderr is held by both, so it ends when both have
    )
    assert (run.returncode, run.stderr.strip().isdigit()) == (-9, True)
