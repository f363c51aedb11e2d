"""Files to chunks and back, many at a time.

* A byte is read once: it is hashed and sent from the same buffer.
* A chunk is sent once, and only where the registry lacks it.
* What an interrupted transfer has brought over is not brought again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from threading import Lock

from interlock.artifact.chunks import CHUNK, describe, digest, held, write
from interlock.artifact.manifest import File
from interlock.parallel import in_order
from interlock.registry.records import Registry

Done = Callable[[int], object]  # is told the bytes of each chunk that is finished


class Sender:
    """Sends the chunks of files to a registry; `known` are there for certain."""

    def __init__(self, registry: Registry, known: Collection[str] = ()) -> None:
        self.sent = 0  # bytes that the registry lacked
        self._registry, self._there, self._lock = registry, {*known}, Lock()

    def send(self, path: Path, name: str, done: Done = int) -> File:
        """Store the chunks of the file at `path`; its entry in a manifest."""
        return describe(path, name, self._store, done)

    def _store(self, piece: bytes) -> str:
        sha256 = digest(piece)
        with self._lock:
            taken = sha256 in self._there
            self._there.add(sha256)
        if not taken and self._registry.add_chunk(sha256, piece):
            with self._lock:
                self.sent += len(piece)
        return sha256


def lacking(registry: Registry, chunks: Collection[str]) -> list[str]:
    """Those of `chunks` that the registry does not have.

    Raises VerificationFailed for one that is there but altered.
    """
    there = in_order(registry.has_chunk, chunks)
    return [chunk for chunk, has in zip(chunks, there, strict=True) if not has]


def fetch(
    registry: Registry, files: Iterable[File], folder: Path, done: Done = int
) -> None:
    """Write `files` below `folder`, each from its verified chunks.

    What `folder` holds of them already is verified and kept.
    """
    begun = [(file, held(folder / file.path, file)) for file in files]
    wanted = (chunk for file, first in begun for chunk in file.chunks[first:])
    with closing(in_order(registry.chunk, wanted)) as arriving:
        for file, first in begun:
            done(min(file.size, first * CHUNK))
            if first and first == len(file.chunks):
                _sync(folder / file.path)
            else:
                if not first:
                    (folder / file.path).unlink(missing_ok=True)
                rest = islice(arriving, len(file.chunks) - first)
                write(file, folder, _told(rest, done), first)


def _told(pieces: Iterable[bytes], done: Done) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        done(len(piece))


def _sync(path: Path) -> None:
    """Put a file on the disk: whoever wrote it may not have come to that."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
