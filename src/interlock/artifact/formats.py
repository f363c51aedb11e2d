"""Which files are let in: an allow-list by content, not by name.

A weight format that can execute code when it is loaded (pickle, joblib, the older
PyTorch and Keras files) is refused whatever its name is. Deny-lists of such formats
miss some; so a file must be recognised as something harmless, or it does not get in.
"""

from __future__ import annotations

import ast
import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from interlock.canonical import parse
from interlock.errors import VerificationFailed

_TEXT_LIMIT = 64 * 1024 * 1024  # bytes; what is larger belongs in safetensors
_HEADER_LIMIT = 100_000_000  # bytes; the safetensors library's own limit
# A stream whose first byte is none of these ends the pickle machine at once.
_PICKLE_STARTS = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes}


def check_format(path: Path, name: str = "") -> None:
    """Raise VerificationFailed unless the file's content is of an allowed format.

    `name` is what people call it, where it is not kept under its name.
    """
    if _is_zip(path) or not any(_is(check, path) for check in FORMATS.values()):
        with path.open("rb") as file:
            head = file.read(16)
        raise VerificationFailed(
            f"{name or path.name} to be one of: {', '.join(FORMATS)}",
            f"something else, starting with {head!r}",
            "save weights as safetensors or ONNX, for pickles run code; text as JSON",
        )


def _is(check: Callable[[Path], bool], path: Path) -> bool:
    try:
        return check(path)
    except Exception:  # whatever hostile bytes make a reader raise
        return False


def _is_zip(path: Path) -> bool:
    """Whether it is a zip as well, as PyTorch's are: those are read from the end."""
    try:
        with zipfile.ZipFile(path):
            return True
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _safetensors(path: Path) -> bool:
    """A length, a JSON header, and tensors that fill the rest without gaps."""
    with path.open("rb") as file:
        length, rest = int.from_bytes(file.read(8), "little"), path.stat().st_size - 8
        if not 2 <= length <= min(_HEADER_LIMIT, rest):
            return False
        header = parse(file.read(length))
    tensors = [value for key, value in header.items() if key != "__metadata__"]
    end = 0
    for start, stop, size in sorted(map(_extent, tensors)):
        if start != end or stop - start != size:
            return False
        end = stop
    return 8 + length + end == path.stat().st_size


def _extent(tensor: Mapping[str, Any]) -> tuple[int, int, int]:
    """Where a tensor starts and stops, and the bytes that its shape asks for."""
    start, stop = tensor["data_offsets"]
    numbers = [start, stop, *tensor["shape"]]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(numbers)
    bits = _BITS[tensor["dtype"]] * math.prod(tensor["shape"])
    return start, stop, bits // 8


_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
_BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
_BITS |= {"I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4}


def _npy(path: Path) -> bool:
    """A NumPy array of plain values and no more: objects would be a pickle."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            return False
    import numpy as np  # only here, for it takes its time

    array = np.lib.format.open_memmap(path, mode="r")
    return bool(array.offset + array.nbytes == path.stat().st_size)


def _onnx(path: Path) -> bool:
    """A protobuf ModelProto: `ir_version` first, then only fields that it knows."""
    end = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        while file.tell() < end:
            number, wire = divmod(_varint(file), 8)
            size = _varint(file)
            if number not in ({1} if not seen else _ONNX_FIELDS) or wire not in (0, 2):
                return False
            if wire == 2:
                if size > end - file.tell():
                    return False
                file.seek(size, 1)
            seen.add(number)
    return 7 in seen  # the graph


_ONNX_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("a number of more than ten bytes")


def _python(path: Path) -> bool:
    """Source that parses, under a name that says so: it is code, and is reviewed."""
    return path.suffix == ".py" and bool(ast.parse(path.read_bytes()))


def _text(path: Path) -> bool:
    """UTF-8 text, JSON for example, that is not a pickle (protocol 0 is text too)."""
    if path.stat().st_size > _TEXT_LIMIT:
        return False
    data = path.read_bytes()
    return "\0" not in data.decode("utf-8") and data[:1] not in _PICKLE_STARTS


FORMATS: Mapping[str, Callable[[Path], bool]] = {
    "safetensors": _safetensors,
    "ONNX": _onnx,
    "npy": _npy,
    "Python source": _python,
    "text that no pickle starts like": _text,
}
