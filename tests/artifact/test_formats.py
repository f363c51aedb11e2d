"""What is let in, and that nothing which executes code is.

Every attack in here is real: it is first shown to run, in this process, by the file
that it makes; then it must be refused. The payload is harmless: `touch`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import marshal
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from interlock.artifact.formats import check_format
from interlock.errors import VerificationFailed

ROOT = Path(__file__).parents[2]


def refuses(data: bytes, folder: Path, name: str = "file.txt") -> bool:
    """Whether a file with this content is refused."""
    path = folder / name
    path.write_bytes(data)
    try:
        check_format(path)
    except VerificationFailed:
        return True
    return False


# --- let in --------------------------------------------------------------------------


def field(number: int, value: bytes | int) -> bytes:
    """A protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """A protobuf number."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def onnx() -> bytes:
    """The smallest ModelProto that says something: a graph of one Identity node."""
    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    tensor = field(1, field(1, 1) + field(2, field(1, field(2, b"N"))))
    graph = field(1, node) + field(2, b"g")
    graph += field(11, field(1, b"x") + field(2, tensor))
    graph += field(12, field(1, b"y") + field(2, tensor))
    opset = field(1, b"") + field(2, 21)
    return field(1, 10) + field(2, b"test") + field(7, graph) + field(8, opset)


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    """An array as NumPy writes it."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version)
    return file.getvalue()


TENSORS = {"w": np.ones((2, 3), "f4"), "b": np.zeros(0, "i8"), "é": np.ones(1, "u1")}
HARMLESS: dict[str, bytes] = {
    "safetensors": save_safetensors(TENSORS),
    "safetensors with metadata": save_safetensors(TENSORS, {"made": "by a test"}),
    "safetensors without a tensor": save_safetensors({}),
    "ONNX": onnx(),
    "npy scalar": npy(np.float64(2.0)),
    "npy matrix": npy(np.ones((3, 4), "f4", order="F")),
    "npy text": npy(["a", "é"]),
    "npy record": npy(np.zeros(2, [("Odd", "f8"), ("i", "i4", (2,))])),
    "npy 2.0": npy(np.arange(3), (2, 0)),
    "npy empty": npy(np.zeros((0, 5))),
    "JSON": json.dumps({"a": [1.5, None, "é"]}).encode(),
    "text": "A line, and another: ünïcödé\n".encode(),
    "CSV": b"x,y\n1,2\n",
    "empty": b"",
}


@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_format_is_let_in(tmp_path: Path, data: bytes) -> None:
    """Whatever its name, for the content decides."""
    assert not refuses(data, tmp_path)
    assert not refuses(data, tmp_path, "model.pkl")


SOURCES = {
    "an import": b"import numpy as np\n\nPATH = 'x'\n",
    "a docstring": b'"""A model."""\n',
    "a comment": "# coding: utf-8\nprint('é')\n".encode(),
    "nothing": b"",
    "a class": b"class Model:\n    pass\n",
}


@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES)
def test_python_source_is_let_in(tmp_path: Path, data: bytes) -> None:
    """The model's own code starts with letters, as pickles do."""
    assert not refuses(data, tmp_path, "model.py")


@pytest.mark.parametrize("data", [b"def f(:\n", b"cos\nsystem\n(S'x'\ntR.", b"a\0b"])
def test_source_that_does_not_parse_is_no_crash(tmp_path: Path, data: bytes) -> None:
    """A name that ends in .py promises Python, and need not keep it."""
    assert refuses(data, tmp_path, "model.py")


def test_a_field_may_be_called_o(tmp_path: Path) -> None:
    """An array of records with a column O holds no objects."""
    assert not refuses(npy(np.zeros(2, [("O", "f8")])), tmp_path)


def test_every_text_of_this_repository_is_let_in() -> None:
    """No false alarm on our own sources."""
    listed = subprocess.run(
        ("git", "ls-files", "-z"), cwd=ROOT, check=True, capture_output=True, text=True
    )
    texts = 0
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            check_format(path)
            texts += 1
    assert texts > 20


