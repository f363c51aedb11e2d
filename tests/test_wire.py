"""Messages arrive whole, and nonsense is the end of a talk."""

from __future__ import annotations

import socket
import struct
from threading import Thread

import numpy as np
import pytest

from interlock import wire


@pytest.mark.parametrize("rows", [0, 1, 1_000_000])
def test_a_message_arrives_as_it_was_sent(rows: int) -> None:
    """Whatever fits into the socket at a time; and its arrays may be changed."""
    here, there = socket.socketpair()
    numbers, texts = np.arange(rows, dtype=np.float64), np.full(rows, "né")
    with here, there:
        sender = Thread(target=wire.send, args=(here, b"head", [numbers, texts]))
        sender.start()
        head, (one, other) = wire.receive(there)
        sender.join()
    assert head == b"head"
    assert bytes(one) == numbers.tobytes()
    assert bytes(other) == texts.tobytes()
    assert not one.readonly


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\1",
        struct.pack("=I2Q", 2, 1, 5) + b"h1234",
        *[struct.pack("=IQ", 1, size) for size in (2**62, 2**64 - 1)],
    ],
)
def test_what_is_no_message_is_an_end(said: bytes) -> None:
    """Cut short, or of a size that there cannot be."""
    here, there = socket.socketpair()
    with there:
        with here:
            here.sendall(said)
        with pytest.raises(EOFError):
            wire.receive(there)
