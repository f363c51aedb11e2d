"""Channels: append-only logs of releases.

A release is a SLSA Verification Summary about a version: which policy was applied, on
which evidence, and with what result. Each names the one before it by digest, so a log
cannot lose an entry unnoticed. The number after the last is taken by whoever creates
it first; nobody takes it twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from securesystemslib.signer import Signer

from interlock.artifact.chunks import digest
from interlock.attest.envelope import seal
from interlock.attest.statement import SUMMARY, Statement, moment, timestamp
from interlock.errors import BadConfiguration, Conflict, VerificationFailed, expecting
from interlock.registry.records import Registry, model_name
from interlock.registry.seen import highest, refuse_older, remember
from interlock.registry.store import read_each, read_required

_OURS = "urn:interlock:"


@dataclass(frozen=True)
class Release:
    """One entry of a channel: this version, on this evidence."""

    channel: str
    name: str
    commit: str
    address: str  # of the version released
    evidence: Mapping[str, str]  # key in the registry -> sha256 of the record
    policy: str  # sha256 of the trust root that was applied
    actor: str
    reason: str
    released: datetime
    sequence: int = 0  # from 1; 0 in a draft
    previous: str = ""  # sha256 of the previous release's record; "" for the first

    @property
    def version(self) -> str:
        """NAME@COMMIT."""
        return f"{self.name}@{self.commit}"

    def statement(self, verifier: str, root: int) -> Statement:
        """The release as a SLSA Verification Summary."""
        predicate = {
            "verifier": {
                "id": "urn:interlock:verifier",
                "version": {"interlock": verifier},
            },
            "timeVerified": timestamp(self.released),
            "resourceUri": f"urn:interlock:version:{self.version}",
            "policy": {
                "uri": f"root/{root:08}.json",
                "digest": {"sha256": self.policy},
            },
            "inputAttestations": [
                {"uri": key, "digest": {"sha256": sha256}}
                for key, sha256 in self.evidence.items()
            ],
            "verificationResult": "PASSED",
            "verifiedLevels": [f"INTERLOCK_{self.channel.upper()}"],
            "slsaVersion": "1.1",
            f"{_OURS}channel": self.channel,
            f"{_OURS}sequence": self.sequence,
            f"{_OURS}actor": self.actor,
            f"{_OURS}reason": self.reason,
            f"{_OURS}previous": self.previous,
        }
        return Statement(self.version, {"sha256": self.address}, SUMMARY, predicate)


def _from_statement(statement: Statement) -> Release:
    predicate = statement.predicate
    uri = predicate["resourceUri"].removeprefix("urn:interlock:version:")
    name, _, commit = uri.partition("@")
    if predicate["verificationResult"] != "PASSED":
        raise ValueError(f"result {predicate['verificationResult']}")
    return Release(
        channel=predicate[f"{_OURS}channel"],
        sequence=predicate[f"{_OURS}sequence"],
        name=name,
        commit=commit,
        address=statement.digest["sha256"],
        evidence={
            e["uri"]: e["digest"]["sha256"] for e in predicate["inputAttestations"]
        },
        policy=predicate["policy"]["digest"]["sha256"],
        actor=predicate[f"{_OURS}actor"],
        reason=predicate[f"{_OURS}reason"],
        released=moment(predicate["timeVerified"]),
        previous=predicate[f"{_OURS}previous"],
    )


def release_key(name: str, channel: str, sequence: int) -> str:
    """The key of a release's record.

    It starts with the number counted down, so that the newest is the first that a
    store lists: finding it is one request, however long the log.

    >>> release_key("flights", "production", 1)
    'channels/flights/production/99999998-00000001.json'
    """
    return f"channels/{name}/{channel}/{_LAST - sequence:08}-{sequence:08}.json"


_LAST = 10**8 - 1


def open_release(registry: Registry, key: str, record: bytes) -> Release:
    """The release in a record, verified to be the one that its key names."""
    statement = registry.trust.open(record, "release", SUMMARY, f"release {key}")
    with expecting(f"{key} to be a release", "do not use it"):
        release = _from_statement(statement)
    named = release_key(release.name, release.channel, release.sequence)
    if named != key:
        raise VerificationFailed(
            key, f"the release {named} under its name", "do not use it"
        )
    return release


def _folder(name: str, channel: str) -> str:
    return f"channels/{model_name(name)}/{channel}/"


def head(registry: Registry, name: str, channel: str) -> tuple[Release, bytes] | None:
    """The live release of a channel, and its record; None where there is none yet.

    Raises VerificationFailed where this machine has seen a newer one.
    """
    folder, url = _folder(name, channel), registry.store.url
    seen = highest(url, name, channel)
    key = next(registry.store.keys(folder), None)
    if key is None:
        refuse_older(url, name, channel, 0, seen)
        return None
    record = read_required(registry.store, key)
    release = open_release(registry, key, record)
    refuse_older(url, name, channel, release.sequence, seen)
    return release, record


def live(registry: Registry, name: str, channel: str) -> tuple[Release, bytes]:
    """The live release of a channel. Raises BadConfiguration where there is none."""
    found = head(registry, name, channel)
    if found is None:
        raise BadConfiguration(
            f"a release of {name} in {channel}",
            "none yet",
            f"publish or promote a version; `interlock log {name}` shows what there is",
        )
    return found


def log(registry: Registry, name: str, channel: str) -> Iterator[Release]:
    """Every release of a channel, oldest first, each vouching for the one before.

    Raises VerificationFailed where an entry is missing, altered or out of its place.
    """
    folder, url = _folder(name, channel), registry.store.url
    seen, previous = highest(url, name, channel), ""
    newest_first = [*registry.store.keys(folder)]
    refuse_older(url, name, channel, len(newest_first), seen)
    records = read_each(registry.store, reversed(newest_first))
    for number, (key, record) in enumerate(records.items(), 1):
        release = open_release(registry, key, record)
        if (release.sequence, release.previous) != (number, previous):
            raise VerificationFailed(
                f"release {number} of {channel}, after record {previous[:12] or '-'}",
                f"release {release.sequence}, after {release.previous[:12] or '-'}",
                "an entry was lost or replaced: restore the channel from a copy",
            )
        previous = digest(record)
        yield release


def append(
    registry: Registry, draft: Release, last: tuple[Release, bytes] | None, key: Signer
) -> Release:
    """Release what `draft` says: the entry after `last`, which was decided on.

    Raises Conflict, naming the winner, when another release took the number first.
    """
    from interlock import __version__

    release = replace(
        draft,
        sequence=last[0].sequence + 1 if last else 1,
        previous=digest(last[1]) if last else "",
    )
    statement = release.statement(__version__, registry.trust.sequence)
    where = release_key(release.name, release.channel, release.sequence)
    if not registry.store.create(where, seal(statement, key)):
        release = _same(
            open_release(registry, where, registry.store.read(where)), draft
        )
    remember(registry.store.url, release.name, release.channel, release.sequence)
    return release


def _same(winner: Release, draft: Release) -> Release:
    """The release that was first, where it is of the version that we would release."""
    if winner.address != draft.address:
        raise Conflict(
            f"to be the one who writes release {winner.sequence} of {winner.channel}",
            f"{winner.actor} released {winner.name}@{winner.commit[:12]} just before",
            "look at `interlock log`, and run the command again if it is still right",
        )
    return winner
