"""copy: a registry mirrored whole, in order, and never against what is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from interlock.attest.envelope import payload, seal
from interlock.attest.statement import TRUST_ROOT
from interlock.copy import Copied, copy
from interlock.errors import Refusal
from interlock.fsck import fsck
from interlock.registry.access import NoRegistry, open_or_make, open_registry, signer
from interlock.registry.channels import log, release_key
from interlock.registry.folder import Folder
from interlock.registry.resolve import resolve
from tests.conftest import Project

DST = "mirror"


def _tree(folder: Path | str) -> dict[str, bytes]:
    """Everything in a registry."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _copy(project: Project, *references: str) -> Copied:
    return copy(str(project.registry), DST, references)


def _commits(project: Project) -> list[str]:
    """Of the two versions, the older first."""
    return [project.git("rev-parse", each) for each in ("HEAD~1", "HEAD")]


def test_a_registry_within_the_other_is_refused(published: Project) -> None:
    """It would be read as a part of it, and as damage."""
    whole, inner = str(published.registry), str(published.registry / "chunks")
    for source, destination in ((whole, inner), (inner, whole)):
        assert published.run("copy", source, destination).code == 2
    assert published.run("fsck").code == 0


def test_a_copy_is_the_registry_once_more(grown: Project) -> None:
    """Byte for byte; it can be pulled from, and doing it again sends nothing."""
    answer = grown.run("copy", str(grown.registry), DST, "--json")
    assert answer.code == 0, answer.err
    assert len(answer.json["versions"]) == 2
    assert (answer.json["evidence"], answer.json["releases"]) == (7, 3)
    assert _tree(DST) == _tree(grown.registry)
    shutil.move(grown.registry, grown.registry.with_name("away"))
    assert grown.run("pull", "toy@production", "model", "--registry", DST).code == 0
    again = copy(str(grown.registry.with_name("away")), DST)
    assert (again.versions, again.chunks, again.anything) == ([], 0, False)


def test_results_and_the_ledger_come_with_a_version(judged: Project) -> None:
    """Its verdict can be derived again there, and its test set has the same uses."""
    done = _copy(judged)
    assert _tree(DST) == _tree(judged.registry)
    answer = judged.run("verify", "toy@production", "--recompute", "--registry", DST)
    assert (answer.code, done.others) == (0, 9)
    for key in [key for key in _tree(DST) if key.startswith(("ledger/", "results/"))]:
        Path(DST, key).unlink()
        assert _copy(judged).versions == []
        assert _tree(DST) == _tree(judged.registry)


def test_a_commit_comes_alone_and_a_channel_with_its_log(grown: Project) -> None:
    """A log is copied whole, with every version that it names, or left alone."""
    first, second = _commits(grown)
    done = _copy(grown, f"toy@{first[:9]}")
    assert (done.versions, done.evidence, done.releases) == ([f"toy@{first}"], 3, 0)
    assert not Path(DST, "channels").exists()
    done = _copy(grown, "toy@production")
    assert (done.versions, done.evidence, done.releases) == ([f"toy@{second}"], 4, 1)
    assert [path.name for path in Path(DST, "channels/toy").iterdir()] == ["production"]
    assert _copy(grown, "toy@staging", "toy@production").releases == 2
    assert _tree(DST) == _tree(grown.registry)
    assert fsck(DST).findings == []


def test_a_name_is_all_its_versions_and_channels(grown: Project) -> None:
    """Here that is everything."""
    _copy(grown, "toy")
    assert _tree(DST) == _tree(grown.registry)


@pytest.mark.parametrize("reference", ["no", "toy@0000000", "no@staging", "../x", "@"])
def test_a_reference_to_nothing_is_a_usage_error(
    published: Project, reference: str
) -> None:
    """And nothing is written."""
    code = published.run("copy", str(published.registry), DST, reference).code
    assert (code, Path(DST).exists()) == (2, False)


def test_no_registry_to_copy_from_is_a_usage_error(project: Project) -> None:
    """And nothing is written."""
    assert project.run("copy", "nowhere", DST).code == 2
    assert not Path(DST).exists()


