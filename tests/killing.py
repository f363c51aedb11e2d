"""Run an interlock command that is killed at every step that touches the disk.

    python killing.py EVERY WHAT-TO-VERIFY COMMAND...

Each attempt begins from the current folder and its home as they are at first. A child
process kills itself (SIGKILL) just before its Nth call of a function that changes the
disk; then a reader looks, and the command is run again without being killed.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from interlock import cli

CHANGES = ("link", "rename", "replace", "fsync", "mkdir", "symlink", "unlink", "rmdir")


def arm(point: int) -> None:
    """Kill this process just before its call number `point` that changes the disk."""
    calls = itertools.count()

    def armed(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(calls) == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in CHANGES:
        setattr(os, name, armed(getattr(os, name)))


def run(*arguments: str) -> tuple[int, str]:
    """Run a command quietly: its exit code, and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return cli.main(arguments), said.getvalue()


def killed_at(point: int, arguments: list[str]) -> bool:
    """Whether a child that runs the command is killed at this point."""
    child = os.fork()
    if child == 0:
        arm(point)
        os._exit(run(*arguments)[0])
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def attempts(every: int, what: str, arguments: list[str]) -> Iterator[dict[str, Any]]:
    """What a reader saw after each kill, and how the second run ended.

    Every step, or every second, third, ...; the last attempt is never killed.
    """
    here = Path.cwd().parent
    begun = here.with_name(f"{here.name}-begun")
    shutil.copytree(here, begun, symlinks=True)
    for point in itertools.count(0, every):
        shutil.rmtree(here)
        shutil.copytree(begun, here, symlinks=True)
        os.chdir(here / "project")
        killed = killed_at(point, arguments)
        seen, again, after = run("verify", what), run(*arguments), run("verify", what)
        yield {"seen": seen, "again": again, "after": after, "left": leftovers()}
        if not killed:
            return


def leftovers() -> list[str]:
    """Private files that nobody will ever look at again."""
    return [str(path) for path in Path.cwd().glob(".*.new")]


if __name__ == "__main__":
    print(json.dumps([*attempts(int(sys.argv[1]), sys.argv[2], sys.argv[3:])]))
