"""The checks: each looks at one fact and says what falls short, or nothing.

A check has the name of its fact, which is also the code of its finding. It is asked
only about a fact that was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.doctor.facts import (
    Bucket,
    Facts,
    Folder,
    KeyFile,
    Machine,
    Retention,
    Trust,
    Unseen,
)
from interlock.errors import Refusal
from interlock.policy import Policy, missing_guards

YEAR = 365  # days that nothing new can be deleted for, at least
ROOM = 2**30  # bytes
SKEW = 60  # seconds; S3 refuses what is signed 15 minutes off
ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}  # reading from these takes hours
NETWORKS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre"}
NETWORKS |= {"glusterfs", "beegfs", "gpfs", "fuse.sshfs", "fuse.rclone", "afpfs"}
LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


@dataclass(frozen=True)
class Finding:
    """What falls short of the promises, and the exact thing to apply."""

    code: str
    expected: str
    found: str
    todo: str


@dataclass(frozen=True)
class Report:
    """What the checks say, each by its code."""

    findings: Sequence[Finding]
    unseen: Mapping[str, str]  # the facts that could not be looked at, and why
    kept: Sequence[str]

    @property
    def exit_code(self) -> int:
        """2 where something falls short; 4 where nothing does as far as could be seen.

        What could not be looked at is unknown, and unknown is never fine.
        """
        return 2 if self.findings else 4 if self.unseen else 0


Said = tuple[str, str, str] | Refusal | None  # expected, found, to do


def git(path: str | None, _: Machine) -> Said:
    """Git says what the source is."""
    return None if path else ("git", "none on the PATH", "install git")


def tools(missing: Sequence[str], _: Machine) -> Said:
    """Nox and uv run the sessions."""
    if not missing:
        return None
    return (
        "nox and uv, to run the sessions",
        f"no {' and no '.join(missing)}",
        (f"pip install {' '.join(missing)}"),
    )


def project(refusal: Refusal | None, _: Machine) -> Said:
    """The project's settings can be used."""
    return refusal


def lock(there: bool, _: Machine) -> Said:
    """The lock pins what the sessions install."""
    if there:
        return None
    return "requirements.lock in the project", "none", "nox -s lock"


def key(file: KeyFile | None, _: Machine) -> Said:
    """A key that others can read signs for them too."""
    if file is None:
        return None
    if file.mode is None:
        return (
            "a key where INTERLOCK_KEY says",
            f"no file {file.path}",
            ("correct INTERLOCK_KEY, or unset it"),
        )
    if not file.mode & 0o077:
        return None
    return (
        f"{file.path} for its owner only, mode 600",
        f"mode {file.mode:o}",
        f"chmod 600 {file.path}",
    )


def variables(wrong: Mapping[str, str], _: Machine) -> Said:
    """A setting that points nowhere is a typing error."""
    if not wrong:
        return None
    found = "; ".join(f"{name}: {why}" for name, why in wrong.items())
    return (
        "variables that point somewhere",
        found,
        f"correct or unset {', '.join(wrong)}",
    )


def root(refusal: Refusal | None, _: Trust) -> Said:
    """The chain of trust roots holds."""
    return refusal


def pin(roots: tuple[str, str], _: Trust) -> Said:
    """Without a pin, whoever replaces the registry is believed."""
    pinned, found = roots
    if pinned == found:
        return None
    if not pinned:
        return (
            "the first trust root pinned on this machine",
            "it is not",
            (f"compare it with the keeper's, then: export INTERLOCK_ROOT={found}"),
        )
    return (
        f"trust root {pinned[:12]}, as pinned",
        f"trust root {found[:12]}",
        ("use nothing of this registry, and find out who replaced it"),
    )


def signer(refusal: Refusal | None, _: Trust) -> Said:
    """A key that the root does not know signs in vain; no key at all is fine."""
    return refusal


def writers(open_to_all: Sequence[Any], _: Folder) -> Said:
    """What everybody may write to, everybody may delete from."""
    if not open_to_all:
        return None
    return (
        "folders that not everybody may write to",
        f"{len(open_to_all)} they may",
        (f"chmod o-w {' '.join(map(str, open_to_all))}"),
    )


def links(once: bool, _: Folder) -> Said:
    """Create-if-absent is a hard link."""
    if once:
        return None
    return (
        "a file system where a name is linked once, and never twice",
        "another",
        ("move the registry to a local disk, or to S3"),
    )


