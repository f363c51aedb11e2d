"""Which files are let in: an allow-list by content, not by name.

A weight format that can execute code when it is loaded (pickle, joblib, the older
PyTorch and Keras files) is refused whatever its name is. Deny-lists of such formats
miss some; so a file must be recognised as something harmless, or it does not get in.
"""

from __future__ import annotations

import ast
import math
import os
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from interlock.canonical import parse
from interlock.errors import Refusal, VerificationFailed

_TEXT_LIMIT = 64 * 1024 * 1024  # bytes; what is larger belongs in safetensors
_HEADER_LIMIT = 100_000_000  # bytes; the safetensors library's own limit
# A stream whose first byte is none of these ends the pickle machine at once.
_PICKLE_STARTS = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes}


def check_format(path: Path) -> None:
    """Raise VerificationFailed unless the file's content is of an allowed format."""
    with path.open("rb") as file:
        check_content(file, path.name)


def check_content(file: BinaryIO, name: str) -> None:
    """The same of a file that is open. No more of it is read than has to be."""
    if _is_zip(file) or not any(_is(each, file, name) for each in FORMATS.values()):
        file.seek(0)
        raise VerificationFailed(
            f"{name} to be one of: {', '.join(FORMATS)}",
            f"something else, starting with {file.read(16)!r}",
            "save weights as safetensors or ONNX, for pickles run code; text as JSON",
        )


Check = Callable[[BinaryIO, int, str], bool]  # of a file with its size and name


def _is(check: Check, file: BinaryIO, name: str) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        return check(file, size, name)
    except Refusal:  # it cannot be read, or is not the one that it is to be
        raise
    except Exception:  # whatever hostile bytes make a reader raise
        return False


def _is_zip(file: BinaryIO) -> bool:
    """Whether it is a zip as well, as PyTorch's are: those are read from the end."""
    try:
        with zipfile.ZipFile(file):
            return True
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _safetensors(file: BinaryIO, size: int, _: str) -> bool:
    """A length, a JSON header, and tensors that fill the rest without gaps."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
        return False
    header = parse(file.read(length))
    tensors = [value for key, value in header.items() if key != "__metadata__"]
    end = 0
    for start, stop, needed in sorted(map(_extent, tensors)):
        if start != end or stop - start != needed:
            return False
        end = stop
    return 8 + length + end == size


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


def _npy(file: BinaryIO, size: int, _: str) -> bool:
    """A NumPy array of plain values and no more: objects would be a pickle."""
    if file.read(6) != b"\x93NUMPY":
        return False
    from numpy.lib import format as npy  # only here, for it takes its time

    file.seek(0)
    first = npy.read_magic(file)[0] == 1  # later ones differ in how names are written
    read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
    shape, _order, dtype = read(file)
    if dtype.hasobject or any(length < 0 for length in shape):
        return False
    return file.tell() + dtype.itemsize * math.prod(shape) == size


def _onnx(file: BinaryIO, size: int, _: str) -> bool:
    """A protobuf ModelProto: `ir_version` first, then only fields that it knows."""
    seen: set[int] = set()
    while file.tell() < size:
        number, wire = divmod(_varint(file), 8)
        value = _varint(file)
        if number not in ({1} if not seen else _ONNX_FIELDS) or wire not in (0, 2):
            return False
        if wire == 2:
            if value > size - file.tell():
                return False
            file.seek(value, os.SEEK_CUR)
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


def _python(file: BinaryIO, _: int, name: str) -> bool:
    """Source that parses, under a name that says so: it is code, and is reviewed."""
    return PurePosixPath(name).suffix == ".py" and bool(ast.parse(file.read()))


def _text(file: BinaryIO, size: int, _: str) -> bool:
    """UTF-8 text, JSON for example, that is not a pickle (protocol 0 is text too)."""
    if size > _TEXT_LIMIT:
        return False
    data = file.read()
    return "\0" not in data.decode("utf-8") and data[:1] not in _PICKLE_STARTS


FORMATS: Mapping[str, Check] = {
    "safetensors": _safetensors,
    "ONNX": _onnx,
    "npy": _npy,
    "Python source": _python,
    "text that no pickle starts like": _text,
}
