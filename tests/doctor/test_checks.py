"""The checks, as pure functions: as promised, falling short, or unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.doctor.checks import CHECKS, judge
from interlock.doctor.facts import (
    Bucket,
    Folder,
    KeyFile,
    Machine,
    Retention,
    Trust,
    Unseen,
)
from interlock.errors import BadConfiguration
from interlock.policy import Roles, bucket_policy

URL = "s3://models/team"
KEEPER, PUBLISHER, TRAINER = (
    f"arn:aws:iam::111122223333:role/{name}"
    for name in ("keeper", "publisher", "trainer")
)
POLICY = bucket_policy(URL, Roles(KEEPER, PUBLISHER, (TRAINER,)))
REFUSAL = BadConfiguration("this", "that", "do something")
GOOD = (
    Machine("/usr/bin/git", [], None, True, KeyFile(Path("key.pem"), 0o600), {}),
    Trust(None, ("a" * 64, "a" * 64), None),
    Folder(Path("registry"), [], True, "ext4", 2**40),
    Bucket(
        url=URL,
        endpoint="https://s3.eu-central-1.amazonaws.com",
        identity="arn:aws:sts::111122223333:assumed-role/publisher/run",
        versioning="Enabled",
        object_lock=Retention("GOVERNANCE", 365),
        public_access=[],
        public=False,
        policy=POLICY,
        acls=False,
        encryption=True,
        lifecycle=[],
        create_only=True,
        clock=0.5,
        region=("eu-central-1", "eu-central-1"),
        credentials="ASIAEXAMPLE",
        powers=[],
    ),
)
MACHINE, TRUST, FOLDER, BUCKET = GOOD
EXPIRES = {"Status": "Enabled", "ID": "old", "Expiration": {"Days": 30}}


def _rule(**changes: Any) -> list[dict[str, Any]]:
    return [EXPIRES | changes]


def _bad() -> Iterator[tuple[Any, str, Any]]:
    """Facts that fall short, by the group and the name of the check."""
    yield MACHINE, "git", None
    yield MACHINE, "tools", ["nox"]
    yield MACHINE, "project", REFUSAL
    yield MACHINE, "lock", False
    yield MACHINE, "key", KeyFile(Path("key.pem"), None)
    yield MACHINE, "key", KeyFile(Path("key.pem"), 0o640)
    yield MACHINE, "variables", {"INTERLOCK_ROOT": "no SHA-256"}
    yield TRUST, "root", REFUSAL
    yield TRUST, "pin", ("", "a" * 64)
    yield TRUST, "pin", ("b" * 64, "a" * 64)
    yield TRUST, "signer", REFUSAL
    yield FOLDER, "writers", [Path("registry")]
    yield FOLDER, "links", False
    yield FOLDER, "file_system", "nfs4"
    yield FOLDER, "room", 1000
    yield BUCKET, "endpoint", "http://s3.example.org"
    yield BUCKET, "versioning", ""
    yield BUCKET, "versioning", "Suspended"
    yield BUCKET, "object_lock", None
    yield BUCKET, "object_lock", Retention("COMPLIANCE", 30)
    yield BUCKET, "public_access", ["BlockPublicPolicy"]
    yield BUCKET, "public", True
    yield BUCKET, "policy", None
    yield BUCKET, "policy", {}
    yield BUCKET, "policy", {"Statement": "nonsense"}
    yield BUCKET, "policy", {"Statement": [{"Sid": "KeeperSetsUp"}]}
    yield BUCKET, "acls", True
    yield BUCKET, "encryption", False
    yield BUCKET, "lifecycle", _rule()
    yield BUCKET, "lifecycle", _rule(Prefix="team/chunks/")
    yield BUCKET, "lifecycle", _rule(Filter={"Prefix": "te"})
    yield BUCKET, "lifecycle", _rule(Filter={"And": {"Prefix": "team/", "Tags": []}})
    yield BUCKET, "lifecycle", _rule(
        Expiration={}, NoncurrentVersionExpiration={"NoncurrentDays": 1}
    )
    yield BUCKET, "lifecycle", _rule(
        Expiration={}, Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]
    )
    yield BUCKET, "create_only", False
    yield BUCKET, "clock", -600.0
    yield BUCKET, "clock", 600.0
    yield BUCKET, "region", ("us-east-1", "eu-central-1")
    yield BUCKET, "credentials", "AKIAEXAMPLE"


HARMLESS = [
    (BUCKET, "lifecycle", _rule(Status="Disabled")),
    (BUCKET, "lifecycle", _rule(Filter={"Prefix": "logs/"})),
    (BUCKET, "lifecycle", _rule(Expiration={"ExpiredObjectDeleteMarker": True})),
    (BUCKET, "lifecycle", [{"Status": "Enabled", "AbortIncompleteMultipartUpload": 1}]),
    (BUCKET, "endpoint", "http://127.0.0.1:8333"),
    (BUCKET, "powers", ["DeleteObject"]),  # the bucket's policy denies it
    (MACHINE, "key", None),
]


def test_all_is_well() -> None:
    """Nothing to say, exit code 0; every check was asked."""
    report = judge(GOOD)
    assert (report.findings, report.unseen, report.exit_code) == ([], {}, 0)
    assert len(report.kept) == sum(map(len, CHECKS.values())) == len({*report.kept})


@pytest.mark.parametrize(("group", "code", "fact"), [*_bad()])
def test_what_falls_short_is_one_finding_of_its_name(
    group: Any, code: str, fact: Any
) -> None:
    """With something to do, on one line; and exit code 2."""
    report = judge([replace(group, **{code: fact})])
    (finding,) = report.findings
    assert finding.code == code
    assert finding.todo and "\n" not in finding.todo
    assert report.exit_code == 2


def test_every_check_has_a_fact_that_falls_short() -> None:
    """So that none of them says nothing whatever it is shown."""
    tried = {(type(group), code) for group, code, _ in _bad()} | {(Bucket, "powers")}
    assert tried == {(t, c.__name__) for t, checks in CHECKS.items() for c in checks}


@pytest.mark.parametrize(("group", "code", "fact"), HARMLESS)
def test_what_does_no_harm_is_no_finding(group: Any, code: str, fact: Any) -> None:
    """A check that cries wolf is soon not read."""
    assert judge([replace(group, **{code: fact})]).exit_code == 0


@pytest.mark.parametrize("group", GOOD, ids=lambda group: type(group).__name__)
def test_what_could_not_be_looked_at_is_never_fine(group: Any) -> None:
    """It is said, with the reason, and the exit code is 4."""
    for each in fields(group):
        if "Seen[" not in str(each.type):
            continue
        report = judge([replace(group, **{each.name: Unseen("AccessDenied")})])
        assert report.unseen == {each.name: "AccessDenied"}
        assert each.name not in report.kept
        assert (report.findings, report.exit_code) == ([], 4)


def test_powers_matter_where_no_policy_stops_them() -> None:
    """Also where the bucket's policy could not be looked at."""
    for policy in (None, Unseen("AccessDenied")):
        report = judge([replace(BUCKET, powers=["DeleteObject"], policy=policy)])
        assert "powers" in {finding.code for finding in report.findings}


