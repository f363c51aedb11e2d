"""What is under test: a Git commit, its tree, and the lock in it."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import BadConfiguration

LOCK = "requirements.lock"


@dataclass(frozen=True)
class Source:
    """A commit, and what the working tree holds beyond it."""

    root: Path
    commit: str  # 40 hex digits
    tree: str  # the commit's tree, 40 hex digits
    changed: tuple[str, ...]  # paths that differ from the commit, untracked ones too


def inspect(folder: Path) -> Source:
    """The source that `folder` is a checkout of.

    Raises BadConfiguration where there is no Git repository, or no commit in it.
    """
    asked = _git(folder, "rev-parse", "--show-toplevel", "HEAD", "HEAD^{tree}")
    where, commit, tree = asked.removesuffix("\n").rsplit("\n", 2)
    root = Path(where)
    status = _git(
        *(root, "status", "--porcelain", "-z", "--no-renames"), "--untracked-files=all"
    )
    changed = tuple(line[3:] for line in status.split("\0")[:-1])
    return Source(root, commit, tree, changed)


def export(source: Source, folder: Path) -> None:
    """Write the files of the commit into `folder`, byte for byte.

    What is published is read from here: never from the working tree, where a file may
    differ from the commit without Git saying so (`--assume-unchanged`), and through no
    filter or line-ending rule, which this machine may have set differently.
    """
    listing = _git(source.root, "ls-tree", "-r", "-z", "--full-tree", source.commit)
    command = ("git", "cat-file", "--batch")
    with subprocess.Popen(
        command,
        cwd=source.root,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as git:
        for line in listing.split("\0")[:-1]:
            head, name = line.split("\t", 1)
            mode, kind, blob = head.split()
            if kind == "blob":
                _write(folder / name, mode, _blob(git, blob))


def committed(folder: Path, commit: str, name: str) -> bytes | None:
    """The file `name` of a commit; None where the checkout, or none, has it."""
    try:
        return _output(folder, "cat-file", "blob", f"{commit}:{name}")
    except BadConfiguration:
        return None


def history(folder: Path, was: str, now: str) -> tuple[str, ...] | None:
    """The commits that only one of two has behind it, newest first.

    Each as "> HASH SUBJECT", those of `was` as "< ..."; None where the checkout does
    not have both, or is none.
    """
    form = ("--oneline", "--no-decorate", "--no-show-signature", "--no-color")
    try:
        found = _git(folder, "log", "--left-right", *form, f"{was}...{now}", "--")
    except BadConfiguration:
        return None
    return tuple(found.split("\n")[:-1])


def _blob(git: subprocess.Popen[bytes], blob: str) -> bytes:
    assert git.stdin and git.stdout
    git.stdin.write(blob.encode() + b"\n")
    git.stdin.flush()
    size = int(git.stdout.readline().split()[2])
    return git.stdout.read(size + 1)[:size]


def _write(path: Path, mode: str, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "120000":
        path.symlink_to(os.fsdecode(data))
    else:
        path.write_bytes(data)
        path.chmod(0o755 if mode == "100755" else 0o644)


def tracked(root: Path, names: Sequence[str]) -> list[str]:
    """Those of `names` that Git holds."""
    return _git(root, "--literal-pathspecs", "ls-files", "-z", "--", *names).split(
        "\0"
    )[:-1]


def is_ignored(root: Path, name: str) -> bool:
    """Whether a .gitignore of the repository leaves `name` out."""
    listing = ("--literal-pathspecs", "ls-files", "--others")
    rule = "--exclude-per-directory=.gitignore"
    return not _git(root, *listing, rule, "--", name)


class Dirty(BadConfiguration):
    """A working tree that is not its commit."""


def refuse_dirty(source: Source) -> None:
    """Raise Dirty when the working tree is not the commit."""
    if source.changed:
        shown = ", ".join(source.changed[:3]) + (", ..." if source.changed[3:] else "")
        raise Dirty(
            f"a working tree that is commit {source.commit[:12]}",
            f"{len(source.changed)} changed: {shown}",
            "commit the changes, or remove them, and run the sessions again",
        )


def actor() -> str:
    """Who is acting: the CI's actor, else Git's user, else the login and the host."""
    if name := os.environ.get("GITHUB_ACTOR"):
        return f"{name} (GitHub Actions)"
    try:
        return _git(Path.cwd(), "var", "GIT_COMMITTER_IDENT").rsplit(" ", 2)[0]
    except BadConfiguration:
        return f"{_login()}@{platform.node()}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        return f"uid {os.getuid()}"


def _git(folder: Path, *arguments: str) -> str:
    return os.fsdecode(_output(folder, *arguments))


def _output(folder: Path, *arguments: str) -> bytes:
    """What git says. Raises BadConfiguration with its first line where it fails."""
    try:
        return subprocess.run(
            ("git", *arguments),
            cwd=folder,
            env=_environment(),
            capture_output=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        there = folder.is_dir()
        raise BadConfiguration(
            "git to be installed" if there else f"a folder {folder}",
            "no git" if there else "no such folder",
            "install Git 2.30 or newer" if there else "correct the path",
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace")
        lines = said.strip().splitlines() or [f"exit code {error.returncode}"]
        raise BadConfiguration(
            "a Git repository with a commit",
            f"git {arguments[0]}: {lines[0]}",
            "run interlock in a checkout of the model's repository",
        ) from None


def _environment() -> dict[str, str]:
    """This environment, without what makes Git look elsewhere or see other objects."""
    kept = {k: v for k, v in os.environ.items() if k not in _REDIRECTS}
    return kept | {"GIT_NO_REPLACE_OBJECTS": "1"}


_REDIRECTS = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"}
_REDIRECTS |= {"GIT_PREFIX", "GIT_COMMON_DIR", "GIT_ALTERNATE_OBJECT_DIRECTORIES"}