def test_only_what_is_lacking_is_sent_and_chunks_are_not_read(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: a hole in the middle is filled as well."""
    _copy(grown)
    gone = [
        next(iter(sorted(Path(DST).glob(pattern))))
        for pattern in ("chunks/*/*/*", "evidence/toy/*/unit-*", "versions/toy/*")
    ]
    gone.append(Path(DST, release_key("toy", "staging", 1)))
    for path in gone:
        path.unlink()
    created, read = _watched(monkeypatch)
    done = _copy(grown)
    tried = {key for url, key in created if url == str(Path(DST).absolute())}
    assert tried == {str(p.relative_to(DST)) for p in gone}
    chunks = [(url, key) for url, key in read if key.startswith("chunks/")]
    assert chunks == [(str(grown.registry), str(gone[0].relative_to(DST)))]
    assert (len(done.versions), done.chunks) == (1, 1)
    assert (done.evidence, done.releases) == (1, 1)
    assert _tree(DST) == _tree(grown.registry)


def _watched(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The keys that are created and read from now on, with the store's URL."""
    created: list[tuple[str, str]] = []
    read: list[tuple[str, str]] = []
    real_create, real_read = Folder.create, Folder.read

    def create(self: Folder, key: str, data: bytes) -> bool:
        created.append((self.url, key))
        return real_create(self, key, data)

    def read_(self: Folder, key: str) -> bytes:
        read.append((self.url, key))
        return real_read(self, key)

    monkeypatch.setattr(Folder, "create", create)
    monkeypatch.setattr(Folder, "read", read_)
    return created, read


def _after_each_create(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> None:
    """Look at the destination each time that something was written to it."""
    real = Folder.create

    def create(self: Folder, key: str, data: bytes) -> bool:
        created = real(self, key, data)
        if created and self.url == str(Path(DST).absolute()):
            look()
        return created

    monkeypatch.setattr(Folder, "create", create)


def test_nothing_is_half_visible_at_any_moment(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each write all that is named is there; only chunks wait for their name."""
    whole: list[bool] = []
    _after_each_create(monkeypatch, lambda: whole.append(fsck(DST).whole))
    _copy(grown)
    assert whole == [True] * len(_tree(DST))


def test_half_of_the_evidence_never_looks_better_than_all(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that came after a success is there before it."""
    published.fail("unit")
    assert published.run("promote", "--attach-only").code == 0
    reference = f"toy@{published.git('rev-parse', 'HEAD')}"
    with pytest.raises(Refusal, match="passing evidence of unit"):
        resolve(open_registry(str(published.registry)), reference)
    refused: list[int] = []

    def look() -> None:
        with pytest.raises(Refusal) as refusal:
            resolve(open_registry(DST), reference)
        refused.append(refusal.value.exit_code)

    _after_each_create(monkeypatch, look)
    _copy(published, reference)
    assert len(refused) == len(_tree(DST))


def _key() -> CryptoSigner:
    data = Path(os.environ["INTERLOCK_HOME"], "key.pem").read_bytes()
    return CryptoSigner(load_pem_private_key(data, None))


def _next_root(folder: Path | str, hours: int) -> None:
    """Add a second trust root, in which the nightly evidence lasts so many hours."""
    first = payload(Path(folder, "root/00000001.json").read_bytes(), TRUST_ROOT)
    channels = {n: dict(c) for n, c in first.predicate["channels"].items()}
    channels["production"]["nightly-eval"] = hours
    second = {**first.predicate, "sequence": 2, "channels": channels}
    record = seal(replace(first, predicate=second), _key())
    Folder(Path(folder)).create("root/00000002.json", record)


@pytest.mark.parametrize("newer", ["source", "destination"])
def test_a_chain_of_trust_roots_goes_on_at_either_side(
    grown: Project, newer: str
) -> None:
    """The newer root counts for both, and DST has it in the end."""
    _copy(grown)
    _next_root(grown.registry if newer == "source" else DST, 24)
    assert grown.run("copy", str(grown.registry), DST).code == 0
    assert open_registry(DST).trust.sequence == 2
    assert fsck(DST).findings == []


def _refused(project: Project) -> str:
    """Why a copy is a conflict: it names both sides, and nothing is written."""
    before = _tree(DST) if Path(DST).exists() else None
    answer = project.run("copy", str(project.registry), DST, "--json")
    assert answer.code == 8, answer.err
    assert (_tree(DST) if Path(DST).exists() else None) == before
    said = " ".join(answer.json["refused"].values())
    assert str(project.registry) in said and str(Path(DST).absolute()) in said
    return said


def test_another_registry_is_a_conflict(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has another trust root."""
    with monkeypatch.context() as other:
        other.setenv("INTERLOCK_HOME", str(published.root / "other-home"))
        open_or_make(DST)
    assert "these are two registries" in _refused(published)


def test_a_forked_chain_of_trust_roots_is_a_conflict(grown: Project) -> None:
    """The first roots are the same, the second are not."""
    _copy(grown)
    _next_root(grown.registry, 24)
    _next_root(DST, 25)
    assert "trust root 2" in _refused(grown)


def test_a_place_where_another_registry_was_is_a_conflict(published: Project) -> None:
    """This machine has seen other trust roots there: somebody emptied it."""
    _copy(published)
    _next_root(DST, 24)
    open_registry(DST)
    shutil.rmtree(DST)
    _next_root(published.registry, 25)
    assert "trust root 2" in _refused(published)


def test_a_newer_trust_root_that_was_there_comes_back(published: Project) -> None:
    """This machine has seen it, so it does not believe in fewer."""
    _copy(published)
    _next_root(DST, 24)
    open_registry(DST)
    shutil.rmtree(DST)
    _copy(published)
    assert open_registry(DST).trust.sequence == 2


def test_logs_that_went_two_ways_are_a_conflict(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody released to the copy, somebody else to the original."""
    _copy(grown)
    with monkeypatch.context() as other:
        other.setenv("INTERLOCK_REGISTRY", DST)
        assert grown.run("rollback", "toy", "staging", "--reason", "there").code == 0
    assert not _copy(grown).anything  # the copy is ahead, and that is no conflict
    assert grown.run("rollback", "toy", "staging", "--reason", "here").code == 0
    said = _refused(grown)
    assert "release 3 of staging" in said and "two ways" in said


def test_another_version_of_the_same_commit_is_a_conflict(grown: Project) -> None:
    """Although everything else could be copied."""
    first, _ = _commits(grown)
    registry = open_registry(str(grown.registry))
    manifest = replace(registry.version("toy", first), lock="0" * 64)
    _copy(grown)
    Path(DST, f"versions/toy/{first}.json").unlink()
    there = open_registry(DST)
    there.add_version(manifest, signer(there))
    Path(DST, release_key("toy", "production", 1)).unlink()
    assert manifest.address[:12] in _refused(grown)


@pytest.mark.parametrize("damage", [b"", b"altered", None])
@pytest.mark.parametrize("kind", ["chunks", "versions", "evidence", "channels"])
def test_a_damaged_source_refuses_and_what_is_complete_stays(
    grown: Project, kind: str, damage: bytes | None
) -> None:
    """No record without what it names; once it is mended, the rest comes."""
    paths = [path for path in (grown.registry / kind).rglob("*") if path.is_file()]
    hurt = sorted(paths, key=lambda path: path.name)[0]
    if kind == "channels":
        hurt = grown.registry / release_key("toy", "staging", 1)
    data = hurt.read_bytes()
    hurt.unlink() if damage is None else hurt.write_bytes(damage)
    assert grown.run("copy", str(grown.registry), DST).code == 7
    try:
        assert fsck(DST).whole
    except NoRegistry:
        assert not Path(DST).exists()
    hurt.write_bytes(data)
    _copy(grown)
    assert _tree(DST) == _tree(grown.registry)
    assert len([*log(open_registry(DST), "toy", "staging")]) == 2
