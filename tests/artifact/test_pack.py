"""Packing: the same commit is the same address, wherever and whenever."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from interlock import config as configuration
from interlock import source
from interlock.artifact.chunks import digest
from interlock.artifact.manifest import Manifest
from interlock.artifact.pack import pack
from interlock.errors import BadConfiguration, Refusal, VerificationFailed
from tests.conftest import Project


def packed(root: Path) -> Manifest:
    """The manifest of the checkout at `root`."""
    return pack(root, configuration.read(root), "a" * 40, "b" * 40)


def exported(project: Project, folder: Path, bits: int) -> Path:
    """The project's commit in another folder, under another umask."""
    folder.mkdir()
    old = os.umask(bits)
    try:
        source.export(source.inspect(project.root), folder)
    finally:
        os.umask(old)
    return folder


def backwards(root: Path, folder: Path) -> Path:
    """A copy made in the opposite order, long ago."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file() and ".git" not in path.parts:
            copy = folder / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            os.utime(copy, (0, 0))
    return folder


def test_the_same_commit_has_the_same_address(project: Project, tmp_path: Path) -> None:
    """Folder, time, umask and the order on the disk are nothing to it."""
    for name in ("b.txt", "a.txt", "sub/é.txt"):
        project.write(f"lib/toy/weights/{name}", f"= {name}")
    project.commit()
    folders = [
        exported(project, tmp_path / "one", 0o022),
        exported(project, tmp_path / "two", 0o077),
        backwards(project.root, tmp_path / "three"),
    ]
    assert len({packed(folder).address for folder in [project.root, *folders]}) == 1


def test_a_manifest_says_what_it_was_made_from(project: Project) -> None:
    """Code, weights and golden examples; the lock and the contract."""
    manifest = packed(project.root)
    assert [file.path for file in manifest.files] == [
        "toy/__init__.py",
        "toy/golden.json",
        "toy/model.py",
        "toy/weights/slope.npy",
    ]
    assert manifest.lock == digest((project.root / "requirements.lock").read_bytes())
    assert manifest.contract == {
        "load": "toy.model:load",
        "predict": "toy.model:predict",
        "input": {"x": "number", "kind": "string"},
        "output": "number",
    }
    for file in manifest.files:
        data = (project.root / "lib" / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_what_is_not_named_is_not_packed(project: Project) -> None:
    """Beside the code may lie anything, and bytecode among the weights."""
    before = packed(project.root)
    project.write("lib/toy/secret.txt", "secret")
    project.write("lib/toy/weights/__pycache__/x.pyc", "\0")
    assert packed(project.root) == before


@pytest.mark.parametrize(
    "name",
    ["lib/toy/model.py", "lib/toy/golden.json", "lib/toy/weights", "requirements.lock"],
)
def test_a_missing_file_is_refused(project: Project, name: str) -> None:
    """The refusal names it."""
    path = project.root / name
    path.rename(project.root / "elsewhere")
    with pytest.raises(BadConfiguration) as refusal:
        packed(project.root)
    assert Path(name).name in refusal.value.expected


@pytest.mark.parametrize(
    "name",
    ["lib/toy/model.py", "lib/toy/weights", "lib/toy/weights/slope.npy"],
)
def test_a_link_is_refused(project: Project, name: str) -> None:
    """A link is not the file that it points at; and where it points may change."""
    path = project.root / name
    path.rename(project.root / "elsewhere")
    path.symlink_to(project.root / "elsewhere")
    with pytest.raises(BadConfiguration) as refusal:
        packed(project.root)
    assert "a link" in refusal.value.found


@pytest.mark.parametrize("name", ["lib/toy", "lib"])
def test_a_link_on_the_way_is_refused(
    project: Project, tmp_path: Path, name: str
) -> None:
    """A folder that is a link would publish files from outside the repository."""
    outside = tmp_path / "outside"
    (project.root / name).rename(outside)
    (project.root / name).symlink_to(outside)
    with pytest.raises(BadConfiguration):
        packed(project.root)


def test_a_pipe_is_refused(project: Project) -> None:
    """Reading it would wait for ever."""
    os.mkfifo(project.root / "lib/toy/weights/pipe")
    with pytest.raises(BadConfiguration):
        packed(project.root)


@pytest.mark.parametrize("name", ["a:b", "a\\b", "a\nb", "trailing."])
def test_a_name_that_means_something_else_elsewhere_is_refused(
    project: Project, name: str
) -> None:
    """Rename the file, says the refusal."""
    (project.root / "lib/toy/weights" / name).write_text("x")
    with pytest.raises(BadConfiguration, match="rename"):
        packed(project.root)


def test_a_name_that_is_not_utf8_is_refused(project: Project) -> None:
    """Linux lets every byte stand in a name, a manifest does not."""
    folder = os.fsencode(project.root / "lib/toy/weights")
    with open(folder + b"/\xe9", "wb"):
        pass
    with pytest.raises(BadConfiguration, match="rename"):
        packed(project.root)


def test_weights_that_run_code_are_refused(project: Project) -> None:
    """A pickle among the weights is found whatever its name."""
    project.write("lib/toy/weights/model.npy", "cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(VerificationFailed, match="model.npy"):
        packed(project.root)


@pytest.mark.parametrize("names", [("A", "a"), ("Ärger", "ärger")])
def test_what_no_host_can_read_is_not_packed(
    project: Project, names: tuple[str, str]
) -> None:
    """A version is for ever: pack refuses what reading its manifest would refuse."""
    for name in names:
        project.write(f"lib/toy/weights/{name}", "x")
    with pytest.raises(Refusal):
        packed(project.root)


@pytest.mark.parametrize("left", [(), ("__pycache__/x.pyc",)], ids=["none", "cache"])
def test_an_empty_weights_folder_is_refused(
    project: Project, left: tuple[str, ...]
) -> None:
    """A model that has learned nothing is a mistake, such as a pull that was missed."""
    folder = project.root / "lib/toy/weights"
    shutil.rmtree(folder)
    folder.mkdir()
    for name in left:
        project.write(f"lib/toy/weights/{name}", "x")
    with pytest.raises(BadConfiguration):
        packed(project.root)
