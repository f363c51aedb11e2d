"""The one way into a virtualenv: what requirements.lock pins, every hash checked."""

import nox

LOCK = "requirements.lock"
HASHED = ("--constraint", LOCK, "--require-hashes", "--only-binary", ":all:")


def install(session: nox.Session, *, project: bool = True, editable: bool = False) -> None:
    """Install the session's group, and the project where it is wanted.

    The build backends come first and are locked as well, so nothing is built with what
    a package index happens to offer today.
    """
    for group in ("build", session.name):
        session.install("--group", group, "--no-build-isolation", *HASHED)
    if project:
        where = ("--editable", ".") if editable else (".",)
        session.install("--no-deps", "--no-build-isolation", *where)
