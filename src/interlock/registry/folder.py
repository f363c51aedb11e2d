"""The registry in a folder: the embedded default.

A value is written to a private file, put on the disk, and then linked to its name.
Linking fails where the name exists, and a reader sees the whole value or none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from interlock.durable import make_folders, sync_folder, write_durably

_PRIVATE = ".new-"  # a crash may leave such a file behind: nobody ever reads it


class Folder:
    """A store in a folder of a local file system."""

    def __init__(self, root: Path) -> None:
        # One spelling: what was seen of a registry is remembered by it.
        self.root = Path(os.path.expanduser(root)).resolve()
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

    def sha256(self, key: str) -> str | None:
        """The SHA-256 of the bytes of `key`; None where it is absent."""
        try:
            with (self.root / key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`, in ascending order."""
        start = self.root / prefix.rpartition("/")[0]
        found = (
            str(Path(folder, name).relative_to(self.root))
            for folder, _, names in os.walk(start, onerror=_raise)
            for name in names
            if not name.startswith(_PRIVATE)
        )
        return iter(sorted(key for key in found if key.startswith(prefix)))


def _raise(error: OSError) -> None:
    """What cannot be listed is not empty: a reader must not take it for that."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
