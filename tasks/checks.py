"""The checks of the code: lint and unit."""

import os

import nox

from tasks import evidence, network
from tasks.environment import install

# What the outcome must not depend on.
SAME_EVERYWHERE = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "PYTEST_ADDOPTS": "",
    "PYTHONDONTWRITEBYTECODE": "",  # the tests start many processes
}


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """black, flake8, mypy, and zizmor on the workflows."""
    with evidence.recorded(session):
        install(session)
        session.run("black", "--check", "--quiet", "--diff", ".")
        session.run("flake8")
        session.run("mypy")
        session.run("zizmor", "--offline", "--quiet", ".github/workflows")


@nox.session(allow_parallel=True)
def unit(session: nox.Session) -> None:
    """pytest with doctests, shuffled; no network but loopback."""
    with evidence.recorded(session) as record:
        install(session, "--editable", ".")
        network.close(session)
        seed = os.environ.get("INTERLOCK_SEED") or _seed(evidence.tree_here())
        record.notes["urn:interlock:seed"] = seed
        session.log(f"to repeat this order: INTERLOCK_SEED={seed} nox -s unit")
        session.run(
            *("pytest", "--numprocesses=auto", f"--junitxml={record.folder}/junit.xml"),
            *(f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"),
            *session.posargs,
            env=SAME_EVERYWHERE,
        )


def _seed(tree: str) -> str:
    """The same for the same source, so that a failure comes again; else another."""
    return str(int(tree[:8], 16))
