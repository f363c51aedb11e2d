"""Reading a registry back: what is missing, altered, unreferenced or foreign.

Rules:

* nothing is changed and nothing is deleted;
* what is damaged never stops the rest from being looked at;
* each chunk is read once, however many versions share it; what is remembered of it is
  its digest;
* somebody may publish meanwhile: what looks missing is looked for once more.

A trust root that was altered is judged by the ones that this machine has seen, and so
is a log that has become shorter: nothing else names its last release.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import GIT, NAME, SHA256, File
from interlock.attest.evidence import EVALUATION, Evidence
from interlock.attest.trust import follow
from interlock.canonical import parse
from interlock.errors import Refusal, VerificationFailed
from interlock.parallel import in_order
from interlock.progress import Bar, in_bytes
from interlock.registry import ledger
from interlock.registry.access import NoRegistry, open_registry, seen_roots
from interlock.registry.channels import Release, open_release, release_key
from interlock.registry.folder import Folder
from interlock.registry.records import Registry, chunk_key, root_key, version_key
from interlock.registry.results import open_result, result_key
from interlock.registry.seen import all_highest
from interlock.registry.store import Store, open_store

T = TypeVar("T")
MISSING, ALTERED = "missing", "altered"
UNREFERENCED, FOREIGN = "unreferenced", "foreign"
_NAME, _GIT, _SHA256 = NAME.pattern, f"(?:{GIT.pattern})", SHA256.pattern
_KINDS = {
    "root": re.compile(r"root/\d{8}\.json"),
    "chunks": re.compile(r"chunks/sha256/([0-9a-f]{2})/\1[0-9a-f]{62}"),
    "versions": re.compile(rf"versions/{_NAME}/{_GIT}\.json"),
    "evidence": re.compile(rf"evidence/{_NAME}/{_GIT}/.+-[0-9a-f]{{64}}\.json"),
    "channels": re.compile(rf"channels/{_NAME}/[^/]+/[^/]+\.json"),
    "results": re.compile(rf"results/{_NAME}/{_GIT}/{_SHA256}\.json"),
    "ledger": re.compile(
        rf"ledger/{_NAME}/{_SHA256}/(?:rows|(?:shares|uses)/{_SHA256})\.json"
    ),
}


@dataclass(frozen=True)
class Finding:
    """Something about a key that is not as it should be."""

    code: str  # missing, altered, unreferenced, foreign
    key: str
    found: str


class Damaged(VerificationFailed):
    """A registry that is not whole."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        counts = Counter(each.code for each in findings if each.code != UNREFERENCED)
        super().__init__(
            "a registry that is whole",
            ", ".join(f"{number} {code}" for code, number in counts.items()),
            "find out who did it; move away what is altered or foreign, and bring back "
            "what is missing with: interlock copy",
        )
        self.details = {"findings": [asdict(each) for each in findings]}


