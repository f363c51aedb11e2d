"""Evidence: what a session found, about exactly which source, in what surroundings.

    evidence/SESSION-DIGEST.json    an in-toto Statement with predicate test-result
    evidence/SESSION/...            what the session left: reports, measurements

The old evidence goes before a session starts and the new comes when it has ended, so a
session that is cut off leaves none. Nothing is signed here: jobs that run tests hold no
key. `interlock publish` checks and signs.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed

from tasks.environment import LOCK, project
from tasks.verdict import told

FOLDER = Path("evidence")
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # the newest evidence counts: seconds are too coarse
_FACTS = """
import importlib.metadata, json, platform
packages = {d.name: d.version for d in importlib.metadata.distributions()}
system = f"{platform.system()}-{platform.machine()}".lower()
print(json.dumps([platform.python_version(), system, packages]))
"""


@dataclass
class Record:
    """Where the session leaves its results, and what it wants to be remembered."""

    folder: Path
    notes: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def recorded(session: nox.Session) -> Iterator[Record]:
    """Run a session's body, and leave the evidence that it passed or failed."""
    _forget(session.name)
    record = Record(FOLDER / session.name)
    record.folder.mkdir(parents=True)
    fresh, tree = _is_fresh(session), tree_here()
    try:
        with told():
            yield record
    except CommandFailed:
        _write(session, record, "FAILED", fresh, tree)
        raise
    if tree_here() != tree:
        _write(session, record, "FAILED", fresh, tree)
        session.error("the source changed while the session ran: run it again")
    if session.posargs:
        session.warn("no evidence: arguments after -- make it another check")
        return
    _write(session, record, "PASSED", fresh, tree)


def _forget(name: str) -> None:
    for old in FOLDER.glob(f"{name}-*.json"):
        if len(old.stem) == len(name) + 65:  # a dash and a digest: not nightly-eval's
            old.unlink()
    shutil.rmtree(FOLDER / name, ignore_errors=True)


def _is_fresh(session: nox.Session) -> bool:
    """Whether the virtualenv was made for this run: a reused one is not checked."""
    folder = Path(getattr(session.virtualenv, "location", "") or os.devnull)
    used = folder / "used-by-a-session"
    if not folder.is_dir() or used.exists():
        return False
    used.touch()
    return True


def tree_here() -> str:
    """The Git tree of the files as they are, untracked ones too, .gitignored ones not.

    Files are hashed here and not by Git, which would leave out or change what this
    machine's settings tell it to: sparse checkouts, excludes, filters and the like.
    Nothing is left in the repository.
    """
    where = _git(
        *("rev-parse", "--show-toplevel", "--show-object-format"),
        *("--git-path", "objects"),
    )
    found = re.fullmatch(r"(.*)\n(sha1|sha256)\n(.*)\n", where, re.DOTALL)
    assert found, where
    root, kind, objects = found.groups()
    with tempfile.TemporaryDirectory() as scratch:
        aside = {
            "GIT_OBJECT_DIRECTORY": scratch,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(Path(objects).absolute()),
        }
        known = aside | {"GIT_INDEX_FILE": f"{scratch}/known"}
        built = aside | {"GIT_INDEX_FILE": f"{scratch}/built"}
        _git("-C", root, "read-tree", "HEAD", env=known)
        listing = ("ls-files", "-z", "--cached", "--others")
        rule = "--exclude-per-directory=.gitignore"
        names = {*_git("-C", root, *listing, rule, env=known).split("\0")} - {""}
        entries = [_entry(Path(root), name, kind) for name in sorted(names)]
        lines = "".join(f"{entry}\0" for entry in entries if entry)
        _git("update-index", "-z", "--index-info", env=built, feed=lines)
        return _git("write-tree", "--missing-ok", env=built).strip()


def _entry(root: Path, name: str, kind: str) -> str:
    """A file's line for `git update-index --index-info`; empty where it is gone."""
    path = root / name
    if path.is_symlink():
        return f"120000 {_blob(os.fsencode(os.readlink(path)), kind)}\t{name}"
    if path.is_file():
        mode = "100755" if os.access(path, os.X_OK) else "100644"
        return f"{mode} {_blob(path.read_bytes(), kind)}\t{name}"
    if path.is_dir():  # a repository inside: only its commit can be told
        commit = _git("-C", str(path), "rev-parse", "HEAD").strip()
        return f"160000 {commit}\t{name.rstrip('/')}"
    return ""


