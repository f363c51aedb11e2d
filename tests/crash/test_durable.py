"""Power cuts: nothing is named before it is on the disk.

A kill leaves the system's memory of the disk as it is, a power cut does not. So these
tests read the log of a command's system calls as the worst disk would take them: bytes
count once their file is flushed, a name once its folder is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import pytest

from tests.conftest import Project
from tests.crash.test_kills import CAMPAIGN, COMMANDS, log_of, prepare

CALL = re.compile(r"^(\w+)\((.*)\) += (\d+)")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
OPENED = re.compile(r"\d+<(/[^>]*)>")


@dataclass
class Disk:
    """What a power cut would take away, of what is below `root`."""

    root: Path
    bytes: set[PurePath] = field(default_factory=set)  # files with unflushed bytes
    names: set[PurePath] = field(default_factory=set)  # whose folder is unflushed
    links: dict[PurePath, PurePath] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)  # names given before their time
    given: list[PurePath] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Do what one call of the log does."""
        call = CALL.match(line)
        if not call:
            return
        name, rest, _ = call.groups()
        opened = OPENED.match(rest)
        paths = [self.root / "project" / text for text in TEXT.findall(rest)]
        if name.startswith("open") and "O_CREAT" in rest:  # a lost lock loses nothing
            self.names |= {path for path in paths[:1] if path.suffix != ".lock"}
        elif name.startswith(("write", "pwrite", "ftruncate")) and opened:
            self.bytes.add(PurePath(opened[1]))
        elif name in ("fsync", "fdatasync") and opened:
            self._flush(PurePath(opened[1]))
        elif name.startswith("mkdir"):
            self.names.add(paths[0])
        elif name.startswith("symlink"):
            self.links[paths[1]] = paths[1].parent / TEXT.findall(rest)[0]
            self.names.add(paths[1])
        elif name.startswith("unlink") and "AT_REMOVEDIR" not in rest:
            self._forget(paths[0])
        elif name.startswith(("link", "rename")):
            self._give(*paths, moved=name.startswith("rename"))

    def _flush(self, path: PurePath) -> None:
        self.bytes.discard(path)
        self.names = {name for name in self.names if name.parent != path}

    def _forget(self, path: PurePath) -> None:
        self.bytes.discard(path)
        self.names.discard(path)

    def _give(self, old: PurePath, new: PurePath, *, moved: bool) -> None:
        """`old` gets the name `new`: all that it stands for must be on the disk."""
        if self.root not in new.parents:
            return
        meant = self.links.pop(old, None)
        lost = [p for p in self.unsafe() if old in (p, *p.parents) and p != old]
        lost += [old] if old in self.bytes else []
        if meant:
            lost += [p for p in self.unsafe() if meant in (p, *p.parents)]
        if "chunks" not in new.parts:  # a record: it names what came before it
            own = self.root / "project"  # where pull writes
            lost += [p for p in self.unsafe() if own not in p.parents and p != old]
        self.early += [f"{new} before {path}" for path in lost]
        self.given.append(new)
        self.names.add(new)
        if moved:
            self._forget(old)

    def unsafe(self) -> list[PurePath]:
        """What a power cut would take away now."""
        outside = (self.root / "tmp", self.root / "project/.git")
        found = sorted(self.bytes | self.names)
        ours = (path for path in found if self.root in path.parents)
        return [p for p in ours if not any(o in (p, *p.parents) for o in outside)]


@pytest.mark.skipif(not CAMPAIGN, reason="needs strace: nox -s campaign")
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_named_before_it_is_on_the_disk(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Bytes before names, records after all that they name; and at the end, all."""
    prepare(tmp_path, monkeypatch)
    monkeypatch.setenv("INTERLOCK_REGISTRY", str(tmp_path / "registry"))
    disk = Disk(tmp_path)
    for line in log_of(COMMANDS[name][0](project)).splitlines():
        disk.take(line)
    assert disk.given
    assert disk.early == []
    assert disk.unsafe() == []


LOG = """
mkdir("{0}/home/registry", 0777) = 0
fsync(3<{0}/home>) = 0
openat(AT_FDCWD</x>, "{0}/home/registry/.new", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</x>
write(3<{0}/home/registry/.new>, "abc", 3) = 3
fsync(3<{0}/home/registry/.new>) = 0
link("{0}/home/registry/.new", "{0}/home/registry/a.json") = 0
unlink("{0}/home/registry/.new") = 0
fsync(3<{0}/home/registry>) = 0
"""


@pytest.mark.parametrize(
    ("without", "early", "unsafe"),
    [("nothing", 0, 0), ("fsync(3<{0}/home>)", 1, 1)]
    + [("fsync(3<{0}/home/registry/.new>)", 1, 0)]
    + [("fsync(3<{0}/home/registry>)", 0, 1)],
)
def test_each_flush_is_missed(
    tmp_path: Path, without: str, early: int, unsafe: int
) -> None:
    """Of the file, of its folder, and of the folder above."""
    disk = Disk(tmp_path)
    for line in LOG.splitlines():
        if not line.startswith(without):
            disk.take(line.format(tmp_path))
    assert (len(disk.early) > 0, len(disk.unsafe())) == (early > 0, unsafe)
    assert os.sep in str(disk.given[0])
