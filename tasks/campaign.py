"""What takes too long for every day; only this repository has it."""

import os
import shutil
import sys
import tempfile

import nox

from tasks.checks import SAME_EVERYWHERE
from tasks.environment import install

CLUSTER = "tests/evaluation/test_cluster.py"
MEMORY = "/dev/shm"  # where there is one, folders are put back quickly


@nox.session(default=False)
def campaign(session: nox.Session) -> None:
    """Kill at every system call, and race; INTERLOCK_CAMPAIGN=40 takes a fortieth."""
    if sys.platform != "linux":
        session.skip("strace, which kills at a system call, is for Linux only")
    if not shutil.which("strace"):
        session.error("strace is missing; install it: apt-get install strace")
    install(session, "--editable", ".")
    every = os.environ.get("INTERLOCK_CAMPAIGN") or "1"
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        session.run(
            *("pytest", "--verbose", "--numprocesses=auto", "tests/crash", CLUSTER),
            f"--basetemp={scratch}/pytest",
            env=SAME_EVERYWHERE | {"INTERLOCK_CAMPAIGN": every},
        )


def _memory() -> str | None:
    return MEMORY if os.access(MEMORY, os.W_OK) else None


@nox.session(default=False)
def statistics(session: nox.Session) -> None:
    """Hold the intervals to their guarantees, and to other packages; slow."""
    install(session, "--editable", ".")
    everything = SAME_EVERYWHERE | {"INTERLOCK_STATISTICS": "1"}
    slow = ("tests/evaluation/test_coverage.py", "tests/evaluation/test_planning.py")
    session.run("pytest", "--verbose", "--numprocesses=auto", *slow, env=everything)
    session.run("python", "benchmarks/gate.py", "--quick", env=everything)
    session.run("python", "-m", "benchmarks.nights", "--quick", env=everything)


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """Measure: -- registry, clients, evaluation, gate or nights, and options."""
    install(session, "--editable", ".")
    name, *options = session.posargs
    session.run("python", "-m", f"benchmarks.{name}", *options)
