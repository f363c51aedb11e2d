"""What can be known, as values, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from interlock.errors import Refusal
from interlock.policy import Policy, place


@dataclass(frozen=True)
class Unseen:
    """A fact that could not be looked at: never taken for a good one."""

    why: str


T = TypeVar("T")
Seen: TypeAlias = T | Unseen


@dataclass(frozen=True)
class Machine:
    """What this machine has, for whoever works here."""

    git: str | None  # where it is
    tools: Sequence[str]  # of those that run the sessions, what is missing; a project's
    project: Refusal | None  # what is wrong with its settings
    lock: bool  # whether the project has requirements.lock; True where it is none
    key: Seen[KeyFile | None]
    variables: Mapping[str, str]  # those that point nowhere, and why


@dataclass(frozen=True)
class KeyFile:
    """The file of the key that signs."""

    path: Path
    mode: int | None  # None where there is no file


@dataclass(frozen=True)
class Trust:
    """The trust root of the registry, and what this machine knows of it."""

    root: Refusal | None  # why it is not believed; None where it is
    pin: Seen[tuple[str, str]]  # SHA-256 of the first: pinned, "" if not; and found
    signer: Seen[Refusal | None]  # why the key here may not sign; None where it may


@dataclass(frozen=True)
class Folder:
    """A registry in a folder."""

    path: Path
    writers: Seen[Sequence[Path]]  # the folders that everybody may write to
    links: Seen[bool]  # whether a name is linked once, and never twice
    file_system: Seen[str]
    room: Seen[int]  # bytes


@dataclass(frozen=True)
class Retention:
    """How long Object Lock keeps what is new, and how strictly."""

    mode: str
    days: int


@dataclass(frozen=True)
class Bucket:
    """A registry in a bucket, and who asks."""

    url: str
    endpoint: str
    identity: str  # "" where nobody can say
    versioning: Seen[str]
    object_lock: Seen[Retention | None]
    public_access: Seen[Sequence[str]]  # what of the block is off
    public: Seen[bool]  # whether S3 says that the policy makes it public
    policy: Seen[Policy | None]
    acls: Seen[bool]  # whether an ACL may let others in
    encryption: Seen[bool]
    lifecycle: Seen[Sequence[Mapping[str, Any]]]
    create_only: Seen[bool]  # whether a second create is told so
    clock: Seen[float]  # seconds that ours is ahead
    region: Seen[tuple[str, str]]  # ours, and the bucket's
    credentials: Seen[str]  # the access key's id
    powers: Seen[Sequence[str]]  # what our own policies allow and nobody should need

    @classmethod
    def unreached(cls, url: str, endpoint: str, why: str) -> Bucket:
        """A bucket of which nothing could be seen."""
        seen = [each.name for each in fields(cls) if str(each.type).startswith("Seen")]
        return cls(url, endpoint, "", **dict.fromkeys(seen, Unseen(why)))

    @property
    def name(self) -> str:
        """The bucket alone."""
        return place(self.url).bucket

    @property
    def prefix(self) -> str:
        """What the registry's keys start with."""
        prefix = place(self.url).prefix
        return f"{prefix}/" if prefix else ""

    @property
    def aws(self) -> bool:
        """Whether the server is AWS itself."""
        return is_aws(self.endpoint)


def is_aws(endpoint: str) -> bool:
    """Whether an endpoint is one of AWS itself."""
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


Facts = Sequence[Machine | Trust | Folder | Bucket]
