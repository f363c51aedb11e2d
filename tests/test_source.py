"""The source under test: a commit, exactly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from interlock.errors import BadConfiguration
from interlock.source import actor, export, inspect, refuse_dirty

FILES = {
    "a.txt": b"a\n",
    "space in name.txt": b"s\n",
    "dir/é\u6f22.txt": "ü\n".encode(),
    "crlf.txt": b"1\r\n2\r\n",
    "run.sh": b"#!/bin/sh\n",
    "empty": b"",
    "bytes.bin": bytes(range(256)),
}


class Repository:
    """A Git repository with FILES committed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        for name, data in FILES.items():
            self.put(name, data)
        self.put(".gitignore", b"ignored/\n")
        (root / "run.sh").chmod(0o755)
        self.commit()

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the working tree."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def git(self, *arguments: str) -> str:
        """Run git in the repository."""
        command = ("git", *arguments)
        done = subprocess.run(command, cwd=self.root, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "work")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository of its own."""
    return Repository(tmp_path / "repository")


def exported(repository: Repository, folder: Path) -> dict[str, bytes]:
    """The files that an export of the repository writes."""
    folder.mkdir()
    export(inspect(repository.root), folder)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_clean_checkout_is_its_commit(repository: Repository) -> None:
    """Commit and tree are Git's own, nothing has changed, nothing is refused."""
    source = inspect(repository.root)
    assert source.commit == repository.git("rev-parse", "HEAD")
    assert source.tree == repository.git("rev-parse", "HEAD^{tree}")
    assert source.changed == ()
    refuse_dirty(source)


def test_a_folder_inside_has_the_same_source(repository: Repository) -> None:
    """interlock may be run below the top of the repository."""
    assert inspect(repository.root / "dir") == inspect(repository.root)


def _change(r: Repository) -> None:
    r.put("a.txt", b"b\n")


def _stage(r: Repository) -> None:
    r.put("a.txt", b"b\n")
    r.git("add", "a.txt")


def _remove(r: Repository) -> None:
    (r.root / "a.txt").unlink()


def _rename(r: Repository) -> None:
    r.git("mv", "a.txt", "b.txt")


def _untracked(r: Repository) -> None:
    r.put("new/é x.txt", b"new\n")


def _mode(r: Repository) -> None:
    (r.root / "a.txt").chmod(0o755)


def _non_ascii(r: Repository) -> None:
    r.put("dir/é\u6f22.txt", b"other\n")


def _quiet(r: Repository) -> None:
    r.git("config", "status.showUntrackedFiles", "no")
    r.put("new.txt", b"new\n")


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (_change, ["a.txt"]),
        (_stage, ["a.txt"]),
        (_remove, ["a.txt"]),
        (_rename, ["a.txt", "b.txt"]),
        (_untracked, ["new/é x.txt"]),
        (_mode, ["a.txt"]),
        (_non_ascii, ["dir/é\u6f22.txt"]),
        (_quiet, ["new.txt"]),
    ],
)
def test_a_difference_is_named_and_refused(
    repository: Repository, change: object, paths: list[str]
) -> None:
    """Changed, staged, removed, renamed, untracked: none of them is the commit."""
    assert callable(change)
    change(repository)
    source = inspect(repository.root)
    assert [*source.changed] == paths
    with pytest.raises(BadConfiguration) as refusal:
        refuse_dirty(source)
    assert refusal.value.found == f"{len(paths)} changed: {', '.join(paths)}"


def test_both_names_of_a_rename_are_named_whole(repository: Repository) -> None:
    """A space in third place is no reason to cut one."""
    repository.put("my file.txt", b"a whole file to be renamed\n")
    repository.commit()
    repository.git("mv", "my file.txt", "mine.txt")
    assert inspect(repository.root).changed == ("mine.txt", "my file.txt")


def test_many_differences_are_cut_short(repository: Repository) -> None:
    """Three are shown, all are counted."""
    for number in range(5):
        repository.put(f"new{number}", b"")
    with pytest.raises(BadConfiguration) as refusal:
        refuse_dirty(inspect(repository.root))
    assert refusal.value.found == "5 changed: new0, new1, new2, ..."


def test_an_ignored_file_is_no_difference(repository: Repository) -> None:
    """What .gitignore names is nobody's business."""
    repository.put("ignored/x", b"")
    assert inspect(repository.root).changed == ()


@pytest.mark.parametrize("bits", [0o022, 0o077])
def test_an_export_is_the_blobs_of_the_commit(
    repository: Repository, tmp_path: Path, bits: int
) -> None:
    """Every byte of every file, whatever the umask, and nothing that is not in it."""
    repository.put("ignored/x", b"")
    repository.put("untracked", b"")
    repository.put("a.txt", b"changed\n")
    old = os.umask(bits)
    try:
        found = exported(repository, tmp_path / "out")
    finally:
        os.umask(old)
    assert found == FILES | {".gitignore": b"ignored/\n"}


