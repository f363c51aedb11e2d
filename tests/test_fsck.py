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
from interlock.registry.folder import Folder
from interlock.registry.records import chunk_key
from tests.conftest import Project


@pytest.fixture
def whole(grown: Project) -> Project:
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
    whole: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key, also where versions share chunks."""
    before = {key: (whole.registry / key).stat().st_mtime_ns for key in _keys(whole)}
    read: Counter[str] = Counter()
    real = Folder.read

    def counted(self: Folder, key: str) -> bytes:
        read[key] += 1
        return real(self, key)

    monkeypatch.setattr(Folder, "read", counted)
    report = fsck(str(whole.registry))
    assert (report.findings, report.keys) == ([], len(before))
    assert report.size == sum((whole.registry / key).stat().st_size for key in before)
    assert {k: n for k, n in read.items() if k.startswith("chunks/")} == {
        key: 1 for key in before if key.startswith("chunks/")
    }
    after = {key: (whole.registry / key).stat().st_mtime_ns for key in _keys(whole)}
    assert after == before


def test_each_key_that_is_removed_is_missed(whole: Project) -> None:
    """The trust root and the newest releases too: this machine has seen them."""
    for key in _keys(whole):
        with _changed(whole, {key: None}):
            assert (MISSING, key) in _found(whole)
    assert _found(whole) == set()


def test_a_channel_that_is_gone_is_missed(whole: Project) -> None:
    """Every release that this machine knows of."""
    keys = [key for key in _keys(whole) if key.startswith("channels/toy/staging/")]
    with _changed(whole, dict.fromkeys(keys)):
        assert _found(whole) == {(MISSING, key) for key in keys}


def test_each_byte_that_is_changed_or_lost_is_found(whole: Project) -> None:
    """In any record or chunk; the rest of the registry is still looked at."""
    keys = _keys(whole)

    @given(st.sampled_from(keys), st.integers(0, 10**6), st.integers(0, 255))
    @settings(max_examples=60, deadline=None)
    def check(key: str, at: int, byte: int) -> None:
        data = bytearray((whole.registry / key).read_bytes())
        at %= len(data)
        if data[at] == byte:
            del data[at:]
        else:
            data[at] = byte
        with _changed(whole, {key: bytes(data)}):
            assert (ALTERED, key) in _found(whole)

    check()
    assert _found(whole) == set()


def test_each_two_that_are_swapped_are_found(whole: Project) -> None:
    """Records of one kind as well, each of them signed by the right key."""
    pairs = st.lists(st.sampled_from(_keys(whole)), min_size=2, max_size=2, unique=True)

    @given(pairs)
    @settings(max_examples=60, deadline=None)
    def check(pair: list[str]) -> None:
        first, second = ((whole.registry / key).read_bytes() for key in pair)
        with _changed(whole, {pair[0]: second, pair[1]: first}):
            assert {(ALTERED, key) for key in pair} <= _found(whole)

    check()


def test_one_damaged_record_does_not_stop_the_rest(whole: Project) -> None:
    """One of each kind is hurt, and each is named."""
    kinds: dict[str, str] = {}
    for key in _keys(whole):
        kinds.setdefault(key.partition("/")[0], key)
    with _changed(whole, dict.fromkeys(kinds.values(), b"hurt")):
        assert {(ALTERED, key) for key in kinds.values()} <= _found(whole)


def test_what_cannot_be_read_does_not_stop_the_rest(whole: Project) -> None:
    """A bad sector answers with an error of the system; so does a link to itself."""
    for key in (each for each in _keys(whole) if each.startswith(("chunks", "ver"))):
        path = whole.registry / key
        data = path.read_bytes()
        path.unlink()
        path.symlink_to(path.name)
        assert (ALTERED, key) in _found(whole)
        path.unlink()
        path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    ["README.md", "root/1.json", "chunks/sha256/aa/short", "versions/toy/HEAD.json"]
    + ["evidence/toy/unit.json", "chunks/sha256/ab/" + "cd" * 32, "channels/toy/x"],
)
def test_a_key_that_is_none_is_foreign(whole: Project, name: str) -> None:
    """In any corner of the registry."""
    path = whole.registry / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"?")
    assert _found(whole) == {(FOREIGN, name)}
    answer = whole.run("fsck")
    assert (answer.code, f"foreign      {name}: " in answer.out) == (7, True)


def test_evidence_of_another_version_is_foreign(whole: Project) -> None:
    """Signed and whole, but not about the version that it stands under."""
    keys = [key for key in _keys(whole) if key.startswith("evidence/")]
    one = next(key for key in keys if key.split("/")[2] != keys[0].split("/")[2])
    moved = f"{one.rpartition('/')[0]}/{keys[0].rpartition('/')[2]}"
    shutil.copy(whole.registry / keys[0], whole.registry / moved)
    renamed = keys[0].replace(f"/{keys[0].split('/')[3].split('-')[0]}", "/other")
    shutil.copy(whole.registry / keys[0], whole.registry / renamed)
    assert _found(whole) == {(FOREIGN, moved), (FOREIGN, renamed)}


def test_what_a_crash_leaves_is_unreferenced_and_harmless(whole: Project) -> None:
    """Chunks that no version names, and private files."""
    chunk = chunk_key(digest(b"hi there"))
    Folder(whole.registry).create(chunk, b"hi there")
    (whole.registry / "versions/toy/.new-0123").write_bytes(b"half")
    left = {(UNREFERENCED, chunk), (UNREFERENCED, "versions/toy/.new-0123")}
    answer = whole.run("fsck")
    assert (answer.code, answer.out.count("unreferenced")) == (0, 2)
    assert _found(whole) == left
    (whole.registry / chunk).write_bytes(b"hi their")
    assert _found(whole) - left == {(ALTERED, chunk)}


def test_a_publish_meanwhile_is_no_damage(
    whole: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written between listing and reading was not missing."""
    late = [key for key in _keys(whole) if not key.startswith(("channels", "root"))]
    real = Folder.keys

    def early(self: Folder, prefix: str) -> Iterator[str]:
        return iter([key for key in real(self, prefix) if key not in late])

    monkeypatch.setattr(Folder, "keys", early)
    assert fsck(str(whole.registry)).whole


