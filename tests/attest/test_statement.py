"""Statements: in-toto's own field names, one subject, and nothing read on trust."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.attest import statement as st_module
from interlock.attest.statement import Statement, moment, timestamp
from interlock.errors import VerificationFailed
from tests.conftest import altered

KIND = "https://example.org/predicate/v1"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PREDICATES = st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT), max_size=4)
STATEMENT = Statement("source", {"gitTree": "a" * 40}, KIND, {"result": "PASSED"})


def changed(*where: Any, to: Any) -> bytes:
    """STATEMENT with another value in one place; `...` takes the key away."""
    good = json.loads(STATEMENT.to_bytes())
    return json.dumps(altered(good, *where, to=to)).encode()


@given(TEXT, st.dictionaries(TEXT, TEXT, min_size=1, max_size=3), PREDICATES)
def test_a_statement_survives_writing_and_reading(
    subject: str, digest: dict[str, str], predicate: dict[str, Any]
) -> None:
    """What is read back is equal, and is written with the same bytes."""
    written = Statement(subject, digest, KIND, predicate)
    read = Statement.from_bytes(written.to_bytes(), KIND)
    assert read == written
    assert read.to_bytes() == written.to_bytes()


def test_the_fields_are_those_of_the_specification() -> None:
    """Statement v1: _type, subject[{name, digest}], predicateType, predicate."""
    assert json.loads(STATEMENT.to_bytes()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "source", "digest": {"gitTree": "a" * 40}}],
        "predicateType": KIND,
        "predicate": {"result": "PASSED"},
    }


def test_the_names_of_predicates_are_those_of_the_specifications() -> None:
    """test-result v0.1, Verification Summary v1, and the DSSE type of statements."""
    assert st_module.TEST_RESULT == "https://in-toto.io/attestation/test-result/v0.1"
    assert st_module.SUMMARY == "https://slsa.dev/verification_summary/v1"
    assert st_module.PAYLOAD_TYPE == "application/vnd.in-toto+json"


def test_fields_of_later_versions_are_passed_over() -> None:
    """in-toto asks a reader to ignore what it does not know; names are optional."""
    assert Statement.from_bytes(changed("later", to=1), KIND) == STATEMENT
    unnamed = Statement.from_bytes(changed("subject", 0, "name", to=...), KIND)
    assert (unnamed.subject, unnamed.digest) == ("", STATEMENT.digest)


SUBJECT = {"name": "x", "digest": {"sha256": "00"}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'"text"',
        STATEMENT.to_bytes()[:-1],
        STATEMENT.to_bytes() + b"}",
        b'{"_type":"x",' + STATEMENT.to_bytes()[1:],
        changed("_type", to="https://in-toto.io/Statement/v0.1"),
        changed("_type", to=...),
        changed("_type", to=[]),
        changed("predicateType", to="https://example.org/predicate/v2"),
        changed("predicateType", to=...),
        changed("predicateType", to=None),
        changed("predicate", to=...),
        changed("predicate", to=[]),
        changed("predicate", to="PASSED"),
        changed("subject", to=...),
        changed("subject", to=[]),
        changed("subject", to={}),
        changed("subject", to=SUBJECT),
        changed("subject", to=["x"]),
        changed("subject", to=[[]]),
        changed("subject", to=[SUBJECT, SUBJECT]),
        changed("subject", 0, "digest", to={}),
        changed("subject", 0, "digest", to=...),
        changed("subject", 0, "digest", to="sha256"),
        changed("subject", 0, "digest", to=["sha256"]),
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Another type, another predicate, no subject or two, no digest, no JSON."""
    with pytest.raises(VerificationFailed) as refusal:
        Statement.from_bytes(data, KIND)
    assert KIND in refusal.value.expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"[" * 100_000, id="RecursionError: bottomless"),
        pytest.param(
            changed("subject", 0, "digest", to={"sha256": None}), id="the digest None"
        ),
        pytest.param(changed("subject", 0, "digest", to={"sha256": 7}), id="digest 7"),
        pytest.param(
            changed("predicate", to={"x": 0.5}), id="a float: cannot be sealed"
        ),
        pytest.param(changed("predicate", to={"x": float("nan")}), id="NaN: no JSON"),
    ],
)
def test_what_could_not_be_written_is_not_read(data: bytes) -> None:
    """A statement that is read can be written again, with the same meaning."""
    with pytest.raises(VerificationFailed):
        Statement.from_bytes(data, KIND)


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30)), st.integers(-23, 23))
def test_a_time_survives_to_the_second(when: datetime, hours: int) -> None:
    """Written in UTC whatever the zone, and read back."""
    zone = timezone(timedelta(hours=hours))
    aware = when.replace(tzinfo=UTC, microsecond=0)
    assert moment(timestamp(aware.astimezone(zone))) == aware


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-23", "2026-11-23T18:00:00", "2026-11-23 18:00:00Z"),
        *(
            "2026-11-23T18:00:00+01:00",
            "2026-13-01T00:00:00Z",
        ),
        *("2026-02-30T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T18:00:00ZZ"),
        "2026-11-23T18:00:00Z\n",
    ],
)
def test_a_time_of_another_form_is_refused(text: str) -> None:
    """Only what `timestamp` writes is a time."""
    with pytest.raises(ValueError):
        moment(text)
