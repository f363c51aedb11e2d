"""The registry: versions, evidence and channels over a store and a trust root.

    root/00000001.json                        trust roots
    chunks/sha256/ab/abcdef...                pieces of files
    versions/NAME/COMMIT.json                 one version per commit, for ever
    evidence/NAME/COMMIT/SESSION-DIGEST.json  what was found about it
    channels/NAME/CHANNEL/99999998-00000001.json  releases; the first listed is live

Every record that is read is verified before anything in it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from securesystemslib.signer import Signer

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import NAME, Manifest
from interlock.attest import evidence as ev
from interlock.attest.envelope import seal
from interlock.attest.statement import MANIFEST, TEST_RESULT, Statement
from interlock.attest.trust import TrustRoot
from interlock.errors import BadConfiguration, Conflict, VerificationFailed
from interlock.registry.store import Store, read_required

SMALL = 2**16  # bytes: to send that takes no longer than to ask whether it is there


@dataclass(frozen=True)
class Registry:
    """A store whose records are believed as far as the trust root says."""

    store: Store
    trust: TrustRoot

    def chunk(self, sha256: str) -> bytes:
        """The bytes of a chunk, verified."""
        key = chunk_key(sha256)
        data = read_required(self.store, key)
        _refuse_altered(sha256, digest(data))
        return data

    def has_chunk(self, sha256: str) -> bool:
        """Whether a chunk is there. Raises VerificationFailed where it is another."""
        there = self.store.sha256(chunk_key(sha256))
        if there is not None:
            _refuse_altered(sha256, there)
        return there is not None

    def add_chunk(self, sha256: str, data: bytes) -> bool:
        """Store a chunk; False where the registry has it already."""
        if len(data) > SMALL and self.has_chunk(sha256):
            return False
        if self.store.create(chunk_key(sha256), data):
            return True
        self.chunk(sha256)  # it is read before it is relied on
        return False

    def version(self, name: str, commit: str) -> Manifest:
        """The manifest of NAME@COMMIT. Raises KeyError where there is none."""
        key = version_key(name, commit)
        return self.open_version(key, self.store.read(key))

    def released(self, name: str, commit: str) -> Manifest:
        """The manifest of a version that a release names: it must be there."""
        key = version_key(name, commit)
        return self.open_version(key, read_required(self.store, key))

    def open_version(self, key: str, record: bytes) -> Manifest:
        """The manifest in a record, verified to be the one that its key names."""
        statement = self.trust.open(record, "version", MANIFEST, "the version record")
        manifest = Manifest.from_json(statement.predicate)
        if statement.digest != {"sha256": manifest.address}:
            raise VerificationFailed(
                f"address {manifest.address[:12]}",
                str(dict(statement.digest)),
                "do not use this version",
            )
        if version_key(manifest.name, manifest.commit) != key:
            raise VerificationFailed(key, f"{manifest.version} there", "do not use it")
        return manifest

    def add_version(self, manifest: Manifest, signer: Signer) -> bool:
        """Store a version; False where these very bytes are there already.

        Raises Conflict where the commit has a version with other bytes.
        """
        statement = Statement(
            manifest.version, {"sha256": manifest.address}, MANIFEST, manifest.to_json()
        )
        key = version_key(manifest.name, manifest.commit)
        if self.store.create(key, seal(statement, signer)):
            return True
        there = self.version(manifest.name, manifest.commit)
        if there != manifest:
            raise Conflict(
                f"{manifest.version} with address {manifest.address[:12]}",
                f"a version of that commit with address {there.address[:12]}",
                "a version is never overwritten: make a new commit and publish that",
            )
        return False

    def commits(self, name: str) -> Iterator[str]:
        """The commits that have a version, without reading the versions."""
        for key in self.store.keys(f"versions/{name}/"):
            yield key.rpartition("/")[2].removesuffix(".json")

    def add_evidence(
        self, manifest: Manifest, each: ev.Evidence, signer: Signer
    ) -> tuple[str, bool]:
        """Attach evidence to a version; its record's key, and whether that is new."""
        record = seal(each.statement, signer)
        folder = f"evidence/{manifest.name}/{manifest.commit}"
        key = f"{folder}/{each.session}-{digest(record)}.json"
        return key, self.store.create(key, record)

    def evidence_keys(self, name: str, commit: str) -> Iterator[str]:
        """The keys of the evidence attached to a version."""
        return self.store.keys(f"evidence/{name}/{commit}/")

    def open_evidence(self, key: str, record: bytes) -> ev.Evidence:
        """The evidence in a record, verified to be the one that its key names."""
        session, _, named = key.rpartition("/")[2].removesuffix(".json").rpartition("-")
        if digest(record) != named:
            raise VerificationFailed(
                f"evidence {session} with SHA-256 {named[:12]}",
                f"{digest(record)[:12]}: {key} was altered",
                "restore it from a copy of the registry",
            )
        return ev.from_statement(
            self.trust.open(record, "evidence", TEST_RESULT, f"evidence {session}")
        )


def model_name(name: str) -> str:
    """`name` itself, if a model can have it. Raises BadConfiguration otherwise."""
    if not NAME.fullmatch(name):
        raise BadConfiguration(
            "the name of a model, of letters, digits, - and _",
            repr(name),
            "correct the name",
        )
    return name


def _refuse_altered(sha256: str, found: str) -> None:
    if found != sha256:
        raise VerificationFailed(
            f"chunk {sha256[:12]} to have that SHA-256",
            f"{found[:12]}: {chunk_key(sha256)} was altered",
            "restore it from a copy of the registry",
        )


def chunk_key(sha256: str) -> str:
    """The key of a chunk."""
    return f"chunks/sha256/{sha256[:2]}/{sha256}"


def version_key(name: str, commit: str) -> str:
    """The key of a version's record."""
    return f"versions/{name}/{commit}.json"


def evidence_digest(key: str) -> str:
    """The SHA-256 of the record under a key of evidence: the key ends in it."""
    return key.removesuffix(".json").rpartition("-")[2]


def root_key(sequence: int) -> str:
    """The key of a trust root's record."""
    return f"root/{sequence:08}.json"


def find_commit(registry: Registry, name: str, prefix: str) -> str:
    """The one commit with a version whose hash starts with `prefix`.

    Raises BadConfiguration where there is none, or more than one.
    """
    matches = [commit for commit in registry.commits(name) if commit.startswith(prefix)]
    if not matches:
        channels = ", ".join(registry.trust.channels)
        raise BadConfiguration(
            f"a channel ({channels}) or a published commit, {name}@{prefix}",
            "none",
            f"see what there is with: interlock log {name}",
        )
    if len(matches) > 1:
        raise several(name, prefix, matches)
    return matches[0]


def several(name: str, prefix: str, commits: Sequence[str]) -> BadConfiguration:
    """The refusal of digits that more than one commit starts with."""
    named = ", ".join(commit[:12] for commit in commits[:4])
    return BadConfiguration(
        f"the first digits of one commit of {name}",
        f"{prefix!r}, with which {len(commits)} start: {named}"
        + (", ..." if commits[4:] else ""),
        "give more digits",
    )
