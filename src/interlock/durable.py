"""Files and names that a power cut does not take away.

A file is on the disk once it is flushed, its name once the folder is: both are needed,
and in that order. Before a name is given away, all that it stands for is on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the system refuses is said of `path`: of a full disk it names no file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def make_folders(folder: Path) -> None:
    """Make `folder` and those above it, each known to the disk."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and put it on the disk. Raises FileExistsError."""
    with naming(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
