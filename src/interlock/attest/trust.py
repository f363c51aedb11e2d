"""The trust root: who may sign what, and which evidence each channel demands.

Rules:

* root 1 is pinned by whoever reads the registry, on first sight or by a digest that
  came another way;
* root N + 1 counts only when the keys of root N have signed it too;
* a role's record counts only with signatures by `threshold` of the role's keys, or
  where the root vouches for it by its digest: a key that lost its role has signed it.

Reading and writing are elsewhere: here are values and the rules over them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from securesystemslib.signer import Key, SSlibKey

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import SHA256, match
from interlock.attest.envelope import payload, unseal
from interlock.attest.statement import (
    MANIFEST,
    RESULT,
    ROWS,
    SHARES,
    SUMMARY,
    TEST_RESULT,
    TRUST_ROOT,
    USE,
    Statement,
)
from interlock.canonical import canonical
from interlock.errors import BadConfiguration, Refusal, VerificationFailed

ROLES = ("root", "version", "evidence", "release")
SIGNED_BY = {  # the kinds of records, and the role that signs each
    MANIFEST: "version",
    SUMMARY: "release",
    **dict.fromkeys((TEST_RESULT, RESULT, ROWS, SHARES, USE), "evidence"),
}
CHECKS = {"lint": 720, "unit": 720, "smoke": 720}  # hours that evidence lasts
CHANNELS = {"staging": CHECKS, "production": CHECKS | {"nightly-eval": 48}}


@dataclass(frozen=True)
class Role:
    """The keys that may sign a kind of record, and how many of them must."""

    keys: Sequence[Key]
    threshold: int


@dataclass(frozen=True)
class TrustRoot:
    """One numbered trust root, as verified."""

    sequence: int
    roles: Mapping[str, Role]
    channels: Mapping[str, Mapping[str, timedelta]]  # channel -> session -> oldest
    sha256: str  # of the record: the policy's digest in a release
    vouched: frozenset[str] = frozenset()  # sha256 of records that are believed by it

    def open(self, data: bytes, role: str, predicate_type: str, what: str) -> Statement:
        """The statement in a record, if the role's keys have signed it."""
        if digest(data) in self.vouched:
            return payload(data, predicate_type)
        keys, threshold = self.roles[role].keys, self.roles[role].threshold
        return unseal(data, predicate_type, keys, threshold, what)

    def believes(self, data: bytes) -> bool:
        """Whether these bytes are a record of some kind that `open` lets through."""
        for predicate_type, role in SIGNED_BY.items():
            with suppress(VerificationFailed):
                self.open(data, role, predicate_type, "")
                return True
        return False

    def demands(self, channel: str) -> Mapping[str, timedelta]:
        """The sessions whose evidence `channel` demands, and how old it may be."""
        if channel not in self.channels:
            raise BadConfiguration(
                f"a channel of the trust root: {', '.join(self.channels)}",
                repr(channel),
                "name one of those",
            )
        return self.channels[channel]


def first_root(key: Key) -> Statement:
    """Root 1 of a registry that one key keeps: it may sign everything."""
    role = {"keyids": [key.keyid], "threshold": 1}
    predicate = {
        "sequence": 1,
        "keys": {key.keyid: key.to_dict()},
        "roles": {name: role for name in ROLES},
        "channels": CHANNELS,
    }
    return root_statement(predicate)


def root_statement(predicate: Mapping[str, Any]) -> Statement:
    """The statement of a trust root that says this."""
    name, sha256 = f"root/{predicate['sequence']}", digest(canonical(predicate))
    return Statement(name, {"sha256": sha256}, TRUST_ROOT, predicate)


Predicate = Mapping[str, Any]  # what a trust root says, as docs/formats.md has it


def granted(root: Predicate, key: Key, roles: Collection[str]) -> Predicate:
    """The root after `root`, in which a key has these roles as well."""
    known = {**root["keys"], key.keyid: key.to_dict()}
    return _after(root, known, {name: {key.keyid} for name in roles}, {})