def test_findings_are_for_machines_too(whole: Project) -> None:
    """With the refusal, in one JSON document."""
    key = next(key for key in _keys(whole) if key.startswith("versions/"))
    with _changed(whole, {key: None}):
        answer = whole.run("fsck", "--json")
        assert answer.code == answer.json["exit_code"] == 7
        assert answer.json["refused"]["found"] == "1 missing"
        found = {each["code"]: each["key"] for each in answer.json["findings"]}
        assert (found[MISSING], set(found)) == (key, {MISSING, UNREFERENCED})
    assert json.loads(whole.run("fsck", "--json").out)["findings"] == []


def test_no_registry_is_a_usage_error(project: Project) -> None:
    """There is nothing to read."""
    assert project.run("fsck").code == 2


def test_a_trust_root_that_nobody_has_seen_is_not_judged_by_itself(
    whole: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one that is believed, nothing can be."""
    url, root = str(whole.registry), whole.registry / "root/00000001.json"
    monkeypatch.setenv("INTERLOCK_ROOT", "0" * 64)
    with pytest.raises(VerificationFailed, match="INTERLOCK_ROOT says"):
        fsck(url)
    monkeypatch.delenv("INTERLOCK_ROOT")
    root.write_bytes(root.read_bytes()[:-1])
    assert not fsck(url).whole
    monkeypatch.setenv("INTERLOCK_HOME", str(whole.root / "another-home"))
    with pytest.raises(VerificationFailed, match="root"):
        fsck(url)
