"""DSSE envelopes: a statement with the signatures over it.

Signing and verifying are securesystemslib's; this module only turns bytes into records
and every way of failing into a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signer

from interlock.attest.statement import PAYLOAD_TYPE, Statement
from interlock.canonical import canonical, parse
from interlock.errors import VerificationFailed


def seal(statement: Statement, signer: Signer) -> bytes:
    """The statement in an envelope with one signature, as it is stored."""
    envelope = Envelope(statement.to_bytes(), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return canonical(envelope.to_dict())


def unseal(
    data: bytes, predicate_type: str, keys: Sequence[Key], threshold: int, what: str
) -> Statement:
    """The statement in the envelope `data`, signed by `threshold` of `keys`.

    Raises VerificationFailed, naming the record as `what`, when it is not that.
    """
    try:
        envelope = Envelope.from_dict(parse(data))
        extra = any(s.unrecognized_fields for s in envelope.signatures.values())
        if extra or canonical(envelope.to_dict()) != data:
            raise ValueError("not the one spelling that was stored")
        envelope.verify([*keys], threshold)
    except VerificationError:
        raise VerificationFailed(
            f"{what} signed by {threshold} of {len(keys)} trusted key(s)",
            "no such signature: the record was altered, or a stranger wrote it",
            "do not use it; restore the record from a copy of the registry",
        ) from None
    except Exception as error:  # whatever a hostile record makes the parser raise
        raise VerificationFailed(
            f"{what} to be a DSSE envelope",
            f"{type(error).__name__}: {error}",
            "do not use it: the record was altered or cut short",
        ) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise VerificationFailed(
            f"{what} to hold {PAYLOAD_TYPE}", envelope.payload_type, "do not use it"
        )
    return Statement.from_bytes(envelope.payload, predicate_type)


def payload(data: bytes, predicate_type: str) -> Statement:
    """The statement in an envelope whose signatures are checked elsewhere, or never."""
    try:
        inner = Envelope.from_dict(parse(data)).payload
    except Exception as error:
        raise VerificationFailed(
            "a DSSE envelope", f"{type(error).__name__}: {error}", "do not use it"
        ) from None
    return Statement.from_bytes(inner, predicate_type)
