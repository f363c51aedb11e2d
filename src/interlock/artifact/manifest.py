"""The manifest: the canonical list of a version's files, and what it was made from.

Its SHA-256 is the address of the version, so two folders with the same files from the
same source have the same address, wherever and whenever they were packed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from interlock.canonical import canonical
from interlock.errors import VerificationFailed

SHA256 = re.compile(r"[0-9a-f]{64}")
GIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
RESERVED = ".interlock"  # where a pulled version keeps its records


@dataclass(frozen=True)
class File:
    """A file of a version: `chunks` are the SHA-256 of its pieces, in order."""

    path: str  # relative, with forward slashes
    size: int  # bytes
    sha256: str
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A version's files with sizes and digests, and what it was made from."""

    name: str
    commit: str
    tree: str
    lock: str  # sha256 of requirements.lock
    weights: str  # dirHash of the weights folder
    contract: Mapping[str, Any]  # load, predict, input, output
    golden: str  # the path of the golden examples
    files: tuple[File, ...]  # sorted by path

    @property
    def version(self) -> str:
        """NAME@COMMIT."""
        return f"{self.name}@{self.commit}"

    @property
    def short(self) -> str:
        """NAME@COMMIT for people: 12 digits tell commits apart."""
        return f"{self.name}@{self.commit[:12]}"

    @property
    def address(self) -> str:
        """The SHA-256 of the manifest, 64 hex digits."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(file.size for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The manifest as the JSON value that is hashed and signed."""
        return {
            "name": self.name,
            "source": {"gitCommit": self.commit, "gitTree": self.tree},
            "lock": {"sha256": self.lock},
            "weights": {"dirHash": self.weights},
            "contract": dict(self.contract),
            "golden": self.golden,
            "files": [asdict(file) | {"chunks": [*file.chunks]} for file in self.files],
        }

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """The manifest that `value` describes.

        Raises VerificationFailed for anything that a manifest cannot be: a missing
        field, a digest of another form, or a path that leads out of the folder.
        """
        try:
            return cls(
                name=str(value["name"]),
                commit=_match(GIT, value["source"]["gitCommit"]),
                tree=_match(GIT, value["source"]["gitTree"]),
                lock=_match(SHA256, value["lock"]["sha256"]),
                weights=_match(SHA256, value["weights"]["dirHash"]),
                contract=dict(value["contract"]),
                golden=str(value["golden"]),
                files=_files(value["files"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise VerificationFailed(
                "a manifest as docs/formats.md describes it",
                f"{type(error).__name__}: {error}",
                "do not use this version: its record was not written by interlock",
            ) from None


def dir_hash(files: Iterable[tuple[str, str]]) -> str:
    """The in-toto `dirHash` of (path, sha256) pairs: one digest for a folder.

    Source: in-toto attestation spec, "dirHash": `find . -type f | cut -c3- |
    LC_ALL=C sort | xargs -r sha256sum | sha256sum`.
    """
    lines = sorted((path.encode(), digest) for path, digest in files)
    text = b"".join(digest.encode() + b"  " + path + b"\n" for path, digest in lines)
    return hashlib.sha256(text).hexdigest()


def _files(values: Any) -> tuple[File, ...]:
    files = tuple(map(_file, values))
    paths = [file.path for file in files]
    if paths != sorted(set(paths)):
        raise ValueError("files are not sorted, or one is listed twice")
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    if clash := folders & set(paths):
        raise ValueError(f"{min(clash)!r} is a file and a folder")
    if len({path.casefold() for path in paths}) != len(paths):
        raise ValueError("two paths differ in case only")
    return files


def _file(value: Any) -> File:
    if type(value["size"]) is not int or value["size"] < 0:
        raise ValueError(f"size {value['size']!r}")
    chunks = tuple(_match(SHA256, chunk) for chunk in value["chunks"])
    digest = _match(SHA256, value["sha256"])
    return File(safe_path(value["path"]), value["size"], digest, chunks)


def safe_path(path: str) -> str:
    """`path` itself, if it stays inside the folder that it is relative to.

    Raises ValueError otherwise, and for names that mean something else elsewhere.

    >>> safe_path("flights/model.py")
    'flights/model.py'
    """
    parts = path.split("/")
    odd = any(part in ("", ".", "..") or part[-1] in ". " for part in parts)
    if (
        odd
        or parts[0] == RESERVED
        or not path.isprintable()
        or re.search(r"[\\:]", path)
    ):
        raise ValueError(f"path {path!r}")
    return path


def _match(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"digest {value!r}")
    return value
