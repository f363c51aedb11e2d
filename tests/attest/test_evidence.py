"""Evidence: accepted when all of it is right, refused with the reason otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.artifact.manifest import Manifest
from interlock.attest.evidence import Demand, Evidence, findings, newest, read, require
from interlock.attest.statement import TEST_RESULT, Statement, timestamp
from interlock.errors import EvidenceRefused, VerificationFailed

from tests.conftest import altered

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MANIFEST = Manifest(
    *("toy", "a" * 40, "b" * 40, "c" * 64, "d" * 64, {}, "g.json"), files=()
)


def document(session: str = "lint", **changes: Any) -> dict[str, Any]:
    """Evidence as a session writes it, about MANIFEST; `changes` are its fields."""
    fields = {
        "result": "PASSED",
        "tree": MANIFEST.tree,
        "lock": MANIFEST.lock,
        "weights": MANIFEST.weights,
        "state": "fresh",
        "finished": timestamp(NOW - timedelta(hours=1)),
    } | changes
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": "source",
                "digest": {"gitCommit": MANIFEST.commit, "gitTree": fields["tree"]},
            }
        ],
        "predicateType": TEST_RESULT,
        "predicate": {
            "result": fields["result"],
            "configuration": [
                {"name": "requirements.lock", "digest": {"sha256": fields["lock"]}},
                {"name": "weights", "digest": {"dirHash": fields["weights"]}},
                {"name": "python", "uri": "pkg:generic/cpython@3.11.7"},
                {
                    "name": "virtualenv",
                    "uri": f"urn:interlock:virtualenv:{fields['state']}",
                },
                {"name": "package click", "uri": "pkg:pypi/click@8.5.1"},
                {"name": f"{session}/junit.xml", "digest": {"sha256": "e" * 64}},
            ],
            "urn:interlock:session": session,
            "urn:interlock:finished": fields["finished"],
        },
    }


def evidence(session: str = "lint", **changes: Any) -> Evidence:
    """The same, read."""
    return read(json.dumps(document(session, **changes)).encode())


def codes(*each: Evidence, demands: tuple[str, ...] = ("lint",)) -> list[str]:
    """The codes of the findings, in order."""
    wanted = {session: DAY for session in demands}
    return [f.code for f in findings(newest(each), Demand(wanted, MANIFEST, NOW))]


def test_evidence_is_read_whole() -> None:
    """Every fact that a rule asks for, and the statement itself to be signed."""
    found = evidence("unit")
    assert (found.session, found.result, found.fresh) == ("unit", "PASSED", True)
    assert (found.tree, found.lock) == (MANIFEST.tree, MANIFEST.lock)
    assert found.weights == MANIFEST.weights
    assert found.finished == NOW - timedelta(hours=1)
    assert found.packages == {"click": "8.5.1"}
    assert found.files == {
        "requirements.lock": MANIFEST.lock,
        "unit/junit.xml": "e" * 64,
    }
    assert json.loads(found.statement.to_bytes()) == document("unit")


def test_good_evidence_is_accepted() -> None:
    """No findings, and `require` hands on just what was demanded."""
    lint, unit = evidence("lint"), evidence("unit")
    assert codes(lint) == []
    assert require(newest([lint, unit]), Demand({"lint": DAY}, MANIFEST, NOW)) == [lint]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"result": "FAILED"}, "failed"),
        ({"result": "WARNED"}, "failed"),
        ({"tree": "f" * 40}, "tree"),
        ({"lock": "f" * 64}, "lock"),
        ({"weights": "f" * 64}, "weights"),
        ({"finished": timestamp(NOW - DAY - timedelta(seconds=1))}, "stale"),
        ({"finished": timestamp(NOW + timedelta(minutes=5, seconds=1))}, "future"),
        ({"state": "reused"}, "reused"),
        ({"state": ""}, "reused"),
    ],
)
def test_each_reason_has_its_code(changes: dict[str, Any], code: str) -> None:
    """One thing wrong is one finding, and the refusal names it and what to run."""
    each = evidence(**changes)
    assert codes(each) == [code]
    with pytest.raises(EvidenceRefused) as refusal:
        require({"lint": each}, Demand({"lint": DAY}, MANIFEST, NOW))
    assert f"[{code}]" in refusal.value.found
    assert refusal.value.todo.endswith("nox -s lint")
    assert refusal.value.exit_code == 6


@pytest.mark.parametrize("field", ["tree", "lock", "weights"])
def test_a_digest_counts_to_its_last_digit(field: str) -> None:
    """Two trees with 12 digits in common are found in seconds: 2**24 tries."""
    right = getattr(MANIFEST, field)
    assert codes(evidence(**{field: right[:-1] + "0"})) == [field]


@pytest.mark.parametrize("age", [timedelta(), DAY, -timedelta(minutes=5)])
def test_the_limits_themselves_are_kept(age: timedelta) -> None:
    """Exactly as old as allowed; clocks may differ by five minutes."""
    assert codes(evidence(finished=timestamp(NOW - age))) == []


def test_what_is_not_there_is_missing() -> None:
    """Evidence of other sessions does not help."""
    assert codes() == ["missing"]
    assert codes(evidence("unit")) == ["missing"]
    assert codes(evidence("lint"), demands=("lint", "unit", "smoke")) == ["missing"] * 2


def test_every_reason_is_named_at_once() -> None:
    """Nobody wants to be refused five times."""
    bad = {"tree": "0" * 40, "lock": "0" * 64, "weights": "0" * 64, "state": "reused"}
    each = evidence(result="FAILED", finished=timestamp(NOW - 3 * DAY), **bad)
    expected = ["failed", "tree", "lock", "weights", "stale", "reused"]
    assert codes(each) == expected
    with pytest.raises(EvidenceRefused) as refusal:
        require({"lint": each}, Demand({"lint": DAY, "unit": DAY}, MANIFEST, NOW))
    assert refusal.value.todo.endswith("nox -s lint unit")
    for code in [*expected, "missing"]:
        assert f"[{code}]" in refusal.value.found


def test_the_newest_evidence_counts() -> None:
    """A failure after a pass refuses, and a pass after a failure does not."""
    early, late = (timestamp(NOW - timedelta(hours=h)) for h in (3, 2))
    passed, failed = evidence(finished=early), evidence(finished=late, result="FAILED")
    assert codes(passed, failed) == codes(failed, passed) == ["failed"]
    failed, passed = replace(failed, finished=passed.finished), evidence(finished=late)
    assert codes(passed, failed) == codes(failed, passed) == []


@given(st.permutations([(s, h) for s in ("lint", "unit") for h in (1, 2, 3)]))
def test_newest_is_the_latest_of_each_session(order: list[tuple[str, int]]) -> None:
    """In whatever order they are found."""
    each = [evidence(s, finished=timestamp(NOW - timedelta(hours=h))) for s, h in order]
    found = newest(each)
    assert {*found} == {"lint", "unit"}
    assert {e.finished for e in found.values()} == {NOW - timedelta(hours=1)}


def test_of_two_at_one_time_the_failure_counts() -> None:
    """Times are whole seconds; nothing that is unclear passes."""
    passed, failed = evidence(), evidence(result="FAILED")
    assert codes(passed, failed) == codes(failed, passed) == ["failed"]


HEX = "0123456789abcdef"


@given(
    st.fixed_dictionaries(
        {
            "tree": st.text(HEX, min_size=40, max_size=40),
            "lock": st.text(HEX, min_size=64, max_size=64),
            "weights": st.text(HEX, min_size=64, max_size=64),
        }
    ),
    st.integers(0, 86_400),
)
def test_right_in_every_field_is_accepted(fields: dict[str, str], age: int) -> None:
    """And wrong in any one is refused for that one."""
    digests: dict[str, Any] = {**fields}
    manifest = replace(MANIFEST, **digests)
    right = fields | {"finished": timestamp(NOW - timedelta(seconds=age))}
    wrong = {
        "result": "FAILED",
        "state": "reused",
        "finished": timestamp(NOW - 2 * DAY),
    } | {k: ("1" if v[0] == "0" else "0") + v[1:] for k, v in fields.items()}

    def found(**changes: str) -> list[str]:
        each = {"lint": evidence(**right | changes)}
        return [f.code for f in findings(each, Demand({"lint": DAY}, manifest, NOW))]

    assert found() == []
    names = {"result": "failed", "state": "reused", "finished": "stale"}
    for field, value in wrong.items():
        assert found(**{field: value}) == [names.get(field, field)]


def changed(*where: Any, to: Any) -> bytes:
    """Good evidence with another value in one place; `...` takes the key away."""
    return json.dumps(altered(document(), *where, to=to)).encode()


CONF = ("predicate", "configuration")
MALFORMED = [
    b"",
    b"{}",
    b"\xff",
    changed("predicateType", to="https://in-toto.io/attestation/test-result/v0.2"),
    changed("predicate", "result", to=...),
    changed("predicate", "result", to="passed"),
    changed("predicate", "result", to=""),
    changed("predicate", "urn:interlock:session", to=...),
    changed("predicate", "urn:interlock:finished", to=...),
    changed("predicate", "urn:interlock:finished", to=None),
    changed("predicate", "urn:interlock:finished", to=7),
    changed("predicate", "urn:interlock:finished", to="yesterday"),
    changed("predicate", "urn:interlock:finished", to="2026-11-23T18:00:00+00:00"),
    changed("subject", 0, "digest", "gitTree", to=...),
    changed("subject", 0, "digest", to={}),
    changed(*CONF, to=...),
    changed(*CONF, to=[]),
    changed(*CONF, to={}),
    changed(*CONF, to=None),
    changed(*CONF, 0, to="x"),
    changed(*CONF, 0, "name", to=...),
    changed(*CONF, 0, "digest", to=...),
    changed(*CONF, 0, "digest", to=[]),
    changed(*CONF, 0, "digest", "sha256", to=...),
    changed(*CONF, 0, "name", to="other.lock"),
    changed(*CONF, 1, to={"name": "x"}),
    changed(*CONF, 1, "digest", to={"sha256": "d" * 64}),
    changed(*CONF, 3, "name", to="x"),
    changed(*CONF, 4, "uri", to="pkg:pypi/click"),
    changed(*CONF, 4, "uri", to="pkg:pypi/click@1@2"),
    changed(*CONF, 5, "digest", to="sha256"),
    changed(*CONF, 5, "digest", to=None),
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_evidence_is_refused(data: bytes) -> None:
    """What does not say all that evidence must say is not read at all."""
    with pytest.raises(VerificationFailed) as refusal:
        read(data)
    assert refusal.value.exit_code == 7


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(changed(*CONF, 0, "digest", "sha256", to=7), id="a lock of 7"),
        pytest.param(changed(*CONF, 1, "digest", "dirHash", to=None), id="no weights"),
        pytest.param(changed(*CONF, 1, "digest", "dirHash", to=["d"]), id="a list"),
        pytest.param(changed(*CONF, 5, "digest", "sha256", to=7), id="a file of 7"),
        pytest.param(changed("predicate", "result", to=True), id="result True"),
        pytest.param(changed("predicate", "urn:interlock:session", to=None), id="None"),
        pytest.param(
            changed(
                *CONF,
                to=document()["predicate"]["configuration"]
                + [{"name": "weights", "digest": {"dirHash": "f" * 64}}],
            ),
            id="weights twice",
        ),
        pytest.param(
            changed(
                *CONF,
                to=document()["predicate"]["configuration"]
                + [{"name": "package click", "uri": "pkg:pypi/evil@1"}],
            ),
            id="a package hidden by another",
        ),
    ],
)
def test_evidence_that_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    """A digest is a string of digits, and each entry has its own name."""
    with pytest.raises(VerificationFailed):
        read(data)


@given(st.data())
def test_no_damage_is_a_crash(data: st.DataObject) -> None:
    """Whatever stands in whatever place: read, or refused, and judged."""
    value: Any = document()
    places = [
        *(("predicate", key) for key in value["predicate"]),
        *((*CONF, i) for i in range(6)),
        *((*CONF, i, key) for i in range(6) for key in ("name", "uri")),
        ("subject", 0),
        ("subject", 0, "name"),
    ]
    where = data.draw(st.sampled_from(places))
    junk = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
    to = data.draw(junk | st.lists(junk, max_size=2) | st.dictionaries(st.text(), junk))
    try:
        each = read(changed(*where, to=to))
    except VerificationFailed:
        return
    assert isinstance(
        findings({"lint": each}, Demand({"lint": DAY}, MANIFEST, NOW)), list
    )


def test_the_field_names_are_those_of_the_specification() -> None:
    """test-result v0.1: `result` and `configuration`; ours are URIs."""
    predicate = document()["predicate"]
    assert {k for k in predicate if not k.startswith("urn:")} == {
        "result",
        "configuration",
    }
    statement = Statement.from_bytes(json.dumps(document()).encode(), TEST_RESULT)
    assert statement.predicate == predicate
