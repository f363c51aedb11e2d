"""From the registry to a serving host: resolve, verify, write, switch, load.

A pulled folder is a link to a private folder beside it that was complete before the
link was switched: a reader sees the old version or the new one. The records stay with
the files, in DIR/.interlock under the keys that they have in the registry; so verifying
a pulled folder is resolving it once more, from there, without the registry.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, NoReturn

from tqdm import tqdm

from interlock.artifact.chunks import check, describe, digest, write
from interlock.artifact.manifest import RESERVED, File, Manifest
from interlock.attest.evidence import Evidence, newest
from interlock.errors import BadConfiguration, Conflict, VerificationFailed
from interlock.home import home, note, registry_url, replace
from interlock.model import Model, load_folder
from interlock.progress import in_bytes
from interlock.registry.access import known_trust, open_registry
from interlock.registry.channels import Release, live, release_key
from interlock.registry.folder import Folder, sync_folder
from interlock.registry.records import Registry, find_commit, version_key
from interlock.registry.store import read_required

Packages = Literal["error", "warn"]


@dataclass(frozen=True)
class Version:
    """A version with the records that vouch for it, all verified."""

    manifest: Manifest
    evidence: tuple[Evidence, ...]
    release: Release | None  # None when a commit was asked for, not a channel
    records: Mapping[str, bytes]  # key -> record

    @property
    def identity(self) -> str:
        """What tells these records from all others: 12 hex digits."""
        return digest(b"".join(sorted(self.records.values())))[:12]


def parse_reference(reference: str) -> tuple[str, str]:
    """The name and the channel or commit of NAME@REF."""
    name, _, ref = reference.partition("@")
    if not name or not ref or "/" in reference:
        raise BadConfiguration(
            "NAME@CHANNEL or NAME@COMMIT",
            repr(reference),
            "for example flights@production",
        )
    return name, ref


def resolve(registry: Registry, reference: str) -> Version:
    """The version that NAME@REF stands for, with its records, verified.

    Raises VerificationFailed when a record is altered, or when the evidence of a
    release is not what its channel demands.
    """
    name, ref = parse_reference(reference)
    if ref in registry.trust.channels:
        release, record = live(registry, name, ref)
        released = {release_key(name, ref, release.sequence): record}
        return _assemble(registry, name, release.commit, release, released)
    return _assemble(registry, name, find_commit(registry, name, ref), None, {})


def _assemble(
    registry: Registry,
    name: str,
    commit: str,
    release: Release | None,
    released: Mapping[str, bytes],
) -> Version:
    key = version_key(name, commit)
    version = {key: read_required(registry.store, key)}
    manifest = registry.open_version(version[key])
    if (manifest.name, manifest.commit) != (name, commit):
        raise VerificationFailed(key, f"{manifest.version} there", "do not use it")
    keys = release.evidence if release else registry.evidence_keys(manifest)
    records = {each: read_required(registry.store, each) for each in keys}
    evidence = tuple(registry.open_evidence(k, data) for k, data in records.items())
    if release:
        _check_release(registry, release, manifest, records, evidence)
    return Version(manifest, evidence, release, {**version, **released, **records})


def _check_release(
    registry: Registry,
    release: Release,
    manifest: Manifest,
    records: Mapping[str, bytes],
    evidence: Iterable[Evidence],
) -> None:
    """Refuse a release whose records are not the ones that it was made on."""
    digests = {key: digest(data) for key, data in records.items()}
    if (release.address, release.evidence) != (manifest.address, digests):
        raise VerificationFailed(
            f"the version and evidence that release {release.sequence} names",
            "others under their names",
            "restore the registry from a copy",
        )
    passed = {
        each.session
        for each in evidence
        if (each.result, each.tree, each.lock, each.weights)
        == ("PASSED", manifest.tree, manifest.lock, manifest.weights)
    }
    if missing := registry.trust.demands(release.channel).keys() - passed:
        raise VerificationFailed(
            f"passing evidence of {', '.join(sorted(missing))} behind the release",
            "none about this version",
            "roll back, and find out who released it without",
        )


def _refuse_older(url: str, release: Release) -> None:
    """Refuse to go back in a channel's log; remember how far it has come."""
    path = note("seen", url, release.name, release.channel)
    seen = int(path.read_text("utf-8")) if path.exists() else 0
    if release.sequence < seen:
        raise VerificationFailed(
            f"release {seen} of {release.channel} or a newer one",
            f"release {release.sequence}: the registry was put back to an older state",
            "restore it; to serve an older version, use interlock rollback",
        )
    if release.sequence > seen:
        replace(path, f"{release.sequence}\n".encode())


