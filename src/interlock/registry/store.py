"""The store: four verbs are all that the registry asks of it.

* `create` makes a key that is absent, whole or not at all, and says whether it did;
* `read` gives the bytes of a key;
* `sha256` says what a key holds, without moving it where the store can vouch for it;
* `keys` lists the keys below a prefix, each folder in order.

Nothing is changed in place and nothing is deleted, so there is no lock to take and
nothing to clean up after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from interlock.errors import BadConfiguration, VerificationFailed
from interlock.parallel import in_order


class Store(Protocol):
    """A place for write-once values under slash-separated keys."""

    url: str

    def create(self, key: str, data: bytes) -> bool:
        """Make `key` hold `data`; False, and nothing done, where it exists already."""

    def read(self, key: str) -> bytes:
        """The bytes of `key`. Raises KeyError where it is absent."""

    def sha256(self, key: str) -> str | None:
        """The SHA-256 of the bytes of `key`, 64 hex digits; None where it is absent."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`, which is empty or ends in a slash.

        Those of one folder come in ascending order; so do all of them in a folder and
        on AWS, but SeaweedFS has a/ before a-b/.
        """


def open_store(url: str) -> Store:
    """The store at `url`: s3://BUCKET/PREFIX, or else the path of a folder."""
    scheme, separator, _ = url.partition("://")
    if scheme == "s3":
        from interlock.registry.s3 import S3

        return S3(url)
    if separator:
        raise BadConfiguration(
            "a registry at s3://BUCKET/PREFIX, or in a folder",
            f"{scheme}://",
            "correct INTERLOCK_REGISTRY, or registry in [tool.interlock]",
        )
    from interlock.registry.folder import Folder

    return Folder(Path(url))


def read_each(store: Store, keys: Iterable[str]) -> dict[str, bytes]:
    """The bytes of keys that verified records name, or that are listed; many at once.

    Raises VerificationFailed where one is absent.
    """
    keys = [*keys]
    return dict(zip(keys, in_order(partial(read_required, store), keys), strict=True))


def read_required(store: Store, key: str) -> bytes:
    """The bytes of a key that a verified record names.

    Raises VerificationFailed where it is absent: the registry has lost it.
    """
    try:
        return store.read(key)
    except KeyError:
        raise VerificationFailed(
            f"{key} in the registry {store.url}",
            "no such entry",
            "restore it from a copy of the registry",
        ) from None
