"""What a session left, kept in the registry: files that evidence names by SHA-256.

results/NAME/COMMIT/SHA256.json    a file: its size, and its chunks in order
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from securesystemslib.signer import Signer

from interlock.artifact.manifest import File, Manifest, files_from_json, files_to_json
from interlock.attest.envelope import seal
from interlock.attest.statement import RESULT, Statement
from interlock.errors import EvidenceRefused, VerificationFailed, expecting
from interlock.registry.records import Registry
from interlock.registry.transfer import Sender, opened


def result_key(name: str, commit: str, sha256: str) -> str:
    """The key of a kept file."""
    return f"results/{name}/{commit}/{sha256}.json"


def keep(
    registry: Registry, manifest: Manifest, paths: Iterable[Path], key: Signer
) -> None:
    """Store files about a version; nothing where they are there."""
    sender = Sender(registry)
    for path in paths:
        file = sender.send(path, "result")
        where = result_key(manifest.name, manifest.commit, file.sha256)
        (value,) = files_to_json([file])
        statement = Statement(where, {"sha256": file.sha256}, RESULT, value)
        registry.store.create(where, seal(statement, key))


def find(registry: Registry, manifest: Manifest, sha256: str, name: str) -> File:
    """What to fetch a kept file by, to be written as `name`.

    Raises EvidenceRefused where it was never kept.
    """
    key = result_key(manifest.name, manifest.commit, sha256)
    try:
        record = registry.store.read(key)
    except KeyError:
        raise EvidenceRefused(
            f"{name} with SHA-256 {sha256[:12]} in {registry.store.url}",
            "none",
            "it was not kept when the evidence was attached: run the session again, on "
            "that commit",
        ) from None
    return replace(open_result(registry, key, record), path=name)


def content(registry: Registry, file: File) -> bytes:
    """The bytes of a kept file, verified."""
    with opened(registry, file, {}) as chunks:
        return chunks.read()


def open_result(registry: Registry, key: str, record: bytes) -> File:
    """The file in a record, verified to be the one that its key names."""
    statement = registry.trust.open(record, "evidence", RESULT, key)
    with expecting(
        f"{key} to be a file of chunks", "restore it from a copy of the registry"
    ):
        (file,) = files_from_json([statement.predicate])
    if (statement.subject, file.sha256) != (key, key[-69:-5]):
        raise VerificationFailed(
            key, f"{statement.subject} under its name", "restore it"
        )
    return file