def pull(
    registry: Registry, reference: str, target: Path, packages: Packages
) -> Version:
    """Make `target` the folder of the version that NAME@REF stands for.

    Raises VerificationFailed when anything is not what was judged, or when the release
    is older than one that this machine has seen; Conflict when `target` holds something
    that interlock did not put there. `target` is then as it was.
    """
    version = resolve(registry, reference)
    if version.release:
        _refuse_older(registry.store.url, version.release)
    compare_packages(version.evidence, packages)
    target = target.absolute()
    _refuse_foreign(target)
    place = target.with_name(f".{target.name}-{version.identity}")
    if not (place.is_dir() and _is_intact(place, version)):
        _write_version(registry, version, place)
    _switch(target, place)
    return version


def _is_intact(place: Path, version: Version) -> bool:
    try:
        check_files(place, version.manifest)
    except VerificationFailed:
        return False
    return True


def _refuse_foreign(target: Path) -> None:
    ours = target.is_symlink() and os.readlink(target).startswith(f".{target.name}-")
    if not ours and (target.is_symlink() or target.exists()):
        raise Conflict(
            f"{target} to be absent, or pulled by interlock before",
            "something else",
            "name another folder, or move that one away",
        )


def _write_version(registry: Registry, version: Version, place: Path) -> None:
    private = place.with_name(f"{place.name}.new-{os.getpid()}")
    _remove_leftovers(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    private.mkdir()
    try:
        unpack(registry, version.manifest, private)
        for key, record in version.records.items():
            Folder(private / RESERVED).create(key, record)
        for folder, _, _ in os.walk(private):
            sync_folder(Path(folder))
        if place.exists():
            shutil.rmtree(place)
        private.rename(place)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def unpack(registry: Registry, manifest: Manifest, folder: Path) -> None:
    """Write the files of a version into `folder`, each from its verified chunks."""
    with in_bytes(manifest.size, f"pull {manifest.name}") as bar:
        for file in manifest.files:
            write(file, folder, lambda chunk: _counted(registry.chunk(chunk), bar))


def _counted(data: bytes, bar: tqdm[NoReturn]) -> bytes:
    bar.update(len(data))
    return data


def _remove_leftovers(place: Path) -> None:
    """Remove what pulls that were killed have left behind."""
    for path in place.parent.glob(f"{place.name.rpartition('-')[0]}-*.new-*"):
        if not _is_running(int(path.name.rpartition("-")[2])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _switch(target: Path, place: Path) -> None:
    """Point `target` at `place` in one step; keep the one before, drop older ones."""
    before = os.readlink(target) if target.is_symlink() else ""
    if before != place.name:
        link = target.with_name(f".{target.name}.link-{os.getpid()}")
        link.unlink(missing_ok=True)
        link.symlink_to(place.name)
        link.replace(target)
        sync_folder(target.parent)
    for old in target.parent.glob(f".{target.name}-" + "[0-9a-f]" * 12):
        if old.name not in (before, place.name):
            shutil.rmtree(old, ignore_errors=True)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise VerificationFailed unless `folder` holds exactly the manifest's files."""
    expected = {file.path: file for file in manifest.files}
    found = {name for name in _names(folder) if not name.startswith(f"{RESERVED}/")}
    if odd := sorted(found ^ expected.keys()):
        kind = "an extra file" if odd[0] in found else "no file"
        raise VerificationFailed(
            f"exactly the {len(expected)} files of {manifest.short}",
            f"{kind} {odd[0]}" + (f", and {len(odd) - 1} more" if odd[1:] else ""),
            "do not use the folder: pull the version again",
        )
    for file in expected.values():
        _check_file(folder / file.path, file)


def _check_file(path: Path, file: File) -> None:
    if path.is_symlink() or not path.is_file():
        raise VerificationFailed(
            f"{file.path} to be a plain file", "a link or a device", "pull it again"
        )
    found = describe(path, file.path)
    check(file, found.size, found.sha256)


def _names(folder: Path) -> Iterable[str]:
    """Everything in `folder` that is not a plain folder, by its relative path."""
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if Path(where, name).is_symlink()]
        yield from (str(Path(where, n).relative_to(folder)) for n in (*files, *links))


def verify(folder: Path, url: str) -> Version:
    """The version in a pulled folder, every record and byte verified, without network.

    Raises VerificationFailed when anything is not what was judged and released.
    """
    registry = Registry(Folder(folder / RESERVED), known_trust(url))
    version = resolve(registry, _held(registry))
    check_files(folder, version.manifest)
    return version


def verify_registry(registry: Registry, reference: str) -> Version:
    """The version that NAME@REF stands for, every record and chunk of it verified."""
    version = resolve(registry, reference)
    with in_bytes(version.manifest.size, f"verify {version.manifest.name}") as bar:
        for file in version.manifest.files:
            for chunk in file.chunks:
                _counted(registry.chunk(chunk), bar)
    return version


def _held(registry: Registry) -> str:
    """The one NAME@REF whose records a pulled folder holds."""
    versions = [key.split("/") for key in registry.store.keys("versions/")]
    channels = {key.split("/")[2] for key in registry.store.keys("channels/")}
    if len(versions) != 1 or len(channels) > 1:
        raise VerificationFailed(
            "a folder with the records of one version, as interlock pull makes it",
            f"{len(versions)} versions, {len(channels)} channels",
            "pull the version again",
        )
    (_, name, file), *_ = versions
    return f"{name}@{min(channels, default=file.removesuffix('.json'))}"


def load(
    reference: str, *, registry: str | None = None, packages: Packages = "error"
) -> Model:
    """The model that NAME@REF or a pulled folder holds, verified and ready to predict.

    `registry` is a folder; by default INTERLOCK_REGISTRY, or the embedded registry.
    `packages` says what happens when installed packages are not the ones that the
    model was judged with: "error" raises VerificationFailed, "warn" warns.
    """
    url = registry_url(registry or "")
    folder = Path(reference)
    if "@" in reference and not folder.is_dir():
        folder = home() / "versions" / note("", url).name / reference.replace("/", "_")
        version = pull(open_registry(url), reference, folder, packages)
    else:
        version = verify(folder, url)
        compare_packages(version.evidence, packages)
    return load_folder(folder, version.manifest.contract)


def compare_packages(evidence: Iterable[Evidence], packages: Packages) -> None:
    """Refuse, or warn about, packages that are not those the model was judged with."""
    smoke = newest(evidence).get("smoke")
    if smoke is None:
        return
    if different := differences(smoke.packages):
        refusal = VerificationFailed(
            "the packages that the model was judged with",
            "; ".join(different),
            "install the serve group from requirements.lock, or pass --packages warn",
        )
        if packages == "error":
            raise refusal
        import warnings

        warnings.warn(str(refusal), stacklevel=2)


def differences(judged: Mapping[str, str]) -> list[str]:
    """Where packages here differ from `judged`: "pandas 1.5.3 there, 2.0.1 here"."""
    here = {_normal(d.name): d.version for d in metadata.distributions()}
    return [
        f"{name} {version} there, {here.get(_normal(name), 'not installed')} here"
        for name, version in sorted(judged.items())
        if here.get(_normal(name)) != version
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
