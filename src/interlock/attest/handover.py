"""Evidence on its way from the sessions to `publish`: files that are not signed yet.

    evidence/SESSION-DIGEST.json    a test-result Statement, named by its SHA-256
    evidence/SESSION/...            what the session left; its digests are in there

The digest in the name shows that a file was altered; that it was made by the job that
it claims is for whoever runs `publish` to know, and for its signature to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from interlock.artifact.chunks import describe, digest
from interlock.artifact.manifest import Manifest
from interlock.attest.evidence import Evidence, newest, read
from interlock.canonical import parse
from interlock.errors import EvidenceRefused, VerificationFailed

FOLDER = "evidence"
ADDRESS = "smoke/smoke.json"  # where smoke says which manifest it tried


def local_evidence(folder: Path, tree: str) -> list[Evidence]:
    """The newest evidence of each session in `folder`.

    What sessions left is checked for evidence about `tree` only: the rest is of other
    work. Raises VerificationFailed for a file that was altered or is not there.
    """
    found = newest(_read(path) for path in sorted(folder.glob("*-*.json")))
    for each in found.values():
        if each.tree == tree:
            _check_results(folder, each)
    return [*found.values()]


def _read(path: Path) -> Evidence:
    data, named = path.read_bytes(), path.stem.rpartition("-")[2]
    if digest(data) != named:
        raise VerificationFailed(
            f"{path.name} to have the SHA-256 in its name",
            f"{digest(data)[:12]}: the file was altered",
            "run the session again: nox writes its evidence anew",
        )
    return read(data)


def _check_results(folder: Path, each: Evidence) -> None:
    for name, sha256 in each.files.items():
        if not name.startswith(f"{each.session}/"):
            continue
        path = folder / name
        found = describe(path, name).sha256 if path.is_file() else "no such file"
        if found != sha256:
            raise VerificationFailed(
                f"{name} as {each.session} left it, SHA-256 {sha256[:12]}",
                found[:12],
                f"run the session again: nox -s {each.session}",
            )


def check_address(
    folder: Path, evidence: Iterable[Evidence], manifest: Manifest
) -> None:
    """Raise EvidenceRefused unless smoke tried exactly the artifact to be published."""
    left = {name for each in evidence for name in each.files}
    tried = _address(folder / ADDRESS) if ADDRESS in left else "none"
    if tried != manifest.address:
        raise EvidenceRefused(
            f"smoke to have tried the artifact {manifest.address[:12]}",
            f"it tried {tried[:12]}",
            "run, on the clean commit: nox -s smoke",
        )


def _address(path: Path) -> str:
    try:
        return str(parse(path.read_bytes())["address"])
    except (ValueError, LookupError, TypeError):
        return "none"


def check_locked(evidence: Iterable[Evidence], lock: str) -> None:
    """Raise EvidenceRefused for a package that ran in a session and is not locked."""
    pins = locked(lock)
    for each in evidence:
        stray = [
            f"{n} {v}" for n, v in each.packages.items() if v not in pins.get(n, ())
        ]
        if stray:
            raise EvidenceRefused(
                f"{each.session} to have run with what requirements.lock pins",
                f"also {', '.join(stray)}",
                f"run it in a fresh virtualenv: nox -s {each.session}",
            )


def locked(lock: str) -> Mapping[str, set[str]]:
    """Each package of requirements.lock with its pinned versions.

    >>> dict(locked("click==8.5.1 \\\\\\n    --hash=sha256:00\\n"))
    {'click': {'8.5.1'}}
    """
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^\s;\\]+)", lock, re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    return pins
