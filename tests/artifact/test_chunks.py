"""Chunks: what is cut comes together again, or does not come at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.artifact import chunks
from interlock.artifact.chunks import (
    CHUNK,
    cut,
    describe,
    digest,
    held,
    is_whole,
    write,
)
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
    write(file, tmp_path / "out", map(kept.__getitem__, file.chunks))
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
        write(file, tmp_path, map(kept.__getitem__, file.chunks))
    assert refusal.value.exit_code == 7


def test_a_missing_chunk_is_no_success(tmp_path: Path) -> None:
    """What the pieces raise comes through, untouched."""
    with pytest.raises(KeyError, match=B):
        write(WHOLE, tmp_path, map({A: b"abcd", C: b"ij"}.__getitem__, WHOLE.chunks))


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    """Nor is a link followed to what it points at."""
    (tmp_path / "f").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write(WHOLE, tmp_path, KEPT.values())
    assert (tmp_path / "f").read_bytes() == b"mine"
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        write(replace(WHOLE, path="link"), tmp_path, KEPT.values())
    assert not (tmp_path / "target").exists()


def test_a_file_that_grows_too_large_is_stopped(tmp_path: Path) -> None:
    """Sizes are checked first: a hostile registry must not fill the disk."""
    pieces = iter([bytes(1000)] * 50)
    with pytest.raises(VerificationFailed):
        write(replace(WHOLE, chunks=(A,) * 50), tmp_path, pieces)
    assert len([*pieces]) >= 48


@given(st.binary(max_size=40), st.binary(max_size=40))
@example(DATA, b"abcdefgh")
@example(DATA, b"")
@example(DATA, DATA + b"k")
def test_what_is_held_is_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, wanted: bytes, there: bytes
) -> None:
    """Its first right pieces count; the rest is written, and the file is whole."""
    folder = tmp_path_factory.mktemp("held")
    (folder / "source").write_bytes(wanted)
    file = describe(folder / "source", "f")
    (folder / "f").write_bytes(there)
    first = held(folder / "f", file)
    pieces = [*cut(folder / "source")]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(pieces, cut(folder / "f")))
    assert first == (len([*same]) if len(there) <= len(wanted) else 0)
    if not first:
        (folder / "f").unlink()
    write(file, folder, pieces[first:], first)
    assert (folder / "f").read_bytes() == wanted


def test_a_file_that_is_shared_is_whole_or_not_touched(tmp_path: Path) -> None:
    """A link to another folder's file must not be written through."""
    (tmp_path / "f").write_bytes(b"abcdefgX")
    assert held(tmp_path / "f", WHOLE) == 1
    (tmp_path / "other").hardlink_to(tmp_path / "f")
    assert held(tmp_path / "f", WHOLE) == 0
    (tmp_path / "f").write_bytes(DATA)
    assert held(tmp_path / "f", WHOLE) == 3
    (tmp_path / "link").symlink_to(tmp_path / "f")
    assert held(tmp_path / "link", WHOLE) == 0


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


def test_a_file_with_bytes_that_no_chunk_names_is_not_whole(tmp_path: Path) -> None:
    """Whatever they are, nobody has vouched for them."""
    path = tmp_path / "file"
    path.write_bytes(noise(CHUNK + 4))
    file = describe(path, "file")
    assert is_whole(path, file)
    assert not is_whole(path, replace(file, chunks=file.chunks[:1]))
