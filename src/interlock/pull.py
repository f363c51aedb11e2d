"""From the registry to a serving host: resolve, verify, write, switch, load.

A pulled folder is a link to a private folder beside it that was complete before the
link was switched: a reader sees the old version or the new one. The records stay with
the files, in DIR/.interlock under the keys that they have in the registry; so verifying
a pulled folder is resolving it once more, from there, without the registry.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.artifact.chunks import check, describe, is_whole
from interlock.artifact.manifest import RESERVED, File, Manifest
from interlock.attest.trust import TrustRoot
from interlock.durable import sync_folder
from interlock.errors import Conflict, VerificationFailed
from interlock.home import alone, note, registry_url
from interlock.packages import Packages, compare_packages
from interlock.parallel import in_order
from interlock.progress import in_bytes
from interlock.registry.access import known_trust, open_registry
from interlock.registry.folder import Folder
from interlock.registry.records import Registry
from interlock.registry.resolve import Version, resolve, take
from interlock.registry.transfer import fetch, places

if TYPE_CHECKING:
    from interlock.model import Model


def pull(
    registry: Registry, reference: str, target: Path, packages: Packages
) -> tuple[Version, Path]:
    """Make `target` the folder of the version that NAME@REF stands for.

    Returns the version, and the folder that `target` now is a link to: that one stays
    what it is when somebody pulls the next version.

    Raises VerificationFailed when anything is not what was judged, or when the release
    is older than one that this machine has seen; Conflict when `target` holds something
    that interlock did not put there. `target` is then as it was.
    """
    target = target.absolute()
    with alone(target.with_name(f".{target.name}.lock")):  # readers are not held off
        version = take(registry, reference)
        compare_packages(version.evidence, packages)
        place = target.with_name(f".{target.name}-{version.identity}")
        _refuse_foreign(target)
        _remove_leftovers(target, place)
        if not _is_intact(place, version):
            _write_version(registry, version, target, place)
        _switch(target, place)
    return version, place


def _is_intact(place: Path, version: Version) -> bool:
    """Whether `place` holds this version, records and all."""
    store = Folder(place / RESERVED)
    try:
        check_files(place, version.manifest)
        held = {key: store.read(key) for key in store.keys("")}
    except (VerificationFailed, OSError):
        return False
    return not place.is_symlink() and held == version.records


def _refuse_foreign(target: Path) -> None:
    ours = target.is_symlink() and os.readlink(target).startswith(f".{target.name}-")
    if not ours and (target.is_symlink() or target.exists()):
        raise Conflict(
            f"{target} to be absent, or pulled by interlock before",
            "something else",
            "name another folder, or move that one away",
        )


def _write_version(
    registry: Registry, version: Version, target: Path, place: Path
) -> None:
    """Make `place`, from the registry and from what is here already.

    What an interrupted pull of this version has left is gone on with.
    """
    private = _private(place)
    manifest = version.manifest
    try:
        private.mkdir(exist_ok=True)
        _keep_only(private, manifest)
        there = _files_in(target, registry.trust)
        _link_held(target, private, {*there} & {*manifest.files})
        with in_bytes(manifest.size, f"pull {manifest.name}") as bar:
            fetch(
                registry,
                manifest.files,
                private,
                bar.update,
                near=places(there, target.resolve()),
            )
        for key, record in version.records.items():
            Folder(private / RESERVED).create(key, record)
        for folder, _, _ in os.walk(private):
            sync_folder(Path(folder))
    except VerificationFailed:
        shutil.rmtree(private)
        raise
    if place.is_symlink() or place.exists():  # but hurt: it makes way
        place.rename(place.with_name(f"{place.name}.hurt{_NEW}"))
    private.rename(place)
    sync_folder(place.parent)  # before a link leads to it


def _keep_only(private: Path, manifest: Manifest) -> None:
    """Remove what an interrupted pull has left but for files of this version."""
    wanted = {file.path for file in manifest.files}
    for name in [*_names(private)]:
        if name not in wanted:
            (private / name).unlink()


def _files_in(target: Path, trust: TrustRoot) -> tuple[File, ...]:
    """The files of the version that is there now; of none, none."""
    there = Registry(Folder(target / RESERVED), trust)
    for key in there.store.keys("versions/"):
        with suppress(VerificationFailed):  # whatever it is, it is written anew
            return there.open_version(key, there.store.read(key)).files
    return ()


def _link_held(target: Path, private: Path, files: Iterable[File]) -> None:
    """Link files that the version which is there now has as well.

    `fetch` verifies them, and writes anew those that are not what they were.
    """
    for file in files:
        held, path = target / file.path, private / file.path
        if held.is_file() and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # the file system may have no links
                os.link(held, path, follow_symlinks=False)


_NEW = ".new"  # ends the names of folders that are not complete, or not whole


def _private(place: Path) -> Path:
    return place.with_name(f"{place.name}{_NEW}")


def _remove_leftovers(target: Path, place: Path) -> None:
    """Remove what other pulls that were killed have left; we are alone here."""
    for path in _beside(target, f"-*{_NEW}"):
        if path != _private(place):
            shutil.rmtree(path, ignore_errors=True)


def _beside(target: Path, ending: str) -> Iterator[Path]:
    return target.parent.glob(f".{glob.escape(target.name)}{ending}")


def _switch(target: Path, place: Path) -> None:
    """Point `target` at `place` in one step; keep the one before, drop older ones.

    Those are dropped first: whoever comes after a crash still knows which they are.
    """
    before = os.readlink(target) if target.is_symlink() else ""
    if before == place.name:
        return
    for old in _beside(target, "-" + "[0-9a-f]" * 12):
        if old.name not in (before, place.name):
            shutil.rmtree(old, ignore_errors=True)
    link = target.with_name(f".{target.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(place.name)
    link.replace(target)
    sync_folder(target.parent)


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
    if not is_whole(path, file):
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
    folder = folder.resolve()  # the one that is verified, whatever is pulled meanwhile
    registry = Registry(Folder(folder / RESERVED), known_trust(url))
    version = resolve(registry, _held(registry))
    check_files(folder, version.manifest)
    return version


def verify_registry(registry: Registry, reference: str) -> Version:
    """The version that NAME@REF stands for, every record and chunk of it verified."""
    version = take(registry, reference)
    with in_bytes(version.manifest.size, f"verify {version.manifest.name}") as bar:
        chunks = {chunk for file in version.manifest.files for chunk in file.chunks}
        for data in in_order(registry.chunk, sorted(chunks)):
            bar.update(len(data))
    return version


def _held(registry: Registry) -> str:
    """The one NAME@REF whose records a pulled folder holds."""
    versions = [key.split("/") for key in registry.store.keys("versions/")]
    channels = [key.split("/") for key in registry.store.keys("channels/")]
    odd = [key for key in versions if len(key) != 3]
    odd += [key for key in channels if len(key) != 4]
    if odd or len(versions) != 1 or len(channels) > 1:
        raise VerificationFailed(
            "a folder with the records of one version, as interlock pull makes it",
            f"{len(versions)} versions, {len(channels)} releases",
            "name a folder that interlock pull has made, or pull the version again",
        )
    _, name, file = versions[0]
    return f"{name}@{channels[0][2] if channels else file.removesuffix('.json')}"


def load(
    reference: str, *, registry: str | None = None, packages: Packages = "error"
) -> Model:
    """The model that NAME@REF or a pulled folder holds, verified and ready to predict.

    `registry` is a folder or s3://BUCKET/PREFIX; by default INTERLOCK_REGISTRY, or the
    embedded registry.
    `packages` says what happens when installed packages are not the ones that the
    model was judged with: "error" raises VerificationFailed, "warn" warns.
    """
    from interlock.model import load_folder  # numpy, which pulling does not need

    url = registry_url(registry or "")
    if "@" in reference and not Path(reference).is_dir():
        target = note("versions", url, reference)
        version, folder = pull(open_registry(url), reference, target, packages)
    else:
        folder = Path(reference).resolve()
        version = verify(folder, url)
        compare_packages(version.evidence, packages)
    return load_folder(folder, version.manifest.contract)
