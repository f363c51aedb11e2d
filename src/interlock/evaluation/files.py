"""Files that are either whole or not there, and their digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.artifact.manifest import dir_hash


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`text` into `path` as UTF-8, all of it or none."""
    with replacing(path) as part:
        part.write_text(text, "utf-8", newline="\n")


def digest(path: Path) -> str:
    """The SHA-256 of a file, or the dirHash of a folder, in lowercase hexadecimal.

    The dirHash is that of `interlock.artifact.manifest`.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = members(path)
    return dir_hash((file.relative_to(path).as_posix(), digest(file)) for file in files)


def members(folder: Path) -> list[Path]:
    """Every file below `folder`, in byte order of the relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(files, key=lambda path: os.fsencode(path.relative_to(folder)))
