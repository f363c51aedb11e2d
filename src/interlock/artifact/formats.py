"""Which files are let in: an allow-list by content, not by name.

A weight format that can execute code when it is loaded (pickle, joblib, the older
PyTorch and Keras files) is refused whatever its name is. Deny-lists of such formats
miss some; so a file must be recognised as something harmless, or it does not get in.
"""

from __future__ import annotations

import json
import pickletools
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from interlock.errors import VerificationFailed

_NAMES = {"GLOBAL", "STACK_GLOBAL"}
# The ways in which a pickle calls something: each with what must have come before.
_CALLS = (
    ({"REDUCE"}, {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"}),
    ({"INST", "OBJ"}, {"MARK"}),
    ({"NEWOBJ", "NEWOBJ_EX"}, _NAMES),
)
_TEXT_LIMIT = 64 * 1024 * 1024  # bytes; larger text belongs in Parquet
_HEADER_LIMIT = 100 * 1024 * 1024  # bytes; the safetensors library's own limit


def check_format(path: Path) -> None:
    """Raise VerificationFailed unless the file's content is of an allowed format."""
    if not any(recognises(path) for recognises in FORMATS.values()):
        raise VerificationFailed(
            f"{path.name} to be one of: {', '.join(FORMATS)}",
            f"something else, starting with {_head(path, 16)!r}",
            "save the model as safetensors or ONNX: formats like pickle run code",
        )


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _safetensors(path: Path) -> bool:
    """8 bytes with the header's length, a JSON header, then the tensors and no more."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_HEADER_LIMIT, path.stat().st_size - 8):
            return False
        header = _json(file.read(length))
    if not isinstance(header, dict):
        return False
    tensors = [v for k, v in header.items() if k != "__metadata__"]
    try:
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
    except (KeyError, TypeError, ValueError, IndexError):
        return False
    return 8 + length + max(ends, default=0) == path.stat().st_size


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _npy(path: Path) -> bool:
    """A NumPy array of plain values: an array of objects would hold a pickle."""
    head = _head(path, 10)
    if not head.startswith(b"\x93NUMPY") or len(head) < 10:
        return False
    header = _head(path, 10 + int.from_bytes(head[8:10], "little"))[10:]
    return b"descr" in header and b"|O" not in header and b"'O'" not in header


def _parquet(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(4) != b"PAR1" or path.stat().st_size < 12:
            return False
        file.seek(-4, 2)
        return file.read() == b"PAR1"


def _onnx(path: Path) -> bool:
    """A protobuf ModelProto: `ir_version` first, then only fields that it knows."""
    with path.open("rb") as file:
        if file.read(1) != b"\x08" or not 1 <= file.read(1)[0] <= 64:
            return False
        end, graph = path.stat().st_size, False
        while file.tell() < end:
            key = _varint(file.read)
            number, wire = key >> 3, key & 7
            if wire == 2:
                file.seek(_varint(file.read), 1)
            elif wire == 0:
                _varint(file.read)
            else:
                return False
            if number not in (2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26):
                return False
            graph = graph or number == 7
        return graph and file.tell() == end


def _varint(read: Callable[[int], bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = (read(1) or b"\0")[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    return 1 << 70


def _text(path: Path) -> bool:
    """UTF-8 text that is not a program for the pickle machine (protocol 0 is text)."""
    if path.stat().st_size > _TEXT_LIMIT:
        return False
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\0" not in text and not _is_pickle(data)


def _is_pickle(data: bytes) -> bool:
    """Whether unpickling `data` would import or call something.

    A pickle with a broken tail has done its harm before it fails, so the operations
    before the break count; a name alone does not then, for plain text that starts with
    "c" reads as one.
    """
    seen = set()
    try:
        for opcode, _, _ in pickletools.genops(data):
            seen.add(opcode.name)
        whole = True
    except Exception:
        whole = False
    called = any(seen & call and seen & before for call, before in _CALLS)
    return called or (whole and bool(seen & _NAMES))


FORMATS: Mapping[str, Callable[[Path], bool]] = {
    "safetensors": _safetensors,
    "ONNX": _onnx,
    "npy": _npy,
    "Parquet": _parquet,
    "UTF-8 text": _text,
}
