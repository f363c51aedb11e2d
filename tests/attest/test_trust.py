"""The trust root: who may sign what, and who may say so next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from interlock.artifact.chunks import digest
from interlock.attest.envelope import seal
from interlock.attest.statement import (
    MANIFEST,
    PAYLOAD_TYPE,
    SUMMARY,
    TEST_RESULT,
    TRUST_ROOT,
    Statement,
)
from interlock.attest.trust import ROLES, TrustRoot, first_root, follow
from interlock.canonical import canonical
from interlock.errors import BadConfiguration, VerificationFailed

OLD, NEW, THIRD, STRANGER = (CryptoSigner.generate_ed25519() for _ in range(4))
CHANNELS = {"staging": {"lint": 1}, "production": {"lint": 720, "nightly-eval": 48}}


def ids(*signers: CryptoSigner) -> list[str]:
    """The keyids of signers."""
    return [signer.public_key.keyid for signer in signers]


def predicate(
    sequence: Any, *signers: CryptoSigner, threshold: Any = 1, **changes: Any
) -> dict[str, Any]:
    """A trust root in which all roles are these keys'."""
    role = {"keyids": ids(*signers), "threshold": threshold}
    return {
        "sequence": sequence,
        "keys": {s.public_key.keyid: s.public_key.to_dict() for s in signers},
        "roles": {name: role for name in ROLES},
        "channels": CHANNELS,
    } | changes


def record(value: dict[str, Any], *signers: CryptoSigner) -> bytes:
    """A root record with these signatures."""
    sha256 = digest(canonical(value))
    statement = Statement("root", {"sha256": sha256}, TRUST_ROOT, value)
    envelope = Envelope(statement.to_bytes(), PAYLOAD_TYPE, {})
    for signer in signers:
        envelope.sign(signer)
    return canonical(envelope.to_dict())


FIRST = record(predicate(1, OLD), OLD)


def refused(*records: bytes) -> VerificationFailed:
    """The refusal of a chain."""
    with pytest.raises(VerificationFailed) as refusal:
        follow(records)
    return refusal.value


def test_the_first_root_stands_alone() -> None:
    """One key keeps a registry until it says otherwise."""
    made = seal(first_root(OLD.public_key), OLD)
    root = follow([made])
    assert (root.sequence, root.sha256) == (1, digest(made))
    assert {*root.roles} == {"root", "version", "evidence", "release"}
    for role in root.roles.values():
        assert ([key.keyid for key in role.keys], role.threshold) == (ids(OLD), 1)
    assert root.demands("staging") == {
        session: timedelta(hours=720) for session in ("lint", "unit", "smoke")
    }
    assert root.demands("production")["nightly-eval"] == timedelta(hours=48)


def test_the_keys_rotate() -> None:
    """Root 2 counts when old and new keys have signed it; root 3 needs root 2's."""
    second = record(predicate(2, NEW), OLD, NEW)
    third = record(predicate(3, THIRD), NEW, THIRD)
    root = follow([FIRST, second, third])
    assert root.sequence == 3
    assert [key.keyid for key in root.roles["version"].keys] == ids(THIRD)
    assert root.sha256 == digest(third)


def test_a_key_that_was_rotated_out_signs_no_more() -> None:
    """What counts is the newest root."""
    root = follow([FIRST, record(predicate(2, NEW), OLD, NEW)])
    statement = Statement("v", {"sha256": "00"}, MANIFEST, {"a": 1})
    assert root.open(seal(statement, NEW), "version", MANIFEST, "v") == statement
    with pytest.raises(VerificationFailed):
        root.open(seal(statement, OLD), "version", MANIFEST, "v")


