"""The checks of the code: lint and unit."""

import os

import nox

from tasks import evidence, network
from tasks.environment import install

CODE = ("noxfile.py", "tasks", "src", "tests", "examples")


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """black, flake8, mypy, and zizmor on the workflows."""
    with evidence.recorded(session):
        install(session, project=None)
        session.run("black", "--check", "--quiet", "--diff", *CODE)
        session.run("flake8", *CODE)
        session.run("mypy")
        session.run("zizmor", "--offline", "--quiet", ".github/workflows")


@nox.session(allow_parallel=True)
def unit(session: nox.Session) -> None:
    """pytest with doctests, shuffled; no network but loopback."""
    with evidence.recorded(session) as record:
        install(session, project="--editable .")
        network.close(session)
        seed = os.environ.get("INTERLOCK_SEED") or str(
            int(evidence.tree_here()[:8], 16)
        )
        record.notes["urn:interlock:seed"] = seed
        session.log(f"to repeat this order: INTERLOCK_SEED={seed} nox -s unit")
        session.run(
            *("pytest", "--numprocesses=auto", f"--randomly-seed={seed}"),
            f"--junitxml={record.folder / 'junit.xml'}",
            *session.posargs,
            env={
                "PYTHONHASHSEED": "0",
                "TZ": "UTC",
                "LC_ALL": "C.UTF-8",
                "OMP_NUM_THREADS": "1",
                "PYTEST_ADDOPTS": "",
            },
        )
