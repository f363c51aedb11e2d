"""Messages between two processes: some bytes, and arrays as they lie in memory.

An array is handed to the socket and read from it in place. To pickle 44 bytes a row
into a pipe, and to read them out of it again, took six times the CPU.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import Any

import numpy as np


def send(line: socket.socket, head: bytes, arrays: Sequence[Any] = ()) -> None:
    """A message of `head` and of what else has a contiguous buffer."""
    parts = [PickleBuffer(part).raw() for part in (head, *arrays)]
    sizes = [len(part) for part in parts]
    line.sendall(struct.pack(f"=I{len(sizes)}Q", len(sizes), *sizes))
    for part in parts:
        line.sendall(part)


def receive(line: socket.socket) -> tuple[bytes, list[memoryview]]:
    """A message, its arrays as bytes that may be changed.

    Raises EOFError when the other side is gone, or says what is no message.
    """
    (number,) = struct.unpack("=I", _read(line, 4))
    try:
        sizes = struct.unpack(f"={number}Q", _read(line, 8 * number))
        head, *arrays = [_read(line, size) for size in sizes]
    except (MemoryError, ValueError):  # sizes that there cannot be
        raise EOFError from None
    return head.tobytes(), arrays


def _read(line: socket.socket, size: int) -> memoryview:
    found = rest = np.empty(size, np.uint8).data  # a bytearray would be zeroed first
    while rest:
        if not (number := line.recv_into(rest)):
            raise EOFError
        rest = rest[number:]
    return found
