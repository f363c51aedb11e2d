"""The keys of a registry: who is in its trust root, and the next root.

Rules:

* a root is never changed: what is different is the next one, signed by a key that may
  sign roots in both, and nothing is written that the chain would not believe;
* what is believed today is believed tomorrow: records that only a key has signed that
  loses its role are vouched for by the new root, each by its digest. What the key signs
  from then on counts no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Key, Signer, SSlibKey

from interlock.artifact.chunks import digest
from interlock.attest.envelope import payload, seal
from interlock.attest.statement import TRUST_ROOT
from interlock.attest.trust import (
    ROLES,
    TrustRoot,
    follow,
    granted,
    root_statement,
    vouching,
    withdrawn,
)
from interlock.errors import BadConfiguration, Conflict, Refusal
from interlock.parallel import in_order
from interlock.policy import RECORDS
from interlock.progress import in_bytes
from interlock.registry.access import open_registry, roots, signer
from interlock.registry.records import Registry, root_key
from interlock.registry.store import read_required

RSA_BITS = 2048  # the least that NIST SP 800-131A lets sign
SIGNING = ("version", "evidence", "release")  # what whoever publishes signs


@dataclass(frozen=True)
class Trust:
    """A registry's trust root, for people and machines."""

    registry: str
    root: int
    first: str  # sha256 of root 1, as INTERLOCK_ROOT has it
    keys: Mapping[str, Sequence[str]]  # keyid -> its roles
    thresholds: Mapping[str, int]
    channels: Mapping[str, Mapping[str, int]]  # channel -> session -> hours
    vouched: int  # records that are believed by their digest
    here: str  # the key that signs here; "" for none that the root knows


def show(registry: Registry) -> Trust:
    """The trust root as it is now."""
    records = roots(registry.store)
    trust = follow(records)
    keyids = sorted({key.keyid for role in trust.roles.values() for key in role.keys})
    return Trust(
        registry=registry.store.url,
        root=trust.sequence,
        first=digest(records[0]),
        keys={keyid: [r for r in ROLES if _has(trust, r, keyid)] for keyid in keyids},
        thresholds={name: trust.roles[name].threshold for name in ROLES},
        channels=payload(records[-1], TRUST_ROOT).predicate["channels"],
        vouched=len(trust.vouched),
        here=_here(registry),
    )


def _has(trust: TrustRoot, role: str, keyid: str) -> bool:
    return keyid in {key.keyid for key in trust.roles[role].keys}


def _here(registry: Registry) -> str:
    try:
        return str(signer(registry).public_key.keyid)
    except Refusal:
        return ""


def add(registry: Registry, file: Path, roles: Sequence[str] = SIGNING) -> Trust:
    """Let the public key in `file` sign in these roles; nothing where it may already.

    Raises BadConfiguration for what is no key, or without a key that may sign roots,
    and Conflict when somebody else wrote the next root first.
    """
    key = _public_key(file)
    if not all(_has(registry.trust, role, key.keyid) for role in roles):
        record, own = _now(registry)
        _write(registry, granted(record, key, roles), own)
    return show(open_registry(registry.store.url))


def remove(registry: Registry, digits: str, roles: Sequence[str] = ROLES) -> Trust:
    """Take these roles from the key whose id starts with `digits`.

    What only it has signed so far is vouched for by the new root. Raises
    BadConfiguration where it has none of the roles, or is the last in one of them, and
    Conflict when somebody else wrote the next root first.
    """
    keyid = _find(registry.trust, digits, roles)
    record, own = _now(registry)
    predicate = withdrawn(record, keyid, roles)
    for name in ROLES:
        role = predicate["roles"][name]
        if len(role["keyids"]) < role["threshold"]:
            raise BadConfiguration(
                f"{role['threshold']} keys in the role {name}",
                f"{len(role['keyids'])} without {keyid[:12]}",
                "add another key first: interlock trust add",
            )
    _, then = _next(registry, predicate, own)
    before = _signed(registry)
    _write(registry, vouching(predicate, _lost(registry, then, before)), own)
    if late := _signed(registry) - before:
        _vouch_late(registry, late)
    return show(open_registry(registry.store.url))


