"""In-toto Statements: what every record says, and about what.

Source: in-toto attestation framework, Statement v1; predicates test-result v0.1 and
SLSA Verification Summary v1. Fields of our own are named by a URI, as both ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from interlock.canonical import canonical, parse
from interlock.errors import expecting

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
MANIFEST = "urn:interlock:manifest:v1"
RESULT = "urn:interlock:result:v1"
ROWS = "urn:interlock:rows:v1"
SHARES = "urn:interlock:shares:v1"
USE = "urn:interlock:use:v1"
TRUST_ROOT = "urn:interlock:trust-root:v1"


@dataclass(frozen=True)
class Statement:
    """A predicate about one subject."""

    subject: str  # a name for people; the digest is what counts
    digest: Mapping[str, str]  # algorithm -> hex, for example {"sha256": ...}
    predicate_type: str
    predicate: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The statement in canonical JSON."""
        return canonical(
            {
                "_type": STATEMENT,
                "subject": [{"name": self.subject, "digest": dict(self.digest)}],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, predicate_type: str) -> Statement:
        """The statement in `data`, which must have this predicate and one subject.

        Raises VerificationFailed for anything else.
        """
        with expecting(
            f"an in-toto Statement with predicate {predicate_type}",
            "do not trust this record: it was not written by interlock",
        ):
            value = parse(data)
            (subject,) = value["subject"]
            found = (value["_type"], value["predicateType"])
            if found != (STATEMENT, predicate_type):
                raise ValueError(f"type and predicate {found}")
            if not isinstance(value["predicate"], dict) or not subject["digest"]:
                raise ValueError("no predicate, or a subject without a digest")
            digest, name = dict(subject["digest"]), subject.get("name", "")
            if not all(isinstance(text, str) for text in (name, *digest.values())):
                raise ValueError("a subject whose name or digest is not a string")
            return cls(name, digest, predicate_type, value["predicate"])


def timestamp(moment: datetime, precision: str = "seconds") -> str:
    """RFC 3339 in UTC, to the second, as in-toto asks, or to the "microseconds".

    >>> timestamp(datetime(2026, 11, 23, 18, 0, tzinfo=UTC))
    '2026-11-23T18:00:00Z'
    """
    return moment.astimezone(UTC).isoformat(timespec=precision)[:-6] + "Z"


def moment(text: str) -> datetime:
    """The time that `timestamp` wrote, or one with a fraction of the second.

    Raises ValueError for another form.
    """
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC)
