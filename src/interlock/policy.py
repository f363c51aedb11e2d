"""The two policies that a registry on S3 wants, as values to print.

* The bucket policy says who may add what to the registry, and that nobody may alter or
  remove anything in it. It names what is allowed and denies the rest (`NotAction`), so
  an action that S3 learns tomorrow is denied as well.
* The trust policy says which GitHub jobs may take a role.

Nothing here talks to anybody: what is printed is applied by a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.errors import BadConfiguration
from interlock.registry.s3 import S3

Statement = dict[str, Any]
Policy = dict[str, Any]

_READ = ("s3:Get*", "s3:List*")
_ISSUER = "token.actions.githubusercontent.com"
_PRINCIPAL = re.compile(r"arn:(aws[a-z-]*):iam::\w*:(?:role|user)/[\w+=,.@/-]+", re.A)
_REPOSITORY = re.compile(r"([\w-]+)@(\d+)/([\w.-]+)@(\d+)", re.A)
_PLAIN = re.compile(r"[\w. /-]+", re.A)  # no *, ? or ${}: they mean something to IAM


@dataclass(frozen=True)
class Roles:
    """Who may do what, by the ARN of a role or a user.

    The keeper sets the bucket up and writes trust roots: two powers for one principal,
    for whoever may change the policy may write anything. The publisher is not given
    them. A root counts only with the signatures of the one before, but a worthless
    object under the next root's name would stand there for ever, in everybody's way.
    """

    keeper: str
    publisher: str
    trainers: Sequence[str] = ()
    readers: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what is no ARN of one role or user."""
        for arn in self.everyone:
            if not _PRINCIPAL.fullmatch(arn):
                raise BadConfiguration(
                    "the ARN of a role or a user, arn:aws:iam::111122223333:role/NAME",
                    repr(arn),
                    "name one role: no wildcard, no account, no session of a role",
                )

    @property
    def everyone(self) -> list[str]:
        """All of them, each once."""
        named = (self.keeper, self.publisher, *self.trainers, *self.readers)
        return list(dict.fromkeys(named))

    @property
    def writers(self) -> list[str]:
        """Whoever may add anything at all."""
        named = (self.keeper, self.publisher, *self.trainers)
        return list(dict.fromkeys(named))


# The rooms of what the publisher alone adds.
RECORDS = ("versions", "evidence", "channels", "results", "ledger")


def place(url: str) -> S3:
    """The registry at `url`, which must be on S3; nothing is asked of it."""
    if not url.startswith("s3://"):
        raise BadConfiguration(
            "a registry on S3, s3://BUCKET or s3://BUCKET/PREFIX",
            repr(url),
            "name it with --registry or INTERLOCK_REGISTRY",
        )
    return S3(url)


def bucket_policy(url: str, roles: Roles, *, create_only: bool = True) -> Policy:
    """The policy of the bucket that holds the registry at `url`.

    Without `create_only` the condition that only AWS evaluates is left out: a server
    that does not know `s3:if-none-match` would take every write for an overwrite.
    """
    registry, partition = place(url), roles.publisher.split(":")[1]
    where = f"arn:{partition}:s3:::{registry.bucket}", registry.prefix
    statements = [*_guards(*where, roles), *_grants(*where, roles)]
    return _policy(s for s in statements if create_only or s["Sid"] != "CreateOnly")


def missing_guards(live: Policy, url: str, *, create_only: bool = True) -> list[str]:
    """The guards that a bucket's policy lacks or has otherwise, by their names.

    They are held against what would be printed for the roles that the policy names.
    """
    there = {each.get("Sid"): each for each in map(_plain, _listed(live))}
    try:
        roles = _roles(there)
        printed = bucket_policy(url, roles, create_only=create_only)
    except (KeyError, TypeError, BadConfiguration):
        return ["all of them"]
    guards = [each for each in printed["Statement"] if each["Effect"] == "Deny"]
    return [each["Sid"] for each in guards if there.get(each["Sid"]) != _plain(each)]


def _listed(policy: Policy) -> list[Statement]:
    """The statements of a policy that somebody else may have written."""
    statements = policy.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    return [each for each in listed if isinstance(each, dict)]