def _vouch_late(old: Registry, keys: Set[str]) -> None:
    """One more root, for what was signed while the records were read."""
    registry = open_registry(old.store.url)
    if late := [*_lost(old, registry.trust, keys)]:
        record, own = _now(registry)
        following = {**record, "sequence": record["sequence"] + 1}
        _write(registry, vouching(following, late), own)


def _signed(registry: Registry) -> set[str]:
    """The keys of all records that somebody but the keeper of the roots signs."""
    return {key for room in RECORDS for key in registry.store.keys(f"{room}/")}


def _find(trust: TrustRoot, digits: str, roles: Sequence[str]) -> str:
    """The one key of these roles whose id starts with `digits`."""
    keyids = {key.keyid for role in roles for key in trust.roles[role].keys}
    found = sorted(each for each in keyids if each.startswith(digits))
    if len(found) != 1:
        shown = ", ".join(each[:12] for each in found)
        raise BadConfiguration(
            f"the first digits of one key with the role {' or '.join(roles)}",
            f"{digits!r}, with which {shown or 'none'} start",
            "see them with: interlock trust show",
        )
    return found[0]


def _now(registry: Registry) -> tuple[Mapping[str, Any], Signer]:
    """What the newest root says, and the key that signs the next."""
    own, role = signer(registry), registry.trust.roles["root"]
    if not _has(registry.trust, "root", own.public_key.keyid) or role.threshold > 1:
        raise BadConfiguration(
            f"{role.threshold} of the keys that may sign a trust root: "
            + ", ".join(key.keyid[:12] for key in role.keys),
            f"key {own.public_key.keyid[:12]}",
            "set INTERLOCK_KEY to one of them; where more than one must sign, it takes "
            "them together: docs/formats.md has the form",
        )
    record = read_required(registry.store, root_key(registry.trust.sequence))
    return payload(record, TRUST_ROOT).predicate, own


def _next(
    registry: Registry, predicate: Mapping[str, Any], own: Signer
) -> tuple[bytes, TrustRoot]:
    """The next root, signed, and as the chain believes it."""
    if own.public_key.keyid not in predicate["roles"]["root"]["keyids"]:
        raise BadConfiguration(
            "a key that may sign roots afterwards, too",
            f"key {own.public_key.keyid[:12]}, which is to lose that role",
            "sign with one that stays: set INTERLOCK_KEY to it",
        )
    record = seal(root_statement(predicate), own)
    before = roots(registry.store)[: registry.trust.sequence]
    return record, follow([*before, record])


def _write(registry: Registry, predicate: Mapping[str, Any], own: Signer) -> None:
    record, then = _next(registry, predicate, own)
    if not registry.store.create(root_key(then.sequence), record):
        raise Conflict(
            f"to be the one who writes trust root {then.sequence}",
            "somebody else did just before",
            "look at it with: interlock trust show",
        )


def _lost(registry: Registry, then: TrustRoot, keys: Set[str]) -> Iterator[str]:
    """The digests of the records that are believed now, and would not be then."""
    store = registry.store
    with in_bytes(0, "trust records") as bar:
        for data in in_order(partial(read_required, store), sorted(keys)):
            bar.update(len(data))
            if registry.trust.believes(data) and not then.believes(data):
                yield digest(data)


def _public_key(file: Path) -> Key:
    try:
        key = load_pem_public_key(file.read_bytes())
        if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS:
            raise ValueError(f"RSA of {key.key_size} bits")
        return SSlibKey.from_crypto(key)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadConfiguration(
            f"a public key in {file}, as PEM: Ed25519, EC, or RSA of {RSA_BITS} bits",
            str(error).partition(". ")[0],
            "make it of a private one: openssl pkey -in key.pem -pubout -out key.pub",
        ) from None
