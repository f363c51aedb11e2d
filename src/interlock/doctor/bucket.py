"""Looking at a bucket, with boto3: what it is set to, and who asks.

Nothing is tried that could do harm. Whether we may delete is asked of IAM, by
simulation. Whether a create is refused where the key is there is tried on a record that
is there, with its own bytes: a server that takes them anyway has changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from interlock.doctor.facts import Bucket, Retention, Seen, T, Unseen, is_aws
from interlock.errors import BadConfiguration
from interlock.policy import place
from interlock.registry.aws import missing
from interlock.registry.s3 import S3

ABSENT = {  # how S3 says that a setting was never made
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}
# What nobody who publishes or reads has to do: to objects, and to the bucket.
POWERS = ("DeleteObject", "DeleteObjectVersion", "BypassGovernanceRetention")
SETTINGS = ("PutBucketPolicy", "PutLifecycleConfiguration", "PutBucketVersioning")
BLOCK = "BlockPublicAcls IgnorePublicAcls BlockPublicPolicy RestrictPublicBuckets"
PATIENCE = 10  # seconds for one answer

Answer = dict[str, Any]


def look(url: str) -> Bucket:
    """What can be seen of the bucket at `url` with the credentials that are here.

    Raises BadConfiguration where boto3 is missing, or finds no settings it can use.
    """
    try:
        from boto3 import Session
        from botocore.exceptions import BotoCoreError
    except ModuleNotFoundError:
        raise missing("boto3") from None
    try:
        return _look(url, Session())
    except BotoCoreError as error:
        raise BadConfiguration(
            "AWS settings that can be used", str(error), "correct them, or log in"
        ) from None


def _look(url: str, session: Any) -> Bucket:
    s3 = _client(session, "s3")
    registry = place(url)
    name = registry.bucket
    here = {"Bucket": name}
    if (why := _unreachable(lambda: s3.head_bucket(**here))) is not None:
        return Bucket.unreached(url, s3.meta.endpoint_url, why)
    identity = _identity(session, s3)
    keys = session.get_credentials()
    return Bucket(
        url=url,
        endpoint=s3.meta.endpoint_url,
        identity=identity,
        versioning=_seen(lambda: s3.get_bucket_versioning(**here).get("Status", "")),
        object_lock=_setting(s3.get_object_lock_configuration, here, _retention, None),
        public_access=_setting(s3.get_public_access_block, here, _off, BLOCK.split()),
        public=_setting(s3.get_bucket_policy_status, here, _is_public, False),
        policy=_setting(
            s3.get_bucket_policy, here, lambda found: json.loads(found["Policy"]), None
        ),
        acls=_setting(s3.get_bucket_ownership_controls, here, _heeds_acls, True),
        encryption=_setting(s3.get_bucket_encryption, here, lambda found: True, False),
        lifecycle=_setting(
            s3.get_bucket_lifecycle_configuration, here, lambda f: f["Rules"], []
        ),
        create_only=_create_only(s3, registry),
        clock=_seen(lambda: _ahead(s3.list_objects_v2(**here, MaxKeys=1))),
        region=_seen(lambda: (s3.meta.region_name, _region(s3, name))),
        credentials=keys.access_key if keys else Unseen("no credentials here"),
        powers=_seen(lambda: _powers(session, s3, identity, name)),
    )


def _unreachable(ask: Callable[[], Answer]) -> str | None:
    """Why no server answers us; one that says no has answered."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        ask()
    except ClientError:
        return None
    except BotoCoreError as error:
        return str(error)
    return None


def _client(session: Any, service: str) -> Any:
    from botocore.config import Config

    once = {"total_max_attempts": 2}
    limits = Config(connect_timeout=PATIENCE, read_timeout=PATIENCE, retries=once)
    return session.client(service, config=limits)


