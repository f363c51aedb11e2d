"""The registry on S3: boto3's settings and credentials, obstore's bytes.

* `create` is a PutObject with `If-None-Match: *` and a SHA-256 that the server checks.
  412 means that the key is there; 409 that somebody is writing it just now: once more.
* An attempt whose answer was lost may have been stored. Where the next one then finds
  the key, it is ours if it holds our very bytes.
* What may pass (5xx, SlowDown, a line that broke or damaged the bytes) is tried again,
  after growing pauses; what will not change is refused at once, with what to do.
* obstore moves the bytes with less than half of boto3's CPU, and small records several
  times as fast: docs/s3.md has the figures.

No client is imported, and no connection made, before the first verb.
"""

from __future__ import annotations

import random
import re
import time
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from interlock.artifact.chunks import digest
from interlock.errors import BadConfiguration
from interlock.registry import answers
from interlock.registry.aws import Access, access, missing

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Store

PAUSES = 0.1, 10.0  # seconds: the first at most; doubled each time; the longest
SILENT = 60.0  # seconds without a byte of an answer are a failure
SENDING = 900.0  # seconds for one request; nothing tells a slow upload from a dead one
LARGE = 2**20  # bytes, from which sending them may well take longer than SILENT
_PAGE = 1000  # keys, the most that a server lists at once
_URL = re.compile(
    r"s3://([A-Za-z0-9][A-Za-z0-9._-]{2,62})((?:/[\w=-][\w.=-]*)*)/?", re.A
)


class S3:
    """A store under a prefix of an S3 bucket. Threads may share it."""

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if not match:
            raise BadConfiguration(
                "s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits and . _ = -",
                url,
                "correct INTERLOCK_REGISTRY, or registry in [tool.interlock]",
            )
        self.bucket, self.prefix = match[1], match[2].lstrip("/")
        self.url = f"s3://{self.bucket}{match[2]}"

    def create(self, key: str, data: bytes) -> bool:
        """Make `key` hold `data`; False, and nothing done, where it exists already.

        Raises a Refusal where S3 says no, or does not answer.
        """
        store = self._patient if len(data) > LARGE else self._writer
        from obstore.exceptions import AlreadyExistsError, BaseError

        lost = False  # whether an attempt may have been stored without our knowing
        for pause in _pauses(self._access.attempts):
            time.sleep(pause)
            try:
                store.put(key, data, mode="create", use_multipart=False)
                return True
            except AlreadyExistsError as error:
                if answers.is_there(error):
                    return lost and self.read(key) == data
                last: Exception = error
            except (BaseError, FileNotFoundError) as error:
                last, lost = error, True
                if not answers.may_pass(error):
                    break
        raise answers.refusal(last, f"{self.url}/{key}", "s3:PutObject")

    def read(self, key: str) -> bytes:
        """The bytes of `key`. Raises KeyError where it is absent, or a Refusal."""
        store = self._reader
        from obstore.exceptions import BaseError

        try:
            return bytes(store.get(key).bytes())
        except (BaseError, FileNotFoundError) as error:
            if answers.code(error) == "NoSuchKey":
                raise KeyError(key) from None
            raise answers.refusal(error, f"{self.url}/{key}", "s3:GetObject") from None

    def sha256(self, key: str) -> str | None:
        """The SHA-256 of the bytes of `key`; None where it is absent. Or a Refusal.

        It is the one that the server checked them by when it took them; a server that
        does not keep it is asked for the bytes.
        """
        client = self._access.client
        from botocore.exceptions import BotoCoreError, ClientError

        path = f"{self.prefix}/{key}".lstrip("/")
        try:
            head = client.head_object(
                Bucket=self.bucket, Key=path, ChecksumMode="ENABLED"
            )
        except (BotoCoreError, ClientError) as error:
            if answers.code(error) in ("404", "NoSuchKey"):
                return None
            raise answers.refusal(error, f"{self.url}/{key}", "s3:GetObject") from None
        if kept := head.get("ChecksumSHA256"):
            return b64decode(kept).hex()
        return digest(self.read(key))

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`, in ascending order, a page at a time."""
        store = self._reader
        from obstore.exceptions import BaseError

        try:
            for page in store.list(prefix, chunk_size=_PAGE):
                yield from (each["path"] for each in page)
        except (BaseError, FileNotFoundError) as error:
            what = f"{self.url}/{prefix}"
            raise answers.refusal(error, what, "s3:ListBucket") from None

    @cached_property
    def _access(self) -> Access:
        return access(self.bucket)

    @cached_property
    def _reader(self) -> S3Store:
        return self._connect(self._access.attempts, SILENT)

    @cached_property
    def _writer(self) -> S3Store:
        return self._connect(1, SILENT)

    @cached_property
    def _patient(self) -> S3Store:
        """A writer of much: while that is sent, the server has nothing to say."""
        return self._connect(1, SENDING)

    def _connect(self, attempts: int, silent: float) -> S3Store:
        """A client that tries so often; `create` counts its attempts itself."""
        try:
            from obstore.store import S3Store
        except ModuleNotFoundError:
            raise missing("obstore") from None
        found = self._access
        options: ClientConfig = {
            "allow_http": True,
            "timeout": timedelta(seconds=SENDING),
            "read_timeout": timedelta(seconds=silent),
        }
        if found.certificates:
            options["root_certificate"] = found.certificates
        first, longest = (timedelta(seconds=each) for each in PAUSES)
        return S3Store(
            self.bucket,
            prefix=self.prefix or None,
            config={  # all that obstore would else take from the environment
                "aws_endpoint_url_s3": found.endpoint,
                "virtual_hosted_style_request": found.virtual,
                "region": found.region,
                "checksum_algorithm": "SHA256",
                "conditional_put": "etag",
                "skip_signature": False,
            },
            client_options=options,
            retry_config={
                "max_retries": attempts - 1,
                "retry_timeout": timedelta(minutes=3),
                "backoff": {"init_backoff": first, "max_backoff": longest, "base": 2},
            },
            credential_provider=found.credentials,
        )


def _pauses(attempts: int) -> Iterator[float]:
    """Seconds to wait before each attempt: none, then any up to twice as many."""
    first, longest = PAUSES
    yield 0
    for again in range(attempts - 1):
        yield random.uniform(0, min(longest, first * 2**again))
