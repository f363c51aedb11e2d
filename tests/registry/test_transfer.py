"""Transfer: each byte once, each chunk once, and nothing over again."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.artifact import chunks
from interlock.artifact.chunks import describe
from interlock.attest.trust import TrustRoot
from interlock.errors import VerificationFailed
from interlock.registry import records, transfer
from interlock.registry.folder import Folder
from interlock.registry.records import Registry, chunk_key
from interlock.registry.transfer import Sender, fetch, lacking, opened, places


class Counting(Folder):
    """A store that counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: Counter[str] = Counter()

    def create(self, key: str, data: bytes) -> bool:
        """Count, and create."""
        self.asked["create"] += 1
        return super().create(key, data)

    def read(self, key: str) -> bytes:
        """Count, and read."""
        self.asked["read"] += 1
        return super().read(key)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four bytes."""
    monkeypatch.setattr(chunks, "CHUNK", 4)
    monkeypatch.setattr(transfer, "CHUNK", 4)


def registry_in(folder: Path) -> Registry:
    """A registry whose chunks alone are used."""
    return Registry(Counting(folder), cast(TrustRoot, None))


def asked(registry: Registry) -> Counter[str]:
    """What was asked of its store."""
    return cast(Counting, registry.store).asked


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_files_go_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    """Any files come back byte for byte, and a second sending sends nothing."""
    folder = tmp_path_factory.mktemp("transfer")
    registry = registry_in(folder / "registry")
    for number, data in enumerate(contents):
        (folder / str(number)).write_bytes(data)
    sender, again = Sender(registry), Sender(registry)
    paths = {f"f/{n}": folder / str(n) for n in range(len(contents))}
    files = [*sender.send_each(paths)]
    assert files == [describe(folder / str(n), f"f/{n}") for n in range(len(contents))]
    pieces = {data[at : at + 4] for data in contents for at in range(0, len(data), 4)}
    assert sender.sent == sum(map(len, pieces))
    assert [again.send(folder / f.path[2:], f.path) for f in files] == files
    assert again.sent == 0
    fetch(registry, files, folder / "out")
    for number, data in enumerate(contents):
        assert (folder / f"out/f/{number}").read_bytes() == data


def test_equal_chunks_are_sent_once_within_a_file(tmp_path: Path) -> None:
    """Even while the first is still under way."""
    registry = registry_in(tmp_path / "registry")
    (tmp_path / "zeros").write_bytes(bytes(4 * 100))
    sender = Sender(registry)
    file = sender.send(tmp_path / "zeros", "zeros")
    assert (len(file.chunks), sender.sent, asked(registry)["create"]) == (100, 4, 1)


@pytest.mark.parametrize("limit", [0, 4])
def test_what_the_registry_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """And what it has, but altered, is refused: where it asks first, and where not."""
    monkeypatch.setattr(records, "SMALL", limit)
    registry = registry_in(tmp_path / "registry")
    (tmp_path / "f").write_bytes(b"abcdefgh")
    (tmp_path / "g").write_bytes(b"abcdXYZ")
    file, other = Sender(registry).send(tmp_path / "f", "f"), describe(
        tmp_path / "g", "g"
    )
    assert lacking(registry, file.chunks) == []
    assert lacking(registry, other.chunks) == [other.chunks[1]]
    (tmp_path / "registry" / chunk_key(file.chunks[0])).write_bytes(b"abcX")
    with pytest.raises(VerificationFailed, match="was altered"):
        lacking(registry, file.chunks)
    with pytest.raises(VerificationFailed, match="was altered"):
        Sender(registry).send(tmp_path / "g", "g")


def test_an_interrupted_fetch_goes_on(tmp_path: Path) -> None:
    """Only what is not there yet is read, and a hurt end is replaced."""
    registry = registry_in(tmp_path / "registry")
    data = np.random.default_rng(1).bytes(4 * 30 + 1)
    (tmp_path / "f").write_bytes(data)
    file = Sender(registry).send(tmp_path / "f", "out/f")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/f").write_bytes(data[: 4 * 20 + 2])
    told: list[int] = []
    fetch(registry, [file], tmp_path, told.append)
    assert (tmp_path / "out/f").read_bytes() == data
    assert (asked(registry)["read"], sum(told)) == (11, len(data))
    fetch(registry, [file], tmp_path)
    assert asked(registry)["read"] == 11


def test_a_file_shared_with_another_folder_is_never_written_to(tmp_path: Path) -> None:
    """It is replaced by one of its own."""
    registry = registry_in(tmp_path / "registry")
    (tmp_path / "f").write_bytes(b"abcdefgh")
    file = Sender(registry).send(tmp_path / "f", "out/f")
    (tmp_path / "out").mkdir()
    (tmp_path / "hurt").write_bytes(b"abcdXXXX")
    (tmp_path / "out/f").hardlink_to(tmp_path / "hurt")
    fetch(registry, [file], tmp_path)
    assert (tmp_path / "out/f").read_bytes() == b"abcdefgh"
    assert (tmp_path / "hurt").read_bytes() == b"abcdXXXX"


def test_chunks_near_by_are_not_fetched(tmp_path: Path) -> None:
    """Those of a file with one change are taken from it; a hurt one is not."""
    registry = registry_in(tmp_path / "registry")
    data = np.random.default_rng(2).bytes(4 * 20)
    (tmp_path / "old").write_bytes(data)
    old = describe(tmp_path / "old", "old")
    (tmp_path / "new").write_bytes(data[:8] + b"1234" + data[12:])
    file = Sender(registry).send(tmp_path / "new", "out/new")
    (tmp_path / "old").write_bytes(data[:40] + b"XXXX" + data[44:])
    fetch(registry, [file], tmp_path, near=places([old], tmp_path))
    assert (tmp_path / "out/new").read_bytes() == (tmp_path / "new").read_bytes()
    assert asked(registry)["read"] == 2


@settings(max_examples=50, deadline=None)
@given(
    st.binary(max_size=30), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)))
)
def test_an_opened_file_reads_as_the_file_does(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, looks: list[tuple[int, int]]
) -> None:
    """Wherever one looks, from the start, from the end, and on from there."""
    folder = tmp_path_factory.mktemp("opened")
    registry = registry_in(folder / "registry")
    (folder / "f").write_bytes(data)
    file = Sender(registry).send(folder / "f", "f")
    with opened(registry, file, {}) as ours, (folder / "f").open("rb") as plain:
        assert ours.seek(0, os.SEEK_END) == len(data)
        for place, count in looks:
            for each in (ours, plain):
                each.seek(place)
            assert ours.read(count) == plain.read(count)
            assert ours.tell() == plain.tell()
        with pytest.raises((ValueError, OSError)):
            ours.seek(-1)


def test_of_an_opened_file_only_what_is_looked_at_is_fetched(tmp_path: Path) -> None:
    """And a chunk that is here is not, unless it is hurt."""
    registry = registry_in(tmp_path / "registry")
    (tmp_path / "f").write_bytes(b"aaaabbbbccccdddd")
    file = Sender(registry).send(tmp_path / "f", "f")
    (tmp_path / "f").write_bytes(b"aaaaXbbbcccc")
    with opened(registry, file, places([file], tmp_path)) as content:
        content.seek(-2, os.SEEK_END)
        assert content.read() == b"dd"
    assert asked(registry)["read"] == 1
    with opened(registry, file, places([file], tmp_path)) as content:
        assert content.read() == b"aaaabbbbccccdddd"
    assert asked(registry)["read"] == 3


def test_a_chunk_of_another_size_is_no_part_of_an_opened_file(tmp_path: Path) -> None:
    """What comes after it would not be where it seems to be."""
    registry = registry_in(tmp_path / "registry")
    (tmp_path / "f").write_bytes(b"aaaabbbbcccc")
    file = Sender(registry).send(tmp_path / "f", "f")
    short = Sender(registry).send(_written(tmp_path / "g", b"bbb"), "g").chunks[0]
    odd = replace(file, chunks=(file.chunks[0], short, file.chunks[2]))
    with opened(registry, odd, {}) as content:
        with pytest.raises(VerificationFailed, match="to have 4 bytes"):
            content.read()


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
