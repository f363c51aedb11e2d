"""From NAME@REF to a version with the records that vouch for it, all verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import Manifest
from interlock.attest.evidence import Evidence, newest
from interlock.errors import BadConfiguration, VerificationFailed
from interlock.registry.channels import Release, live, release_key
from interlock.registry.records import Registry, find_commit, model_name, version_key
from interlock.registry.seen import remember
from interlock.registry.store import read_each


@dataclass(frozen=True)
class Version:
    """A version with the records that vouch for it, all verified."""

    manifest: Manifest
    evidence: tuple[Evidence, ...]
    release: Release | None  # None when a commit was asked for, not a channel
    records: Mapping[str, bytes]  # key -> record

    @property
    def identity(self) -> str:
        """What tells these records from all others: 12 hex digits."""
        return digest(b"".join(sorted(self.records.values())))[:12]


def parse_reference(reference: str) -> tuple[str, str]:
    """The name and the channel or commit of NAME@REF."""
    name, _, ref = reference.partition("@")
    if not name or not ref:
        raise BadConfiguration(
            "NAME@CHANNEL or NAME@COMMIT",
            repr(reference),
            "name both, for example flights@production",
        )
    return model_name(name), ref


def resolve(registry: Registry, reference: str) -> Version:
    """The version that NAME@REF stands for, with its records, verified.

    Raises VerificationFailed when a record is altered, or when the evidence of a
    release is not what its channel demands.
    """
    name, ref = parse_reference(reference)
    if ref in registry.trust.channels:
        release, record = live(registry, name, ref)
        released = {release_key(name, ref, release.sequence): record}
        return _assemble(registry, name, release.commit, release, released)
    return _assemble(registry, name, find_commit(registry, name, ref), None, {})


def take(registry: Registry, reference: str) -> Version:
    """What `resolve` finds, and a note of the release for those who act on it."""
    version = resolve(registry, reference)
    if release := version.release:
        remember(registry.store.url, release.name, release.channel, release.sequence)
    return version


def _assemble(
    registry: Registry,
    name: str,
    commit: str,
    release: Release | None,
    released: Mapping[str, bytes],
) -> Version:
    key = version_key(name, commit)
    keys = release.evidence if release else registry.evidence_keys(name, commit)
    records = read_each(registry.store, [key, *keys])
    version = {key: records.pop(key)}
    manifest = registry.open_version(key, version[key])
    evidence = tuple(registry.open_evidence(k, data) for k, data in records.items())
    if release:
        check_release(release, manifest, records)
    channels = [release.channel] if release else [*registry.trust.channels]
    demands = [set(registry.trust.demands(channel)) for channel in channels]
    _check_evidence(manifest, evidence, demands)
    return Version(manifest, evidence, release, {**version, **released, **records})


def check_release(
    release: Release, manifest: Manifest, records: Mapping[str, bytes]
) -> None:
    """Raise VerificationFailed unless a release was made on these very records."""
    digests = {key: digest(data) for key, data in records.items()}
    if (release.address, release.evidence) != (manifest.address, digests):
        raise VerificationFailed(
            f"the version and evidence that release {release.sequence} names",
            "others under their names",
            "restore the registry from a copy",
        )


def _check_evidence(
    manifest: Manifest, evidence: Iterable[Evidence], demands: Iterable[set[str]]
) -> None:
    """Refuse a version without passing evidence of all that one channel demands."""
    about = (manifest.tree, manifest.lock, manifest.weights)
    own = [e for e in evidence if (e.tree, e.lock, e.weights) == about]
    passed = {n for n, each in newest(own).items() if each.result == "PASSED"}
    if missing := min((each - passed for each in demands), key=len):
        raise VerificationFailed(
            f"passing evidence of {', '.join(sorted(missing))} about {manifest.short}",
            "none in the registry",
            "publish the commit again; until then it is not to be served",
        )
