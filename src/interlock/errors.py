"""Every refusal: what was expected, what was found, what to do; and its exit code.

A refusal is how this package says no. It is raised where the fact is known, travels
untouched, and is printed by the command line as three lines. Anything that escapes and
is not a `Refusal` is a bug in interlock itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Refusal(Exception):
    """A no with its three lines; subclasses differ only in the exit code."""

    exit_code = 5
    details: Mapping[str, Any] = {}  # what --json prints besides the three lines

    def __init__(self, expected: str, found: str, todo: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.expected, self.found, self.todo = expected, found, todo

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """So that it travels between processes with its lines."""
        return type(self), (self.expected, self.found, self.todo)

    def __str__(self) -> str:
        """The three lines, each starting with its word.

        >>> print(Refusal("a clean tree", "2 changed files", "commit them"))
        expected: a clean tree
        found:    2 changed files
        to do:    commit them
        """
        return (
            f"expected: {self.expected}\n"
            f"found:    {self.found}\n"
            f"to do:    {self.todo}"
        )


class BadConfiguration(Refusal):
    """The command line, pyproject.toml or the surroundings are not usable."""

    exit_code = 2


class Rejected(Refusal):
    """A gate said FAIL."""

    exit_code = 3


class Unknown(Refusal):
    """A gate could not tell: too few rows."""

    exit_code = 4


class CheckBroken(Refusal):
    """The check itself broke, so it says nothing about the model."""

    exit_code = 5


class EvidenceRefused(Refusal):
    """Evidence is missing, failed, stale or about something else."""

    exit_code = 6


class VerificationFailed(Refusal):
    """Bytes, a signature or a record are not what they must be."""

    exit_code = 7


class Conflict(Refusal):
    """Somebody else wrote something different there first."""

    exit_code = 8


class Alarm(Refusal):
    """The model in production has fallen below its floor."""

    exit_code = 9


@dataclass(frozen=True)
class expecting:
    """A block that reads what others wrote: a value of another form is a refusal.

    >>> with expecting("a pair", "write it anew"):
    ...     first, second = [1, 2, 3]
    Traceback (most recent call last):
    interlock.errors.VerificationFailed: expected: a pair
    found:    ValueError: too many values to unpack (expected 2)
    to do:    write it anew
    """

    expected: str
    todo: str
    refusal: type[Refusal] = VerificationFailed

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Raise the refusal for what a value of another form makes Python raise."""
        if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):
            found = f"{type(error).__name__}: {error}"
            raise self.refusal(self.expected, found, self.todo) from None
