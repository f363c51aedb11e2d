"""The printed policies as values: what they say, and what is refused.

Who may do what by them is judged in tests/policies/, by a simulator.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import cli
from interlock.errors import BadConfiguration
from interlock.policy import Roles, bucket_policy, trust_policy

KEEPER, PUBLISHER, TRAINER, READER = (
    f"arn:aws:iam::111122223333:role/{name}"
    for name in ("keeper", "publisher", "trainer", "reader")
)
ROLES = Roles(KEEPER, PUBLISHER, (TRAINER,), (READER,))
ISSUER = "token.actions.githubusercontent.com"
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{2,40}", fullmatch=True)


def _json(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert cli.main(["policy", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_bucket_policy_is_printed_as_aws_takes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For the registry and the roles that were named."""
    named = ["--keeper", KEEPER, "--publisher", PUBLISHER, "--trainer", TRAINER]
    named += ["--reader", READER, "--registry", "s3://models/team"]
    printed = _json("bucket", *named, capsys=capsys)
    assert printed == bucket_policy("s3://models/team", ROLES)
    other = _json("bucket", *named, "--other-server", capsys=capsys)
    assert "s3:if-none-match" in json.dumps(printed)
    assert "s3:if-none-match" not in json.dumps(other)


def test_the_registry_may_be_the_configured_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """INTERLOCK_REGISTRY names it, as for every command."""
    monkeypatch.setenv("INTERLOCK_REGISTRY", "s3://models")
    named = ("--keeper", KEEPER, "--publisher", PUBLISHER)
    printed = _json("bucket", *named, capsys=capsys)
    assert printed == bucket_policy("s3://models", Roles(KEEPER, PUBLISHER))


@given(NAMES, st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=9))
def test_a_policy_is_about_the_registry_and_the_bucket_only(
    bucket: str, rooms: list[str], readers: list[str]
) -> None:
    """Nothing beside the prefix is touched, and no role may be anybody."""
    prefix = "/".join(rooms)
    named = tuple(f"arn:aws:iam::111122223333:user/{each}" for each in readers)
    policy = bucket_policy(
        f"s3://{bucket}/{prefix}", Roles(KEEPER, PUBLISHER, readers=named)
    )
    arn = f"arn:aws:s3:::{bucket}"
    below = "/".join([arn, *rooms, ""])
    for statement in policy["Statement"]:
        resources = statement["Resource"]
        for each in [resources] if isinstance(resources, str) else resources:
            assert each == arn or each.startswith(below)
        assert (statement["Principal"] == "*") == (statement["Effect"] == "Deny")
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(set(sids)) == len(sids)


def test_a_policy_names_the_partition_of_its_roles() -> None:
    """An ARN of China or of GovCloud starts differently."""
    keeper, publisher = (
        arn.replace(":aws:", ":aws-cn:") for arn in (KEEPER, PUBLISHER)
    )
    text = json.dumps(bucket_policy("s3://models", Roles(keeper, publisher)))
    assert "arn:aws-cn:s3:::models/*" in text
    assert "arn:aws:" not in text


@pytest.mark.parametrize(
    "arn",
    [
        "*",
        "",
        "publisher",
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:role/a?",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::*:role/a",
        "arn:aws:iam::111122223333:role/${aws:username}",
        "arn:aws:sts::111122223333:assumed-role/publisher/run",
        f"{PUBLISHER}\n",
    ],
)
def test_an_arn_that_is_not_one_role_is_refused(arn: str) -> None:
    """A wildcard would let everybody in."""
    with pytest.raises(BadConfiguration):
        Roles(KEEPER, arn)
    with pytest.raises(BadConfiguration):
        Roles(KEEPER, PUBLISHER, readers=(arn,))


@pytest.mark.parametrize(
    "url",
    ["registry", "s3://", "s3:///team", "s3://m*", "s3://models/a*"]
    + ["s3://models/a//b", "s3://models/${aws:username}", "gs://models"],
)
def test_a_registry_that_is_not_on_s3_has_no_bucket_policy(url: str) -> None:
    """Neither has a name that would mean something else to IAM."""
    with pytest.raises(BadConfiguration):
        bucket_policy(url, ROLES)


def _claims(environment: str = "", branch: str = "") -> dict[str, Any]:
    """What the trust policy asks of a token, by claim."""
    policy = trust_policy("111122223333", "ada@12/model@34", environment, branch)
    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    provider = f"arn:aws:iam::111122223333:oidc-provider/{ISSUER}"
    assert statement["Principal"] == {"Federated": provider}
    (operator,) = statement["Condition"]
    assert operator == "StringEquals"
    asked = statement["Condition"][operator]
    return {key.removeprefix(f"{ISSUER}:"): value for key, value in asked.items()}


def test_the_publisher_is_trusted_in_its_environment_and_branch() -> None:
    """By both formats of the subject, and by the repository's id."""
    assert _claims("production", "main") == {
        "aud": "sts.amazonaws.com",
        "sub": [
            "repo:ada/model:environment:production",
            "repo:ada@12/model@34:environment:production",
        ],
        "repository_id": "34",
        "ref": "refs/heads/main",
    }
    assert "ref" not in _claims("production")


def test_the_reader_is_trusted_on_its_branch() -> None:
    """A job without an environment says the branch in its subject."""
    assert _claims(branch="main")["sub"] == [
        "repo:ada/model:ref:refs/heads/main",
        "repo:ada@12/model@34:ref:refs/heads/main",
    ]


def test_the_trust_policy_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As aws iam create-role takes it."""
    named = ("--account", "111122223333", "--repository", "ada@12/model@34")
    printed = _json("trust", *named, "--environment", "p", capsys=capsys)
    assert printed == trust_policy("111122223333", "ada@12/model@34", "p")


@pytest.mark.parametrize(
    ("account", "repository", "environment", "branch"),
    [
        ("1111", "ada@12/model@34", "", "main"),
        ("111122223333", "ada@12/model@34", "", ""),
        ("111122223333", "ada@12/model@34", "*", ""),
        ("111122223333", "ada@12/model@34", "production", "*"),
        ("111122223333", "ada@12/model@34", "", "${aws:username}"),
        ("111122223333", "ada@12/*@34", "", "main"),
        ("111122223333", "ada@12/model", "", "main"),
    ],
)
def test_a_trust_policy_that_would_trust_others_is_refused(
    account: str, repository: str, environment: str, branch: str
) -> None:
    """Wildcards, no place at all, names without their ids."""
    with pytest.raises(BadConfiguration):
        trust_policy(account, repository, environment, branch)


def test_names_without_ids_get_the_command_that_finds_them() -> None:
    """To be copied as it is."""
    with pytest.raises(BadConfiguration) as refused:
        trust_policy("111122223333", "ada/model", branch="main")
    assert refused.value.todo.startswith("gh api repos/ada/model --jq ")
