"""fsck: whatever happens to a key of a registry, it is named; nothing is changed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.artifact.chunks import digest
from interlock.errors import VerificationFailed
from interlock.fsck import ALTERED, FOREIGN, MISSING, UNREFERENCED, fsck
from interlock.registry.access import open_registry
from interlock.registry.folder import Folder
from interlock.registry.records import chunk_key
from tests.conftest import Project


@pytest.fixture
def known(grown: Project) -> Project:
    """A registry whose trust root this machine has seen."""
    open_registry(str(grown.registry))
    return grown


@pytest.fixture
def pulled(grown: Project) -> Project:
    """A registry whose channels this machine has pulled."""
    for channel in ("staging", "production"):
        assert grown.run("pull", f"toy@{channel}", f"{channel}-model").code == 0
    return grown


def _keys(project: Project) -> list[str]:
    return [*Folder(project.registry).keys("")]


def _found(project: Project) -> set[tuple[str, str]]:
    """What fsck finds: codes with keys."""
    findings = fsck(str(project.registry)).findings
    return {(each.code, each.key) for each in findings}


@contextmanager
def _changed(project: Project, values: dict[str, bytes | None]) -> Iterator[None]:
    """Some keys with other bytes, or absent, for a while."""
    paths = {project.registry / key: value for key, value in values.items()}
    before = {path: path.read_bytes() for path in paths}
    for path, value in paths.items():
        path.unlink() if value is None else path.write_bytes(value)
    yield
    for path, data in before.items():
        path.write_bytes(data)


def test_a_whole_registry_is_read_once_and_left_as_it_was(
    known: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key, also where versions share chunks."""
    before = {key: (known.registry / key).stat().st_mtime_ns for key in _keys(known)}
    read: Counter[str] = Counter()
    real = Folder.read

    def counted(self: Folder, key: str) -> bytes:
        read[key] += 1
        return real(self, key)

    monkeypatch.setattr(Folder, "read", counted)
    report = fsck(str(known.registry))
    assert (report.findings, report.keys) == ([], len(before))
    assert report.size == sum((known.registry / key).stat().st_size for key in before)
    assert {k: n for k, n in read.items() if k.startswith("chunks/")} == {
        key: 1 for key in before if key.startswith("chunks/")
    }
    after = {key: (known.registry / key).stat().st_mtime_ns for key in _keys(known)}
    assert after == before


def test_each_key_that_is_removed_is_missed(pulled: Project) -> None:
    """The trust root and the newest releases too: this machine has seen them."""
    for key in _keys(pulled):
        with _changed(pulled, {key: None}):
            assert (MISSING, key) in _found(pulled)
    assert _found(pulled) == set()


def test_what_an_evaluation_left_is_missed(judged: Project) -> None:
    """Its results, the use of its test set, and the digests of its rows."""
    open_registry(str(judged.registry))
    keys = [k for k in _keys(judged) if k.startswith(("results/", "ledger/"))]
    assert len(keys) == 9
    (use,) = (key for key in keys if "/uses/" in key)
    for key in keys:
        with _changed(judged, {key: None}):
            assert (MISSING, key) in _found(judged)
        with _changed(judged, {key: (judged.registry / use).read_bytes()[:-9]}):
            assert (ALTERED, key) in _found(judged)
    named = next(key for key in keys if "/rows.json" in key).split("/")[2]
    with _changed(judged, {chunk_key(named): None}):
        assert (MISSING, chunk_key(named)) in _found(judged)
    assert _found(judged) == set()


def test_a_channel_that_is_gone_is_missed(pulled: Project) -> None:
    """Every release that this machine knows of."""
    keys = [key for key in _keys(pulled) if key.startswith("channels/toy/staging/")]
    with _changed(pulled, dict.fromkeys(keys)):
        assert _found(pulled) == {(MISSING, key) for key in keys}


def test_each_byte_that_is_changed_or_lost_is_found(known: Project) -> None:
    """In any record or chunk; the rest of the registry is still looked at."""
    keys = _keys(known)

    @given(st.sampled_from(keys), st.integers(0, 10**6), st.integers(0, 255))
    @settings(max_examples=25, deadline=None)
    def check(key: str, at: int, byte: int) -> None:
        data = bytearray((known.registry / key).read_bytes())
        at %= len(data)
        if data[at] == byte:
            del data[at:]
        else:
            data[at] = byte
        with _changed(known, {key: bytes(data)}):
            assert (ALTERED, key) in _found(known)

    check()
    assert _found(known) == set()


def test_each_two_that_are_swapped_are_found(known: Project) -> None:
    """Records of one kind as well, each of them signed by the right key."""
    pairs = st.lists(st.sampled_from(_keys(known)), min_size=2, max_size=2, unique=True)

    @given(pairs)
    @settings(max_examples=25, deadline=None)
    def check(pair: list[str]) -> None:
        first, second = ((known.registry / key).read_bytes() for key in pair)
        with _changed(known, {pair[0]: second, pair[1]: first}):
            assert {(ALTERED, key) for key in pair} <= _found(known)

    check()