def _changed(policy: Any) -> Iterator[Any]:
    """The policy with one guard missing, or one value in a guard changed."""
    for index, statement in enumerate(policy["Statement"]):
        if statement["Effect"] != "Deny":
            continue
        before, after = policy["Statement"][:index], policy["Statement"][index + 1 :]
        yield {"Statement": [*before, *after]}
        for key in statement.keys() - {"Sid"}:
            for value in ("", "*", "Allow"):
                weaker = statement | {key: value}
                if weaker != statement:
                    yield {"Statement": [*before, weaker, *after]}


def test_every_guard_that_is_gone_or_changed_is_found() -> None:
    """Each of them, in each of its parts."""
    changed = [*_changed(POLICY)]
    assert len(changed) > 60
    for policy in changed:
        report = judge([replace(BUCKET, policy=policy)])
        assert [finding.code for finding in report.findings] == ["policy"], policy


def test_another_servers_policy_may_do_without_one_guard() -> None:
    """AWS alone knows the condition; there it is demanded."""
    without = bucket_policy(URL, Roles(KEEPER, PUBLISHER), create_only=False)
    elsewhere = "https://s3.example.org"
    assert judge([replace(BUCKET, policy=without)]).exit_code == 2
    report = judge([replace(BUCKET, policy=without, endpoint=elsewhere)])
    assert report.exit_code == 0


@given(st.integers(0, 2**32))
@settings(max_examples=50)
def test_a_policy_comes_back_in_another_order(seed: int) -> None:
    """S3 may sort lists, unpack those of one value, and add statements of others."""
    random = Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = random.sample([*value], len(value))
            return {key: shuffled(value[key]) for key in keys}
        if isinstance(value, list):
            items = random.sample([*map(shuffled, value)], len(value))
            return items[0] if len(items) == 1 and random.random() < 0.5 else items
        return value

    policy = shuffled(json.loads(json.dumps(POLICY)))
    policy["Statement"].append({"Sid": "Backup", "Effect": "Allow"})
    assert judge([replace(BUCKET, policy=policy)]).exit_code == 0