def withdrawn(root: Predicate, keyid: str, roles: Collection[str]) -> Predicate:
    """The root after `root`, in which a key has these roles no more."""
    return _after(root, root["keys"], {}, {name: {keyid} for name in roles})


def _after(
    root: Predicate,
    known: Mapping[str, Any],
    more: Mapping[str, set[str]],
    fewer: Mapping[str, set[str]],
) -> Predicate:
    roles = {}
    for name, role in root["roles"].items():
        keyids = {*role["keyids"]} | more.get(name, set())
        roles[name] = {**role, "keyids": sorted(keyids - fewer.get(name, set()))}
    named = {keyid for role in roles.values() for keyid in role["keyids"]}
    keys = {keyid: value for keyid, value in known.items() if keyid in named}
    number = root["sequence"] + 1
    return {**root, "sequence": number, "keys": keys, "roles": roles}


def vouching(root: Predicate, records: Iterable[str]) -> Predicate:
    """`root`, which now vouches for these records too, by their SHA-256."""
    vouched = {*root.get("vouched", ()), *records}
    return {**root, "vouched": sorted(vouched)} if vouched else root


def follow(records: Sequence[bytes]) -> TrustRoot:
    """The newest of the numbered roots, each vouched for by the one before it.

    Raises VerificationFailed where the chain breaks.
    """
    root: TrustRoot | None = None
    for number, record in enumerate(records, start=1):
        candidate = _read(record, number)
        for voucher in (root, candidate):
            if voucher is not None:
                voucher.open(record, "root", TRUST_ROOT, f"root {number}")
        root = candidate
    if root is None:
        raise VerificationFailed(
            "a registry with a trust root",
            "none",
            "publish to it first, or correct its name",
        )
    return root


def _read(record: bytes, number: int) -> TrustRoot:
    try:
        predicate = payload(record, TRUST_ROOT).predicate
        keys = _keys(predicate["keys"])
        if type(predicate["sequence"]) is not int or predicate["sequence"] != number:
            raise ValueError(f"it calls itself root {predicate['sequence']!r}")
        if not predicate["channels"]:
            raise ValueError("no channel")
        return TrustRoot(
            sequence=number,
            roles={name: _role(predicate["roles"][name], keys) for name in ROLES},
            channels={c: _demands(d) for c, d in predicate["channels"].items()},
            sha256=digest(record),
            vouched=frozenset(match(SHA256, s) for s in predicate.get("vouched", [])),
        )
    except Exception as error:  # whatever a hostile record makes the parsers raise
        said = error.found if isinstance(error, Refusal) else error
        raise VerificationFailed(
            f"trust root {number} as docs/formats.md describes it",
            f"{type(error).__name__}: {said}",
            "do not use this registry: its trust root was altered",
        ) from None


def _keys(values: Mapping[str, Any]) -> dict[str, Key]:
    """The keys by their names; one key under two names would count twice."""
    keys = {n: SSlibKey.from_dict(n, {**value}) for n, value in values.items()}
    if len({key.keyval["public"] for key in keys.values()}) != len(keys):
        raise ValueError("a key under two names")
    return {**keys}


def _role(value: Any, keys: Mapping[str, Key]) -> Role:
    threshold = value["threshold"]
    if type(threshold) is not int or not 1 <= threshold <= len(set(value["keyids"])):
        raise ValueError(f"threshold {threshold!r}")
    return Role([keys[keyid] for keyid in sorted(set(value["keyids"]))], threshold)


def _demands(value: Mapping[str, Any]) -> dict[str, timedelta]:
    if not value:
        raise ValueError("a channel that demands nothing")
    return {session: _hours(age) for session, age in value.items()}


def _hours(age: Any) -> timedelta:
    if type(age) is not int or not 0 < age < 1_000_000:
        raise ValueError(f"an age of {age!r} hours")
    return timedelta(hours=age)
