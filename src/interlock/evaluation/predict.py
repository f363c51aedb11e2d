"""The predictions of each version, made in processes of their own and checked here.

What a model can get wrong without raising is found out: too few or too many answers,
answers that are no numbers, and answers in another order than the rows. A process that
is killed is replaced once, for that says nothing about the model; one that dies twice
on the same rows, or says nothing for too long, breaks the check.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, Self, TypeAlias

import numpy as np

from interlock.child import Child, Ended
from interlock.errors import CheckBroken, Refusal
from interlock.model import Array

Columns: TypeAlias = Mapping[str, Array]

ASKED_AGAIN = 32  # rows of each batch
SAME = 0.05  # of the spread of a batch's answers: what arithmetic may change


@dataclass(frozen=True)
class Version:
    """A version to judge: what to call it, its folder, and how it is called.

    `contract` holds load, predict, input and output, as for model.load_folder.
    """

    name: str
    folder: Path
    contract: Mapping[str, Any]


class Models:
    """The versions side by side, as often as there are workers."""

    def __init__(
        self, versions: Sequence[Version], patience: float, workers: int
    ) -> None:
        """`patience` is how many seconds a version may take for a batch."""
        self._versions, self._patience = versions, patience
        self._free = Semaphore(workers)
        self._idle: deque[list[_Seat]] = deque()
        self._all: list[_Seat] = []
        self._lock, self._closed = Lock(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def columns(self) -> set[str]:
        """What one version or another reads."""
        return {
            name for version in self._versions for name in version.contract["input"]
        }

    def close(self) -> None:
        """End every process; whoever waits for one hears of it."""
        with self._lock:
            self._closed = True
        for seat in self._all:
            seat.close()

    def predict(self, columns: Columns, first: int) -> list[Array]:
        """Each version's answers, (n,) each; `first` is the number of the first row.

        Raises CheckBroken, naming the version and the row or rows.
        """
        rows = range(first, first + len(next(iter(columns.values()))))
        picked = _picked(rows)
        sample = {name: column[picked] for name, column in columns.items()}
        with self._free:
            seats = self._taken()
            answers = _asked(seats, columns, rows)
            again = _asked(seats, sample, rows[: len(picked)])
            self._idle.append(seats)
        for seat, answer, other in zip(seats, answers, again, strict=True):
            seat.demand_same(answer, picked, other, first)
        return answers

    def _taken(self) -> list[_Seat]:
        with suppress(IndexError):
            return self._idle.pop()
        with self._lock:
            if self._closed:
                raise CheckBroken("models to ask", "they were ended", "run it again")
            seats = [_Seat(version, self._patience) for version in self._versions]
            self._all += seats
        return seats


def _asked(seats: Sequence[_Seat], columns: Columns, rows: range) -> list[Array]:
    for seat in seats:
        seat.send(columns, rows)
    return [seat.answer() for seat in seats]


def _picked(rows: range) -> Array:
    """Places of some rows of a batch in another order, always the same for a batch."""
    chance = np.random.default_rng(rows.start)
    return chance.choice(len(rows), min(len(rows), ASKED_AGAIN), replace=False)


class _Seat:
    """A version's place at a worker: its child, or the one that replaced it."""

    def __init__(self, version: Version, patience: float) -> None:
        self._version, self._patience = version, patience
        self._question, self._rows = dict[str, Array](), range(0)
        self._child = self._started()
        self._lock, self._closed = Lock(), False

    def _started(self) -> Child:
        return Child(self._version.folder, self._version.contract, self._patience)

    def close(self) -> None:
        """End the child, and let there be no other."""
        with self._lock:
            self._closed = True
            self._child.close()

    def send(self, columns: Columns, rows: range) -> None:
        """Ask for these rows, to hear the answer later."""
        known = self._version.contract["input"]
        self._question = {name: columns[name] for name in known if name in columns}
        self._rows = rows
        self._child.send(self._question, rows.start)

    def answer(self) -> Array:
        """A number for each row that was sent."""
        try:
            return self._once()
        except Ended as end:
            self._replace(end)
        try:
            return self._once()
        except Ended as end:
            raise self._broken(f"{end} a second time") from None

    def _once(self) -> Array:
        try:
            numbers = self._child.answer().numbers
        except Refusal as no:
            found = f"{self._version.name}: {no.found}"
            raise CheckBroken(no.expected, found, no.todo) from no
        if len(numbers) != len(self._rows):
            raise self._broken(f"sent {len(numbers)} numbers")
        return numbers

    def _replace(self, end: Ended) -> None:
        with self._lock:
            if self._closed or not end.again:
                raise self._broken(str(end))
            self._child.close()
            self._child = self._started()
        self._child.send(self._question, self._rows.start)

    def _broken(self, found: str) -> CheckBroken:
        rows = f"rows {self._rows.start} to {self._rows.stop - 1}"
        return CheckBroken(
            f"the process that predicts with {self._version.name} to answer",
            f"on {rows}, it {found}",
            "read its error output above; if memory ran out, lower "
            "evaluation.batch_rows; if it is slow, raise evaluation.patience",
        )

    def demand_same(
        self, whole: Array, picked: Array, again: Array, first: int
    ) -> None:
        """Refuse answers that another batch would not get: those of other rows."""
        spread = SAME * whole.std() + 1e-6 * np.abs(whole).max()
        apart = np.abs(whole[picked] - again).reshape(len(picked), -1).max(axis=1)
        moved = np.flatnonzero(~(apart <= spread))
        if moved.size:
            row = picked[moved[0]]
            raise CheckBroken(
                "every row to get its own answer, whichever rows are beside it",
                f"{self._version.name}: {whole[row]} at row {first + row}"
                f", but {again[moved[0]]} among {len(picked)} rows of its batch",
                "keep the order of the rows, and let none depend on another",
            )
