"""From a commit with its evidence to a version in the registry, live in a channel.

Rules, in this order; of the version nothing is written before all of them hold:

* the working tree is the commit, and the files come from the commit itself;
* every file is of a format that is let in;
* each session that the channel demands has evidence about exactly this tree, lock and
  weights: passed, recent, from a fresh virtualenv with locked packages;
* smoke tried the very artifact that is to be published.

What is written is written in such an order that a crash leaves nothing half-visible:
chunks, then the version, then the evidence, then the release. Doing it again finishes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from interlock import config as configuration
from interlock.artifact.chunks import check
from interlock.artifact.formats import check_content
from interlock.artifact.manifest import File, Manifest
from interlock.artifact.pack import pack
from interlock.attest.evidence import newest, require
from interlock.attest.handover import (
    FOLDER,
    check_address,
    check_locked,
    local_evidence,
)
from interlock.errors import BadConfiguration
from interlock.home import registry_url
from interlock.parallel import at_once
from interlock.progress import in_bytes
from interlock.promote import (
    Moved,
    demand,
    enter_uses,
    in_production,
    keep_results,
    promote,
)
from interlock.registry.access import open_or_make, signer
from interlock.registry.channels import head
from interlock.registry.records import Registry
from interlock.registry.transfer import Sender, lacking, opened, places
from interlock.source import LOCK, Source, export, inspect, refuse_dirty


@dataclass(frozen=True)
class Published:
    """A version, whether it is new, and the channel that it is live in."""

    manifest: Manifest
    new: bool
    sent: int  # bytes of chunks that the registry lacked
    moved: Moved


def publish(folder: Path, channel: str, reason: str = "") -> Published:
    """Publish the commit that `folder` is a checkout of, and release it to `channel`.

    Raises BadConfiguration for a dirty tree, EvidenceRefused, VerificationFailed for
    altered evidence or a format that is not let in, and Conflict when the commit has a
    version with other bytes.
    """
    source = inspect(folder)
    refuse_dirty(source)
    with tempfile.TemporaryDirectory() as scratch:
        export(source, Path(scratch))
        return _publish(source, Path(scratch), channel, reason)


def _publish(source: Source, files: Path, channel: str, reason: str) -> Published:
    config = configuration.read(files)
    manifest = pack(files, config, source.commit, source.tree)
    registry = open_or_make(registry_url(configured=config.registry))
    key = signer(registry)
    evidence = local_evidence(source.root / FOLDER, manifest.tree)
    own = [each for each in evidence if each.tree == manifest.tree]
    check_locked(own, (files / LOCK).read_text("utf-8", "replace"))
    enter_uses(registry, source.root / FOLDER, own, key)
    sent = 0
    if not is_published(registry, manifest):
        sessions = registry.trust.demands(channel)
        rival, live = at_once(
            partial(in_production, registry, manifest),
            partial(released, registry, manifest, channel),
        )
        require(newest(evidence), demand(sessions, manifest, rival))
        check_address(source.root / FOLDER, own, manifest)
        base = files / config.path
        tracked = [each for each in manifest.files if (base / each.path).exists()]
        pinned = {*manifest.files} - {*tracked, *live}
        let_in(registry, sorted(pinned, key=str), source.root, config.path)
        sent = send(registry, tracked, base)
    new = registry.add_version(manifest, key)
    keep_results(registry, manifest, source.root / FOLDER, own, key)
    moved = promote(registry, manifest, channel, evidence, key, reason, new)
    return Published(manifest, new, sent, moved)


def is_published(registry: Registry, manifest: Manifest) -> bool:
    """Whether the commit has a version already, with whatever bytes."""
    try:
        registry.version(manifest.name, manifest.commit)
    except KeyError:
        return False
    return True


def released(registry: Registry, manifest: Manifest, channel: str) -> tuple[File, ...]:
    """The files of the version that is live: they are there, and were let in."""
    last = head(registry, manifest.name, channel)
    return registry.released(manifest.name, last[0].commit).files if last else ()


def let_in(registry: Registry, files: Collection[File], root: Path, path: str) -> None:
    """Refuse pinned files that the registry lacks, or whose format is not let in.

    Of those that the checkout at `root` does not have below `path`, what has to be
    looked at is fetched, and no more.
    """
    if missing := lacking(registry, sorted({c for f in files for c in f.chunks})):
        held = [file.path for file in files if {*file.chunks} & {*missing}]
        raise BadConfiguration(
            f"what interlock.lock pins to be in {registry.store.url}",
            f"{len(missing)} chunks of {held[0]} and {len(held) - 1} more are not",
            f"pin it again: interlock pin {PurePosixPath(path, held[0])}",
        )
    near = places(files, root / path)
    for file in files:
        with opened(registry, file, near) as content:
            check_content(content, file.path)


def send(registry: Registry, files: Collection[File], base: Path) -> int:
    """Store the chunks that the registry lacks; how many bytes that were."""
    sender = Sender(registry)
    with in_bytes(sum(file.size for file in files), "publish") as bar:
        paths = {file.path: base / file.path for file in files}
        for file, sent in zip(files, sender.send_each(paths, bar.update), strict=True):
            check(file, sent.size, sent.sha256)
    return sender.sent
