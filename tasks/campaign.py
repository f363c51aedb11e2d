"""What takes too long for every day; only this repository has it."""

import nox

from tasks.checks import SAME_EVERYWHERE
from tasks.environment import install


@nox.session(default=False)
def campaign(session: nox.Session) -> None:
    """Kill publish and pull at every one of their steps; slow."""
    install(session, "--editable", ".")
    every_step = SAME_EVERYWHERE | {"INTERLOCK_CAMPAIGN": "1"}
    session.run("pytest", "-v", "tests/test_crash.py", env=every_step)


@nox.session(default=False)
def statistics(session: nox.Session) -> None:
    """Hold the intervals to their guarantees, and to other packages; slow."""
    install(session, "--editable", ".")
    everything = SAME_EVERYWHERE | {"INTERLOCK_STATISTICS": "1"}
    session.run("pytest", "-v", "tests/evaluation/test_coverage.py", env=everything)
    session.run("python", "benchmarks/gate.py", "--quick", env=everything)
