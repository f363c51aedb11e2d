"""Envelopes: a record that was changed anywhere is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from interlock.attest.envelope import payload, seal, unseal
from interlock.attest.statement import PAYLOAD_TYPE, Statement
from interlock.canonical import canonical
from interlock.errors import VerificationFailed

KIND = "urn:x"
STATEMENT = Statement("s", {"sha256": "00"}, KIND, {"a": "1"})
SIGNERS = [CryptoSigner.generate_ed25519() for _ in range(3)]
ONE, TWO, THREE = SIGNERS
KEYS = [signer.public_key for signer in SIGNERS]
RECORD = seal(STATEMENT, ONE)

# The test vector of the DSSE specification (protocol.md, "Test Vectors").
SECRET = 97358161215184420915383655311931858321456579547487070936769975997791359926199
SIGNATURE = base64.b64decode(
    "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUj"
    "W2JIZA=="
)


def vector(body: bytes = b"hello world") -> tuple[Envelope, SSlibKey]:
    """The specification's envelope and key.

    It gives the signature as r and s; securesystemslib takes them in DER.
    """
    private = ec.derive_private_key(SECRET, ec.SECP256R1())
    key = SSlibKey.from_crypto(private.public_key())
    halves = (int.from_bytes(SIGNATURE[i : i + 32], "big") for i in (0, 32))
    signature = Signature(key.keyid, encode_dss_signature(*halves).hex())
    kind = "http://example.com/HelloWorld"
    return Envelope(body, kind, {key.keyid: signature}), key


def signed_by(*signers: CryptoSigner) -> dict[str, Any]:
    """The envelope of STATEMENT with these signatures, as JSON."""
    envelope = Envelope(STATEMENT.to_bytes(), PAYLOAD_TYPE, {})
    for signer in signers:
        envelope.sign(signer)
    found: dict[str, Any] = json.loads(canonical(envelope.to_dict()))
    return found


def opened(value: Any, keys: list[Any] = KEYS, threshold: int = 1) -> Statement:
    """Open a record; bytes as they are, other values as JSON."""
    data = value if isinstance(value, bytes) else canonical(value)
    return unseal(data, KIND, keys, threshold, "the record")


def b64(data: bytes) -> str:
    """Base64, as DSSE has it."""
    return base64.b64encode(data).decode()


def test_the_specification_s_signature_verifies() -> None:
    """What is signed is the PAE of the specification, byte by byte."""
    envelope, key = vector()
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert envelope.pae() == expected
    assert envelope.verify([key], 1) == {key.keyid: key}
    with pytest.raises(VerificationError):
        vector(b"hello World")[0].verify([key], 1)


def test_a_good_signature_over_another_type_is_refused() -> None:
    """The specification's own record is signed well, and is no statement of ours."""
    envelope, key = vector()
    with pytest.raises(VerificationFailed) as refusal:
        opened(envelope.to_dict(), [key])
    assert refusal.value.found == "http://example.com/HelloWorld"


def test_what_is_sealed_is_opened() -> None:
    """And by securesystemslib alone, for it is plain DSSE."""
    assert opened(RECORD) == STATEMENT
    envelope = Envelope.from_dict(json.loads(RECORD))
    assert envelope.payload == STATEMENT.to_bytes()
    assert [*envelope.verify([*KEYS], 1)] == [ONE.public_key.keyid]
    assert payload(RECORD, KIND) == STATEMENT


def altered(**fields: Any) -> dict[str, Any]:
    """RECORD with other fields; `...` takes one away."""
    value = signed_by(ONE) | fields
    return {k: v for k, v in value.items() if v is not ...}


