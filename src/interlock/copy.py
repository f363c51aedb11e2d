"""From one registry to another: versions with their evidence, channels with their logs.

Rules:

* nothing is written before it is known that both agree: one chain of trust roots, one
  version for each commit, no channel whose log has gone two ways;
* every record and chunk is verified on the way, with the newer trust root of the two;
* what is there already is not sent, so doing it again finishes what was cut off;
* a record is written after everything that it names: trust roots, then of each version
  its chunks, its record and its evidence, then each channel's releases, oldest first;
* a channel's log is copied whole, with every version that it names, or left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from interlock.artifact.chunks import digest
from interlock.artifact.manifest import File, Manifest
from interlock.attest.evidence import precedence
from interlock.attest.trust import follow
from interlock.errors import BadConfiguration, Conflict
from interlock.parallel import MANY, in_order
from interlock.progress import in_bytes
from interlock.registry.access import open_registry, roots, seen_roots
from interlock.registry.channels import Release, live, log, open_release, release_key
from interlock.registry.ledger import open_rows, open_share, open_use
from interlock.registry.records import (
    Registry,
    chunk_key,
    find_commit,
    model_name,
    root_key,
    version_key,
)
from interlock.registry.results import open_result
from interlock.registry.resolve import check_release, parse_reference
from interlock.registry.store import Store, open_store, read_required

# What verifies the records of the ledger, in the order in which they are written.
LEDGER: Mapping[str, Callable[[Registry, str, bytes], object]] = {
    "rows.json": open_rows,
    "shares": open_share,
    "uses": open_use,
}


@dataclass(frozen=True)
class Copied:
    """What was sent, for the destination lacked it."""

    versions: Sequence[str]  # NAME@COMMIT
    chunks: int
    sent: int  # bytes of chunks
    evidence: int
    releases: int
    others: int  # results, and entries of the ledger

    @property
    def anything(self) -> bool:
        """Whether anything was sent."""
        records = self.evidence + self.releases + self.others
        return bool(self.versions or self.chunks or records)


def copy(source: str, destination: str, references: Sequence[str] = ()) -> Copied:
    """Copy the versions that `references` stand for, or all, with their evidence.

    NAME is every version of a model and its channels; NAME@CHANNEL the channel's log
    and every version in it; NAME@COMMIT one version, and no channel.

    Raises Conflict, with nothing written, where the two registries do not agree, and
    VerificationFailed for what is altered or missing in the source; what is complete
    in the destination by then stays.
    """
    here, store = open_registry(source), open_store(destination)
    _refuse_nested(here.store.url, store.url)
    agreed = _agreed_roots(here.store, store)
    trust = follow(agreed)
    both = _Both(Registry(here.store, trust), Registry(store, trust))
    plan = _plan(both, references)
    there = {*store.keys("root/")}
    for number, record in enumerate(agreed, start=1):
        if (key := root_key(number)) not in there:
            _create(both, key, record)
    open_registry(destination)  # from now on this machine knows it
    return _send(both, plan)


def _refuse_nested(source: str, destination: str) -> None:
    """Raise BadConfiguration for a registry within the other."""
    inner, outer = sorted((source, destination), key=len, reverse=True)
    if inner.startswith(f"{outer}/"):
        raise BadConfiguration(
            "two registries beside each other",
            f"{inner} within {outer}",
            "name another place to copy to",
        )


@dataclass(frozen=True)
class _Both:
    """Two registries, read with one trust root."""

    source: Registry
    destination: Registry

    def lacking(self, prefix: str) -> list[str]:
        """The keys below a prefix that only the source has."""
        there = {*self.destination.store.keys(prefix)}
        return [key for key in self.source.store.keys(prefix) if key not in there]


def _agreed_roots(source: Store, destination: Store) -> list[bytes]:
    """The trust roots of both: the one chain goes on where the other ends."""
    ours = roots(source)
    theirs = roots(destination)
    if theirs:
        open_registry(destination.url)
    theirs = theirs or seen_roots(destination.url)
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), start=1):
        if our != their:
            raise Conflict(
                f"trust root {number} of {source.url}, {digest(our)[:12]}",
                f"{digest(their)[:12]} as trust root {number} of {destination.url}",
                "these are two registries: copy to an empty place",
            )
    return max(ours, theirs, key=len)


@dataclass(frozen=True)
class _Lack:
    """What the destination lacks of a version."""

    key: str  # of the version
    record: bool
    chunks: Sequence[str]
    results: Sequence[str]  # keys
    evidence: Sequence[str]  # keys


@dataclass(frozen=True)
class _Plan:
    versions: Sequence[_Lack]
    chunks: Sequence[str]  # of the ledger
    ledger: Sequence[str]  # keys, each after those that it needs
    size: int  # of all chunks in bytes, about
    releases: Sequence[Release]


def _plan(both: _Both, references: Sequence[str]) -> _Plan:
    """What is to be sent. Raises Conflict where the two do not agree."""
    logs, versions = _chosen(both.source, references)
    releases = [release for each in logs for release in _behind(both, each)]
    records = {*both.lacking("versions/")}
    needed: dict[str, tuple[str, int]] = {}  # chunk -> its first version, its bytes
    manifests = in_order(partial(_manifest, both.source), versions)
    for key, manifest in zip(versions, manifests, strict=True):
        if key not in records:
            _refuse_other(both, manifest, _manifest(both.destination, key))
        for chunk, size in _chunks(manifest.files):
            needed.setdefault(chunk, (key, size))
    names = {key.split("/")[1] for key in versions}
    for key, file in _files(both.source, versions, names):
        for chunk, size in _chunks([file]):
            needed.setdefault(chunk, (_version_of(key), size))
    for chunk in _present(both.destination, needed):
        needed.pop(chunk, None)
    chunks = _grouped((key, chunk) for chunk, (key, _) in needed.items())
    evidence = _grouped((_version_of(e), e) for e in both.lacking("evidence/"))
    results = _grouped((_version_of(r), r) for r in both.lacking("results/"))
    lacks = [
        _Lack(k, k in records, chunks[k], results[k], evidence[k]) for k in versions
    ]
    return _Plan(
        versions=[e for e in lacks if e.record or e.chunks or e.results or e.evidence],
        chunks=[c for k in chunks if k.startswith("ledger/") for c in chunks[k]],
        ledger=[k for name in names for k in _ledger(both.lacking(f"ledger/{name}/"))],
        size=sum(size for _, size in needed.values()),
        releases=releases,
    )


def _files(
    source: Registry, versions: Collection[str], names: Collection[str]
) -> Iterator[tuple[str, File]]:
    """The files of results and of the ledger, each by the key that names it."""
    wanted = {*versions}
    kept = [k for k in source.store.keys("results/") if _version_of(k) in wanted]
    sets = [
        key
        for name in sorted(names)
        for key in source.store.keys(f"ledger/{name}/")
        if key.endswith("/rows.json")
    ]
    for keys, opener in ((kept, open_result), (sets, open_rows)):
        records = in_order(partial(read_required, source.store), keys)
        for key, record in zip(keys, records, strict=True):
            yield key, opener(source, key, record)


def _ledger(keys: Iterable[str]) -> list[str]:
    """Sets before what they share, and both before their uses."""
    return sorted(keys, key=lambda key: [*LEDGER].index(key.split("/")[3]))


def _chosen(
    source: Registry, references: Sequence[str]
) -> tuple[list[list[Release]], list[str]]:
    """The logs to be copied, and the keys of the versions, each once."""
    names = dict.fromkeys(k.split("/")[1] for k in source.store.keys("versions/"))
    logs: dict[tuple[str, str], list[Release]] = {}
    versions: dict[str, None] = {}
    for reference in references or names:
        for name, channel in _channels(source, reference):
            # Before the versions are listed, so that each that it names is among them.
            logs[name, channel] = [*log(source, name, channel)]
            versions |= dict.fromkeys(map(_released, logs[name, channel]))
        versions |= dict.fromkeys(_versions(source, reference))
    return [*logs.values()], [*versions]


def _channels(source: Registry, reference: str) -> Iterator[tuple[str, str]]:
    """The channels that a reference stands for: of one version, none."""
    name, at, ref = reference.partition("@")
    for channel in source.trust.channels:
        if ref == channel or not at:
            yield name, channel


def _versions(source: Registry, reference: str) -> Iterator[str]:
    """The keys of the versions that a reference names itself.

    Raises BadConfiguration for a reference to nothing.
    """
    if "@" not in reference:
        keys = [*source.store.keys(f"versions/{model_name(reference)}/")]
        if not keys:
            raise BadConfiguration(
                f"the name of a model in {source.store.url}",
                repr(reference),
                "name one, or NAME@CHANNEL, or NAME@COMMIT, or none at all",
            )
        yield from keys
        return
    name, ref = parse_reference(reference)
    if ref in source.trust.channels:
        live(source, name, ref)
    else:
        yield version_key(name, find_commit(source, name, ref))


def _released(release: Release) -> str:
    return version_key(release.name, release.commit)


def _version_of(key: str) -> str:
    """The key of the version that evidence or a result is about; else `key` itself."""
    kind, name, commit, _ = key.split("/", 3)
    return key if kind == "ledger" else version_key(name, commit)


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    groups = defaultdict[str, list[str]](list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _behind(both: _Both, releases: Sequence[Release]) -> list[Release]:
    """The releases of a log that the destination lacks.

    Each record names the one before it by digest: where the newest that both have is
    the same, all before it are.
    """
    if not releases:
        return []
    folder = f"channels/{releases[0].name}/{releases[0].channel}/"
    missing = {*both.lacking(folder)}
    shared = [each for each in releases if _key(each) not in missing]
    if shared:
        _refuse_diverged(both, shared[-1])
    return [each for each in releases if _key(each) in missing]


def _key(release: Release) -> str:
    return release_key(release.name, release.channel, release.sequence)


def _refuse_diverged(both: _Both, ours: Release) -> None:
    key = _key(ours)
    record = read_required(both.destination.store, key)
    if record == read_required(both.source.store, key):
        return
    theirs = open_release(both.destination, key, record)
    where = f"release {ours.sequence} of {ours.channel}"
    raise Conflict(
        f"{where} in {both.destination.store.url} to be that of "
        f"{both.source.store.url}: {ours.version}, by {ours.actor}",
        f"{theirs.version}, by {theirs.actor}: the logs have gone two ways",
        "decide which registry counts, and copy that one to an empty place",
    )


def _refuse_other(both: _Both, ours: Manifest, theirs: Manifest) -> None:
    if ours != theirs:
        raise Conflict(
            f"{ours.version} with address {ours.address[:12]}, "
            f"as in {both.source.store.url}",
            f"address {theirs.address[:12]} in {both.destination.store.url}",
            "a version is never overwritten: copy to an empty place",
        )


def _manifest(registry: Registry, key: str) -> Manifest:
    return registry.open_version(key, read_required(registry.store, key))


def _chunks(files: Iterable[File]) -> Iterator[tuple[str, int]]:
    """The chunks of files, and about how many bytes each has."""
    for file in files:
        for chunk in file.chunks:
            yield chunk, file.size // len(file.chunks)


def _present(registry: Registry, chunks: Iterable[str]) -> Iterator[str]:
    """The chunks that are in the part of the registry where `chunks` would be.

    They are listed, not read: a thousand of them are one request to an object store.
    """
    folders = {chunk_key(chunk).rpartition("/")[0] for chunk in chunks}
    for folder in sorted(folders):
        for key in registry.store.keys(f"{folder}/"):
            yield key.rpartition("/")[2]


def _send(both: _Both, plan: _Plan) -> Copied:
    versions, sent = [], [0]
    with in_bytes(plan.size, "copy") as bar:
        for lack in plan.versions:
            manifest = _manifest(both.source, lack.key)
            for size in in_order(partial(_send_chunk, both), lack.chunks, MANY):
                sent.append(size)
                bar.update(size)
            if lack.record:
                _create(both, lack.key, read_required(both.source.store, lack.key))
                versions.append(manifest.version)
            for key in lack.results:
                _create(both, key, read_required(both.source.store, key))
            _send_evidence(both, lack.evidence)
        for size in in_order(partial(_send_chunk, both), plan.chunks, MANY):
            sent.append(size)
            bar.update(size)
    for key in plan.ledger:
        record = read_required(both.source.store, key)
        LEDGER[key.split("/")[3]](both.source, key, record)
        _create(both, key, record)
    for release in plan.releases:
        _send_release(both, release)
    return Copied(
        versions=versions,
        chunks=len(sent) - 1,
        sent=sum(sent),
        evidence=sum(len(lack.evidence) for lack in plan.versions),
        releases=len(plan.releases),
        others=len(plan.ledger) + sum(len(lack.results) for lack in plan.versions),
    )


def _send_chunk(both: _Both, sha256: str) -> int:
    """Copy a chunk; its bytes."""
    data = both.source.chunk(sha256)
    if not both.destination.store.create(chunk_key(sha256), data):
        both.destination.chunk(sha256)  # somebody else's: it must be what it is called
    return len(data)


def _send_evidence(both: _Both, keys: Sequence[str]) -> None:
    """Copy evidence, what counts first: half of it must not look better than all."""
    records = {key: read_required(both.source.store, key) for key in keys}
    opened = {k: both.source.open_evidence(k, data) for k, data in records.items()}
    for key in sorted(keys, key=lambda key: precedence(opened[key]), reverse=True):
        _create(both, key, records[key])


def _send_release(both: _Both, release: Release) -> None:
    """Copy a release, when all that it names is there."""
    manifest = _manifest(both.destination, _released(release))
    store = both.destination.store
    records = {key: read_required(store, key) for key in release.evidence}
    check_release(release, manifest, records)
    _create(both, _key(release), read_required(both.source.store, _key(release)))


def _create(both: _Both, key: str, record: bytes) -> None:
    """Write a record. Raises Conflict where another one is there."""
    store = both.destination.store
    if not store.create(key, record) and store.read(key) != record:
        raise Conflict(
            f"{key} in {store.url} to be that of {both.source.store.url}",
            "another record, written just now",
            "run the command again, to see whose it is",
        )
