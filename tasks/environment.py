"""The one way into a virtualenv: what requirements.lock pins, every hash checked."""

import nox

LOCK = "requirements.lock"
HASHED = ("--constraint", LOCK, "--require-hashes", "--only-binary", ":all:")
# What builds the project, or a source distribution, is held to the lock's hashes too;
# it works in an environment of its own and is not left in the session's.
BUILT = ("--build-constraints", LOCK)


def install(session: nox.Session, *, project: str | None = ".") -> None:
    """Install the session's group, then the project, where it is wanted."""
    session.install("--group", session.name, *HASHED, *BUILT)
    if project:
        session.install("--no-deps", *BUILT, *project.split())
