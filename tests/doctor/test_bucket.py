"""Doctor on real S3 servers, and what it says to apply, applied as it is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from interlock import cli
from interlock.doctor.bucket import _ahead, _create_only, look
from interlock.policy import place
from interlock.registry.access import open_or_make
from tests.servers import SERVERS, Endpoint

KEEPER, PUBLISHER = (
    f"arn:aws:iam::000000000000:user/{name}" for name in ("keeper", "publisher")
)
PROGRAMS = Path(sys.executable).parent
Doctor = Callable[[], tuple[int, dict[str, Any], dict[str, str]]]

# What a new bucket lacks, and what the server does not tell; then with all applied.
NEW = {
    "seaweedfs": (
        {"versioning", "object_lock", "policy", "encryption"},
        {"public_access", "powers"},
    ),
    "ministack": ({"versioning", "object_lock", "policy", "powers"}, {"public"}),
}
APPLIED = {
    # It knows neither NotAction nor conditions on who asks, and refuses the policy.
    "seaweedfs": ({"policy"}, {"public_access", "powers"}),
    "ministack": (set(), {"public"}),
}


@pytest.fixture(params=sorted({*SERVERS} & {*NEW}))
def endpoint(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Endpoint:
    """Each real server in turn, with AWS settings that lead there and nowhere else."""
    found: Endpoint = request.getfixturevalue(request.param)
    settings = found.environment | {"AWS_ENDPOINT_URL": found.url}  # of IAM and STS too
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def url(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A registry with its first root, below a prefix of a new bucket."""
    monkeypatch.setenv("PATH", os.pathsep.join((str(PROGRAMS), os.environ["PATH"])))
    monkeypatch.chdir(tmp_path)
    made = f"{endpoint.make_bucket()}/team"
    open_or_make(made)
    return made


@pytest.fixture
def doctor(url: str, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs it: the exit code, the findings and the unseen facts."""

    def run() -> tuple[int, dict[str, Any], dict[str, str]]:
        capsys.readouterr()
        code = cli.main(["doctor", "--json", "--registry", url])
        said = json.loads(capsys.readouterr().out)
        return code, {each["code"]: each for each in said["findings"]}, said["unseen"]

    return run


def _name(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["endpoint"])


def _bucket(url: str) -> str:
    return url.removeprefix("s3://").partition("/")[0]


def test_what_it_says_to_apply_makes_it_right(
    request: pytest.FixtureRequest, doctor: Doctor
) -> None:
    """Each command as it is printed, with the roles named; the rest is documented."""
    server = _name(request)
    code, findings, unseen = doctor()
    assert (code, {*findings}, {*unseen}) == (2, *NEW[server])
    for each in findings.values():
        keeper, publisher = f"--keeper {KEEPER}", f"--publisher {PUBLISHER}"
        command = each["todo"].replace("--keeper ARN", keeper)
        command = command.replace("--publisher ARN", publisher)
        if command.startswith(("aws ", "interlock ")):
            done = subprocess.run(command, shell=True, capture_output=True, text=True)
            left = each["code"] in APPLIED[server][0]
            assert bool(done.returncode) == left, (command, done.stderr)
    code, findings, unseen = doctor()
    assert ({*findings}, {*unseen}) == APPLIED[server]
    assert code == (2 if findings else 4)


def test_looking_changes_nothing(endpoint: Endpoint, url: str, doctor: Doctor) -> None:
    """Not even a version of an object is more than before."""
    client, bucket = endpoint.client(), _bucket(url)
    versioning = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)

    def versions() -> list[tuple[str, str]]:
        found = client.list_object_versions(Bucket=bucket)
        assert "DeleteMarkers" not in found
        return [(each["Key"], each["VersionId"]) for each in found["Versions"]]

    before = versions()
    assert "create_only" not in doctor()[1]
    assert versions() == before


def test_a_server_that_overwrites_is_found_and_not_hurt(
    endpoint: Endpoint, url: str
) -> None:
    """The header does not get there, as with a server that does not know it."""
    client, bucket = endpoint.client(), _bucket(url)
    key = "team/root/00000001.json"
    before = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert _create_only(client, place(url)) is True

    def forget(params: dict[str, Any], **_: Any) -> None:
        params.pop("IfNoneMatch")

    client.meta.events.register("provide-client-params.s3.PutObject", forget)
    assert _create_only(client, place(url)) is False
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == before


def test_a_rule_that_deletes_is_found(
    endpoint: Endpoint, url: str, doctor: Doctor
) -> None:
    """One about other keys is not."""
    client, bucket = endpoint.client(), _bucket(url)
    for prefix, found in (("logs/", False), ("team/chunks/", True), ("", True)):
        rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": prefix}}
        rules = {"Rules": [rule | {"Expiration": {"Days": 30}}]}
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration=rules
        )
        assert ("lifecycle" in doctor()[1]) == found, prefix


def test_a_short_retention_is_found(endpoint: Endpoint) -> None:
    """Days and years are both read."""
    client = endpoint.client()
    bucket = f"locked-{os.urandom(4).hex()}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    for period, days in (({"Days": 7}, 7), ({"Years": 2}, 730)):
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", **period}}
        client.put_object_lock_configuration(
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )
        retention = look(f"s3://{bucket}").object_lock
        assert retention and vars(retention) == {"mode": "COMPLIANCE", "days": days}


def test_nothing_is_fine_for_whoever_is_not_let_in(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No setting was seen, so none is as promised."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    code, findings, unseen = doctor()
    assert code == 2 and {*findings} == {"root"}
    assert {"versioning", "object_lock", "policy", "create_only", "acls"} <= {*unseen}


def test_credentials_that_may_delete_are_found(
    ministack: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IAM is asked what a user may do; nothing is deleted to find out."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack.url)
    url, iam = ministack.make_bucket(), ministack.client("iam")
    look_only = ["s3:Get*", "s3:List*", "iam:Simulate*", "sts:*"]
    for name, actions, expected in (
        (f"reader-{os.urandom(4).hex()}", look_only, []),
        (f"wide-{os.urandom(4).hex()}", ["s3:*", *look_only], ["DeleteObject"]),
    ):
        iam.create_user(UserName=name)
        allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        monkeypatch.setenv("AWS_DEFAULT_REGION", ministack.region)
        seen = look(url)
        assert seen.identity.endswith(f":user/{name}")
        assert isinstance(seen.powers, list) and seen.powers[:1] == expected


def test_the_clock_is_held_against_the_servers() -> None:
    """By the date that its answer bears."""
    headers = {"date": formatdate(time() + 600, usegmt=True)}
    answer = {"ResponseMetadata": {"HTTPHeaders": headers}}
    assert -601 < _ahead(answer) < -590