def _blob(data: bytes, kind: str) -> str:
    return hashlib.new(kind, b"blob %d\0" % len(data) + data).hexdigest()


def _git(*arguments: str, env: Mapping[str, str] = {}, feed: str = "") -> str:
    # A hook's GIT_DIR would choose another repository than the one we are in.
    here = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    fixed = ("-c", "core.hooksPath=/dev/null", "-c", "core.sparseCheckout=false")
    run = subprocess.run(
        ("git", *fixed, *arguments),
        env={**here, **env},
        input=feed.encode(errors="surrogateescape"),
        stdout=subprocess.PIPE,
        check=True,
    )
    return run.stdout.decode(errors="surrogateescape")


def _write(
    session: nox.Session, record: Record, result: str, fresh: bool, tree: str
) -> None:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": "source",
                "digest": {
                    "gitCommit": _git("rev-parse", "HEAD").strip(),
                    "gitTree": tree,
                },
            }
        ],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": result,
            "configuration": [
                *_inputs(),
                *_surroundings(session, fresh),
                *_left(record),
            ],
            "urn:interlock:session": session.name,
            "urn:interlock:finished": datetime.now(UTC).strftime(_TIME),
            **_run_url(os.environ),
            **record.notes,
        },
    }
    text = _canonical(statement)
    path = FOLDER / f"{session.name}-{hashlib.sha256(text).hexdigest()}.json"
    private = path.with_suffix(".new")
    private.write_bytes(text)
    private.rename(path)
    session.log(f"evidence: {result} {path}")


def _canonical(statement: dict[str, Any]) -> bytes:
    compact = (",", ":")
    text = json.dumps(statement, sort_keys=True, separators=compact, ensure_ascii=False)
    return text.encode()


def _inputs() -> Iterator[dict[str, Any]]:
    yield {"name": LOCK, "digest": {"sha256": _sha256(Path(LOCK))}}
    yield {"name": "weights", "digest": {"dirHash": weights_hash()}}


def weights_hash() -> str:
    """The in-toto dirHash of the weights that pyproject.toml names."""
    settings = project()["tool"]["interlock"]
    folder = Path(settings.get("path", "."), settings["weights"])
    found = _pinned(folder)
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found[str(path.relative_to(folder)).encode()] = _sha256(path)
    lines = (found[n].encode() + b"  " + n + b"\n" for n in sorted(found))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _pinned(folder: Path) -> dict[bytes, str]:
    """What interlock.lock pins in `folder`: sessions that do not need it lack it."""
    lock = Path("interlock.lock")
    files = json.loads(lock.read_text("utf-8"))["files"] if lock.exists() else []
    paths = {Path(file["path"]): file["sha256"] for file in files}
    inside = {p: sha256 for p, sha256 in paths.items() if p.is_relative_to(folder)}
    return {str(p.relative_to(folder)).encode(): s for p, s in inside.items()}


def _surroundings(session: nox.Session, fresh: bool) -> Iterator[dict[str, Any]]:
    output = session.run("python", "-I", "-c", _FACTS, silent=True, log=False)
    python, platform, packages = json.loads(str(output))
    state = "fresh" if fresh else "reused"
    yield {"name": "python", "uri": f"pkg:generic/cpython@{python}"}
    yield {"name": "platform", "uri": f"urn:interlock:platform:{platform}"}
    yield {"name": "virtualenv", "uri": f"urn:interlock:virtualenv:{state}"}
    own = project().get("project", {}).get("name", "")
    for name, version in sorted(packages.items()):
        name = _normal(name)
        if name != _normal(own):
            yield {"name": f"package {name}", "uri": f"pkg:pypi/{name}@{version}"}


def _normal(name: str) -> str:
    """The name of a distribution as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _left(record: Record) -> Iterator[dict[str, Any]]:
    for path in sorted(p for p in record.folder.rglob("*") if p.is_file()):
        name = path.relative_to(FOLDER).as_posix()
        yield {"name": name, "digest": {"sha256": _sha256(path)}}


def _run_url(env: Mapping[str, str]) -> dict[str, str]:
    if "GITHUB_RUN_ID" not in env:
        return {}
    where = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}"
    return {"url": f"{where}/actions/runs/{env['GITHUB_RUN_ID']}"}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
