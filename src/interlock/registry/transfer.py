"""Files to chunks and back, many at a time.

* A byte is read once: it is hashed and sent from the same buffer.
* A chunk is sent once, and only where the registry lacks it; small ones are sent to
  find that out.
* What an interrupted transfer has brought over is not brought again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import lru_cache, partial
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, BinaryIO

from interlock.artifact.chunks import CHUNK, describe_each, digest, held, piece, write
from interlock.artifact.manifest import File
from interlock.errors import VerificationFailed
from interlock.parallel import MANY, in_order
from interlock.registry.records import Registry

Done = Callable[[int], object]  # is told the bytes of each chunk that is finished
Place = tuple[Path, int]  # a file, and which of its pieces


class Sender:
    """Sends the chunks of files to a registry, each chunk once."""

    def __init__(self, registry: Registry) -> None:
        self.sent = 0  # bytes that the registry lacked
        self._registry, self._there, self._lock = registry, set[str](), Lock()

    def send(self, path: Path, name: str) -> File:
        """Store the chunks of the file at `path`; its entry in a manifest."""
        (sent,) = self.send_each({name: path})
        return sent

    def send_each(self, paths: Mapping[str, Path], done: Done = int) -> Iterator[File]:
        """Store the chunks of files; their entries in a manifest, by their names."""
        return describe_each(paths, self._store, done)

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
    there = in_order(registry.has_chunk, chunks, MANY)
    return [chunk for chunk, has in zip(chunks, there, strict=True) if not has]


def fetch(
    registry: Registry,
    files: Iterable[File],
    folder: Path,
    done: Done = int,
    near: Mapping[str, Place] = MappingProxyType({}),
) -> None:
    """Write `files` below `folder`, each from its verified chunks.

    What `folder` holds of them already is verified and kept; chunks that may be `near`
    are tried there first.
    """
    begun = [(file, held(folder / file.path, file)) for file in files]
    wanted = (chunk for file, first in begun for chunk in file.chunks[first:])
    with closing(in_order(partial(_chunk, registry, near), wanted)) as arriving:
        for file, first in begun:
            done(min(file.size, first * CHUNK))
            if first and first == len(file.chunks):
                _sync(folder / file.path)
            else:
                if not first:
                    (folder / file.path).unlink(missing_ok=True)
                rest = islice(arriving, len(file.chunks) - first)
                write(file, folder, _told(rest, done), first)


def places(files: Iterable[File], folder: Path) -> dict[str, Place]:
    """Where the chunks of files below `folder` are."""
    return {
        chunk: (folder / file.path, number)
        for file in files
        for number, chunk in enumerate(file.chunks)
    }


def opened(registry: Registry, file: File, near: Mapping[str, Place]) -> BinaryIO:
    """A file of chunks, to be read without fetching those that nobody looks at."""
    return BufferedReader(_Chunked(file, partial(_chunk, registry, near)))


class _Chunked(RawIOBase):
    """Reads a file from its chunks, each verified, the last two of them at hand."""

    def __init__(self, file: File, chunk: Callable[[str], bytes]) -> None:
        self._file, self._at, self._chunk = file, 0, lru_cache(2)(chunk)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = (0, self._at, self._file.size)[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a place before the start")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        number, start = divmod(self._at, CHUNK)
        whole = min(CHUNK, self._file.size - number * CHUNK)
        if start >= whole:
            return 0
        data = self._chunk(self._file.chunks[number])
        if len(data) != whole:
            raise VerificationFailed(
                f"chunk {number} of {self._file.path} to have {whole:,} bytes",
                f"{len(data):,} bytes",
                "pin the file again",
            )
        part = data[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _chunk(registry: Registry, near: Mapping[str, Place], sha256: str) -> bytes:
    """The bytes of a chunk, verified, from a file here or from the registry."""
    if sha256 in near:
        with suppress(OSError):
            if digest(data := piece(*near[sha256])) == sha256:
                return data
    return registry.chunk(sha256)


def _told(pieces: Iterable[bytes], done: Done) -> Iterator[bytes]:
    for each in pieces:
        yield each
        done(len(each))


def _sync(path: Path) -> None:
    """Put a file on the disk: whoever wrote it may not have come to that."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
