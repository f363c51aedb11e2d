"""The manifest: one address for the same files, and no path that leads elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock import config as configuration
from interlock.artifact.manifest import File, Manifest, dir_hash, safe_path
from interlock.artifact.pack import pack
from interlock.canonical import canonical, parse
from interlock.errors import BadConfiguration, VerificationFailed
from tasks.evidence import weights_hash
from tests.conftest import Project, altered

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
RESERVED = re.compile(r"\.git$|(con|prn|aux|nul|(com|lpt)\d)(\.|$)", re.IGNORECASE)
NAMES = st.text(
    st.characters(categories=["L", "N"]) | st.sampled_from("-_ .@+é漢\U0001f600"),
    min_size=1,
    max_size=6,
).filter(
    lambda name: name[-1] not in " ."
    and name.isprintable()
    and unicodedata.normalize("NFC", name) == name
    and not RESERVED.match(name)
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
SHA = "ab" * 32
CONTRACT = {
    "load": "m:load",
    "predict": "m:predict",
    "input": {"x": "number"},
    "output": "number",
}
ENTRY: dict[str, Any] = {"path": "a", "size": 1, "sha256": SHA, "chunks": [SHA]}


def clashes(paths: list[str]) -> bool:
    """Whether two of the paths cannot stand in one folder everywhere."""
    folded = {path.casefold() for path in paths}
    folders = {str(p) for path in folded for p in PurePosixPath(path).parents}
    return len(folded) != len(paths) or bool(folders & folded)


def entries(paths: list[str]) -> list[dict[str, Any]]:
    """The manifest's entries of files that hold one byte."""
    return [ENTRY | {"path": path} for path in paths]


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Manifests of every shape that pack can make."""
    paths = draw(st.lists(PATHS, min_size=1, max_size=5, unique=True))
    if clashes(paths):
        paths = paths[:1]
    files = tuple(
        File(path, size, draw(HEX), tuple(draw(st.lists(HEX, min_size=1, max_size=2))))
        for path in sorted(paths)
        for size in [draw(st.integers(1, 2**60))]
    )
    inputs = draw(st.dictionaries(NAMES, st.sampled_from(["number", "string"])))
    return Manifest(
        name=draw(st.from_regex("[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)),
        commit=draw(HEX)[: draw(st.sampled_from([40, 64]))],
        tree=draw(HEX)[:40],
        lock=draw(HEX),
        weights=draw(HEX),
        contract=CONTRACT | {"input": inputs},
        golden=files[0].path,
        files=files,
    )


GOOD = Manifest(
    *("toy", "a" * 40, "b" * 40, SHA, SHA, CONTRACT, "b/c"),
    files=(File("a", 1, SHA, (SHA,)), File("b/c", 2, SHA, (SHA,))),
)


def changed(*where: Any, to: Any) -> Any:
    """GOOD as JSON, with another value in one place; `...` takes the key away."""
    return altered(GOOD.to_json(), *where, to=to)


@settings(max_examples=25)
@given(manifests())
def test_a_manifest_survives_writing_and_reading(manifest: Manifest) -> None:
    """What is read back is equal, and has the same address."""
    read = Manifest.from_json(parse(canonical(manifest.to_json())))
    assert read == manifest
    assert read.address == manifest.address


@settings(max_examples=25)
@given(manifests())
def test_the_address_is_the_digest_of_the_record(manifest: Manifest) -> None:
    """Anyone can compute it from the canonical JSON; the order of keys is nothing."""
    value = manifest.to_json()
    backwards = dict(reversed(value.items()))
    assert manifest.address == hashlib.sha256(canonical(backwards)).hexdigest()
    assert Manifest.from_json(backwards).address == manifest.address


@pytest.mark.parametrize(
    ("where", "to"),
    [
        (("name",), "other"),
        (("source", "gitCommit"), "c" * 40),
        (("source", "gitTree"), "c" * 40),
        (("lock", "sha256"), "c" * 64),
        (("weights", "dirHash"), "c" * 64),
        (("contract", "load"), "m:other"),
        (("golden",), "a"),
        (("files", 0, "path"), "Z"),
        (("files", 0, "size"), 2),
        (("files", 0, "sha256"), "c" * 64),
        (("files", 0, "chunks"), [SHA, SHA]),
    ],
)
def test_every_field_counts_in_the_address(where: tuple[Any, ...], to: Any) -> None:
    """Nothing about a version can change without its address changing."""
    other = Manifest.from_json(changed(*where, to=to))
    assert other.address != GOOD.address


def test_names_for_people_and_sizes() -> None:
    """NAME@COMMIT, its short form, and the bytes of all files."""
    assert GOOD.version == "toy@" + "a" * 40
    assert GOOD.short == "toy@" + "a" * 12
    assert GOOD.size == 3


HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/..",
    "./a",
    "a/./b",
    "/",
    "/etc/passwd",
    "//host/share",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    "\\\\host\\share",
    "C:",
    "C:/x",
    "C:x",
    "a:stream",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x7fb",
    "a\x1b[2Jb",
    "a.",
    "a /b",
    "a./b",
    "...",
    " ",
    "a ",
    "\u202ecod.exe",
    "a\u200bb",
    "a\u2028b",
    "a\ud800b",
    ".interlock",
    ".interlock/receipt.json",
]


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_a_hostile_path_is_refused(path: str) -> None:
    """A path that leads out, hides, or means something else elsewhere."""
    with pytest.raises(ValueError, match="path"):
        safe_path(path)
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed("files", to=entries([path])))


@pytest.mark.parametrize(
    "path",
    [
        *(".Interlock/x", ".INTERLOCK", "CON", "nul.txt", "aux/x", "a/COM1"),
        *("a*b", "a?b", 'a"b', "a<b", "a|b", "x" * 256),
        unicodedata.normalize("NFD", "é"),
    ],
    ids=ascii,
)
def test_a_path_that_other_systems_change_is_refused(path: str) -> None:
    """Windows and macOS fold case, reserve names, and normalise letters."""
    with pytest.raises(ValueError):
        safe_path(path)


@given(PATHS)
@example("a b/é漢.txt")
@example("a/.interlock")
@example(".hidden")
@example("...a")
def test_an_ordinary_path_is_let_in(path: str) -> None:
    """Spaces, dots and letters of all scripts are fine inside a name."""
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(["b", "a"], id="unsorted"),
        pytest.param(["a", "a"], id="twice"),
        pytest.param(["A", "a"], id="case only"),
        pytest.param(["STRASSE", "straße"], id="case only, folded"),
        pytest.param(["a", "a/b"], id="file and folder"),
        pytest.param(["a", "a-", "a/b/c"], id="file and folder, further up"),
        pytest.param(["a/b", "a/b/c/d"], id="file and folder, deeper"),
    ],
)
def test_files_that_clash_are_refused(paths: list[str]) -> None:
    """Two files that would fall into one place are no version."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed("files", to=entries(paths)))