# --- what executes -------------------------------------------------------------------


class Touch:
    """Unpickles by running `touch`."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class TouchByKeyword(Touch):
    """The same, through NEWOBJ_EX of a class that runs something when made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.run, (["touch", self.marker],)


class TouchByExec(Touch):
    """The same, through exec of a source text."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({self.marker!r}, 'w').close()",)


class Inner(Touch):
    """A pickle inside a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (pickle.dumps(Touch(self.marker)),)


def text_pickle(before: bytes, after: bytes) -> Callable[[str], bytes]:
    """A protocol 0 pickle by hand, around the command as a string."""
    return lambda marker: before + f"S'touch {marker}'\n".encode() + after


CALL = b"cos\nsystem\n("


def torch_zip(marker: str) -> bytes:
    """A zip with a pickle, as PyTorch saves since 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Touch(marker), 2))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def run_torch_zip(data: bytes) -> None:
    """As torch.load does without weights_only."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickle.loads(archive.read("archive/data.pkl"))


def joblib_dump(compress: Any) -> Callable[[str], bytes]:
    """What joblib.dump writes."""

    def make(marker: str) -> bytes:
        file = io.BytesIO()
        joblib.dump([Touch(marker), np.ones(3)], file, compress=compress)
        return file.getvalue()

    return make


def run_twice(data: bytes) -> None:
    """As whoever stores two pickles in a file reads them: PyTorch did, until 1.6."""
    file = io.BytesIO(data)
    pickle.load(file)
    pickle.load(file)


def run_latin1(data: bytes) -> None:
    """As pickles of Python 2 are read, by NumPy and joblib too."""
    pickle.loads(data, encoding="latin1")


def run_npy(data: bytes) -> None:
    """As np.load does for who wants objects."""
    np.load(io.BytesIO(data), allow_pickle=True)


def run_npy_then_pickle(data: bytes) -> None:
    """As np.load does on the second call for one open file."""
    file = io.BytesIO(data)
    np.load(file)
    np.load(file, allow_pickle=True)


def run_npz(data: bytes) -> None:
    """As np.load does for an archive of arrays."""
    with np.load(io.BytesIO(data), allow_pickle=True) as arrays:
        arrays["a"]


def run_marshal(data: bytes) -> None:
    """As Python does with a .pyc, and Keras with a Lambda layer."""
    exec(marshal.loads(data[16:]))


def objects(descr: str, major: int = 1, padding: int = 0) -> Callable[[str], bytes]:
    """An npy file whose header names `descr`: an array of objects in disguise."""

    def make(marker: str) -> bytes:
        head = "{'fortran_order': False, 'shape': (1,), 'descr': '<f8', "
        head += " " * padding + f"'descr': {descr}}}\n"
        size = struct.pack("<H" if major == 1 else "<I", len(head))
        start = b"\x93NUMPY" + bytes([major, 0]) + size
        return start + head.encode() + pickle.dumps([Touch(marker)])

    return make


def npz(marker: str) -> bytes:
    """An archive with an array of objects."""
    file = io.BytesIO()
    np.savez(file, a=np.array([Touch(marker)], object))
    return file.getvalue()


def pyc(marker: str) -> bytes:
    """Bytecode, as Python caches it."""
    code = compile(f"open({marker!r}, 'w').close()", "x", "exec")
    return bytes(16) + marshal.dumps(code)


def packed(pack: Callable[[bytes], bytes]) -> Callable[[str], bytes]:
    """A compressed pickle, as pandas and joblib take one."""
    return lambda marker: pack(pickle.dumps(Touch(marker)))


def unpacked(unpack: Callable[[bytes], bytes]) -> Callable[[bytes], Any]:
    """Read it."""
    return lambda data: pickle.loads(unpack(data))


def mapped(marker: str) -> bytes:
    """No REDUCE at all: `posixpath` gets a __setstate__ of its own, and BUILD calls it.

    What it leaves in this process is taken away by `run_build`.
    """
    text = f"S'touch {marker}'\n".encode()
    return b"cos\npath\n}S'__setstate__'\ncos\nsystem\nsb" + text + b"b~"


