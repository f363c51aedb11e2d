"""From the registry to one file: a version with its records, for those who need one.

The archive holds what a pulled folder holds, so what was unpacked is verified by
`interlock verify`. The same records make the same bytes, wherever and whenever. The
file is complete before it gets its name, and nothing else is ever overwritten.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from interlock.artifact.archive import Member, gzip, tar
from interlock.artifact.chunks import check
from interlock.artifact.manifest import RESERVED, File
from interlock.durable import naming, sync_folder
from interlock.errors import BadConfiguration, Conflict
from interlock.parallel import in_order
from interlock.progress import in_bytes
from interlock.registry.records import Registry
from interlock.registry.resolve import Version, take
from interlock.registry.transfer import Done


@dataclass(frozen=True)
class Exported:
    """A version, the folder that its archive unpacks to, and whether that is new."""

    version: Version
    folder: str
    new: bool


def export(registry: Registry, reference: str, target: Path) -> Exported:
    """Write the version that NAME@REF stands for, verified, to the file `target`.

    Raises VerificationFailed when anything is not what was judged, and Conflict when
    `target` is there and is not this very archive. `target` is then as it was.
    """
    version, target = take(registry, reference), target.absolute()
    if not target.parent.is_dir():
        raise BadConfiguration(
            f"a folder {target.parent}", "none", "make it, or name another file"
        )
    manifest = version.manifest
    folder = f"{manifest.name}-{manifest.commit[:12]}"
    with in_bytes(manifest.size, f"export {manifest.name}") as bar:
        members = sorted(_members(registry, version, bar.update), key=lambda m: m.name)
        archive = gzip(tar(_below(folder, members)))
        with _alone(target.with_name(f".{target.name}.new")) as private:
            new = not os.path.lexists(target)
            if new:
                _write(private, target, archive)
            elif not _holds(target, archive):
                raise Conflict(
                    f"{target} to be absent, or this very archive of {manifest.short}",
                    "something else",
                    "name another file, or move that one away",
                )
    return Exported(version, folder, new)


def _below(folder: str, members: Iterable[Member]) -> Iterator[Member]:
    for each in members:
        yield Member(f"{folder}/{each.name}", each.size, each.pieces)


def _members(registry: Registry, version: Version, done: Done) -> Iterator[Member]:
    """The files of a version and its records, as in a pulled folder."""
    for file in version.manifest.files:
        yield Member(file.path, file.size, _verified(registry, file, done))
    for key, record in version.records.items():
        yield Member(f"{RESERVED}/{key}", len(record), [record])


def _verified(registry: Registry, file: File, done: Done) -> Iterator[bytes]:
    """The pieces of a file. Raises VerificationFailed when they are not that file."""
    whole, size = hashlib.sha256(), 0
    for piece in in_order(registry.chunk, file.chunks):
        whole.update(piece)
        size += len(piece)
        yield piece
        done(len(piece))
    check(file, size, whole.hexdigest())


def _holds(path: Path, pieces: Iterable[bytes]) -> bool:
    """Whether `path` is a file of these bytes and no more."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return all(file.read(len(each)) == each for each in pieces) and not file.read(1)


def _write(private: BinaryIO, target: Path, pieces: Iterable[bytes]) -> None:
    private.truncate(0)  # a killed export may have left it
    with naming(target):
        private.writelines(pieces)
        private.flush()
        os.fsync(private.fileno())
    os.rename(private.name, target)
    sync_folder(target.parent)


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The private file at `path`, ours until the end; other exports wait for it."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(path, file):
                continue  # it was renamed or removed while we waited
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