def test_a_file_and_a_folder_that_differ_in_case_clash() -> None:
    """Where case does not count, `A` cannot be a folder beside the file `a`."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed("files", to=entries(["A/b", "a"])))


DIGESTS = [
    *("", "ab", SHA[:-1], SHA + "a", SHA.upper(), "g" * 64, f" {SHA}", f"{SHA}\n"),
    *(f"sha256:{SHA}", None, 7, ["a"], "\u0660" * 64),
]
PLACES = [
    ("source", "gitCommit"),
    ("source", "gitTree"),
    ("lock", "sha256"),
    ("weights", "dirHash"),
    ("files", 0, "sha256"),
]


@pytest.mark.parametrize("digest", DIGESTS, ids=ascii)
@pytest.mark.parametrize("where", PLACES, ids=lambda where: str(where[-1]))
def test_a_digest_of_another_form_is_refused(
    where: tuple[Any, ...], digest: Any
) -> None:
    """64 lower-case hex digits (40 for Git), and nothing before or after."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed(*where, to=digest))
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed("files", 0, "chunks", to=[SHA, digest]))


@pytest.mark.parametrize("size", [-1, 1.0, "1", None, True])
def test_a_size_is_a_whole_number(size: Any) -> None:
    """Bytes are counted from zero."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed("files", 0, "size", to=size))


@pytest.mark.parametrize(
    "where",
    [
        *((key,) for key in GOOD.to_json()),
        *(("files", 0, key) for key in ENTRY),
        *PLACES,
    ],
    ids=str,
)
def test_a_missing_field_is_refused(where: tuple[Any, ...]) -> None:
    """There is no default for what a version is made of."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed(*where, to=...))