BROKEN: dict[str, Sequence[bytes]] = {
    "no root": [],
    "the first signed by a stranger": [record(predicate(1, OLD), STRANGER)],
    "the first not signed": [record(predicate(1, OLD))],
    "the second signed by the new key only": [FIRST, record(predicate(2, NEW), NEW)],
    "the second signed by the old key only": [FIRST, record(predicate(2, NEW), OLD)],
    "the second signed by a stranger too": [
        FIRST,
        record(predicate(2, NEW), NEW, STRANGER),
    ],
    "the third signed by the first's key": [
        FIRST,
        record(predicate(2, NEW), OLD, NEW),
        record(predicate(3, THIRD), OLD, THIRD),
    ],
    "starts with the second": [record(predicate(2, OLD), OLD)],
    "the first twice": [FIRST, FIRST],
    "a number left out": [FIRST, record(predicate(3, NEW), OLD, NEW)],
    "number nought": [record(predicate(0, OLD), OLD)],
    "backwards": [record(predicate(2, NEW), OLD, NEW), FIRST],
    "two of three, one signs": [
        record(predicate(1, OLD, NEW, THIRD, threshold=2), OLD)
    ],
    "two of three, one and a stranger": [
        record(predicate(1, OLD, NEW, THIRD, threshold=2), OLD, STRANGER)
    ],
    "vouches for what is no digest": [record(predicate(1, OLD, vouched=["ab"]), OLD)],
    "vouches for a number": [record(predicate(1, OLD, vouched=[7]), OLD)],
    "another kind of record": [seal(Statement("x", {"a": "b"}, MANIFEST, {}), OLD)],
    "no record": [b"{}"],
    "bytes": [b"\xff\0"],
}


@pytest.mark.parametrize("records", BROKEN.values(), ids=BROKEN)
def test_a_chain_that_breaks_is_refused(records: Sequence[bytes]) -> None:
    """Every root is vouched for by itself and by the one before it."""
    assert refused(*records).exit_code == 7


def test_two_of_three_are_enough() -> None:
    """And any two."""
    value = predicate(1, OLD, NEW, THIRD, threshold=2)
    for pair in ((OLD, NEW), (NEW, THIRD), (THIRD, OLD)):
        assert follow([record(value, *pair)]).roles["root"].threshold == 2


def test_a_rotation_needs_the_old_threshold_too() -> None:
    """One of two who must agree cannot put the keys into other hands."""
    first = record(predicate(1, OLD, THIRD, threshold=2), OLD, THIRD)
    value = predicate(2, NEW)
    assert refused(first, record(value, OLD, NEW))
    assert follow([first, record(value, OLD, THIRD, NEW)]).sequence == 2


def roles(**changes: Any) -> dict[str, Any]:
    """Root 1 with another role `root`."""
    value = predicate(1, OLD, NEW)
    role = value["roles"]["root"] | changes
    return value | {"roles": value["roles"] | {"root": role}}


def without(*where: str) -> dict[str, Any]:
    """Root 1 with a field left out."""
    value = predicate(1, OLD)
    value["roles"] = dict(value["roles"])
    each: Any = value
    for key in where[:-1]:
        each = each[key]
    del each[where[-1]]
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(roles(threshold=0), id="threshold 0"),
        pytest.param(roles(threshold=-1), id="threshold -1"),
        pytest.param(roles(threshold=3), id="threshold above the keys"),
        pytest.param(roles(threshold=True), id="threshold True"),
        pytest.param(roles(threshold="1"), id="threshold as text"),
        pytest.param(roles(threshold=None), id="no threshold"),
        pytest.param(roles(keyids=[]), id="no keys"),
        pytest.param(roles(keyids=ids(OLD, OLD), threshold=2), id="one key twice"),
        pytest.param(roles(keyids=ids(STRANGER)), id="a key that is not there"),
        pytest.param(roles(keyids=7), id="keyids of 7"),
        pytest.param(without("roles", "release"), id="a role is missing"),
        pytest.param(without("roles"), id="roles are missing"),
        pytest.param(without("keys"), id="keys are missing"),
        pytest.param(without("channels"), id="channels are missing"),
        pytest.param(without("sequence"), id="sequence is missing"),
        pytest.param(predicate("one", OLD), id="a sequence in letters"),
        pytest.param(predicate(None, OLD), id="no sequence"),
        pytest.param(predicate(1, OLD, keys=[]), id="keys are a list"),
        pytest.param(predicate(1, OLD, keys={"x": 1}), id="a key of 1"),
        pytest.param(predicate(1, OLD, keys={"x": {}}), id="a key of nothing"),
        pytest.param(predicate(1, OLD, channels=[]), id="channels are a list"),
        pytest.param(predicate(1, OLD, channels={"a": 1}), id="demands of 1"),
        pytest.param(predicate(1, OLD, channels={"a": {"lint": "x"}}), id="no hours"),
    ],
)
def test_a_malformed_root_is_refused(value: dict[str, Any]) -> None:
    """Well signed as it is."""
    refused(record(value, OLD, NEW))