def test_a_tab_in_a_name_is_exported(repository: Repository, tmp_path: Path) -> None:
    """Git separates the name by a tab, and the name may have more."""
    repository.put("tab\tin name.txt", b"t\n")
    repository.put("tab", b"another\n")
    repository.commit()
    found = exported(repository, tmp_path / "out")
    assert (found["tab"], found["tab\tin name.txt"]) == (b"another\n", b"t\n")


def test_a_program_is_exported_as_one(repository: Repository, tmp_path: Path) -> None:
    """The mode is the commit's too."""
    exported(repository, tmp_path / "out")
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/a.txt", os.X_OK)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_does_not_look_at_is_exported_as_committed(
    repository: Repository, tmp_path: Path, flag: str
) -> None:
    """Git says that nothing changed; the export does not believe it."""
    repository.git("update-index", flag, "a.txt")
    repository.put("a.txt", b"tampered\n")
    assert inspect(repository.root).changed == ()
    assert exported(repository, tmp_path / "out")["a.txt"] == b"a\n"


def test_an_export_leaves_the_repository_alone(
    repository: Repository, tmp_path: Path
) -> None:
    """The index is not touched: what was staged still is."""
    _stage(repository)
    index = (repository.root / ".git/index").read_bytes()
    exported(repository, tmp_path / "out")
    assert (repository.root / ".git/index").read_bytes() == index


def _replace(r: Repository) -> None:
    r.put("evil", b"evil\n")
    evil = r.git("hash-object", "-w", "evil")
    r.git("replace", r.git("rev-parse", "HEAD:a.txt"), evil)
    (r.root / "evil").unlink()


def _autocrlf(r: Repository) -> None:
    r.git("config", "core.autocrlf", "true")


def _attributes(r: Repository) -> None:
    (r.root / ".git/info").mkdir(exist_ok=True)
    (r.root / ".git/info/attributes").write_text("*.txt text eol=crlf\n")


def _filter(r: Repository) -> None:
    (r.root / ".git/info").mkdir(exist_ok=True)
    (r.root / ".git/info/attributes").write_text("*.txt filter=evil\n")
    r.git("config", "filter.evil.smudge", "echo evil")


@pytest.mark.parametrize("setting", [_replace, _autocrlf, _attributes, _filter])
def test_no_setting_of_this_machine_changes_an_export(
    repository: Repository, tmp_path: Path, setting: object
) -> None:
    """The commit names its bytes; line ends, filters and replacements do not."""
    assert callable(setting)
    setting(repository)
    assert exported(repository, tmp_path / "out")["a.txt"] == b"a\n"


VARIABLES = {
    "GIT_DIR": ".git",
    "GIT_WORK_TREE": ".",
    "GIT_INDEX_FILE": ".git/other",
    "GIT_PREFIX": "dir",
    "GIT_COMMON_DIR": ".git",
    "GIT_OBJECT_DIRECTORY": ".git/objects",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_the_environment_does_not_choose_the_repository(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A hook exports GIT_DIR and its like: what counts is the folder."""
    expected = inspect(repository.root)
    other = Repository(tmp_path / "other")
    other.put("a.txt", b"of the other\n")
    other.commit()
    monkeypatch.setenv(name, str(other.root / VARIABLES[name]))
    assert inspect(repository.root) == expected
    assert exported(repository, tmp_path / "out")["a.txt"] == b"a\n"


def test_no_repository_is_refused(tmp_path: Path) -> None:
    """The refusal says what to do, and its exit code is that of usage."""
    with pytest.raises(BadConfiguration, match="not a git repository") as refusal:
        inspect(tmp_path)
    assert refusal.value.exit_code == 2


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    """Nothing is under test yet."""
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)
    with pytest.raises(BadConfiguration, match="git rev-parse"):
        inspect(tmp_path)


def test_a_folder_that_is_not_there_is_not_a_missing_git(tmp_path: Path) -> None:
    """The refusal names what is missing."""
    with pytest.raises(BadConfiguration) as refusal:
        inspect(tmp_path / "gone")
    assert refusal.value.found != "no git"


def test_a_name_that_is_not_utf8_is_a_difference(repository: Repository) -> None:
    """Linux lets every byte stand in a name: no traceback for that."""
    with open(os.fsencode(repository.root) + b"/\xe9.txt", "wb"):
        pass
    assert len(inspect(repository.root).changed) == 1


def test_the_actor_is_the_ci_or_the_committer(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who acts is on record: GitHub's actor first, then Git's user."""
    monkeypatch.chdir(repository.root)
    assert actor() == "Ada <ada@example.org>"
    monkeypatch.setenv("GITHUB_ACTOR", "grace")
    assert actor() == "grace (GitHub Actions)"
