"""The one way into a virtualenv: what requirements.lock pins, every hash checked."""

import tomllib
from pathlib import Path
from typing import Any

import nox

LOCK = "requirements.lock"
HASHED = ("--constraint", LOCK, "--require-hashes", "--only-binary", ":all:")
# What builds the project, or a source distribution, is held to the lock's hashes too;
# it works in an environment of its own and is not left in the session's.
BUILT = ("--build-constraints", LOCK)


def install(session: nox.Session, *own: str) -> None:
    """Install the session's group; and the project, as `own` says: `.`, or editable.

    A project without a [build-system] is not a package, and is not installed.
    """
    session.install("--group", session.name, *HASHED, *BUILT)
    if own and "build-system" in project():
        session.install("--no-deps", *BUILT, *own)


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