def file_system(kind: str, _: Folder) -> Said:
    """Over a network, an answer that was lost looks like a lost race."""
    if kind not in NETWORKS:
        return None
    return (
        "a local disk",
        f"{kind}, over a network",
        ("for machines to share a registry, put it on S3"),
    )


def room(size: int, folder: Folder) -> Said:
    """A full disk refuses what is published."""
    if size >= ROOM:
        return None
    return (
        f"{ROOM:,} bytes or more of room",
        f"{size:,}",
        (f"make room on the disk of {folder.path}"),
    )


def endpoint(url: str, _: Bucket) -> Said:
    """Without TLS, whoever is on the way reads along."""
    if not url.startswith("http://") or url.startswith(LOOPBACK):
        return None
    return "an endpoint with TLS", url, "set AWS_ENDPOINT_URL_S3 to an https:// address"


def versioning(state: str, bucket: Bucket) -> Said:
    """With versions, what is overwritten or deleted by force can be had back."""
    if state == "Enabled":
        return None
    return (
        "a bucket that keeps versions",
        f"versioning {state.lower() or 'off'}",
        (
            f"aws s3api put-bucket-versioning --bucket {bucket.name}"
            " --versioning-configuration Status=Enabled"
        ),
    )


def object_lock(retention: Retention | None, bucket: Bucket) -> Said:
    """Nobody deletes what Object Lock keeps, not by a lifecycle rule either."""
    if retention and retention.days >= YEAR:
        return None
    found = f"{retention.days} days, {retention.mode}" if retention else "none"
    rule = f"{{DefaultRetention={{Mode=GOVERNANCE,Days={YEAR}}}}}"
    return (
        f"Object Lock that keeps what is new for {YEAR} days or more",
        found,
        (
            f"aws s3api put-object-lock-configuration --bucket {bucket.name}"
            f" --object-lock-configuration 'ObjectLockEnabled=Enabled,Rule={rule}'"
        ),
    )


def public_access(off: Sequence[str], bucket: Bucket) -> Said:
    """Nobody makes the registry public by mistake."""
    if not off:
        return None
    names = "BlockPublicAcls IgnorePublicAcls BlockPublicPolicy RestrictPublicBuckets"
    every = ",".join(f"{name}=true" for name in names.split())
    return (
        "all public access blocked",
        f"off: {', '.join(off)}",
        (
            f"aws s3api put-public-access-block --bucket {bucket.name}"
            f" --public-access-block-configuration {every}"
        ),
    )


def public(is_public: bool, bucket: Bucket) -> Said:
    """Not by its policy either."""
    if not is_public:
        return None
    return (
        "a policy that names who may read",
        "one that makes the bucket public",
        (_apply_policy(bucket)),
    )


def policy(live: Policy | None, bucket: Bucket) -> Said:
    """The guards that interlock prints are all there, and none is weaker."""
    missing = _missing(live, bucket)
    if not missing:
        return None
    found = f"missing or changed: {', '.join(missing)}" if live else "no policy"
    return (
        "the bucket policy of `interlock policy bucket`",
        found,
        _apply_policy(bucket),
    )


def _missing(live: Policy | None, bucket: Bucket) -> list[str]:
    """The guards that are not there; only AWS can be asked for all of them."""
    return missing_guards(live or {}, bucket.url, create_only=bucket.aws)


def _apply_policy(bucket: Bucket) -> str:
    other = "" if bucket.aws else " --other-server"
    return (
        f"interlock policy bucket --registry {bucket.url}{other} --keeper ARN"
        " --publisher ARN > policy.json && aws s3api put-bucket-policy"
        f" --bucket {bucket.name} --policy file://policy.json"
    )


def acls(count: bool, bucket: Bucket) -> Said:
    """The policy alone says who may do what."""
    if not count:
        return None
    return (
        "ACLs without effect",
        "ACLs that may let others in",
        (
            f"aws s3api put-bucket-ownership-controls --bucket {bucket.name}"
            " --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
        ),
    )


def encryption(on: bool, bucket: Bucket) -> Said:
    """A disk that is thrown away tells nothing."""
    if on:
        return None
    default = "{ApplyServerSideEncryptionByDefault={SSEAlgorithm=AES256}}"
    return (
        "objects encrypted on the server's disks",
        "no encryption by default",
        (
            f"aws s3api put-bucket-encryption --bucket {bucket.name}"
            f" --server-side-encryption-configuration 'Rules=[{default}]'"
        ),
    )


