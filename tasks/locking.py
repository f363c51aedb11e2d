"""Writing requirements.lock."""

import nox

from tasks.environment import LOCK, project

COMPILE = "uv pip compile --quiet --universal --python-version 3.11"
COMPILE += " --generate-hashes --only-binary :all: --emit-build-options --no-annotate"


@nox.session(default=False, venv_backend="none")
def lock(session: nox.Session) -> None:
    """Write requirements.lock anew: -- --upgrade moves the pins."""
    session.run(
        *COMPILE.split(),
        *(f"--output-file={LOCK}", *session.posargs),
        *(f"--group={group}" for group in project()["dependency-groups"]),
        env={"UV_CUSTOM_COMPILE_COMMAND": "nox -s lock"},  # what the lock says made it
        external=True,
    )
