"""Pinned files: into the registry, and from there to where a session needs them.

Bytes come from the registry once for all checkouts of a machine: they are kept in
~/.interlock/files under their SHA-256, read-only, and a checkout gets a link to them.
What is linked is verified first, every time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path, PurePosixPath
from uuid import uuid4

from interlock.artifact import pins
from interlock.artifact.chunks import is_whole
from interlock.artifact.manifest import File, check_paths, safe_path
from interlock.artifact.pins import PINS
from interlock.config import Config
from interlock.errors import BadConfiguration
from interlock.home import alone, home, replace
from interlock.progress import in_bytes
from interlock.registry.access import open_registry
from interlock.registry.records import Registry
from interlock.registry.transfer import Sender, fetch
from interlock.source import is_ignored, tracked


@dataclass(frozen=True)
class Pinned:
    """What was pinned, and how many bytes the registry lacked."""

    files: tuple[File, ...]
    sent: int


def pin(registry: Registry, root: Path, paths: Iterable[Path]) -> Pinned:
    """Store the files at or below `paths`, and pin them in interlock.lock.

    `root` is the checkout. What was pinned below the paths before and is gone is pinned
    no longer. Raises BadConfiguration for files that Git tracks, for links, and where
    there is nothing.
    """
    names = [_name(root, path) for path in paths]
    found = [each for name in names for each in _plain(root, name)]
    before = pins.read(root)
    replaced = {path for name in names for path in pins.below(before, name)}
    kept = [file for path, file in before.items() if path not in replaced]
    _refuse_odd(root, found, [file.path for file in kept])
    sender = Sender(registry)
    size = sum((root / name).stat().st_size for name in found)
    with in_bytes(size, "pin") as bar:
        files = [*sender.send_each({n: root / n for n in found}, bar.update)]
    for name in names:
        _ignore(root, name)
    replace(root / PINS, pins.text([*kept, *files]).encode())
    return Pinned(tuple(files), sender.sent)


def pinned_in(root: Path, paths: Iterable[Path]) -> list[File]:
    """What is pinned at or below `paths`.

    Raises BadConfiguration for a path where nothing is.
    """
    known = pins.read(root)
    found: dict[str, File] = {}
    for name in (_name(root, path) for path in paths):
        files = known if name == "." else pins.below(known, name)
        if not files and name != ".":
            raise BadConfiguration(
                f"{name} to be pinned", f"no such entry in {PINS}", "correct the path"
            )
        found |= files
    return [*found.values()]


def _name(root: Path, path: Path) -> str:
    """How interlock.lock calls a path: relative to the checkout."""
    whole = Path(os.path.abspath(path))
    if not whole.is_relative_to(root):
        raise BadConfiguration(f"a path in {root}", str(path), "correct the path")
    return whole.relative_to(root).as_posix()


def _plain(root: Path, name: str) -> Iterator[str]:
    """The plain files at or below `name`."""
    path = root / name
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            if child.name != "__pycache__":
                yield from _plain(root, f"{name}/{child.name}")
    elif path.is_file() and not path.is_symlink():
        yield name
    else:
        found = "a link or a device" if os.path.lexists(path) else "no such file"
        raise BadConfiguration(f"{name} to be a plain file", found, "correct the path")


def _refuse_odd(root: Path, names: Sequence[str], kept: Sequence[str]) -> None:
    if not names:
        raise BadConfiguration("a file to pin", "an empty folder", "put files there")
    try:
        check_paths(sorted([*map(safe_path, names), *kept]))
    except ValueError as error:
        raise BadConfiguration(
            "files that can be pinned together", str(error), "rename or leave out one"
        ) from None
    if known := tracked(root, names):
        raise BadConfiguration(
            "files that Git does not hold",
            f"{len(known)} that it does: {known[0]}" + ", ..." * bool(known[1:]),
            f"take them out of Git: git rm --cached {known[0]}",
        )


def _ignore(root: Path, name: str) -> None:
    """Let Git leave the files alone: interlock.lock stands for them."""
    if not is_ignored(root, name):
        path = root / ".gitignore"
        there = path.read_text("utf-8") if path.exists() else ""
        end = "" if not there or there.endswith("\n") else "\n"
        line = "/" + name.replace("[", "\\[")
        replace(path, f"{there}{end}{line}\n".encode())


def place(root: Path, files: Iterable[File], url: str) -> int:
    """Put pinned files where a checkout wants them; how many were not there.

    Raises BadConfiguration for a file that is there with other bytes, and
    VerificationFailed where the registry has lost or altered one.
    """
    absent = [file for file in files if not _is_in_place(root, file)]
    if not absent:
        return 0
    cache = home() / "files"
    cached = {file.path: changed(file, path=_key(file)) for file in absent}
    with alone(cache / ".lock"):
        wanted = {file.path: file for file in cached.values()}
        _complete(cache, [*wanted.values()], url)
    for path, file in cached.items():
        _link(cache / file.path, root / path)
    return len(absent)


def place_artifact(root: Path, config: Config, url: str) -> int:
    """`place` what is pinned of the artifact; data may stay where it is."""
    named = (config.weights, config.golden, *config.code)
    paths = [str(PurePosixPath(config.path, name)) for name in named]
    known = pins.read(root)
    wanted = {p: f for path in paths for p, f in pins.below(known, path).items()}
    return place(root, wanted.values(), url)


def _key(file: File) -> str:
    """Where the cache has a file; with its ending, for code is told by that."""
    return f"{file.sha256[:2]}/{file.sha256}{PurePosixPath(file.path).suffix}"


def _complete(cache: Path, files: Sequence[File], url: str) -> None:
    """Fetch what the cache does not hold whole; we are alone here."""
    lacking = [file for file in files if not is_whole(cache / file.path, file)]
    if lacking:
        registry = open_registry(url)
        with in_bytes(sum(file.size for file in lacking), "fetch") as bar:
            fetch(registry, lacking, cache, bar.update)


def _is_in_place(root: Path, file: File) -> bool:
    path = root / file.path
    if path.parent.resolve() != root.resolve() / PurePosixPath(file.path).parent:
        raise BadConfiguration(
            f"{file.path} to be in {root}",
            "a way through a link",
            f"remove the link, or correct {PINS}",
        )
    if not os.path.lexists(path):
        return False
    if is_whole(path, file):
        return True
    raise BadConfiguration(
        f"{file.path} as {PINS} pins it, SHA-256 {file.sha256[:12]}",
        "other bytes",
        f"pin the new ones: interlock pin {file.path}; or remove the file",
    )


def _link(cached: Path, path: Path) -> None:
    """Make `path` the cached file: whole, or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    private = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        try:
            os.link(cached, private)
        except OSError:  # another file system, or one without links
            shutil.copyfile(cached, private)
        private.replace(path)
    finally:
        with suppress(FileNotFoundError):
            private.unlink()
