"""What is under test: a Git commit, its tree, and the lock in it."""

from __future__ import annotations

import os
import subprocess
import tempfile
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
    root = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    commit, tree = _git(root, "rev-parse", "HEAD", "HEAD^{tree}").split()
    status = _git(root, "status", "--porcelain", "-z", "--untracked-files=all")
    changed = tuple(line[3:] for line in status.split("\0") if line[2:3] == " ")
    return Source(root, commit, tree, changed)


def export(source: Source, folder: Path) -> None:
    """Write the files of the commit into `folder`, as a checkout would.

    What is published is read from here: never from the working tree, where a file may
    differ from the commit without Git saying so (`--assume-unchanged`).
    """
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": os.path.join(scratch, "index")}
        _git(source.root, "read-tree", source.commit, **index)
        _git(source.root, "checkout-index", "-a", f"--prefix={folder}/", **index)


def refuse_dirty(source: Source) -> None:
    """Raise BadConfiguration when the working tree is not the commit."""
    if source.changed:
        shown = ", ".join(source.changed[:3]) + (", ..." if source.changed[3:] else "")
        raise BadConfiguration(
            f"a working tree that is commit {source.commit[:12]}",
            f"{len(source.changed)} changed: {shown}",
            "commit the changes, or remove them, and run the sessions again",
        )


def actor() -> str:
    """Who is acting: the CI's actor, else Git's user, else the login name."""
    if name := os.environ.get("GITHUB_ACTOR"):
        return f"{name} (GitHub Actions)"
    try:
        return _git(Path.cwd(), "var", "GIT_COMMITTER_IDENT").rsplit(" ", 2)[0]
    except BadConfiguration:
        return os.environ.get("USER", "unknown")


def _git(folder: Path, *arguments: str, **extra: str) -> str:
    # A hook's GIT_DIR would point at another repository than `folder`'s.
    kept = {k: v for k, v in os.environ.items() if not _redirects(k)}
    try:
        return subprocess.run(
            ("git", *arguments),
            cwd=folder,
            env=kept | extra,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        raise BadConfiguration(
            "git to be installed", "no git", "install Git 2.30 or newer"
        ) from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise BadConfiguration(
            "a Git repository with a commit",
            f"git {arguments[0]}: {lines[0]}",
            "run interlock in a checkout of the model's repository",
        ) from None


def _redirects(variable: str) -> bool:
    return variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