GOOD = signed_by(ONE)["signatures"][0]
OTHER = Statement("s", {"sha256": "00"}, KIND, {"a": "2"})


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(altered(payload=b64(OTHER.to_bytes())), id="another payload"),
        pytest.param(altered(payloadType="text/plain"), id="another type"),
        pytest.param(altered(payloadType=PAYLOAD_TYPE + " "), id="nearly that type"),
        pytest.param(altered(signatures=[]), id="no signature"),
        pytest.param(altered(signatures=[GOOD, GOOD]), id="one signature twice"),
        pytest.param(
            altered(signatures=[GOOD | {"sig": b64(bytes(64))}]), id="a null signature"
        ),
        pytest.param(altered(signatures=[GOOD | {"sig": ""}]), id="an empty signature"),
        pytest.param(
            altered(signatures=[GOOD | {"keyid": TWO.public_key.keyid}]),
            id="the signature of another key",
        ),
        pytest.param(altered(signatures=[GOOD | {"keyid": ""}]), id="no keyid"),
        pytest.param(altered(payload=...), id="a field is missing"),
        pytest.param(altered(signatures=...), id="another is missing"),
        pytest.param(altered(payloadType=...), id="the type is missing"),
        pytest.param(altered(payload=7), id="a payload of 7"),
        pytest.param(
            altered(payload=b64(b"{}") + "\n" + b64(STATEMENT.to_bytes())),
            id="a line end in Base64",
        ),
        pytest.param(altered(payloadType=7), id="a type of 7"),
        pytest.param(altered(signatures={}), id="signatures are an object"),
        pytest.param(altered(signatures=["x"]), id="a signature is text"),
        pytest.param([], id="a list"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"[" * 100_000, id="bottomless"),
        pytest.param(RECORD[:-1], id="cut short"),
        pytest.param(RECORD + b"}", id="more"),
        pytest.param(b'{"payload":"",' + RECORD[1:], id="a field twice"),
        pytest.param(seal(STATEMENT, CryptoSigner.generate_ed25519()), id="a stranger"),
    ],
)
def test_an_altered_record_is_refused(record: Any) -> None:
    """Payload, type, signature, key, form: VerificationFailed, exit code 7."""
    with pytest.raises(VerificationFailed) as refusal:
        opened(record)
    assert refusal.value.exit_code == 7


def test_another_predicate_is_refused() -> None:
    """A record of one kind cannot pass for one of another, well signed as it is."""
    with pytest.raises(VerificationFailed):
        unseal(RECORD, "urn:y", KEYS, 1, "the record")


@pytest.mark.parametrize(
    ("signers", "threshold", "accepted"),
    [
        ((ONE,), 1, True),
        ((ONE,), 2, False),
        ((ONE, TWO), 2, True),
        ((THREE, ONE), 2, True),
        ((ONE, TWO), 3, False),
        ((ONE, TWO, THREE), 3, True),
        ((ONE, CryptoSigner.generate_ed25519()), 2, False),
        ((ONE, TWO, THREE), 4, False),
        ((ONE,), 0, False),
        ((), 0, False),
        ((), -1, False),
    ],
)
def test_a_threshold_counts_keys(
    signers: tuple[CryptoSigner, ...], threshold: int, accepted: bool
) -> None:
    """That many of the trusted keys have signed; nought is no threshold."""
    record = signed_by(*signers)
    if accepted:
        assert opened(record, KEYS, threshold) == STATEMENT
    else:
        with pytest.raises(VerificationFailed):
            opened(record, KEYS, threshold)


def test_one_signature_under_two_names_counts_once() -> None:
    """A signature copied to another keyid does not verify with that one's key."""
    copy = GOOD | {"keyid": TWO.public_key.keyid}
    with pytest.raises(VerificationFailed):
        opened(altered(signatures=[GOOD, copy]), KEYS, 2)


def survivors() -> list[tuple[int, int]]:
    """Every (place, bit) of RECORD whose flip is not refused."""
    found = []
    for place in range(len(RECORD)):
        for bit in range(8):
            data = bytearray(RECORD)
            data[place] ^= 1 << bit
            try:
                statement = opened(bytes(data))
            except VerificationFailed:
                continue
            assert statement == STATEMENT, "a forged statement was believed"
            found.append((place, bit))
    return found


def test_no_flipped_bit_changes_what_is_said() -> None:
    """Of all bits of a record, those that are not refused leave the same statement.

    They are the unused ones before the padding of Base64, and nothing else.
    """
    values = {RECORD.index(b"=") - 1 if b"=" in RECORD else -1}
    values |= {i - 1 for i, c in enumerate(RECORD) if c == 61 and RECORD[i - 1] != 61}
    assert {place for place, _ in survivors()} <= values


def test_no_bit_can_be_flipped() -> None:
    """One statement and signature is one record, so that its digest names it."""
    assert survivors() == []


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b" " + RECORD, id="a space"),
        pytest.param(json.dumps(altered(), indent=1).encode(), id="indented"),
        pytest.param(altered(more=1), id="a field more"),
        pytest.param(altered(signatures=[GOOD | {"later": 1}]), id="an unsigned field"),
    ],
)
def test_a_record_has_one_spelling(record: Any) -> None:
    """Whoever holds no key can make no second record out of a good one."""
    with pytest.raises(VerificationFailed):
        opened(record)