@dataclass(frozen=True)
class Report:
    """What was found, and how much was read."""

    findings: Sequence[Finding]
    keys: int
    size: int  # bytes

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, altered or foreign."""
        return all(each.code == UNREFERENCED for each in self.findings)

    def refuse_damage(self) -> None:
        """Raise VerificationFailed unless the registry is whole."""
        if not self.whole:
            raise Damaged(self.findings)


class Known(NamedTuple):
    """What the other records say of a version."""

    address: str
    tree: str


class Link(NamedTuple):
    """A release in its log: the digest of the record before it, and its own."""

    sequence: int
    previous: str
    sha256: str


def sort_keys(keys: Iterable[str]) -> tuple[dict[str, list[str]], list[Finding]]:
    """The keys of each kind, and those that are no registry key at all."""
    sorted_out: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    foreign = []
    for key in keys:
        kind = key.partition("/")[0]
        if kind in _KINDS and _KINDS[kind].fullmatch(key):
            sorted_out[kind].append(key)
        else:
            foreign.append(Finding(FOREIGN, key, "no key of a registry"))
    return sorted_out, foreign


def root_findings(
    seen: Sequence[bytes], held: Mapping[str, bytes], listed: Collection[str]
) -> Iterator[Finding]:
    """What is wrong with trust roots, by those that this machine has seen."""
    expected = {root_key(n): record for n, record in enumerate(seen, start=1)}
    for key, record in expected.items():
        if key not in listed:
            yield Finding(MISSING, key, "this machine has seen it")
        elif held.get(key, record) != record:
            yield Finding(ALTERED, key, "not the one that this machine has seen")
    for key in sorted(held.keys() - expected.keys()):
        yield Finding(ALTERED, key, "the trust root before it does not vouch for it")


def evidence_findings(
    key: str, each: Evidence, versions: Mapping[str, Known], listed: Collection[str]
) -> Iterator[Finding]:
    """What is wrong with where evidence is attached."""
    _, name, commit, file = key.split("/", 3)
    version = version_key(name, commit)
    if version not in listed:
        yield Finding(MISSING, version, f"{key} is attached to it")
    elif version in versions and versions[version].tree != each.tree:
        yield Finding(FOREIGN, key, f"it is about tree {each.tree[:12]}")
    if file.rpartition("-")[0] != each.session:
        yield Finding(FOREIGN, key, f"it is evidence of {each.session}")


def result_findings(
    key: str, each: Evidence, listed: Collection[str]
) -> Iterator[Finding]:
    """What an evaluation left that was not kept; before there was a ledger none was."""
    _, name, commit, _ = key.split("/", 3)
    if f"{EVALUATION}/{ledger.LEFT[0]}" in each.files:
        for left, sha256 in each.files.items():
            where = result_key(name, commit, sha256)
            if left.startswith(f"{EVALUATION}/") and where not in listed:
                yield Finding(MISSING, where, f"{key} names {left}")


def ledger_findings(keys: Sequence[str]) -> Iterator[Finding]:
    """Uses and shares of sets that are not there."""
    listed = {*keys}
    for key in keys:
        _, name, rows, _, *other = key.split("/")
        sets = [rows]
        if "/shares/" in key:
            sets += [other[0].removesuffix(".json")]
        for each in sets:
            if (where := ledger.rows_key(name, each)) not in listed:
                yield Finding(MISSING, where, f"{key} names it")


def release_findings(
    key: str,
    release: Release,
    versions: Mapping[str, Known],
    listed: Collection[str],
    policies: Collection[str],
) -> Iterator[Finding]:
    """What a release names that is not there, or is not what it names."""
    version = version_key(release.name, release.commit)
    named = {version, *release.evidence}
    for each in sorted(named - {*listed}):
        yield Finding(MISSING, each, f"{key} names it")
    if version in versions and versions[version].address != release.address:
        yield Finding(ALTERED, key, f"{version} has not the address that it names")
    for each, sha256 in release.evidence.items():
        if not each.endswith(f"-{sha256}.json"):
            yield Finding(ALTERED, key, f"{each} has not the digest that it names")
    if release.policy not in policies:
        yield Finding(ALTERED, key, "it was made by a trust root that is not here")


def log_findings(
    expected: Iterable[str], links: Mapping[str, Link], listed: Collection[str]
) -> Iterator[Finding]:
    """Where the log whose releases have the keys `expected` is broken."""
    before: str | None = ""
    for key in expected:
        link = links.get(key)  # none where it is damaged: that is reported elsewhere
        if key not in listed:
            yield Finding(MISSING, key, "the channel has gone further")
        elif link and before is not None and link.previous != before:
            yield Finding(ALTERED, key, "it does not follow on the release before it")
        before = link.sha256 if link else None


def fsck(url: str) -> Report:
    """Read everything in the registry at `url` back.

    Raises BadConfiguration where there is none, and VerificationFailed where no trust
    root is believed, so that there is nothing to hold its records against.
    """
    registry, problem = _open(url)
    report = _Reading(registry).report()
    if problem and report.whole:
        raise problem
    return report


def _open(url: str) -> tuple[Registry, Refusal | None]:
    """The registry, and what is wrong with its trust roots.

    It is then read with those that this machine has seen, if these are the right ones.
    """
    try:
        return open_registry(url), None
    except (NoRegistry, VerificationFailed) as refusal:
        store = open_store(url)
        seen, given = seen_roots(store.url), os.environ.get("INTERLOCK_ROOT")
        if not seen or given not in (None, "", digest(seen[0])):
            raise
        return Registry(store, follow(seen)), refusal


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    groups = defaultdict[str, list[str]](list)
    for kind, key in pairs:
        groups[kind].append(key)
    return groups


class _Reading:
    """What was found so far, and how many bytes were read."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store
        self._bar: Bar
        self._findings: list[Finding] = []
        self._size = 0

    def report(self) -> Report:
        """Read everything, records first."""
        keys, foreign = sort_keys(self._store.keys(""))
        self._findings += [*foreign, *_leftovers(self._store)]
        with in_bytes(0, "fsck records") as self._bar:
            needed, size = self._records(keys)
        with in_bytes(size, "fsck chunks") as self._bar:
            self._chunks(keys["chunks"], needed)
        total = len(foreign) + sum(map(len, keys.values()))
        return Report(_confirmed(self._store, self._findings), total, self._size)

    def _records(self, keys: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], int]:
        """The chunks, each with a version that needs it, and about their bytes."""
        listed = {key for kind in keys if kind != "chunks" for key in keys[kind]}
        policies = self._roots(keys["root"])
        versions, needed, size = self._versions(keys["versions"])
        for key, _, each in self._opened(
            keys["evidence"], self._registry.open_evidence
        ):
            self._findings += evidence_findings(key, each, versions, listed)
            self._findings += result_findings(key, each, listed)
            self._findings += self._use_findings(key, each, listed)
        logs: dict[tuple[str, str], dict[str, Link]] = defaultdict(dict)
        for key, record, release in self._opened(
            keys["channels"], partial(open_release, self._registry)
        ):
            self._findings += release_findings(key, release, versions, listed, policies)
            link = Link(release.sequence, release.previous, digest(record))
            logs[release.name, release.channel][key] = link
        self._logs(logs, listed)
        for key, file in self._files(keys):
            needed = {**dict.fromkeys(file.chunks, key), **needed}
            size += file.size
        self._findings += ledger_findings(keys["ledger"])
        return needed, size

    def _files(self, keys: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, File]]:
        """The files of results and of the ledger, each with the key that names it."""
        registry = self._registry
        kinds = _grouped((key.split("/")[3], key) for key in keys["ledger"])
        for _ in self._opened(kinds["uses"], partial(ledger.open_use, registry)):
            pass  # what is wrong with them is a finding by now
        for _ in self._opened(kinds["shares"], partial(ledger.open_share, registry)):
            pass
        for named, opener in (
            (kinds["rows.json"], ledger.open_rows),
            (keys["results"], open_result),
        ):
            for key, _, file in self._opened(named, partial(opener, registry)):
                yield key, file

    def _use_findings(
        self, key: str, each: Evidence, listed: Collection[str]
    ) -> Iterator[Finding]:
        """Whether the use of a test set that evidence tells of is in the ledger."""
        sha256 = each.files.get(f"{EVALUATION}/{ledger.LEFT[0]}")
        if sha256:
            try:
                use = ledger.use_from_json(parse(self._registry.chunk(sha256)))
            except (VerificationFailed, ValueError):
                return  # the chunk, or the evidence, is a finding of its own
            if use.record not in listed:
                yield Finding(MISSING, use.record, f"{key} tells of it")

    def _roots(self, keys: Sequence[str]) -> set[str]:
        """The digests of the trust roots that are believed."""
        seen = seen_roots(self._store.url)
        held = {key: data for key, data in self._read(keys)}
        self._findings += root_findings(seen, held, keys)
        return {*map(digest, seen)}

    def _versions(
        self, keys: Sequence[str]
    ) -> tuple[dict[str, Known], dict[str, str], int]:
        """The versions; the chunks, each with a version that needs it; their bytes."""
        versions: dict[str, Known] = {}
        needed: dict[str, str] = {}
        size = 0
        for key, _, manifest in self._opened(keys, self._registry.open_version):
            versions[key] = Known(manifest.address, manifest.tree)
            for file in manifest.files:
                new = {*file.chunks} - needed.keys()
                needed |= dict.fromkeys(new, key)
                size += len(new) * file.size // (len(file.chunks) or 1)
        return versions, needed, size

    def _logs(
        self, logs: Mapping[tuple[str, str], Mapping[str, Link]], listed: set[str]
    ) -> None:
        seen = all_highest(self._store.url)
        for name, channel in sorted(logs.keys() | seen.keys()):
            links = logs.get((name, channel), {})
            numbers = [seen.get((name, channel), 0), *(n for n, _, _ in links.values())]
            expected = (
                release_key(name, channel, n) for n in range(1, max(numbers) + 1)
            )
            self._findings += log_findings(expected, links, listed)

    def _chunks(self, keys: Sequence[str], needed: Mapping[str, str]) -> None:
        """Read each chunk once: those that are needed, and those that are there."""
        chunks = dict.fromkeys([*needed, *(key.rpartition("/")[2] for key in keys)])
        found = in_order(partial(_read_chunk, self._store), chunks)
        for chunk, (size, finding) in zip(chunks, found, strict=True):
            self._count(size)
            if finding and finding.code == MISSING and chunk in needed:
                finding = replace(finding, found=f"{needed[chunk]} names it")
            if not finding and chunk not in needed:
                found_by = "no version names it: a publish that was cut off, or pinned"
                finding = Finding(UNREFERENCED, chunk_key(chunk), found_by)
            self._findings += [finding] if finding else []

    def _opened(
        self, keys: Sequence[str], opener: Callable[[str, bytes], T]
    ) -> Iterator[tuple[str, bytes, T]]:
        """The records that are what their keys say; the others are findings."""
        for key, record in self._read(keys):
            try:
                opened = opener(key, record)
            except VerificationFailed as refusal:
                self._findings.append(Finding(ALTERED, key, refusal.found))
            else:
                yield key, record, opened

    def _read(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        values = in_order(partial(_read, self._store), keys)
        for key, data in zip(keys, values, strict=True):
            if isinstance(data, Finding):
                self._findings.append(data)
            else:
                self._count(len(data))
                yield key, data

    def _count(self, size: int) -> None:
        self._size += size
        self._bar.update(size)


def _read(store: Store, key: str) -> bytes | Finding:
    try:
        return store.read(key)
    except KeyError:
        return Finding(MISSING, key, "it is listed, and cannot be read")
    except VerificationFailed as refusal:
        return Finding(ALTERED, key, refusal.found)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:  # a bad sector is no reason not to look at the others
        return Finding(ALTERED, key, f"it cannot be read: {error.strerror}")


def _read_chunk(store: Store, sha256: str) -> tuple[int, Finding | None]:
    """The bytes of a chunk, and what is wrong with it."""
    data = _read(store, chunk_key(sha256))
    if isinstance(data, Finding):
        return 0, data
    found = digest(data)
    if found == sha256:
        return len(data), None
    return len(data), Finding(ALTERED, chunk_key(sha256), f"SHA-256 {found[:12]}")


def _leftovers(store: Store) -> Iterator[Finding]:
    """What writes that were killed have left in a folder; no store lists it."""
    if isinstance(store, Folder):
        for path in sorted(store.root.rglob(".new-*")):
            left = "a write that was killed left it, or one is under way"
            yield Finding(UNREFERENCED, str(path.relative_to(store.root)), left)


def _confirmed(store: Store, findings: Iterable[Finding]) -> list[Finding]:
    """The findings, each once; without what has come since the keys were listed."""
    once = {(each.code, each.key): each for each in findings}
    return [
        each
        for each in once.values()
        if each.code != MISSING or isinstance(_read(store, each.key), Finding)
    ]
