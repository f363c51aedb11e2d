"""Chunks: what is cut comes together again, or does not come at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.artifact import chunks
from interlock.artifact.chunks import CHUNK, cut, describe, digest, write
from interlock.artifact.manifest import File
from interlock.errors import VerificationFailed

SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3]


def noise(size: int) -> bytes:
    """Bytes that do not repeat."""
    return np.random.default_rng(size).bytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_together_again(tmp_path: Path, size: int) -> None:
    """Cut, described and written: the same bytes, at every border of a chunk."""
    source = tmp_path / "source"
    source.write_bytes(noise(size))
    pieces = [*cut(source)]
    assert [len(piece) for piece in pieces[:-1]] == [CHUNK] * (len(pieces) - 1)
    assert len(pieces) == -(-size // CHUNK)
    file = describe(source, "deep/er/file")
    assert (file.path, file.size) == ("deep/er/file", size)
    assert file.sha256 == hashlib.sha256(noise(size)).hexdigest()
    assert [*file.chunks] == [digest(piece) for piece in pieces]
    kept = {digest(piece): piece for piece in pieces}
    write(file, tmp_path / "out", kept.__getitem__)
    assert (tmp_path / "out/deep/er/file").read_bytes() == noise(size)


@pytest.fixture(autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four bytes, where their size is not the point."""
    if "size" not in request.fixturenames:
        monkeypatch.setattr(chunks, "CHUNK", 4)


DATA = b"abcdefghij"
KEPT = {digest(piece): piece for piece in (b"abcd", b"efgh", b"ij")}
WHOLE = File("f", 10, digest(DATA), tuple(KEPT))
A, B, C = KEPT


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        pytest.param(WHOLE, KEPT | {B: b"efgX"}, id="another chunk"),
        pytest.param(WHOLE, KEPT | {B: b"efg"}, id="a chunk cut short"),
        pytest.param(WHOLE, KEPT | {C: b""}, id="an empty chunk"),
        pytest.param(WHOLE, KEPT | {C: b"ijk"}, id="a chunk with more"),
        pytest.param(replace(WHOLE, chunks=(B, A, C)), KEPT, id="reordered"),
        pytest.param(replace(WHOLE, chunks=(A, B)), KEPT, id="one left out"),
        pytest.param(replace(WHOLE, chunks=(A, B, C, C)), KEPT, id="one twice"),
        pytest.param(replace(WHOLE, chunks=()), KEPT, id="none"),
        pytest.param(replace(WHOLE, size=9), KEPT, id="another size"),
        pytest.param(replace(WHOLE, sha256="0" * 64), KEPT, id="another digest"),
    ],
)
def test_wrong_chunks_are_refused(
    tmp_path: Path, file: File, kept: Mapping[str, bytes]
) -> None:
    """Altered, truncated, reordered, left out: no success, and the file is named."""
    with pytest.raises(VerificationFailed, match="f of") as refusal:
        write(file, tmp_path, kept.__getitem__)
    assert refusal.value.exit_code == 7


def test_a_missing_chunk_is_no_success(tmp_path: Path) -> None:
    """What fetch raises comes through, untouched."""
    with pytest.raises(KeyError, match=B):
        write(WHOLE, tmp_path, {A: b"abcd", C: b"ij"}.__getitem__)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    """Nor is a link followed to what it points at."""
    (tmp_path / "f").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write(WHOLE, tmp_path, KEPT.__getitem__)
    assert (tmp_path / "f").read_bytes() == b"mine"
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        write(replace(WHOLE, path="link"), tmp_path, KEPT.__getitem__)
    assert not (tmp_path / "target").exists()


def test_a_file_that_grows_too_large_is_stopped(tmp_path: Path) -> None:
    """Sizes are checked first: a hostile registry must not fill the disk."""
    fetched = 0

    def fetch(_: str) -> bytes:
        nonlocal fetched
        fetched += 1
        return bytes(1000)

    with pytest.raises(VerificationFailed):
        write(replace(WHOLE, chunks=(A,) * 50), tmp_path, fetch)
    assert fetched <= 2


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_equal_files_and_no_others_have_equal_entries(
    tmp_path_factory: pytest.TempPathFactory, one: bytes, two: bytes
) -> None:
    """The entry is the content: nothing of the place or the time is in it."""
    folder = tmp_path_factory.mktemp("pair")
    for name, data in (("one", one), ("two", two)):
        (folder / name).write_bytes(data)
    same = describe(folder / "one", "x") == describe(folder / "two", "x")
    assert same == (one == two)