def run_build(data: bytes) -> None:
    """Unpickle, and mend the module."""
    try:
        pickle.loads(data)
    except pickle.UnpicklingError:
        pass  # the broken tail, after the harm
    finally:
        vars(os.path).pop("__setstate__", None)


def run_broken(data: bytes) -> None:
    """A pickle that fails at its end has run all the same."""
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        pickle.loads(data)


def environment(marker: str) -> bytes:
    """No call at all: an item of os.environ is set, and the tail is broken."""
    return f"cos\nenviron\nS'INTERLOCK_TEST'\nS'{marker}'\ns~".encode()


def run_environment(data: bytes) -> None:
    """What LD_PRELOAD would do to the next process, a marker does here."""
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(data)
    Path(os.environ.pop("INTERLOCK_TEST")).touch()


@dataclass(frozen=True)
class Attack:
    """Bytes that run code when they are loaded in this way."""

    name: str
    make: Callable[[str], bytes]
    load: Callable[[bytes], Any] = pickle.loads


def protocol(number: int, kind: type[Touch] = Touch) -> Callable[[str], bytes]:
    """A pickle as pickle writes it."""
    return lambda marker: pickle.dumps(kind(marker), number)


ATTACKS = [
    *(Attack(f"protocol {n}", protocol(n)) for n in range(6)),
    *(Attack(f"exec, protocol {n}", protocol(n, TouchByExec)) for n in (0, 2, 5)),
    *(Attack(f"subprocess, protocol {n}", protocol(n, TouchByKeyword)) for n in (0, 4)),
    *(Attack(f"a pickle in a pickle, {n}", protocol(n, Inner)) for n in (0, 3)),
    Attack("by hand", text_pickle(CALL, b"tR.")),
    Attack("INST", text_pickle(b"(", b"ios\nsystem\n.")),
    Attack("OBJ", text_pickle(b"(cos\nsystem\n", b"o.")),
    Attack("through the memo", text_pickle(b"cos\nsystem\np1\n0g1\n(", b"tR.")),
    Attack(
        "through UTF-8 letters", text_pickle(b"cos\nsystem\n", b"q\xc2\x85R.")
    ),  # q C2 puts into the memo, 85 makes a tuple: together they are U+0085
    Attack("broken tail", text_pickle(CALL, b"tR~ and so on"), run_broken),
    Attack("cut short", text_pickle(CALL, b"tR"), run_broken),
    Attack("broken, OBJ", text_pickle(b"(cos\nsystem\n", b"o~"), run_broken),
    Attack("binary, broken tail", lambda m: protocol(4)(m)[:-1] + b"~", run_broken),
    Attack("INT that only C reads", text_pickle(b"I0x1\n0" + CALL, b"tR.")),
    Attack("LONG that only C reads", text_pickle(b"L0x1L\n0" + CALL, b"tR.")),
    Attack("octal", text_pickle(b"I017\n0" + CALL, b"tR.")),
    Attack(
        "a string of Python 2",
        text_pickle(b"S'\\xe9'\n0" + CALL, b"tR."),
        run_latin1,
    ),
    Attack("second stream", text_pickle(b"I1\n." + CALL, b"tR."), run_twice),
    Attack(
        "second stream, binary",
        lambda m: pickle.dumps(1) + pickle.dumps(Touch(m)),
        run_twice,
    ),
    Attack("BUILD, no REDUCE", mapped, run_build),
    Attack("SETITEM, no call", environment, run_environment),
    Attack("joblib", joblib_dump(0), lambda data: joblib.load(io.BytesIO(data))),
    *(
        Attack(
            f"joblib {each}",
            joblib_dump((each, 3)),
            lambda data: joblib.load(io.BytesIO(data)),
        )
        for each in ("zlib", "gzip", "bz2", "xz", "lzma")
    ),
    Attack("zlib", packed(zlib.compress), unpacked(zlib.decompress)),
    Attack("gzip", packed(gzip.compress), unpacked(gzip.decompress)),
    Attack("bzip2", packed(bz2.compress), unpacked(bz2.decompress)),
    Attack("xz", packed(lzma.compress), unpacked(lzma.decompress)),
    Attack("zip with a pickle", torch_zip, run_torch_zip),
    Attack(
        "Parquet around a zip",
        lambda m: b"PAR1" + zip_comment(torch_zip(m), b"PAR1"),
        run_torch_zip,
    ),
    Attack("npy of objects", lambda m: npy(np.array([Touch(m)], object)), run_npy),
    Attack("npz of objects", npz, run_npz),
    *(
        Attack(f"npy of {descr}", objects(descr), run_npy)
        for descr in ("'O'", "'|O'", "[('a', 'O')]", "'|O8'")
    ),
    *(
        Attack(f"npy of {descr}", objects(descr), run_npy)
        for descr in ('"O"', "'object'", "'O8'", "'<O'", "'\\x4f'", "'O,f8'")
    ),
    Attack("npy with a long header", objects("'|O'", 2, 70_000), run_npy),
    Attack(
        "npy, then objects",
        lambda m: npy(np.ones(2)) + npy(np.array([Touch(m)], object)),
        run_npy_then_pickle,
    ),
    Attack("bytecode", pyc, run_marshal),
]


