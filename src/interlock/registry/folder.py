"""The registry in a folder: the embedded default.

A value is written to a private file, put on the disk, and then linked to its name.
Linking fails where the name exists, and a reader sees the whole value or none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

_PRIVATE = ".new-"  # a crash may leave such a file behind: nobody ever reads it


class Folder:
    """A store in a folder of a local file system."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.expanduser(root)).absolute()
        self.url = str(self.root)

    def create(self, key: str, data: bytes) -> bool:
        """Make `key` hold `data`; False, and nothing done, where it exists already."""
        target = self.root / key
        if target.exists():
            return False
        make_folders(target.parent)
        private = target.parent / f"{_PRIVATE}{uuid4().hex}"
        try:
            write_durably(private, data)
            os.link(private, target)
        except FileExistsError:
            return False
        finally:
            private.unlink(missing_ok=True)
        sync_folder(target.parent)
        return True

    def read(self, key: str) -> bytes:
        """The bytes of `key`. Raises KeyError where it is absent."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`, in ascending order."""
        start = self.root / prefix.rpartition("/")[0]
        found = (
            str(Path(folder, name).relative_to(self.root))
            for folder, _, names in os.walk(start)
            for name in names
            if not name.startswith(_PRIVATE)
        )
        return iter(sorted(key for key in found if key.startswith(prefix)))


def make_folders(folder: Path) -> None:
    """Make `folder` and those above it, each known to the disk."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and put it on the disk. Raises FileExistsError."""
    with path.open("xb") as file:
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