def same_key_twice() -> bytes:
    """A root whose two keys are one, under two names."""
    value = predicate(1, OLD)
    double = OLD.public_key.to_dict()
    value["keys"] = {ids(OLD)[0]: double, "another": double}
    role = {"keyids": [*value["keys"]], "threshold": 2}
    value["roles"] = {name: role for name in ROLES}
    sha256 = digest(canonical(value))
    statement = Statement("root", {"sha256": sha256}, TRUST_ROOT, value)
    envelope = Envelope(statement.to_bytes(), PAYLOAD_TYPE, {})
    signature = envelope.sign(OLD)
    signed = envelope.to_dict()
    (first,) = signed["signatures"]
    assert signature.keyid == first["keyid"]
    signed["signatures"] = [first, first | {"keyid": "another"}]
    return canonical(signed)


def test_one_key_under_two_names_is_one_key() -> None:
    """A threshold counts people, not names."""
    refused(same_key_twice())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            record(predicate(1, OLD, channels={"a": {"lint": 10**20}}), OLD),
            id="OverflowError: hours for ever",
        ),
        pytest.param(
            record(predicate(1, OLD, channels={"a": {"lint": -5}}), OLD),
            id="a negative age",
        ),
        pytest.param(
            record(predicate(1, OLD, channels={"a": {}}), OLD),
            id="a channel that demands nothing",
        ),
        pytest.param(record(predicate("1", OLD), OLD), id="a sequence as text"),
        pytest.param(record(predicate(True, OLD), OLD), id="a sequence of True"),
        pytest.param(
            canonical(
                {"payload": "W1tbW1tb" * 20_000, "payloadType": "", "signatures": []}
            ),
            id="RecursionError: bottomless, and not even signed",
        ),
    ],
)
def test_a_root_that_makes_no_sense_is_refused(data: bytes) -> None:
    """Nor does a hostile one, read before its signature is checked, crash a host."""
    refused(data)


def test_roles_are_separate() -> None:
    """A role's key signs that role's records, and no other's."""
    value = predicate(1, OLD, NEW, THIRD)
    of = {"root": OLD, "version": NEW, "evidence": THIRD, "release": STRANGER}
    value["keys"] = {s.public_key.keyid: s.public_key.to_dict() for s in of.values()}
    value["roles"] = {
        name: {"keyids": ids(signer), "threshold": 1} for name, signer in of.items()
    }
    root = follow([record(value, OLD)])
    kinds = {"version": MANIFEST, "evidence": TEST_RESULT, "release": SUMMARY}
    for role, kind in kinds.items():
        statement = Statement("x", {"sha256": "00"}, kind, {"a": 1})
        for name, signer in of.items():
            sealed = seal(statement, signer)
            if name == role:
                assert root.open(sealed, role, kind, role) == statement
            else:
                with pytest.raises(VerificationFailed):
                    root.open(sealed, role, kind, role)


def test_a_channel_of_no_root_is_refused() -> None:
    """No demands is not the same as none to be met."""
    root: TrustRoot = follow([FIRST])
    assert root.demands("staging") == {"lint": timedelta(hours=1)}
    with pytest.raises(BadConfiguration) as refusal:
        root.demands("stagin")
    assert "production, staging" in refusal.value.expected
