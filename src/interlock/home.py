"""What interlock keeps on this machine, outside every repository.

    ~/.interlock/registry/          the embedded registry
    ~/.interlock/key.pem            its signing key, made on first use
    ~/.interlock/roots/             the trust roots seen of each registry
    ~/.interlock/seen/              the highest sequence seen of each channel
    ~/.interlock/versions/          versions that `interlock.load` has pulled
    ~/.interlock/files/             pinned files, by their SHA-256

INTERLOCK_HOME puts it elsewhere.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from interlock.durable import make_folders, sync_folder, write_durably


def home() -> Path:
    """The folder of this machine's own state."""
    named = os.environ.get("INTERLOCK_HOME") or "~/.interlock"
    return Path(os.path.expanduser(named))  # Path's own raises for ~nobody


def registry_url(named: str = "", configured: str = "") -> str:
    """Where the registry is.

    What was `named` on the command line or in a call; else INTERLOCK_REGISTRY; else
    what the project has `configured`; else the embedded one.
    """
    url = named or os.environ.get("INTERLOCK_REGISTRY") or configured
    return url or str(home() / "registry")


def note(kind: str, registry: str, *names: str) -> Path:
    """The file in which a fact about a registry is remembered."""
    which = sha256(registry.encode()).hexdigest()[:16]
    return home().joinpath(kind, which, *names)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold off other processes that ask for the same lock file."""
    make_folders(lock.parent)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def replace(path: Path, data: bytes) -> None:
    """Make `path` hold `data`: a reader sees the old bytes or the new, never half."""
    make_folders(path.parent)
    private = path.with_name(f".{path.name}-{uuid4().hex}")
    write_durably(private, data)
    private.replace(path)
    sync_folder(path.parent)