def _plain(value: Any) -> Any:
    """Without what means nothing to IAM: order, and a list around a single value."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        items = sorted(map(_plain, value), key=str)
        return items[0] if len(items) == 1 else items
    return value


def _roles(guards: dict[str, Statement]) -> Roles:
    """The roles that the guards make exceptions for. Raises KeyError and TypeError."""
    keeper, publisher, writers = (
        guards[sid]["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
        for sid in ("KeeperSetsUp", "PublisherWritesRecords", "WritersOnly")
    )
    listed = writers if isinstance(writers, list) else [writers]
    return Roles(keeper, publisher, [w for w in listed if w not in (keeper, publisher)])


def _guards(bucket: str, prefix: str, roles: Roles) -> list[Statement]:
    """What nobody may do, whatever other policies allow them."""
    everything, *records = _keys(bucket, prefix, "", *RECORDS)
    root = _keys(bucket, prefix, "root")
    create = {"Action": "s3:PutObject"}
    return [
        _deny(
            "TlsOnly",
            {"Action": "s3:*"},
            [bucket, everything],
            {"Bool": {"aws:SecureTransport": "false"}},
        ),
        # An object of the registry is one PUT. The parts of a multipart upload carry no
        # If-None-Match, so this denies them too: there is no way around it in parts.
        _deny("CreateOnly", create, everything, {"Null": {"s3:if-none-match": "true"}}),
        # Deleting, ACLs, tags, retention, legal holds, bypassing them, replicas.
        _deny("CreateAndReadOnly", {"NotAction": [*_READ, "s3:PutObject"]}, everything),
        _deny("WritersOnly", create, everything, _all_but(*roles.writers)),
        _deny("PublisherWritesRecords", create, records, _all_but(roles.publisher)),
        _deny("KeeperWritesRoots", create, root, _all_but(roles.keeper)),
        # Deleting the bucket, this policy, versioning, Object Lock, lifecycle rules.
        _deny("KeeperSetsUp", {"NotAction": [*_READ]}, bucket, _all_but(roles.keeper)),
    ]


def _grants(bucket: str, prefix: str, roles: Roles) -> list[Statement]:
    """What each of the roles is allowed; they need no other policy for it."""
    everything, chunks, *records = _keys(bucket, prefix, "", "chunks", *RECORDS)
    # Listing has no condition on the prefix: with one, S3 answers 403 in place of 404
    # to whoever reads a key that is not there.
    look = ["s3:ListBucket", "s3:GetBucket*", "s3:Get*Configuration"]
    grants = [
        _allow("EveryoneReads", roles.everyone, "s3:GetObject", everything),
        _allow("EveryoneLooks", roles.everyone, look, bucket),
        _allow("Publisher", [roles.publisher], "s3:PutObject", [chunks, *records]),
        _allow("Keeper", [roles.keeper], "s3:PutObject", _keys(bucket, prefix, "root")),
    ]
    if roles.trainers:
        grants.append(_allow("Trainers", roles.trainers, "s3:PutObject", chunks))
    return grants


def _keys(bucket: str, prefix: str, *rooms: str) -> list[str]:
    """The ARN of all keys in each room of the registry; "" is all of it."""
    return ["/".join(filter(None, (bucket, prefix, room, "*"))) for room in rooms]


def _all_but(*arns: str) -> Statement:
    return {"ArnNotEquals": {"aws:PrincipalArn": [*arns]}}


def _deny(
    sid: str,
    actions: Statement,
    resource: str | Sequence[str],
    condition: Statement | None = None,
) -> Statement:
    statement = {"Sid": sid, "Effect": "Deny", "Principal": "*", **actions}
    statement["Resource"] = resource
    return statement | ({"Condition": condition} if condition else {})


def _allow(
    sid: str,
    arns: Sequence[str],
    action: str | Sequence[str],
    resource: str | Sequence[str],
) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": [*arns]},
        "Action": action,
        "Resource": resource,
    }


def _policy(statements: Iterable[Statement]) -> Policy:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def trust_policy(
    account: str, repository: str, environment: str = "", branch: str = ""
) -> Policy:
    """Who may take a role: the jobs of one repository, by GitHub's OIDC provider.

    `repository` is OWNER@ID/NAME@ID: names alone may become somebody else's.
    """
    if not re.fullmatch(r"\d{12}", account, re.A):
        raise BadConfiguration(
            "an AWS account of 12 digits", repr(account), "correct --account"
        )
    claims = _claims(repository, environment, branch)
    provider = f"arn:aws:iam::{account}:oidc-provider/{_ISSUER}"
    jobs = {
        "Sid": "Jobs",
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{_ISSUER}:{k}": v for k, v in claims.items()}},
    }
    return _policy([jobs])


def _claims(repository: str, environment: str, branch: str) -> dict[str, Any]:
    """What a token has to say.

    The subject is made of the names, or, in a repository made, renamed or moved since
    2026-07-15, of the names with the ids. Both are trusted, and the id in a claim of
    its own holds them to one repository. The subject of a job with an environment does
    not say the branch, so that is a claim of its own too.
    """
    match = _REPOSITORY.fullmatch(repository)
    if not match:
        plain = re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.A)
        raise BadConfiguration(
            "a repository with its ids, OWNER@ID/NAME@ID",
            repr(repository),
            f"gh api repos/{repository if plain else 'OWNER/NAME'} --jq "
            """'"\\(.owner.login)@\\(.owner.id)/\\(.name)@\\(.id)"'""",
        )
    owner, _, name, identity = match.groups()
    where = _where(environment, branch)
    claims = {
        "aud": "sts.amazonaws.com",
        "sub": [f"repo:{owner}/{name}:{where}", f"repo:{repository}:{where}"],
        "repository_id": identity,
    }
    return claims | ({"ref": f"refs/heads/{branch}"} if branch else {})


def _where(environment: str, branch: str) -> str:
    """The end of a subject: of a job in an environment, or on a branch."""
    for each in filter(None, (environment, branch)):
        if not _PLAIN.fullmatch(each):
            raise BadConfiguration(
                "an environment or a branch of letters, digits, space and . _ - /",
                repr(each),
                "name one of them: a wildcard would let others in",
            )
    if environment:
        return f"environment:{environment}"
    if branch:
        return f"ref:refs/heads/{branch}"
    raise BadConfiguration(
        "the jobs that may take the role",
        "neither an environment nor a branch",
        "give --environment, --branch or both",
    )