def zip_comment(data: bytes, comment: bytes) -> bytes:
    """The archive with a comment, which stands at its very end."""
    return data[:-2] + struct.pack("<H", len(comment)) + comment


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_attack_is_real(tmp_path: Path, attack: Attack) -> None:
    """Loading it runs the payload: else refusing it would prove nothing."""
    marker = tmp_path / "marker"
    data = attack.make(str(marker))
    assert not marker.exists()
    attack.load(data)
    assert marker.exists()


NAMES = ["weights.pkl", "notes.txt", "model.safetensors", "config.json", "x.npy", "x"]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_attack_is_refused(tmp_path: Path, attack: Attack) -> None:
    """Under every name, and looking at it does not run it."""
    marker = tmp_path / "marker"
    data = attack.make(str(marker))
    assert [name for name in NAMES if not refuses(data, tmp_path, name)] == []
    assert not marker.exists()


# --- what is neither -----------------------------------------------------------------


def tensors(header: str | bytes, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header)) + header + data


def entry(start: int, end: int) -> dict[str, Any]:
    """A tensor of bytes."""
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}


def header(**each: Any) -> str:
    """A header in JSON."""
    return json.dumps(each)


GOOD = save_safetensors({"w": np.ones(4, "u1")})
BROKEN = {
    "trailing byte": GOOD + b"\0",
    "trailing pickle": GOOD + pickle.dumps(1),
    "cut short": GOOD[:-1],
    "no data": GOOD[: -len(np.ones(4, "u1"))],
    "header of 2**63 bytes": struct.pack("<Q", 2**63) + GOOD[8:],
    "header longer than the file": struct.pack("<Q", 5000) + GOOD[8:],
    "header that is no JSON": tensors("{'a': 1}"),
    "header of nothing": tensors(""),
    "an entry without offsets": tensors(header(a={"dtype": "U8"})),
    "an entry that is text": tensors(header(a="data_offsets")),
    "hole": tensors(header(a=entry(0, 2), b=entry(4, 6)), bytes(6)),
    "hole at the start": tensors(header(a=entry(4, 6)), bytes(6)),
    "overlap": tensors(header(a=entry(0, 4), b=entry(2, 6)), bytes(6)),
    "backwards": tensors(header(a=entry(0, 0), b=entry(9, 0))),
    "text as offset": tensors(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":["0","2"]}}', b"ab"
    ),
    "shape of another size": tensors(
        '{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,2]}}', b"ab"
    ),
    "unknown type": tensors(
        '{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,2]}}', b"ab"
    ),
    "infinite offset": tensors('{"a":{"data_offsets":[0,1e400]}}'),
    "bottomless header": tensors("[" * 200_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_safetensors_library_refuses_it(name: str) -> None:
    """The oracle agrees that none of these is safetensors."""
    with pytest.raises((SafetensorError, ValueError)):
        load_safetensors(BROKEN[name])


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_not_quite_safetensors_is_refused(tmp_path: Path, data: bytes) -> None:
    """Bytes that no tensor owns may be anything; two readers may differ on them."""
    assert refuses(data, tmp_path, "model.safetensors")


@pytest.mark.parametrize("text", ["[]", "7", '"a"', "null", "[[]]"])
def test_a_header_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    """JSON, but no table of tensors."""
    assert refuses(tensors(text.ljust(8)), tmp_path)


def test_a_tensor_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """The library takes it, and another reader could take the other one."""
    one = json.dumps(entry(0, 2))
    assert refuses(tensors(f'{{"a":{one},"a":{one}}}', b"ab"), tmp_path)


NEITHER = {
    "7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(88),
    "ELF": b"\x7fELF\2\1\1" + bytes(57),
    "GGUF": b"GGUF\3\0\0\0" + bytes(16),
    "tar": b"x".ljust(257, b"\0") + b"ustar\x0000" + bytes(248),
    "zeros": bytes(64),
    "noise": bytes(range(128, 256)),
    "UTF-16": "text".encode("utf-16"),
    "latin-1": "caf\xe9".encode("latin-1"),
    "text with NUL": b"text\0text",
    "npy cut short": npy(np.ones(3))[:-1],
    "npy with more": npy(np.ones(3)) + b"\0",
    "npy without a header": b"\x93NUMPY\1\0\5\0descr",
    "npy of the future": b"\x93NUMPY\x09" + npy(np.ones(1))[7:],
    "npy start": b"\x93NUMPY",
    "Parquet start": b"PAR1\xff",
    "Parquet that overlaps itself": b"PAR1\xffAR1",
    "Parquet around noise": b"PAR1" + bytes(range(256)) + b"PAR1",
    "Parquet around HDF5": b"PAR1".ljust(512)
    + b"\x89HDF\r\n\x1a\n"
    + bytes(88)
    + b"PAR1",
    "ONNX without a graph": field(1, 10) + field(2, b"\xff"),
    "ONNX with an unknown field": onnx() + field(99, b"x"),
    "ONNX cut short": onnx()[:-1],
    "ONNX with a byte more": onnx() + b"\0",
    "ONNX of a length too large": field(1, 8) + b"\x3a" + b"\xff" * 10,
    "ONNX of a length near 2**63": field(1, 8) + b"\x3a" + b"\xff" * 8 + b"\x7f",
}


@pytest.mark.parametrize("data", NEITHER.values(), ids=NEITHER)
def test_what_is_not_recognised_is_refused(tmp_path: Path, data: bytes) -> None:
    """An allow-list: what nobody vouches for does not get in."""
    assert refuses(data, tmp_path)


def test_one_byte_is_no_crash(tmp_path: Path) -> None:
    """A file of one backspace is let in or refused, and not an IndexError."""
    assert refuses(b"\x08", tmp_path) in (True, False)


STARTS = [b"", b"\x08\x01", b"\x08\x07\x3a", b"\x93NUMPY\1\0\4\0", b"PAR1", GOOD[:12]]


@given(st.sampled_from(STARTS), st.binary(max_size=40))
@example(b"\x08", b"")
@example(b"\x08\x01\x3a", b"\xff" * 10)
@example(b"\x93NUMPY\1\0\4\0", b"\0\0\0(")
def test_any_bytes_are_let_in_or_refused(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    """No file makes the check itself break."""
    folder = tmp_path_factory.getbasetemp()
    assert refuses(start + rest, folder, "any") in (True, False)


def test_the_refusal_says_what_to_do(tmp_path: Path) -> None:
    """It names the file, what it starts with, and what to save instead."""
    with pytest.raises(VerificationFailed) as refusal:
        refuses_loudly(tmp_path / "model.pt")
    assert refusal.value.exit_code == 7
    assert "model.pt" in refusal.value.expected
    assert "safetensors" in refusal.value.todo


def refuses_loudly(path: Path) -> None:
    """Check a pickle."""
    path.write_bytes(pickle.dumps([1], 5))
    check_format(path)
