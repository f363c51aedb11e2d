"""Files in pieces of a fixed size, each named by its SHA-256.

Eight MiB keeps a request worth its round trip, a retry cheap and memory small. All
files use the same size, so equal pieces are found wherever they stand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from interlock.artifact.manifest import File
from interlock.errors import VerificationFailed

CHUNK = 8 * 1024 * 1024


def cut(path: Path) -> Iterator[bytes]:
    """The pieces of a file, in order; none for an empty file."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def describe(path: Path, name: str) -> File:
    """The manifest's entry for the file at `path`, reading each byte once."""
    whole, size, chunks = hashlib.sha256(), 0, []
    for piece in cut(path):
        whole.update(piece)
        size += len(piece)
        chunks.append(digest(piece))
    return File(name, size, whole.hexdigest(), tuple(chunks))


def digest(data: bytes) -> str:
    """The SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def write(file: File, folder: Path, fetch: Callable[[str], bytes]) -> None:
    """Write `file` below `folder` from its chunks, verified and on the disk.

    Raises VerificationFailed when the bytes are not those of the manifest.
    """
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    whole, size = hashlib.sha256(), 0
    with path.open("xb") as out:
        for chunk in file.chunks:
            data = fetch(chunk)
            whole.update(data)
            size += len(data)
            if size > file.size:  # stop before a wrong record fills the disk
                break
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    check(file, size, whole.hexdigest())


def check(file: File, size: int, sha256: str) -> None:
    """Raise VerificationFailed unless size and digest are those of `file`."""
    if (size, sha256) != (file.size, file.sha256):
        raise VerificationFailed(
            f"{file.path} of {file.size} bytes, SHA-256 {file.sha256[:12]}...",
            f"{size} bytes, SHA-256 {sha256[:12]}...",
            "do not use it: pull the version again; if that fails the registry is hurt",
        )
