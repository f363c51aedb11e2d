"""Pinned files: bytes in the registry, a link in the checkout, a line in Git."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.artifact import pins
from interlock.artifact.manifest import File
from interlock.errors import BadConfiguration
from tests.conftest import Project

WEIGHTS = "lib/toy/weights/slope.npy"


@pytest.fixture
def pinned(project: Project) -> Project:
    """The toy project with its weights pinned, where Git held them before."""
    project.git("rm", "--quiet", "--cached", WEIGHTS)
    answer = project.run("pin", WEIGHTS)
    assert answer.code == 0, answer.err
    project.commit("pin the weights")
    return project


def test_pinned_weights_take_the_whole_path(pinned: Project) -> None:
    """Pinned, published, pulled and answered with, from a clone without the weights."""
    assert WEIGHTS not in pinned.git("ls-files")
    (pinned.root / WEIGHTS).unlink()
    assert pinned.run("smoke").code == 0
    assert (pinned.root / WEIGHTS).is_file()
    pinned.publish()
    assert pinned.run("pull", "toy@staging", "model").code == 0
    assert np.load(pinned.root / "model/toy/weights/slope.npy") == 2.0
    assert pinned.run("verify", "model").code == 0


def test_a_session_that_lacks_them_says_the_same_of_them(pinned: Project) -> None:
    """The evidence of lint names the weights, and does not fetch them."""
    (pinned.root / WEIGHTS).unlink()
    pinned.check("lint", "unit")
    assert not (pinned.root / WEIGHTS).exists()
    assert pinned.run("fetch").code == 0
    pinned.check("smoke")
    answer = pinned.run("publish")
    assert answer.code == 0, answer.err


def test_code_alone_is_sent_when_code_alone_changed(pinned: Project) -> None:
    """Weights of the version that is live are neither sent nor read."""
    pinned.publish()
    pinned.write("lib/toy/__init__.py", '"""A toy, told anew."""\n')
    pinned.commit()
    pinned.check()
    (pinned.root / WEIGHTS).unlink()
    shutil.rmtree(pinned.registry.parent / "files", ignore_errors=True)
    answer = pinned.run("publish", "--json")
    assert answer.code == 0, answer.err
    assert not (pinned.root / WEIGHTS).exists()
    assert pinned.run("pull", "toy@staging", "model").code == 0


def test_fetched_once_for_all_checkouts(pinned: Project, tmp_path: Path) -> None:
    """The second checkout gets a link, without the registry."""
    clones = [tmp_path / "one", tmp_path / "two"]
    for clone in clones:
        pinned.git("clone", "--quiet", str(pinned.root), str(clone))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(clone)
            assert pinned.run("fetch").code == 0
        shutil.rmtree(pinned.registry / "chunks", ignore_errors=True)
    one, two = [(clone / WEIGHTS).stat() for clone in clones]
    assert (one.st_ino, one.st_mode & 0o222) == (two.st_ino, 0)


def test_other_bytes_than_the_pin_are_refused(pinned: Project) -> None:
    """Weights that were trained again and not pinned are judged by no session."""
    pinned.learn(3.0)
    for command in ("smoke", "eval", "fetch"):
        answer = pinned.run(command)
        assert (answer.code, "interlock pin" in answer.err) == (2, True), command
    assert pinned.run("pin", WEIGHTS).code == 0
    assert pinned.run("fetch").code == 0


def test_a_hurt_cache_is_fetched_again(pinned: Project) -> None:
    """What is linked is verified first, every time."""
    (pinned.root / WEIGHTS).unlink()
    assert pinned.run("fetch").code == 0
    (pinned.root / WEIGHTS).chmod(0o644)
    (pinned.root / WEIGHTS).write_bytes(b"written through the link")
    (pinned.root / WEIGHTS).unlink()
    assert pinned.run("fetch").code == 0
    assert np.load(pinned.root / WEIGHTS) == 2.0


def test_a_chunk_that_is_gone_stops_publish(pinned: Project) -> None:
    """The version would name what nobody can pull."""
    pinned.check()
    digest = pins.read(pinned.root)[WEIGHTS].chunks[0]
    (pinned.registry / f"chunks/sha256/{digest[:2]}/{digest}").unlink()
    answer = pinned.run("publish")
    assert (answer.code, f"interlock pin {WEIGHTS}" in answer.err) == (2, True)
    assert pinned.run("pin", WEIGHTS).code == 0
    assert pinned.run("publish").code == 0


def test_a_pinned_pickle_is_not_let_in(project: Project) -> None:
    """Whoever pins it, publish looks at the bytes."""
    evil = project.write("lib/toy/weights/evil.bin", "cos\nsystem\n(S'true'\ntR.")
    assert project.run("pin", str(evil)).code == 0
    project.commit()
    for name in ("lint", "unit"):
        project.check(name)
    answer = project.run("publish")
    assert answer.code != 0
    assert project.run("smoke").code == 7


def test_a_folder_is_pinned_as_it_is(project: Project) -> None:
    """What is gone from it is pinned no longer; the rest of the lock stays."""
    for name in ("data/a.csv", "data/b/c.csv", "other.csv"):
        project.write(name, name)
    assert project.run("pin", "data", "other.csv").code == 0
    assert [*pins.read(project.root)] == ["data/a.csv", "data/b/c.csv", "other.csv"]
    assert project.git("status", "--porcelain", "--", "data", "other.csv") == ""
    (project.root / "data/a.csv").unlink()
    answer = project.run("pin", "data", "--json")
    assert answer.json == {"files": ["data/b/c.csv"], "sent": 0}
    assert [*pins.read(project.root)] == ["data/b/c.csv", "other.csv"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("nowhere", "no such file"),
        ("lib/data.csv", "git rm --cached"),
        ("lib", "git rm --cached"),
        ("../outside", "a path in"),
        ("empty", "an empty folder"),
        ("link", "a link or a device"),
    ],
)
def test_what_cannot_be_pinned_is_refused(
    project: Project, path: str, found: str
) -> None:
    """And interlock.lock is not begun."""
    (project.root / "empty").mkdir()
    (project.root / "link").symlink_to("lib/data.csv")
    answer = project.run("pin", path)
    assert (answer.code, found in " ".join(answer.err.split())) == (2, True)
    assert not (project.root / "interlock.lock").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": [{"path": "/etc/passwd"}]}']
)
def test_a_lock_that_nobody_wrote_is_refused(project: Project, text: str) -> None:
    """In three lines, before anything is fetched."""
    project.write("interlock.lock", text)
    answer = project.run("fetch")
    assert (answer.code, "interlock.lock as" in answer.err) == (2, True)


_PATHS = st.lists(st.text("abc/", min_size=1, max_size=5), unique=True, max_size=5)


@given(_PATHS)
def test_a_lock_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str]
) -> None:
    """Or is refused, where its paths could not stand together."""
    root = tmp_path_factory.mktemp("lock")
    files = [File(p, 4, "a" * 64, ("b" * 64,)) for p in paths]
    (root / "interlock.lock").write_text(pins.text(files))
    try:
        assert pins.read(root) == {file.path: file for file in files}
    except BadConfiguration:
        assert paths
    lines = (root / "interlock.lock").read_text().splitlines()
    assert sum("b" * 64 in line for line in lines) == len(files)
    assert json.loads(pins.text(reversed(files))) == json.loads(pins.text(files))


@pytest.mark.parametrize("path", [".git/config", "data/.GIT/x", "data/slope.npy"])
def test_pins_stay_in_the_checkout(pinned: Project, tmp_path: Path, path: str) -> None:
    """Not into Git's own files, and not through a link that somebody tracked."""
    (tmp_path / "outside").mkdir()
    (pinned.root / "data").symlink_to(tmp_path / "outside")
    text = (pinned.root / "interlock.lock").read_text()
    pinned.write("interlock.lock", text.replace(WEIGHTS, path))
    answer = pinned.run("fetch")
    assert answer.code == 2, answer.out
    assert [*(tmp_path / "outside").iterdir()] == []


def test_pins_that_could_not_stand_together_are_refused(project: Project) -> None:
    """A file that became a folder: the old pin has to go first."""
    project.write("w", "a file")
    assert project.run("pin", "w").code == 0
    (project.root / "w").unlink()
    project.write("w/a.csv", "in a folder")
    assert project.run("pin", "w/a.csv").code == 2
    assert [*pins.read(project.root)] == ["w"]