@pytest.mark.parametrize("value", [None, [], "x", 7, {}, {"files": []}], ids=repr)
def test_something_else_is_refused(value: Any) -> None:
    """Whatever JSON it is."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(value)


@pytest.mark.parametrize(
    ("where", "to"),
    [
        pytest.param(("files", 0, "path"), 7, id="AttributeError: a path of 7"),
        pytest.param(("files", 0, "path"), None, id="AttributeError: no path"),
        pytest.param(("name",), "../../x", id="a name that leads out"),
        pytest.param(("name",), "", id="no name"),
        pytest.param(("name",), None, id="the name None"),
        pytest.param(("name",), "a\ud800", id="a name without a spelling"),
        pytest.param(("golden",), "../../etc/passwd", id="golden elsewhere"),
        pytest.param(("golden",), None, id="golden None"),
        pytest.param(("contract",), {"load": 0.5}, id="a contract without a spelling"),
        pytest.param(("contract",), {}, id="no contract"),
        pytest.param(("files", 0, "chunks"), [], id="one byte in no chunk"),
        pytest.param(("files", 0, "chunks"), {SHA: 1}, id="chunks that are no list"),
        pytest.param(("files",), [], id="no files"),
    ],
)
def test_a_value_that_no_manifest_has_is_refused(
    where: tuple[Any, ...], to: Any
) -> None:
    """Names, paths and contracts are checked like digests."""
    with pytest.raises(VerificationFailed):
        Manifest.from_json(changed(*where, to=to))


# find | sort | sha256sum, as the in-toto attestation framework defines `dirHash`; but a
# file named "-" is its own input to sha256sum where nothing stands before it.
SHELL = "find . -type f | LC_ALL=C sort | xargs -r -d '\\n' sha256sum"
SHELL += " | sed 's, [.]/, ,'"


def shell_hash(folder: Path) -> str:
    """The dirHash of a folder, by coreutils."""
    env = os.environ | {"LC_ALL": "C"}
    run = subprocess.run(
        f"{SHELL} | sha256sum",
        cwd=folder,
        env=env,
        shell=True,
        check=True,
        capture_output=True,
    )
    return run.stdout.decode().split()[0]


def our_hash(folder: Path) -> str:
    """The dirHash of a folder, by this package."""
    return dir_hash(
        (
            path.relative_to(folder).as_posix(),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.rglob("*")
        if path.is_file()
    )


@settings(max_examples=15, deadline=None)
@given(files=st.dictionaries(PATHS, st.binary(max_size=20), max_size=6))
@example(files={})
@example(files={"a/b": b"1", "a-b": b"2", "a.b": b"3", "aé": b"4", "ab": b"5"})
@example(files={"\uffee": b"1", "\U0001f600": b"2", "Z": b"", "a": b""})
@example(files={"-": b"1", "a ./b": b"2"})
def test_the_digest_of_a_folder_is_that_of_the_shell(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """dirHash agrees with find, sort and sha256sum, on names of every script."""
    folder = tmp_path_factory.mktemp("tree")
    for name, data in {} if clashes([*files]) else files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert our_hash(folder) == shell_hash(folder)


def test_the_digest_of_an_empty_folder_is_that_of_nothing() -> None:
    """`xargs -r` runs nothing, and sha256sum reads nothing."""
    assert dir_hash([]) == hashlib.sha256(b"").hexdigest()


def test_the_sessions_and_the_packer_digest_weights_alike(project: Project) -> None:
    """tasks.evidence and pack are two writings of one rule: dirHash."""
    folder = project.root / "lib/toy/weights"
    for name in ("é.txt", "sub/a b.txt", "sub-a.txt", "sub.txt", "Z", "漢/x"):
        project.write(f"lib/toy/weights/{name}", f"= {name}")
    project.write("lib/toy/weights/__pycache__/x.txt", "left out")
    config = configuration.read(project.root)
    packed = pack(project.root, config, "a" * 40, "b" * 40)
    assert packed.weights == weights_hash()
    (folder / "__pycache__/x.txt").unlink()
    (folder / "__pycache__").rmdir()
    assert packed.weights == weights_hash() == shell_hash(folder)


def test_weights_are_a_folder(project: Project) -> None:
    """One file would be digested in two ways, so it is refused from the start."""
    text = project.root.joinpath("pyproject.toml").read_text()
    text = text.replace('"toy/weights"', '"toy/weights/slope.npy"')
    project.write("pyproject.toml", text)
    with pytest.raises(BadConfiguration, match="folder"):
        pack(project.root, configuration.read(project.root), "a" * 40, "b" * 40)
