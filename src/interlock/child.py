"""A version in a process of its own: `Child` asks, `_main` answers.

Two versions' modules have the same names, and a model may do to its process what it
likes; so each is loaded by a fresh Python that sees nothing of the folder or of the
Python settings we happen to have. Questions go there pickled, but for their arrays.
What comes back is never unpickled: numbers as they lie in memory, or a refusal as JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interlock import wire
from interlock.errors import BadConfiguration, CheckBroken, Refusal
from interlock.model import Array, Schema, load_folder

# Of what a child must not depend: how many cores there are, how strings are hashed.
# Whoever sets a number of threads means it.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
SAME_EVERYWHERE = {"PYTHONHASHSEED": "0"}
# To glibc: memory that one batch took is kept for the next, up to 256 MiB.
KEPT = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"}
COMMAND = (sys.executable, "-P", "-s", "-m", "interlock.child")

_REFUSALS = {kind.__name__: kind for kind in (BadConfiguration, CheckBroken)}
_ANSWER, _REFUSAL = b"=", b"!"


class Ended(Exception):
    """A child is no more, and did not answer; `again` if another one may."""

    def __init__(self, how: str, again: bool = True) -> None:
        super().__init__(how)
        self.again = again


@dataclass(frozen=True)
class Answer:
    """What Model.predict returned, float64, and the seconds that it took."""

    numbers: Array
    seconds: float


class Child:
    """One version, loaded by a process that waits to be asked; one question a time."""

    def __init__(
        self, folder: Path, contract: Mapping[str, Any], patience: float
    ) -> None:
        """`contract` as for model.load_folder; `patience` in seconds for an answer."""
        self._patience, self._loaded = patience, False
        self._shape = Schema(contract["input"], contract["output"]).shape
        self._question: tuple[Mapping[str, Any], int] = ({}, 0)
        self._line, there = socket.socketpair()
        self._line.settimeout(patience)
        weakref.finalize(self, self._line.close)  # when no thread can be reading it
        with there:
            self._process = subprocess.Popen(
                (*COMMAND, str(there.fileno())),
                pass_fds=(there.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd=folder.parent,
                env=_environment(),
            )
        self._send((folder.resolve(), json.dumps(dict(contract), default=dict)))

    def ask(self, columns: Mapping[str, Any], first: int = 0) -> Answer:
        """What the version predicts, as Model.predict; raises Ended if it cannot.

        Its refusals are raised here as they were there.
        """
        self.send(columns, first)
        return self.answer()

    def send(self, columns: Mapping[str, Any], first: int = 0) -> None:
        """Ask, to hear the answer later; `first` is the number of the first row."""
        self._question = columns, first
        if self._loaded:
            self._send(self._question)

    def answer(self) -> Answer:
        """The answer to what was sent."""
        if not self._loaded:  # it would not read what we send
            self._receive()
            self._loaded = True
            self._send(self._question)
        head, (numbers,) = self._receive()
        (seconds,) = struct.unpack("d", head)
        shaped = np.frombuffer(numbers, np.float64).reshape(-1, *self._shape)
        return Answer(shaped, seconds)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def _send(self, question: object) -> None:
        arrays = list[pickle.PickleBuffer]()
        head = pickle.dumps(question, protocol=5, buffer_callback=arrays.append)
        with suppress(OSError):  # a child that ended is found out by its silence
            wire.send(self._line, head, arrays)

    def _receive(self) -> tuple[bytes, list[memoryview]]:
        try:
            head, numbers = wire.receive(self._line)
        except TimeoutError:
            self._process.kill()
            found = f"gave no answer in {self._patience:g} s"
            raise Ended(found, again=False) from None
        except (EOFError, OSError):
            raise Ended(_how(self._process.wait())) from None
        if head[:1] == _REFUSAL:
            kind, lines = json.loads(head[1:])
            raise _REFUSALS[kind](*lines)
        return head[1:], numbers


def _environment() -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return ONE_THREAD | KEPT | ours | SAME_EVERYWHERE


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}, and no answer"


def _main(descriptor: int) -> None:
    """Load what the first question names, and answer the others until nobody asks."""
    os.dup2(2, 1)  # what a model prints is shown as we show things
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when to end
    with suppress(EOFError, OSError), socket.socket(fileno=descriptor) as line:
        try:
            _serve(line)
        except Refusal as refusal:
            lines = (refusal.expected, refusal.found, refusal.todo)
            text = json.dumps([type(refusal).__name__, lines])
            wire.send(line, _REFUSAL + text.encode())


def _serve(line: socket.socket) -> None:
    folder, contract = _asked(line)
    model = load_folder(folder, json.loads(contract))
    wire.send(line, _ANSWER)
    while True:
        columns, first = _asked(line)
        started = time.perf_counter()
        numbers = np.ascontiguousarray(model.predict(columns, first))
        seconds = time.perf_counter() - started
        wire.send(line, _ANSWER + struct.pack("d", seconds), [numbers])


def _asked(line: socket.socket) -> Any:
    head, arrays = wire.receive(line)
    return pickle.loads(head, buffers=arrays)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
