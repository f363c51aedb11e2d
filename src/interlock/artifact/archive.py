"""An archive with one spelling: the same bytes on every machine and at any time.

Names, owners, modes and times say nothing about who made it. It is gzip, so that any
system can unpack it, but its blocks are stored: what a compressor makes of the same
bytes differs between zlib and zlib-ng, and between their releases. Weights hardly
shrink, and storing keeps up with the disk.
"""

from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TIME = 315_532_800  # 1980-01-01, for tools that take 1970 for a mistake
_BLOCK = 65_535  # bytes, the most that a stored block holds


@dataclass(frozen=True)
class Member:
    """A file of an archive; `pieces` are `size` bytes in all."""

    name: str
    size: int
    pieces: Iterable[bytes]


def tar(members: Iterable[Member]) -> Iterator[bytes]:
    """A tar archive of `members`, in their order (POSIX.1-2001, pax)."""
    for member in members:
        header = tarfile.TarInfo(member.name)
        header.size, header.mtime, header.mode = member.size, _TIME, 0o644
        yield header.tobuf(tarfile.PAX_FORMAT, "utf-8")
        yield from member.pieces
        yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces` as a gzip file of stored blocks, without a name or a time.

    Source: RFC 1952, section 2.3, and RFC 1951, section 3.2.4.
    """
    yield struct.pack("<4BI2B", 0x1F, 0x8B, 8, 0, 0, 0, 255)  # deflate; system unknown
    check = size = 0
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            block = piece[start : start + _BLOCK]
            yield _stored(len(block)) + block
        check, size = zlib.crc32(piece, check), size + len(piece)
    yield _stored(0, last=True) + struct.pack("<2I", check, size % 2**32)


def _stored(size: int, *, last: bool = False) -> bytes:
    return struct.pack("<B2H", last, size, size ^ 0xFFFF)
