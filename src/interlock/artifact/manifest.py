"""The manifest: the canonical list of a version's files, and what it was made from.

Its SHA-256 is the address of the version, so two folders with the same files from the
same source have the same address, wherever and whenever they were packed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from interlock.canonical import canonical
from interlock.errors import Rejected, expecting

SHA256 = re.compile(r"[0-9a-f]{64}")
GIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
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
    def model(self) -> str:
        """The SHA-256 of what answers depend on: two commits may have the same."""
        parts = ("lock", "contract", "files")
        return hashlib.sha256(
            canonical({part: self.to_json()[part] for part in parts})
        ).hexdigest()

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
            "files": files_to_json(self.files),
        }

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """The manifest that `value` describes.

        Raises VerificationFailed for anything that a manifest cannot be: a missing
        field, a digest of another form, or a path that leads out of the folder.
        """
        with expecting(
            "a manifest as docs/formats.md describes it",
            "do not use this version: its record was not written by interlock",
        ):
            files = files_from_json(value["files"])
            if value["golden"] not in [file.path for file in files]:
                raise ValueError(
                    f"golden examples {value['golden']!r} that are no file"
                )
            return cls(
                name=match(NAME, value["name"]),
                commit=match(GIT, value["source"]["gitCommit"]),
                tree=match(GIT, value["source"]["gitTree"]),
                lock=match(SHA256, value["lock"]["sha256"]),
                weights=match(SHA256, value["weights"]["dirHash"]),
                contract=_contract(value["contract"]),
                golden=value["golden"],
                files=files,
            )


def refuse_incompatible(old: Manifest, new: Manifest) -> None:
    """Raise Rejected for a schema that callers of `old` could not use."""
    if broken := incompatible(old.contract, new.contract):
        raise Rejected(
            f"a schema that callers of {old.short} can use",
            "; ".join(broken),
            "keep the columns of production, or give the new model a new name",
        )


def incompatible(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why a caller of `old` could not call `new`; empty when every caller can."""
    added = [n for n in new["input"] if n not in old["input"]]
    retyped = [n for n, t in new["input"].items() if old["input"].get(n, t) != t]
    reasons = [f"needs the new column {name!r}" for name in added]
    reasons += [
        f"column {n!r} is {new['input'][n]}, was {old['input'][n]}" for n in retyped
    ]
    if old["output"] != new["output"]:
        reasons.append(f"answers {new['output']}, was {old['output']}")
    return reasons


def dir_hash(files: Iterable[tuple[str, str]]) -> str:
    """The in-toto `dirHash` of (path, sha256) pairs: one digest for a folder.

    Source: in-toto attestation spec, "dirHash": `find . -type f | cut -c3- |
    LC_ALL=C sort | xargs -r sha256sum | sha256sum`.
    """
    lines = sorted((path.encode(), digest) for path, digest in files)
    text = b"".join(digest.encode() + b"  " + path + b"\n" for path, digest in lines)
    return hashlib.sha256(text).hexdigest()


def _contract(value: Any) -> dict[str, Any]:
    strings = (value["load"], value["predict"], value["output"], *value["input"])
    if not all(isinstance(text, str) for text in (*strings, *value["input"].values())):
        raise ValueError(f"contract {value!r}")
    canonical(value)
    return {**value}


def files_to_json(files: Iterable[File]) -> list[dict[str, Any]]:
    """Files as a JSON value."""
    return [asdict(file) | {"chunks": [*file.chunks]} for file in files]


def files_from_json(values: Any) -> tuple[File, ...]:
    """The files that a JSON value describes, sorted by path.

    Raises KeyError, TypeError, ValueError or AttributeError for what are none.
    """
    files = tuple(map(_file, values))
    check_paths([file.path for file in files])
    return files


def check_paths(paths: Sequence[str]) -> None:
    """Raise ValueError for paths that not every system can hold together."""
    if [*paths] != sorted(set(paths)):
        raise ValueError("files are not sorted, or one is listed twice")
    alike = [path.casefold() for path in paths]  # as macOS and Windows see them
    folders = {str(parent) for path in alike for parent in PurePosixPath(path).parents}
    if len(set(alike)) != len(alike) or folders & set(alike):
        raise ValueError("two paths differ in case only, or one is a folder as well")


def _file(value: Any) -> File:
    size, chunks = value["size"], value["chunks"]
    if type(size) is not int or size < 0 or not isinstance(chunks, list):
        raise ValueError(f"size {size!r}, chunks {chunks!r}")
    if bool(size) != bool(chunks):
        raise ValueError(f"{size} bytes in {len(chunks)} chunks")
    pieces = tuple(match(SHA256, chunk) for chunk in chunks)
    return File(safe_path(value["path"]), size, match(SHA256, value["sha256"]), pieces)


def safe_path(path: str) -> str:
    """`path` itself, if it stays inside the folder that it is relative to.

    Raises ValueError otherwise, and for names that mean something else elsewhere.

    >>> safe_path("flights/model.py")
    'flights/model.py'
    """
    parts = path.split("/")
    git = {".git", "git~1"} & {part.casefold() for part in parts}
    if git or parts[0].casefold() == RESERVED or any(map(_is_odd, parts)):
        raise ValueError(f"path {path!r}")
    return path


def _is_odd(part: str) -> bool:
    """Whether some system reads this name in its own way, or cannot hold it."""
    return (
        part in ("", ".", "..")
        or part[-1] in ". "
        or not part.isprintable()
        or unicodedata.normalize("NFC", part) != part
        or len(part.encode()) > 255
        or bool(_ODD.search(part))
    )


_ODD = re.compile(
    r'[\\:*?"<>|]|^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)', re.IGNORECASE
)


def match(pattern: re.Pattern[str], value: Any) -> str:
    """`value` itself, a digest of this form. Raises ValueError otherwise."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"digest {value!r}")
    return value
