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
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

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
_LIST = "s3:ListBucket"
_URL = re.compile(
    r"s3://([A-Za-z0-9][A-Za-z0-9._-]{2,62})((?:/[\w=-][\w.=-]*)*)/?", re.A
)


T = TypeVar("T")


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
        store = self._patient if len(data) > LARGE else self._brisk
        from obstore.exceptions import AlreadyExistsError, BaseError

        lost = False  # whether an attempt may have been stored without our knowing

        def put() -> bool:
            nonlocal lost
            try:
                store.put(key, data, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                if not answers.is_there(error):
                    raise
                return lost and self.read(key) == data
            except BaseError:
                lost = True
                raise
            return True

        return self._persist(put, key, "s3:PutObject")

    def read(self, key: str) -> bytes:
        """The bytes of `key`. Raises KeyError where it is absent, or a Refusal."""

        def get() -> bytes:
            try:
                return bytes(self._brisk.get(key).bytes())
            except FileNotFoundError as error:
                if answers.code(error) != "NoSuchKey":
                    raise
                raise KeyError(key) from None

        return self._persist(get, key, "s3:GetObject")

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
        kept = head.get("ChecksumSHA256", "")
        if kept and "-" not in kept:  # that is of parts, and not of the bytes
            return b64decode(kept).hex()
        return digest(self.read(key))

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`, a page at a time, each folder in order."""
        last, count = None, _PAGE
        while count == _PAGE:
            page = self._persist(partial(self._page, prefix, last), prefix, _LIST)
            yield from page
            last, count = page[-1] if page else None, len(page)

    def _page(self, prefix: str, last: str | None) -> list[str]:
        """The keys after `last`; fewer than a page where these are all."""
        pages = self._brisk.list(prefix, offset=last, chunk_size=_PAGE)
        keys = [each["path"] for each in next(iter(pages), ())]
        if not all(key.startswith(prefix) for key in keys):
            from obstore.exceptions import BaseError

            raise BaseError(f"a list of {prefix} with other keys in it")
        return keys

    def _persist(self, attempt: Callable[[], T], key: str, permission: str) -> T:
        """What an attempt comes to, made again while its failure may pass."""
        attempts = self._access.attempts
        from obstore.exceptions import BaseError

        for pause in _pauses(attempts):
            time.sleep(pause)
            try:
                return attempt()
            except (BaseError, FileNotFoundError) as error:
                failure: Exception = error
            if not answers.may_pass(failure):
                break
        raise answers.refusal(failure, f"{self.url}/{key}", permission)

    @cached_property
    def _access(self) -> Access:
        return access(self.bucket)

    @cached_property
    def _brisk(self) -> S3Store:
        return self._connect(SILENT)

    @cached_property
    def _patient(self) -> S3Store:
        """For sending much: while that lasts, the server has nothing to say."""
        return self._connect(SENDING)

    def _connect(self, silent: float) -> S3Store:
        """A client that waits so many seconds for a byte, and tries everything once."""
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
            retry_config={"max_retries": 0, "retry_timeout": timedelta(0)},
            credential_provider=found.credentials,
        )


def _pauses(attempts: int) -> Iterator[float]:
    """Seconds to wait before each attempt: none, then any up to twice as many."""
    first, longest = PAUSES
    yield 0
    for again in range(attempts - 1):
        yield random.uniform(0, min(longest, first * 2**again))
