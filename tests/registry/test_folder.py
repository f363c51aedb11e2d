"""The folder backend: three verbs, whole or not at all, one winner."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.durable import naming
from interlock.registry.folder import Folder

_NAMES = st.text(
    "abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=8
).filter(lambda name: name.strip(".") == name)
_KEYS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(_KEYS.map(lambda key: f"k/{key}.json"), st.binary(max_size=64)))
@settings(max_examples=30, deadline=None)
def test_what_was_created_is_read_and_listed_in_order(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, bytes]
) -> None:
    """Any keys, any bytes, empty ones too."""
    store = Folder(tmp_path_factory.mktemp("store"))
    created = {key: data for key, data in values.items() if store.create(key, data)}
    assert created == values
    assert {key: store.read(key) for key in store.keys("k/")} == values
    assert [*store.keys("k/")] == sorted(values)


def test_a_key_is_created_once(tmp_path: Path) -> None:
    """The second who comes is told, and the first's bytes stay."""
    store = Folder(tmp_path)
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert store.read("a/b") == b"first"


def test_an_absent_key_is_a_key_error(tmp_path: Path) -> None:
    """Whatever stands above it."""
    store = Folder(tmp_path)
    store.create("a", b"")
    for key in ("b", "b/c", "a/b"):
        with pytest.raises(KeyError):
            store.read(key)


def test_a_prefix_is_a_prefix_of_the_key(tmp_path: Path) -> None:
    """Of the whole key, not of its last part only; an absent one lists nothing."""
    store = Folder(tmp_path)
    for key in ("a/b1", "a/b2", "a/c", "ab/b1"):
        store.create(key, b"")
    assert [*store.keys("a/b")] == ["a/b1", "a/b2"]
    assert [*store.keys("a")] == ["a/b1", "a/b2", "a/c", "ab/b1"]
    assert [*store.keys("no/such")] == []


def test_what_a_crash_left_is_never_listed(tmp_path: Path) -> None:
    """A private file is not an entry."""
    store = Folder(tmp_path)
    store.create("a/b", b"")
    (tmp_path / "a/.new-0123").write_bytes(b"half")
    assert [*store.keys("")] == ["a/b"]


def test_a_registry_has_one_name_however_it_is_spelt(tmp_path: Path) -> None:
    """What a machine has seen of it is remembered by that name."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    spelt = ("folder", "link", "link/../folder", "other/../folder")
    assert {Folder(tmp_path / each).url for each in spelt} == {str(tmp_path / "folder")}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_said_of_a_file() -> None:
    """The system itself names none when a write fails."""
    full = Path("/dev/full")
    with pytest.raises(OSError, match="full"), naming(full):
        with full.open("wb", buffering=0) as file:
            file.write(b"more")
