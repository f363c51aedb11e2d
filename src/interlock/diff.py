"""What differs between two versions, or between a version and the checkout.

Both sides are known by their manifests, so that files are compared by digest and none
is fetched. What a manifest does not tell comes from where it is: packages from
requirements.lock in Git, or from the evidence; commits from Git; metrics from what the
evaluations left in the registry. What cannot be told is None, and never empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock import config as configuration
from interlock.artifact.chunks import CHUNK, digest
from interlock.artifact.manifest import File, Manifest, incompatible
from interlock.artifact.pack import pack
from interlock.attest.evidence import EVALUATION, Evidence, newest
from interlock.attest.handover import locked
from interlock.errors import EvidenceRefused, expecting
from interlock.registry.records import Registry
from interlock.registry.resolve import resolve
from interlock.registry.results import content, find
from interlock.registry.store import read_each
from interlock.source import LOCK, committed, history, inspect

METRICS = f"{EVALUATION}/metrics.json"


@dataclass(frozen=True)
class Changed:
    """Something that has a value on each side; None where it is not there."""

    name: str
    was: str | None
    now: str | None


@dataclass(frozen=True)
class ChangedFile:
    """A file that differs: its bytes on each side, and chunks that are only here."""

    path: str
    was: int | None
    now: int | None
    chunks: int  # of the file as it is now
    new: int  # of these, those that nothing on the other side has


@dataclass(frozen=True)
class Measured:
    """A metric of both evaluations: value, low and high; None where undefined."""

    name: str
    was: tuple[float | None, ...]
    now: tuple[float | None, ...]


@dataclass(frozen=True)
class Evaluations:
    """Two evaluations; only on the same data do their metrics compare."""

    same_data: bool
    rows: tuple[int, int]
    metrics: tuple[Measured, ...]


@dataclass(frozen=True)
class Difference:
    """What differs from one side to the other."""

    was: str
    now: str
    files: tuple[ChangedFile, ...]
    same: int  # files
    fetch: int  # bytes of chunks that only the second side has
    requirements: tuple[Changed, ...] | None
    sessions: tuple[str, ...]  # whose packages these are; none where Git has the locks
    schema: tuple[Changed, ...]
    broken: tuple[str, ...]  # why callers of the first could not call the second
    commits: tuple[str, ...] | None  # "> HASH SUBJECT" of the second only, or "< ..."
    evaluations: Evaluations | None


@dataclass(frozen=True)
class Side:
    """A version with all its evidence, or what the checkout would make one of."""

    name: str
    manifest: Manifest
    evidence: Mapping[str, Evidence]  # the newest of each session
    lock: Mapping[str, Set[str]] | None  # what requirements.lock pins, where we have it


def diff(registry: Registry, first: str, second: str, folder: Path) -> Difference:
    """What differs from `first` to `second`, both NAME@REF; the checkout where "".

    `folder` may be in a checkout of the model's repository. Raises BadConfiguration for
    what stands for no version, and VerificationFailed for a record that was altered.
    """
    was = _version(registry, first, folder)
    now = _version(registry, second, folder) if second else _checkout(folder)
    ours, theirs = was.manifest, now.manifest
    requirements, sessions = _requirements(was, now)
    files = changed_files(ours.files, theirs.files)
    return Difference(
        was=was.name,
        now=now.name,
        files=files,
        same=len({*ours.files} & {*theirs.files}),
        fetch=_lacking(ours.files, theirs.files),
        requirements=requirements,
        sessions=sessions,
        schema=changes(_flat(ours.contract), _flat(theirs.contract)),
        broken=tuple(incompatible(ours.contract, theirs.contract)),
        commits=history(folder, ours.commit, theirs.commit),
        evaluations=_evaluations(registry, was, now),
    )


def _version(registry: Registry, reference: str, folder: Path) -> Side:
    version = resolve(registry, reference)
    manifest, release = version.manifest, version.release
    where = f" ({release.channel} {release.sequence})" if release else ""
    # A release names only its own.
    keys = registry.evidence_keys(manifest.name, manifest.commit)
    records = read_each(registry.store, keys)
    evidence = newest(registry.open_evidence(*each) for each in records.items())
    text = committed(folder, manifest.commit, LOCK)
    lock = _pins(text) if text and digest(text) == manifest.lock else None
    return Side(f"{manifest.short}{where}", manifest, evidence, lock)


def _checkout(folder: Path) -> Side:
    source = inspect(folder)
    config = configuration.read(source.root)
    manifest = pack(source.root, config, source.commit, source.tree)
    pins = _pins((source.root / LOCK).read_bytes())
    count = len(source.changed)
    state = f", {count} files not committed" if count else ""
    return Side(f"{manifest.short} (the checkout{state})", manifest, {}, pins)


def _pins(text: bytes) -> Mapping[str, Set[str]]:
    return locked(text.decode("utf-8", "replace"))


def changes(was: Mapping[str, str], now: Mapping[str, str]) -> tuple[Changed, ...]:
    """What differs between two mappings, by name.

    >>> changes({"a": "1", "b": "2"}, {"b": "3"})
    (Changed(name='a', was='1', now=None), Changed(name='b', was='2', now='3'))
    """
    pairs = ((name, was.get(name), now.get(name)) for name in was.keys() | now.keys())
    return tuple(Changed(*each) for each in sorted(pairs) if each[1] != each[2])


def changed_files(was: Iterable[File], now: Iterable[File]) -> tuple[ChangedFile, ...]:
    """The files that are not the same on both sides, by path."""
    old, new = ({file.path: file for file in files} for files in (was, now))
    there = {chunk for file in old.values() for chunk in file.chunks}
    found = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before != after:
            chunks = after.chunks if after else ()
            fresh = sum(chunk not in there for chunk in chunks)
            found.append(
                ChangedFile(
                    path=path,
                    was=before.size if before else None,
                    now=after.size if after else None,
                    chunks=len(chunks),
                    new=fresh,
                )
            )
    return tuple(found)


def _lacking(was: Iterable[File], now: Iterable[File]) -> int:
    """The bytes of the chunks that only `now` has, each counted once."""
    there = {chunk for file in was for chunk in file.chunks}
    sizes = {
        chunk: min(CHUNK, file.size - number * CHUNK)
        for file in now
        for number, chunk in enumerate(file.chunks)
    }
    return sum(size for chunk, size in sizes.items() if chunk not in there)


def _flat(contract: Mapping[str, Any]) -> dict[str, str]:
    columns = {f"input.{name}": kind for name, kind in contract["input"].items()}
    return {name: contract[name] for name in ("load", "predict", "output")} | columns


def _requirements(
    was: Side, now: Side
) -> tuple[tuple[Changed, ...] | None, tuple[str, ...]]:
    """The packages that differ, and the sessions that say so where Git does not."""
    if was.manifest.lock == now.manifest.lock:
        return (), ()
    if was.lock is not None and now.lock is not None:
        return changes(_spelt(was.lock), _spelt(now.lock)), ()
    both = sorted(was.evidence.keys() & now.evidence.keys())
    if not both:
        return None, ()
    return changes(_ran(was, both), _ran(now, both)), tuple(both)


def _ran(side: Side, sessions: Iterable[str]) -> dict[str, str]:
    """The packages that sessions ran with."""
    found: dict[str, set[str]] = {}
    for session in sessions:
        for name, version in side.evidence[session].packages.items():
            found.setdefault(name, set()).add(version)
    return _spelt(found)


def _spelt(packages: Mapping[str, Set[str]]) -> dict[str, str]:
    return {name: ", ".join(sorted(versions)) for name, versions in packages.items()}


def _evaluations(registry: Registry, was: Side, now: Side) -> Evaluations | None:
    with expecting(
        f"{METRICS} as interlock eval writes it",
        "do not trust these evaluations: what they left cannot be read",
    ):
        records = _metrics(registry, was), _metrics(registry, now)
        if None not in records:
            return _side_by_side(*records)
    return None


def _metrics(registry: Registry, side: Side) -> Any:
    """What the newest evaluation of a version measured; None where nobody knows."""
    evidence = side.evidence.get(EVALUATION)
    if evidence is None or METRICS not in evidence.files:
        return None
    try:
        file = find(registry, side.manifest, evidence.files[METRICS], METRICS)
    except EvidenceRefused:  # it was never kept
        return None
    return json.loads(content(registry, file))


def _side_by_side(was: Any, now: Any) -> Evaluations:
    old, new = was["whole"]["candidate"], now["whole"]["candidate"]
    names = [each["name"] for each in now["metrics"] if each["name"] in old]
    return Evaluations(
        same_data=was["data"]["sha256"] == now["data"]["sha256"],
        rows=(int(was["rows"]), int(now["rows"])),
        metrics=tuple(Measured(n, _value(old[n]), _value(new[n])) for n in names),
    )


def _value(metric: Mapping[str, Any]) -> tuple[float | None, ...]:
    found = (metric.get(key) for key in ("value", "low", "high"))
    return tuple(None if each is None else float(each) for each in found)
