"""Archives: any tool reads them, and the same members are the same bytes for ever."""

from __future__ import annotations

import gzip as standard
import hashlib
import io
import subprocess
import tarfile

from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.artifact.archive import Member, gzip, tar


@given(st.lists(st.binary(max_size=40)))
@settings(max_examples=40)
@example([])
@example([b""])
@example([b"a" * 65_535, b"b" * 65_536, b"c"])
def test_gzip_gives_back_what_it_was_given(pieces: list[bytes]) -> None:
    """Python's own reader, which checks size and CRC, is the oracle."""
    assert standard.decompress(b"".join(gzip(pieces))) == b"".join(pieces)


_NAMES = st.lists(st.text("ab/é漢.", min_size=1, max_size=300), max_size=4, unique=True)


@given(_NAMES, st.binary(max_size=2000))
@settings(max_examples=40)
@example(["a" * 101, "é/" * 140 + "b"], b"x" * 512)
def test_tar_holds_the_members_and_nobody_s_name(names: list[str], data: bytes) -> None:
    """Names of any length and script; no owner, no time of its own."""
    names = [name.strip("/") or "x" for name in names]
    members = [Member(name, len(data), [data[:7], data[7:]]) for name in names]
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar(members)))) as read:
        infos = read.getmembers()
        for info in infos:
            held = read.extractfile(info)
            assert held and held.read() == data
            assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
            assert (info.mode, info.mtime, info.isreg()) == (0o644, 315_532_800, True)
    assert [info.name for info in infos] == names


def test_the_bytes_are_these_on_every_machine() -> None:
    """Written down once: another Python or zlib that makes others is found here."""
    members = [
        Member("model-0/.interlock/" + "é" * 100, 3, [b"abc"]),
        Member("model-0/weights.bin", 200_000, [bytes(100_000), bytes(100_000)]),
        Member("model-0/empty", 0, []),
    ]
    archive = b"".join(gzip(tar(members)))
    assert hashlib.sha256(archive).hexdigest() == (
        "0f9cc14e849f42cb22c4b5360160b32efe9afdf5ea3c8f29c1c1ea6bab4db437"
    )


def test_the_system_s_gzip_takes_it_for_whole() -> None:
    """`gzip -t` checks the size and the CRC."""
    archive = b"".join(gzip(tar([Member("a", 1, [b"a"])])))
    subprocess.run(["gzip", "-t"], input=archive, check=True, capture_output=True)