def _seen(ask: Callable[[], T]) -> Seen[T]:
    """The answer, or why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as error:
        return Unseen(_code(error))
    except KeyError as error:
        return Unseen(f"the server's answer has no {error}")
    except (BotoCoreError, AttributeError, TypeError, ValueError) as error:
        return Unseen(f"{type(error).__name__}: {error}")


def _setting(
    ask: Callable[..., Answer], here: Answer, read: Callable[[Answer], T], absent: T
) -> Seen[T]:
    """A setting of the bucket; `absent` where it was never made."""
    from botocore.exceptions import ClientError

    def asked() -> T:
        try:
            return read(ask(**here))
        except ClientError as error:
            if _code(error) in ABSENT:
                return absent
            raise

    return _seen(asked)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "no code"))


def _retention(found: Answer) -> Retention | None:
    default = found["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention")
    if not default:
        return None
    days = default.get("Days") or 365 * default.get("Years", 0)
    return Retention(default["Mode"], days)


def _off(found: Answer) -> Sequence[str]:
    block = found["PublicAccessBlockConfiguration"]
    return [each for each in BLOCK.split() if not block.get(each)]


def _is_public(found: Answer) -> bool:
    return bool(found["PolicyStatus"]["IsPublic"])


def _heeds_acls(found: Answer) -> bool:
    rules = found["OwnershipControls"]["Rules"]
    return any(rule["ObjectOwnership"] != "BucketOwnerEnforced" for rule in rules)


def _ahead(answer: Answer) -> float:
    """Seconds that our clock is ahead of the one that stamped an answer."""
    stamped = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return (datetime.now(UTC) - stamped).total_seconds()


def _region(s3: Any, name: str) -> str:
    found = s3.get_bucket_location(Bucket=name)["LocationConstraint"]
    return str(found or "us-east-1")  # the first region has no name here


def _create_only(s3: Any, registry: S3) -> Seen[bool]:
    """Whether a create is refused where the key is there; by one that we may write."""
    from botocore.exceptions import BotoCoreError, ClientError

    why = "there is no record yet to try it on"
    for key in _records(s3, registry):
        where = {"Bucket": registry.bucket, "Key": key}
        try:
            own = s3.get_object(**where)["Body"].read()
            s3.put_object(**where, Body=own, IfNoneMatch="*")
            return False
        except ClientError as error:
            why = _code(error)
            if why == "PreconditionFailed":
                return True
        except BotoCoreError as error:
            why = str(error)
    return Unseen(why)


def _records(s3: Any, registry: S3) -> Iterator[str]:
    """A version, which the publisher may write; and a root, which the keeper may."""
    for room in ("versions/", "root/"):
        within = "/".join(filter(None, (registry.prefix, room)))
        first = {"Bucket": registry.bucket, "Prefix": within, "MaxKeys": 1}
        listed = _seen(partial(s3.list_objects_v2, **first))
        if not isinstance(listed, Unseen):
            yield from (each["Key"] for each in listed.get("Contents", ()))


def _identity(session: Any, s3: Any) -> str:
    """Who we are; "" where there is nobody to ask, or no answer."""
    sts = _beside(session, "sts", s3)
    found = _seen(lambda: sts.get_caller_identity()["Arn"]) if sts else ""
    return "" if isinstance(found, Unseen) else found


def _beside(session: Any, service: str, s3: Any) -> Any:
    """A client of a service where S3 is; None where that would be somebody else."""
    client = _client(session, service)
    ours = s3.meta.endpoint_url
    return client if ours == client.meta.endpoint_url or is_aws(ours) else None


def _powers(session: Any, s3: Any, identity: str, name: str) -> Seen[Sequence[str]]:
    """What of POWERS and SETTINGS our own policies allow, as IAM simulates it."""
    if identity.endswith(":root"):
        return [*POWERS, *SETTINGS]
    iam = _beside(session, "iam", s3)
    if not identity or not iam:
        return Unseen("nobody here says what we may do")
    arn = f"arn:{identity.split(':')[1]}:s3:::{name}"
    allowed = []
    for actions, about in ((POWERS, f"{arn}/*"), (SETTINGS, arn)):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=_role(identity),
            ActionNames=[f"s3:{each}" for each in actions],
            ResourceArns=[about],
        )
        allowed += [
            each["EvalActionName"].removeprefix("s3:")
            for each in answer["EvaluationResults"]
            if each["EvalDecision"] == "allowed"
        ]
    return allowed


def _role(identity: str) -> str:
    """The role of a session; a user as it is.

    >>> _role("arn:aws:sts::111122223333:assumed-role/publisher/run-7")
    'arn:aws:iam::111122223333:role/publisher'
    """
    head, separator, rest = identity.partition(":assumed-role/")
    if not separator:
        return identity
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"