def lifecycle(rules: Sequence[Mapping[str, Any]], bucket: Bucket) -> Said:
    """A rule is not bound by the policy: it deletes whatever that says."""
    harmful = [
        str(rule.get("ID") or number)
        for number, rule in enumerate(rules, 1)
        if _touches(rule, bucket.prefix) and _harms(rule)
    ]
    if not harmful:
        return None
    return (
        "no rule that deletes or archives the registry",
        ", ".join(harmful),
        (
            f"aws s3api get-bucket-lifecycle-configuration --bucket {bucket.name}"
            " > rules.json; take them out there; aws s3api"
            f" put-bucket-lifecycle-configuration --bucket {bucket.name}"
            " --lifecycle-configuration file://rules.json"
        ),
    )


def _touches(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether a rule may be about keys of the registry."""
    where = rule.get("Filter") or {}
    own = where.get("Prefix") or where.get("And", {}).get("Prefix")
    own = own or rule.get("Prefix") or ""
    return rule.get("Status") == "Enabled" and (
        prefix.startswith(own) or own.startswith(prefix)
    )


def _harms(rule: Mapping[str, Any]) -> bool:
    """Whether it deletes objects or their versions, or puts them out of reach."""
    deletes = rule.get("Expiration", {}).keys() & {"Days", "Date"}
    moves = (
        *rule.get("Transitions", ()),
        *rule.get("NoncurrentVersionTransitions", ()),
    )
    return bool(
        deletes
        or "NoncurrentVersionExpiration" in rule
        or any(move.get("StorageClass") in ARCHIVES for move in moves)
    )


def create_only(honoured: bool, _: Bucket) -> Said:
    """All that a registry asks of a store beyond reading and listing."""
    if honoured:
        return None
    return (
        "412 for a record that is there already",
        "it was written once more",
        ("use a server that honours If-None-Match: this one overwrites"),
    )


def clock(ahead: float, _: Bucket) -> Said:
    """Evidence has an age, and S3 refuses what is signed at a wrong time."""
    if abs(ahead) <= SKEW:
        return None
    way = "ahead" if ahead > 0 else "behind"
    return (
        f"a clock within {SKEW} s of the server's",
        f"{abs(ahead):.0f} s {way}",
        ("set this machine's clock, by NTP"),
    )


def region(places: tuple[str, str], bucket: Bucket) -> Said:
    """Another region's endpoint sends every request on, or refuses it."""
    ours, its = places
    if ours == its or not bucket.aws:
        return None
    return f"the bucket's region, {its}", ours, f"export AWS_REGION={its}"


def credentials(access_key: str, _: Bucket) -> Said:
    """A key that does not expire can be stolen once and used for ever."""
    if not access_key.startswith("AKIA"):
        return None
    return (
        "credentials that expire",
        f"a long-lived access key, {access_key[:8]}...",
        ("take a role instead: interlock policy trust prints one for GitHub's jobs"),
    )


def powers(allowed: Sequence[str], bucket: Bucket) -> Said:
    """What nobody needs and nothing stops; the bucket's policy would."""
    live = None if isinstance(bucket.policy, Unseen) else bucket.policy
    if not allowed or not _missing(live, bucket):
        return None
    who = bucket.identity or "these credentials"
    return (
        f"{who} to read and create only",
        f"may also {', '.join(allowed)}",
        (f"take those out of its policies; {_apply_policy(bucket)}"),
    )


Check = Callable[[Any, Any], Said]
CHECKS: Mapping[type, Sequence[Check]] = {
    Machine: (git, tools, project, lock, key, variables),
    Trust: (root, pin, signer),
    Folder: (writers, links, file_system, room),
    Bucket: (
        *(endpoint, versioning, object_lock, public_access, public, policy, acls),
        *(encryption, lifecycle, create_only, clock, region, credentials, powers),
    ),
}


def judge(facts: Facts) -> Report:
    """Every check on the fact of its name."""
    findings: list[Finding] = []
    unseen: dict[str, str] = {}
    kept: list[str] = []
    for group in facts:
        for check in CHECKS[type(group)]:
            code, fact = check.__name__, getattr(group, check.__name__)
            if isinstance(fact, Unseen):
                unseen[code] = fact.why
            elif said := check(fact, group):
                findings.append(_finding(code, said))
            else:
                kept.append(code)
    return Report(findings, unseen, kept)


def _finding(code: str, said: tuple[str, str, str] | Refusal) -> Finding:
    if isinstance(said, Refusal):
        return Finding(code, said.expected, said.found, said.todo)
    return Finding(code, *said)
