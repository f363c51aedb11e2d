"""Moving a channel: a release on evidence, and the way back.

Rules:

* a version is released to a channel only on evidence that the channel demands, the
  newest of each session being the one that counts;
* what is live already is not released again;
* a version that was live before does not come back by itself, whether it was rolled
  back from or something newer was released.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from securesystemslib.signer import Signer

from interlock import config as configuration
from interlock.artifact.manifest import Manifest, refuse_incompatible
from interlock.attest.evidence import (
    EVALUATION,
    Demand,
    Evidence,
    newest,
    require,
)
from interlock.attest.handover import FOLDER, check_locked, local_evidence
from interlock.errors import BadConfiguration, Conflict
from interlock.home import registry_url
from interlock.parallel import in_order
from interlock.registry.access import open_registry, signer
from interlock.registry.channels import Release, append, head, live, log
from interlock.registry.ledger import LEFT, demand_in_time, enter, read_use
from interlock.registry.records import Registry, evidence_digest, several
from interlock.registry.resolve import check_release
from interlock.registry.results import content, find, keep
from interlock.registry.store import read_each
from interlock.source import LOCK, actor, inspect, refuse_dirty

PRODUCTION = "production"
LEFT_USE = f"{EVALUATION}/{LEFT[0]}"  # what evidence names the use of a test set by


class Unpublished(BadConfiguration):
    """A commit that has no version: a night leaves it alone."""


class Past(Conflict):
    """A version that something was released after: a night leaves it alone."""


@dataclass(frozen=True)
class Moved:
    """The live release of a channel, and whether it is a new one."""

    release: Release
    new: bool


def promote(
    registry: Registry,
    manifest: Manifest,
    channel: str,
    local: Sequence[Evidence],
    key: Signer,
    reason: str = "",
    new: bool = False,
) -> Moved:
    """Release a published version to `channel`.

    `local` is evidence that is not in the registry yet: it is attached to the version
    first, whatever it says. A `new` version, written just now, was never live before.

    Raises EvidenceRefused when the evidence is not what the channel demands, Unknown
    when it is from a test set whose budget others had spent, and Conflict when the
    version was live before and no reason is given for its return.
    """
    sessions = registry.trust.demands(channel)
    keyed = _attach(registry, manifest, local, key)
    names = sorted({channel, PRODUCTION})
    found = in_order(partial(head, registry, manifest.name), names)
    heads = dict(zip(names, found, strict=True))  # the ones that are decided on
    last, rival = heads[channel], heads[PRODUCTION]
    if last and last[0].address == manifest.address:
        return Moved(last[0], new=False)
    counted = _counted([*local, *keyed.values()], manifest)
    accepted = require(counted, demand(sessions, manifest, rival))
    for each in accepted:
        _demand_in_time(registry, manifest, each)
    if rival:
        there = registry.released(manifest.name, rival[0].commit)
        refuse_incompatible(there, manifest)
    if not reason and not new:
        _refuse_past(registry, manifest, channel)
    named = {
        where: evidence_digest(where)
        for where, each in keyed.items()
        if each in accepted
    }
    why = reason or f"{', '.join(sessions)} passed"
    draft = _draft(registry, manifest, channel, named, why)
    return Moved(append(registry, draft, last, key), new=True)


Live = tuple[Release, bytes] | None  # a channel's head, and its record


def in_production(registry: Registry, manifest: Manifest) -> Live:
    """What a version is compared with: the live release of production."""
    return head(registry, manifest.name, PRODUCTION)


def demand(
    sessions: Mapping[str, timedelta], manifest: Manifest, rival: Live
) -> Demand:
    """What is demanded of evidence here and now, beside what is in production."""
    address = rival[0].address if rival else ""
    return Demand(sessions, manifest, datetime.now(UTC), address)


def _counted(evidence: Sequence[Evidence], manifest: Manifest) -> dict[str, Evidence]:
    """The newest evidence of each session, about this tree where there is such."""
    own = [each for each in evidence if each.tree == manifest.tree]
    return newest(evidence) | newest(own)


def promote_checkout(folder: Path, channel: str, reason: str) -> Moved:
    """Release the published version of a checkout's commit, on its evidence.

    Raises Dirty, NoRegistry, NoKey and Unpublished where there is nothing to promote,
    and Past for a version that something was released after.
    """
    registry, manifest, local, key = _of_checkout(folder)
    return promote(registry, manifest, channel, local, key, reason)


def attach(folder: Path) -> list[str]:
    """Attach what was found about a published checkout; the sessions that it is of."""
    registry, manifest, local, key = _of_checkout(folder)
    _attach(registry, manifest, local, key)
    return [each.session for each in local if each.tree == manifest.tree]


def _of_checkout(folder: Path) -> tuple[Registry, Manifest, list[Evidence], Signer]:
    source = inspect(folder)
    config = configuration.read(source.root)
    refuse_dirty(source)
    registry = open_registry(registry_url(configured=config.registry))
    key = signer(registry)
    local = local_evidence(source.root / FOLDER, source.tree)
    own = [each for each in local if each.tree == source.tree]
    check_locked(own, (source.root / LOCK).read_text("utf-8", "replace"))
    # Whatever comes of the commit, its test set was used.
    enter_uses(registry, source.root / FOLDER, own, key)
    try:
        manifest = registry.version(config.name, source.commit)
    except KeyError:
        raise Unpublished(
            "a published commit",
            f"{config.name}@{source.commit[:12]} is not in {registry.store.url}",
            "publish it first: nox -s publish",
        ) from None
    keep_results(registry, manifest, source.root / FOLDER, own, key)
    return registry, manifest, local, key


def enter_uses(
    registry: Registry, folder: Path, evidence: Iterable[Evidence], key: Signer
) -> None:
    """Enter the use of a test set that an evaluation left in `folder`."""
    if any(LEFT_USE in each.files for each in evidence):
        enter(registry, folder / EVALUATION, key)


def _demand_in_time(registry: Registry, manifest: Manifest, each: Evidence) -> None:
    """Raises Unknown where evidence used a test set whose budget others had spent.

    The use is the one that the registry keeps: what is left here may be gone.
    """
    if sha256 := each.files.get(LEFT_USE):
        kept = content(registry, find(registry, manifest, sha256, LEFT_USE))
        demand_in_time(registry, read_use(kept, LEFT_USE))


def keep_results(
    registry: Registry,
    manifest: Manifest,
    folder: Path,
    evidence: Iterable[Evidence],
    key: Signer,
) -> None:
    """Store what the evaluation left in `folder`, so that it can be derived again.

    It comes before the evidence, so that what a record names is always there.
    """
    left = [n for each in evidence if each.session == EVALUATION for n in each.files]
    names = [name for name in left if name.startswith(f"{EVALUATION}/")]
    keep(registry, manifest, [folder / name for name in names], key)


def _draft(
    registry: Registry,
    manifest: Manifest,
    channel: str,
    evidence: Mapping[str, str],
    why: str,
) -> Release:
    return Release(
        channel=channel,
        name=manifest.name,
        commit=manifest.commit,
        address=manifest.address,
        evidence=evidence,
        policy=registry.trust.sha256,
        actor=actor(),
        reason=why,
        released=datetime.now(UTC),
    )


def _attach(
    registry: Registry, manifest: Manifest, local: Sequence[Evidence], key: Signer
) -> dict[str, Evidence]:
    """All evidence about a version, by the key of its record."""
    own = [each for each in local if each.tree == manifest.tree]
    added = in_order(lambda each: registry.add_evidence(manifest, each, key), own)
    ours = {where: each for each, (where, new) in zip(own, added, strict=True) if new}
    keys = [*registry.evidence_keys(manifest.name, manifest.commit)]
    others = read_each(registry.store, [where for where in keys if where not in ours])
    read = {where: registry.open_evidence(where, r) for where, r in others.items()}
    return dict(sorted((ours | read).items()))


def _refuse_past(registry: Registry, manifest: Manifest, channel: str) -> None:
    """Refuse what was live before: a job that runs again must not undo the newer."""
    releases = [*log(registry, manifest.name, channel)]
    if any(release.address == manifest.address for release in releases):
        last = releases[-1]
        raise Past(
            f"a version that was not live in {channel} before",
            f"{last.actor} released {last.commit[:12]} after it: {last.reason}",
            "publish a new commit, or say why it may return: --reason '...'",
        )


def standing(releases: Iterable[Release]) -> list[Release]:
    """The releases that a channel has gone forward by: a rollback takes some away."""
    stack: list[Release] = []
    for release in releases:
        addresses = [each.address for each in stack]
        if release.address in addresses:
            del stack[addresses.index(release.address) + 1 :]
        else:
            stack.append(release)
    return stack


def rollback(
    registry: Registry, name: str, channel: str, key: Signer, reason: str, to: str = ""
) -> Release:
    """Release again what was live before, or the version `to` if it was ever live.

    Where `to` is live already, that is the release: a rollback to a commit may be run
    again after a crash. Raises BadConfiguration where there is nothing to go back to.
    """
    registry.trust.demands(channel)
    last = live(registry, name, channel)
    releases = [*log(registry, name, channel)]
    target = _target([r for r in releases if r.sequence <= last[0].sequence], to)
    if target == last[0]:
        return target
    manifest = registry.released(name, target.commit)
    why = reason or f"rollback from {last[0].commit[:12]}"
    check_release(target, manifest, read_each(registry.store, target.evidence))
    draft = _draft(registry, manifest, channel, target.evidence, why)
    return append(registry, draft, last, key)


def _target(releases: Sequence[Release], to: str) -> Release:
    current = releases[-1]
    earlier = standing(releases)[:-1]
    matches = [r for r in (releases if to else earlier) if r.commit.startswith(to)]
    if to and len(commits := sorted({release.commit for release in matches})) > 1:
        raise several(current.name, to, commits)
    others = [release for release in matches if release.address != current.address]
    if matches and not others:
        return current
    if not matches:
        wanted = f"commit {to}" if to else "an earlier version"
        raise BadConfiguration(
            f"{wanted} that was live in {current.channel} before {current.commit[:12]}",
            "none",
            f"look at the channel with: interlock log {current.name}",
        )
    return others[-1]