def test_one_damaged_record_does_not_stop_the_rest(known: Project) -> None:
    """One of each kind is hurt, and each is named."""
    kinds: dict[str, str] = {}
    for key in _keys(known):
        kinds.setdefault(key.partition("/")[0], key)
    with _changed(known, dict.fromkeys(kinds.values(), b"hurt")):
        assert {(ALTERED, key) for key in kinds.values()} <= _found(known)


def test_what_cannot_be_read_does_not_stop_the_rest(known: Project) -> None:
    """A bad sector answers with an error of the system; so does a link to itself."""
    for key in (each for each in _keys(known) if each.startswith(("chunks", "ver"))):
        path = known.registry / key
        data = path.read_bytes()
        path.unlink()
        path.symlink_to(path.name)
        assert (ALTERED, key) in _found(known)
        path.unlink()
        path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    ["README.md", "root/1.json", "chunks/sha256/aa/short", "versions/toy/HEAD.json"]
    + ["evidence/toy/unit.json", "chunks/sha256/ab/" + "cd" * 32, "channels/toy/x"],
)
def test_a_key_that_is_none_is_foreign(known: Project, name: str) -> None:
    """In any corner of the registry."""
    path = known.registry / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"?")
    assert _found(known) == {(FOREIGN, name)}
    answer = known.run("fsck")
    assert (answer.code, f"foreign      {name}: " in answer.out) == (7, True)


def test_evidence_of_another_version_is_foreign(known: Project) -> None:
    """Signed and whole, but not about the version that it stands under."""
    keys = [key for key in _keys(known) if key.startswith("evidence/")]
    one = next(key for key in keys if key.split("/")[2] != keys[0].split("/")[2])
    moved = f"{one.rpartition('/')[0]}/{keys[0].rpartition('/')[2]}"
    shutil.copy(known.registry / keys[0], known.registry / moved)
    renamed = keys[0].replace(f"/{keys[0].split('/')[3].split('-')[0]}", "/other")
    shutil.copy(known.registry / keys[0], known.registry / renamed)
    assert _found(known) == {(FOREIGN, moved), (FOREIGN, renamed)}


def test_what_a_crash_leaves_is_unreferenced_and_harmless(known: Project) -> None:
    """Chunks that no version names, and private files."""
    chunk = chunk_key(digest(b"hi there"))
    Folder(known.registry).create(chunk, b"hi there")
    (known.registry / "versions/toy/.new-0123").write_bytes(b"half")
    left = {(UNREFERENCED, chunk), (UNREFERENCED, "versions/toy/.new-0123")}
    answer = known.run("fsck")
    assert (answer.code, answer.out.count("unreferenced")) == (0, 2)
    assert _found(known) == left
    (known.registry / chunk).write_bytes(b"hi their")
    assert _found(known) - left == {(ALTERED, chunk)}


def test_a_publish_meanwhile_is_no_damage(
    known: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written between listing and reading was not missing."""
    late = [key for key in _keys(known) if not key.startswith(("channels", "root"))]
    real = Folder.keys

    def early(self: Folder, prefix: str) -> Iterator[str]:
        return iter([key for key in real(self, prefix) if key not in late])

    monkeypatch.setattr(Folder, "keys", early)
    assert fsck(str(known.registry)).whole


def test_findings_are_for_machines_too(known: Project) -> None:
    """With the refusal, in one JSON document."""
    key = next(key for key in _keys(known) if key.startswith("versions/"))
    with _changed(known, {key: None}):
        answer = known.run("fsck", "--json")
        assert answer.code == answer.json["exit_code"] == 7
        assert answer.json["refused"]["found"] == "1 missing"
        found = {each["code"]: each["key"] for each in answer.json["findings"]}
        assert (found[MISSING], set(found)) == (key, {MISSING, UNREFERENCED})
    assert json.loads(known.run("fsck", "--json").out)["findings"] == []


def test_no_registry_is_a_usage_error(project: Project) -> None:
    """There is nothing to read."""
    assert project.run("fsck").code == 2


def test_a_trust_root_that_nobody_has_seen_is_not_judged_by_itself(
    known: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one that is believed, nothing can be."""
    url, root = str(known.registry), known.registry / "root/00000001.json"
    monkeypatch.setenv("INTERLOCK_ROOT", "0" * 64)
    with pytest.raises(VerificationFailed, match="INTERLOCK_ROOT says"):
        fsck(url)
    monkeypatch.delenv("INTERLOCK_ROOT")
    root.write_bytes(root.read_bytes()[:-1])
    assert not fsck(url).whole
    monkeypatch.setenv("INTERLOCK_HOME", str(known.root / "another-home"))
    with pytest.raises(VerificationFailed, match="root"):
        fsck(url)
