"""What takes too long for every day; only this repository has it."""

import nox

from tasks.checks import SAME_EVERYWHERE
from tasks.environment import install

CLUSTER = "tests/evaluation/test_cluster.py"


@nox.session(default=False)
def campaign(session: nox.Session) -> None:
    """Kill publish and pull at every one of their steps, and workers of Dask; slow."""
    install(session, "--editable", ".")
    every_step = SAME_EVERYWHERE | {"INTERLOCK_CAMPAIGN": "1"}
    session.run("pytest", "-v", "tests/test_crash.py", CLUSTER, env=every_step)


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """Measure the evaluation beside the model alone and its peers; slow."""
    install(session, "--editable", ".")
    session.run("python", "benchmarks/evaluation.py", *session.posargs)
