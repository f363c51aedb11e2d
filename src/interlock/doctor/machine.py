"""Looking at this machine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from interlock.config import read
from interlock.doctor.facts import KeyFile, Machine, Seen, Unseen
from interlock.errors import BadConfiguration, Refusal
from interlock.home import home


def look(root: Path) -> Machine:
    """What a machine with a project at `root`, or with none, has."""
    ours = _is_ours(root)
    return Machine(
        git=shutil.which("git"),
        tools=[t for t in ("nox", "uv") if not shutil.which(t)] if ours else [],
        project=_broken(root) if ours else None,
        lock=not ours or (root / "requirements.lock").is_file(),
        key=_key(),
        variables=dict(_pointing_nowhere()),
    )


def _is_ours(root: Path) -> bool:
    """Whether interlock has settings there, good ones or bad ones."""
    try:
        return "[tool.interlock" in (root / "pyproject.toml").read_text("utf-8")
    except (OSError, ValueError):
        return False


def _broken(root: Path) -> Refusal | None:
    try:
        read(root)
    except BadConfiguration as refusal:
        return refusal
    return None


def _key() -> Seen[KeyFile | None]:
    """The file of the key: the one that INTERLOCK_KEY names, else this machine's."""
    uri = os.environ.get("INTERLOCK_KEY", "")
    scheme, _, path = uri.partition(":")
    if uri and scheme != "file2":
        return None  # no file
    file = Path(path) if uri else home() / "key.pem"
    try:
        return KeyFile(file, file.stat().st_mode & 0o777)
    except FileNotFoundError:
        return KeyFile(file, None) if uri else None
    except OSError as error:
        return Unseen(f"{file}: {error.strerror}")


def _pointing_nowhere() -> Iterator[tuple[str, str]]:
    named = os.environ.get("INTERLOCK_HOME")
    if (
        named
        and not home().is_dir()
        and (home().exists() or not home().parent.is_dir())
    ):
        yield "INTERLOCK_HOME", f"no folder {home()}"
    pinned = os.environ.get("INTERLOCK_ROOT")
    if pinned and not re.fullmatch("[0-9a-f]{64}", pinned):
        yield "INTERLOCK_ROOT", "no SHA-256 of 64 hex digits"
