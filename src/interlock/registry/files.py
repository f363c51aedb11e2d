"""Files that a signed record names by their SHA-256, kept in the registry.

    files/sha256/ab/abcdef....json    the size of a file and its chunks, in order

Such a list is not signed, and need not be: what its chunks give must have the digest
in its name, and that is what a signed record names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from interlock.artifact.manifest import File, files_from_json, files_to_json
from interlock.canonical import canonical, parse
from interlock.errors import EvidenceRefused, VerificationFailed
from interlock.registry.records import Registry
from interlock.registry.transfer import Sender


def file_key(sha256: str) -> str:
    """The key of a file's list of chunks."""
    return f"files/sha256/{sha256[:2]}/{sha256}.json"


def keep(registry: Registry, paths: Iterable[Path]) -> None:
    """Store files with the lists of their chunks; nothing where they are there."""
    sender = Sender(registry)
    for path in paths:
        file = sender.send(path, "file")
        (value,) = files_to_json([file])
        registry.store.create(file_key(file.sha256), canonical(value))


def find(registry: Registry, sha256: str, name: str) -> File:
    """What to fetch a kept file by, to be written as `name`.

    Raises EvidenceRefused where it was never kept, and VerificationFailed for a list
    that is none. That its chunks make up the file is for `transfer.fetch` to verify.
    """
    key = file_key(sha256)
    try:
        value = registry.store.read(key)
    except KeyError:
        raise EvidenceRefused(
            f"{name} with SHA-256 {sha256[:12]} in {registry.store.url}",
            "none",
            "it was not kept when the evidence was attached: run the session again, on "
            "that commit",
        ) from None
    return replace(_file(key, sha256, value), path=name)


def _file(key: str, sha256: str, value: bytes) -> File:
    try:
        (file,) = files_from_json([parse(value)])
        if file.sha256 != sha256:
            raise ValueError(f"a list of the chunks of {file.sha256[:12]}")
        return file
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationFailed(
            f"{key} to be a list of chunks",
            f"{type(error).__name__}: {error}",
            "restore it from a copy of the registry",
        ) from None
