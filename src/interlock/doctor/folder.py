"""Looking at a registry in a folder."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from interlock.doctor.facts import Folder, Seen, T, Unseen

_MOUNTS = Path("/proc/self/mounts")


def look(path: Path) -> Folder:
    """What the folder is like, and the file system that it is on."""
    return Folder(
        path=path,
        writers=_seen(lambda: [*_open_to_all(path)]),
        links=_seen(lambda: _links_once(path)),
        file_system=_seen(lambda: file_system(path, _MOUNTS.read_text("utf-8"))),
        room=_seen(lambda: shutil.disk_usage(path).free),
    )


def _seen(ask: Callable[[], T]) -> Seen[T]:
    try:
        return ask()
    except OSError as error:
        return Unseen(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))


def _open_to_all(path: Path) -> Iterator[Path]:
    """The registry's folder and those in it that everybody may write to."""
    for each in (path, *sorted(path.iterdir())):
        if each.is_dir() and each.stat().st_mode & stat.S_IWOTH:
            yield each


def _links_once(path: Path) -> bool:
    """Try it as the store does, with names that the store takes for nobody's."""
    first, second = (path / f".new-{uuid4().hex}" for _ in range(2))
    first.touch()
    try:
        os.link(first, second)
        os.link(first, second)
    except FileExistsError:
        return True
    except OSError:
        return False
    finally:
        for each in (first, second):
            each.unlink(missing_ok=True)
    return False


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that `path` is on, by Linux's table of mounts."""
    kinds = {}
    for line in mounts.splitlines():
        _, place, kind, *_ = line.split()
        kinds[Path(place.replace("\\040", " "))] = kind
    above = [each for each in (path, *path.parents) if each in kinds]
    return kinds[above[0]] if above else ""
