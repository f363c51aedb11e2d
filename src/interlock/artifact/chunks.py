"""Files in pieces of a fixed size, each named by its SHA-256.

Eight MiB keeps a request worth its round trip, a retry cheap and memory small. All
files use the same size, so equal pieces are found wherever they stand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path

from interlock.artifact.manifest import File
from interlock.durable import naming
from interlock.errors import VerificationFailed
from interlock.parallel import MANY, in_order

CHUNK = 8 * 1024 * 1024


def cut(path: Path) -> Iterator[bytes]:
    """The pieces of a file, in order; none for an empty file."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def piece(path: Path, number: int) -> bytes:
    """One piece of a file; empty after the last."""
    with path.open("rb") as file:
        file.seek(number * CHUNK)
        return file.read(CHUNK)


def digest(data: bytes) -> str:
    """The SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def describe(path: Path, name: str) -> File:
    """The manifest's entry for the file at `path`."""
    (found,) = describe_each({name: path})
    return found


def describe_each(
    paths: Mapping[str, Path],
    store: Callable[[bytes], str] = digest,
    done: Callable[[int], object] = int,
) -> Iterator[File]:
    """The manifest's entries for files, by their names, reading each byte once.

    `store` gives the SHA-256 of a piece, and may put the piece somewhere as well, many
    at once; `done` is told the bytes of each piece when that has happened.
    """

    def hashed() -> Iterator[bytes | File]:
        for name, path in paths.items():
            whole, size = hashlib.sha256(), 0
            for each in cut(path):
                whole.update(each)
                size += len(each)
                yield each
            yield File(name, size, whole.hexdigest(), ())  # it ends here

    def stored(each: bytes | File) -> tuple[int, str] | File:
        return each if isinstance(each, File) else (len(each), store(each))

    chunks: list[str] = []
    for each in in_order(stored, hashed(), MANY):
        if isinstance(each, File):
            yield replace(each, chunks=tuple(chunks))
            chunks = []
        else:
            chunks.append(each[1])
            done(each[0])


def held(path: Path, file: File) -> int:
    """How many of the file's first chunks `path` holds already.

    It is the file when that is all of them. What an interrupted transfer has left is
    gone on with; a file that is shared with another folder is whole, or not touched.
    """
    if path.is_symlink() or not path.is_file() or path.stat().st_size > file.size:
        return 0
    found = in_order(partial(_is_piece, path), enumerate(file.chunks))
    count = sum(1 for _ in takewhile(bool, found))
    return count if count == len(file.chunks) or path.stat().st_nlink == 1 else 0


def _is_piece(path: Path, chunk: tuple[int, str]) -> bool:
    return digest(piece(path, chunk[0])) == chunk[1]


def is_whole(path: Path, file: File) -> bool:
    """Whether `path` holds exactly the bytes of the file: each of its chunks."""
    there = not path.is_symlink() and path.is_file()
    if not there or path.stat().st_size != file.size:
        return False
    return held(path, file) == len(file.chunks) == -(-file.size // CHUNK)


def write(file: File, folder: Path, pieces: Iterable[bytes], first: int = 0) -> None:
    """Write `file` below `folder` from its pieces, verified and on the disk.

    `first` is how many pieces are held there already; `pieces` are the ones after
    those. Raises VerificationFailed when the bytes are not those of the manifest.
    """
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if first:
        path.chmod(0o644)  # it may have been complete before it was hurt
    with naming(path), path.open("r+b" if first else "x+b") as out:
        whole, size = hashlib.sha256(), 0
        for _ in range(first):
            whole.update(each := out.read(CHUNK))
            size += len(each)
        out.truncate(size)
        with ThreadPoolExecutor(1) as beside:  # it hashes a piece while that is written
            for each in pieces:
                size += len(each)
                if size > file.size:  # stop before a wrong record fills the disk
                    break
                hashed = beside.submit(whole.update, each)
                out.write(each)
                hashed.result()
        out.flush()
        os.fsync(out.fileno())
        os.fchmod(out.fileno(), 0o444)  # its bytes may be shared: see `held`
    check(file, size, whole.hexdigest())


def check(file: File, size: int, sha256: str) -> None:
    """Raise VerificationFailed unless size and digest are those of `file`."""
    if (size, sha256) != (file.size, file.sha256):
        raise VerificationFailed(
            f"{file.path} of {file.size} bytes, SHA-256 {file.sha256[:12]}...",
            f"{size} bytes, SHA-256 {sha256[:12]}...",
            "do not use it: pull the version again; if that fails the registry is hurt",
        )
