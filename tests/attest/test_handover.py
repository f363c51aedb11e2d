"""From the sessions to publish: nothing is changed, lost or slipped in on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock import config as configuration
from interlock.artifact.pack import pack
from interlock.attest import handover
from interlock.attest.evidence import Evidence
from interlock.attest.handover import check_address, check_locked, local_evidence
from interlock.errors import EvidenceRefused, Refusal, VerificationFailed
from tasks.evidence import tree_here
from tests.conftest import Project

FOLDER = Path(handover.FOLDER)


def handed(folder: Path) -> list[Evidence]:
    """The evidence in a folder, about the tree that is here."""
    return local_evidence(folder, tree_here())


def files(session: str) -> list[Path]:
    """The evidence of a session."""
    return sorted(FOLDER.glob(f"{session}-*.json"))


def one(session: str) -> Evidence:
    """The evidence of a session, handed over."""
    (found,) = [e for e in handed(FOLDER) if e.session == session]
    return found


def lock() -> str:
    """The project's lock."""
    return Path("requirements.lock").read_text()


def test_what_a_session_leaves_is_handed_over(project: Project) -> None:
    """The real writer and the real reader agree on every field."""
    project.check("lint", "smoke")
    assert [e.session for e in handed(FOLDER)] == ["lint", "smoke"]
    found = one("smoke")
    assert (found.result, found.fresh) == ("PASSED", True)
    assert found.tree == project.git("rev-parse", "HEAD^{tree}")
    assert found.statement.digest["gitCommit"] == project.git("rev-parse", "HEAD")
    config = configuration.read(project.root)
    manifest = pack(project.root, config, "a" * 40, "b" * 40)
    assert (found.lock, found.weights) == (manifest.lock, manifest.weights)
    assert {*found.files} == {"requirements.lock", "smoke/smoke.json"}
    assert "pytest" in found.packages and "interlock" not in found.packages
    check_locked([found], lock())


def test_a_failure_is_handed_over_as_such(project: Project) -> None:
    """It takes the place of an older pass."""
    project.check("lint")
    project.fail("lint")
    assert one("lint").result == "FAILED"
    assert len(files("lint")) == 1


def test_no_byte_of_evidence_can_change(project: Project) -> None:
    """The first, the last and each seventh between: the name is the digest."""
    project.check("lint")
    (path,) = files("lint")
    data, tree = path.read_bytes(), tree_here()
    for place in {*range(0, len(data), 7), len(data) - 1}:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(VerificationFailed, match="altered"):
            local_evidence(FOLDER, tree)
    path.write_bytes(data)
    assert one("lint")


@pytest.mark.parametrize("change", ["cut", "more", "renamed", "emptied"])
def test_evidence_that_is_cut_or_renamed_is_refused(
    project: Project, change: str
) -> None:
    """The digest in the name is that of all its bytes."""
    project.check("lint")
    (path,) = files("lint")
    data = path.read_bytes()
    if change == "renamed":
        path.rename(path.with_name(f"lint-{'0' * 64}.json"))
    else:
        path.write_bytes(
            {"cut": data[:-1], "more": data + b" ", "emptied": b""}[change]
        )
    with pytest.raises(VerificationFailed):
        handed(FOLDER)


def test_no_byte_of_a_result_can_change(project: Project) -> None:
    """What a session left is what publish looks at."""
    project.check("smoke")
    path = FOLDER / "smoke/smoke.json"
    data, tree = path.read_bytes(), tree_here()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(VerificationFailed, match="smoke.json"):
            local_evidence(FOLDER, tree)
    path.write_bytes(data)
    assert one("smoke")


def test_a_result_that_is_gone_is_refused(project: Project) -> None:
    """Evidence without what it speaks of is none."""
    project.check("smoke")
    (FOLDER / "smoke/smoke.json").unlink()
    with pytest.raises(VerificationFailed, match="no such file"):
        handed(FOLDER)


def test_the_artifact_that_smoke_tried_is_the_one(project: Project) -> None:
    """Another manifest is refused, and so is none."""
    project.check("smoke")
    evidence = [one("smoke")]
    manifest = pack(
        project.root,
        configuration.read(project.root),
        project.git("rev-parse", "HEAD"),
        project.git("rev-parse", "HEAD^{tree}"),
    )
    check_address(FOLDER, evidence, manifest)
    other = pack(
        project.root, configuration.read(project.root), "a" * 40, manifest.tree
    )
    with pytest.raises(EvidenceRefused):
        check_address(FOLDER, evidence, other)
    with pytest.raises(EvidenceRefused, match="none"):
        check_address(FOLDER, [], manifest)


def test_a_result_that_is_slipped_in_is_refused(project: Project) -> None:
    """smoke left no address; somebody else wrote one beside it."""
    project.check("lint")
    manifest = pack(project.root, configuration.read(project.root), "a" * 40, "b" * 40)
    slipped = {"address": manifest.address}
    project.write("evidence/smoke/smoke.json", json.dumps(slipped))
    with pytest.raises(Refusal):
        check_address(FOLDER, handed(FOLDER), manifest)


def test_an_address_that_cannot_be_read_is_refused(project: Project) -> None:
    """Whatever stands in smoke.json."""
    manifest = pack(project.root, configuration.read(project.root), "a" * 40, "b" * 40)
    project.check("smoke")
    evidence = [one("smoke")]
    for text in ("", "[]", "{", "1.5", "null"):
        project.write("evidence/smoke/smoke.json", text)
        with pytest.raises(EvidenceRefused):
            check_address(FOLDER, evidence, manifest)


def without(name: str) -> str:
    """The project's lock without a package."""
    lines = lock().splitlines(keepends=True)
    return "".join(
        a + b
        for a, b in zip(lines[::2], lines[1::2], strict=True)
        if not a.startswith(f"{name}==")
    )


def test_a_package_that_is_not_locked_is_refused(project: Project) -> None:
    """Neither one that the lock lacks, nor one in another version."""
    project.check("lint")
    found = one("lint")
    version = found.packages["pytest"]
    with pytest.raises(EvidenceRefused, match=f"also pytest {version}"):
        check_locked([found], without("pytest"))
    with pytest.raises(EvidenceRefused, match=f"also pytest {version}"):
        check_locked([found], lock().replace(f"pytest=={version} ", "pytest==0.1 "))
    with pytest.raises(EvidenceRefused):
        check_locked([found], "")


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("", {}),
        ("# click==1\n", {}),
        ("    # via click==1\n", {}),
        (
            "a==1 \\\n    --hash=sha256:00\nb-c==2.0.post1 ; x < '3'\n",
            "a 1 b-c 2.0.post1",
        ),
        ("a==1 ; x < '3'\na==2 ; x >= '3'\n", "a 1 a 2"),
        ("a==1+local.2\n", "a 1+local.2"),
        ("a>=1\n", {}),
        ("z.o==1\n", "z.o 1"),
    ],
)
def test_the_lock_is_read_as_uv_writes_it(
    text: str, pins: str | Mapping[str, str]
) -> None:
    """One line a pin, more than one version where the platform decides."""
    expected: dict[str, set[str]] = {}
    words = iter(pins.split() if isinstance(pins, str) else [])
    for name, version in zip(words, words, strict=True):
        expected.setdefault(name, set()).add(version)
    assert handover.locked(text) == expected


def test_no_evidence_is_none(tmp_path: Path) -> None:
    """An empty folder, or none at all: nothing is handed over, and nothing passes."""
    assert handed(tmp_path) == []
    assert handed(tmp_path / "gone") == []
