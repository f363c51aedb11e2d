"""The predictions of a version, made in a process of its own.

Two versions' modules have the same names, so each version is loaded by a child,
`python -m interlock.evaluation.predict`, and candidate and production run side by side.
A child that ends well leaves its predictions as Parquet; one that refuses prints the
refusal as JSON on the last line of its output and exits with the refusal's code.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from interlock.errors import CheckBroken, Refusal
from interlock.evaluation import data
from interlock.evaluation.files import replacing
from interlock.model import load_folder

Child: TypeAlias = "subprocess.Popen[str]"

PREDICTIONS = pa.schema([("row", pa.int64()), ("prediction", pa.float64())])
ARROW = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
}


@dataclass(frozen=True)
class Version:
    """A version to judge: what to call it, its folder, and how it is called.

    `contract` holds load, predict, input and output, as for model.load_folder.
    """

    name: str
    folder: Path
    contract: Mapping[str, Any]


def side_by_side(
    versions: Sequence[Version], source: Path, rows: int, scratch: Path
) -> list[Path]:
    """The predictions of each version for every row of `source`, as Parquet files.

    Raises CheckBroken with what the first version that broke said, and ends the others.
    """
    folders = [scratch / str(line) for line in range(len(versions))]
    with ExitStack() as children:
        started = [
            children.enter_context(_child(version, source, rows, own))
            for version, own in zip(versions, folders, strict=True)
        ]
        return [
            _answer(version.name, child, _file(own))
            for version, child, own in zip(versions, started, folders, strict=True)
        ]


def _file(folder: Path) -> Path:
    return folder / "predictions.parquet"


@contextmanager
def _child(version: Version, source: Path, rows: int, own: Path) -> Iterator[Child]:
    own.mkdir()
    contract = own / "contract.json"
    contract.write_text(json.dumps(dict(version.contract), default=dict), "utf-8")
    # -P: what the version lacks must not be found in the folder we happen to be in.
    command = [sys.executable, "-P", "-m", "interlock.evaluation.predict"]
    command += [str(path) for path in (version.folder, contract, source, _file(own))]
    command += ["--rows", str(rows), "--name", version.name, "--line", own.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def _answer(name: str, child: Child, out: Path) -> Path:
    """`out`, once the child has ended and has written it."""
    printed, _ = child.communicate()
    if child.returncode < 0:
        raise CheckBroken(
            f"the process that predicts with {name} to end by itself",
            f"it was ended by {signal.Signals(-child.returncode).name}",
            "if memory ran out, lower evaluation.batch_rows; then run it again",
        )
    if child.returncode or not out.exists():
        raise _refusal(name, printed, child.returncode)
    return out


def _refusal(name: str, printed: str, code: int) -> CheckBroken:
    try:
        said = json.loads(printed.rstrip().rpartition("\n")[2])
        return CheckBroken(said["expected"], f"{name}: {said['found']}", said["todo"])
    except (ValueError, KeyError, TypeError):
        return CheckBroken(
            f"the process that predicts with {name} to end well",
            f"exit code {code}, and no predictions",
            "read its error output above",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The child: predict every row, or print the refusal and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        # The last line of the output is ours alone; what a model prints is shown.
        with redirect_stdout(sys.stderr):
            _predict_all(options)
    except Refusal as refusal:
        print(json.dumps(vars(refusal)))
        return refusal.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("folder", "contract", "source", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rows", type=int, required=True, help="of one batch")
    parser.add_argument("--name", default="model", help="on the progress bar")
    parser.add_argument("--line", type=int, default=0, help="of the progress bar")
    return parser


def _predict_all(options: argparse.Namespace) -> None:
    contract = json.loads(options.contract.read_text("utf-8"))
    model = load_folder(options.folder, contract)
    columns = {name: ARROW[kind] for name, kind in model.schema.input.items()}
    with replacing(options.out) as part, _progress(options) as bar:
        with pq.ParquetWriter(part, PREDICTIONS, compression="zstd") as writer:
            first = 0
            for batch in data.batches(options.source, columns, options.rows):
                answers = model.predict(data.arrays(batch), first)
                rows = np.arange(first, first + len(answers))
                writer.write(pa.record_batch([rows, answers], schema=PREDICTIONS))
                first += len(answers)
                bar.update(len(answers))


def _progress(options: argparse.Namespace) -> Any:
    return tqdm(
        total=data.total(options.source),
        desc=options.name,
        position=options.line,
        unit=" rows",
        unit_scale=True,
        disable=None,  # only when a person watches
    )


if __name__ == "__main__":
    sys.exit(main())
