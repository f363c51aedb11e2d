"""Who asks, and where a bucket is: as boto3 has it, from all that it reads.

Profiles, SSO, roles, instance metadata, regions, endpoints, addressing styles and
certificates are boto3's business; nobody has to learn other settings for interlock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import BadConfiguration
from interlock.registry.answers import NoCredentials

if TYPE_CHECKING:
    from obstore.store import S3Credential

ATTEMPTS = 8  # of one request, unless AWS_MAX_ATTEMPTS says otherwise
# botocore hands out credentials that hold for ten minutes at least; obstore asks again
# when five are left of what it is told here.
_KEPT = timedelta(minutes=8)


@dataclass(frozen=True)
class Access:
    """All that a client has to be told to reach a bucket."""

    endpoint: str  # with the bucket in its name where the style is virtual
    virtual: bool
    region: str
    certificates: bytes | None  # to trust beside the system's, PEM
    attempts: int
    credentials: Callable[[], S3Credential]
    client: Any  # boto3's own


def access(bucket: str) -> Access:
    """How this machine reaches `bucket`. Raises BadConfiguration where it cannot."""
    try:
        from boto3 import Session
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ModuleNotFoundError:
        raise missing("boto3") from None
    try:
        return _access(Session, bucket)
    except (BotoCoreError, ClientError, OSError) as error:
        none = isinstance(error, NoCredentialsError)
        raise (NoCredentials if none else BadConfiguration)(
            f"AWS settings and credentials for s3://{bucket}",
            str(error),
            "set AWS_PROFILE, or log in; `aws sts get-caller-identity` tries it out",
        ) from None


def missing(package: str) -> BadConfiguration:
    """The refusal where a client of S3 is not installed."""
    return BadConfiguration(
        f"{package}, for a registry on S3",
        "it is not installed",
        "pip install interlock[s3]",
    )


def _access(session: Any, bucket: str) -> Access:
    import botocore.session

    core = botocore.session.Session()
    client = session(botocore_session=core).client("s3")
    url = _address(client, bucket)
    endpoint = url.removesuffix(f"/{bucket}")
    trusted = core.get_config_variable("ca_bundle")
    retries = client.meta.config.retries or {}
    return Access(
        endpoint=endpoint,
        virtual=url == endpoint,
        region=client.meta.region_name,
        certificates=Path(trusted).read_bytes() if trusted else None,
        attempts=max(1, retries.get("total_max_attempts", ATTEMPTS)),
        credentials=_provider(core.get_credentials()),
        client=client,
    )


class _Known(Exception):
    """The address of a request that is not sent."""


def _address(client: Any, bucket: str) -> str:
    """Where boto3 sends what it asks of the bucket, after all of its settings."""

    def stop(request: Any, **_: Any) -> None:
        raise _Known(request.url)

    client.meta.events.register("before-send.s3.HeadBucket", stop)
    try:
        client.head_bucket(Bucket=bucket)
    except _Known as known:
        return str(known).rstrip("/")
    raise AssertionError("boto3 sent a request that it was told not to send")


def _provider(credentials: Any) -> Callable[[], S3Credential]:
    """Hands out what boto3 has, which it renews by itself."""

    def frozen() -> S3Credential:
        found = credentials.get_frozen_credentials()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": datetime.now(UTC) + _KEPT,
        }

    return frozen
