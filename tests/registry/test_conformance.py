"""What every store does: one suite for the folder and for each real S3 server.

`nox -s unit` has the folder; `nox -s servers` has them all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from securesystemslib.signer import CryptoSigner

from interlock.artifact.manifest import Manifest
from interlock.attest.envelope import seal
from interlock.attest.trust import first_root, follow
from interlock.errors import Conflict
from interlock.registry.records import Registry
from interlock.registry.store import Store, open_store
from tests.artifact.test_manifest import GOOD
from tests.conftest import use
from tests.servers import SERVERS

WRITERS = 16
ROUNDS = int(os.environ.get("INTERLOCK_ROUNDS", "0")) or (100 if SERVERS else 10)
AT_ONCE = 10  # rounds
MIB = 2**20
OpenStore = Callable[[], Store]


@pytest.fixture(params=["folder", *sorted(SERVERS)])
def anew(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> OpenStore:
    """Opens an empty store, the same one each time."""
    if request.param == "folder":
        return lambda: open_store(str(tmp_path / "store"))
    url = use(request, monkeypatch, request.param)
    return lambda: open_store(url)


@pytest.fixture
def store(anew: OpenStore) -> Store:
    """An empty store."""
    return anew()


def _create_all(store: Store, values: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(store.create, values, values.values()))


def test_a_key_is_created_once(store: Store) -> None:
    """The second who comes is told, and the first's bytes stay."""
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert not store.create("a/b", b"first")
    assert store.read("a/b") == b"first"


def test_an_absent_key_is_a_key_error(store: Store) -> None:
    """Whatever stands beside it, and in an empty store too."""
    with pytest.raises(KeyError):
        store.read("a")
    store.create("a/b", b"")
    for key in ("a", "b", "a/c", "a/b.json", "a/b/c"):
        with pytest.raises(KeyError):
            store.read(key)


def test_nothing_is_listed_where_nothing_is(store: Store) -> None:
    """An absent prefix is no error."""
    assert [*store.keys("")] == []
    store.create("a/b", b"")
    assert [*store.keys("b/")] == []
    assert [*store.keys("a/b/")] == []


SIZES = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1]
SIZES += [64 * MIB] if SERVERS else []  # a client may send it in parts


@pytest.mark.parametrize("size", SIZES)
def test_values_of_any_size_come_back(store: Store, size: int) -> None:
    """An empty one, a chunk, and more than a chunk."""
    data = os.urandom(size)
    assert store.create("chunks/sha256/ab/abcdef", data)
    assert store.read("chunks/sha256/ab/abcdef") == data
    assert not store.create("chunks/sha256/ab/abcdef", data[:1])


KEYS = (
    "channels/a-b/production/00000001.json",
    "channels/a/production/00000001.json",
    "channels/a/production/00000010.json",
    "channels/a/production/00000002.json",
    "channels/a/staging/00000001.json",
    "channels/a0/staging/00000001.json",
    "channels/a_b/staging/00000001.json",
    "channels/A/staging/00000001.json",
    f"chunks/sha256/00/00{'f' * 62}",
    f"chunks/sha256/0a/0a{'0' * 62}",
    f"evidence/a/{'0' * 40}/nightly-eval-{'1' * 64}.json",
    f"evidence/a/{'0' * 40}/lint-{'1' * 64}.json",
    "root/00000001.json",
    f"versions/a/{'f' * 40}.json",
    f"versions/a/{'0' * 64}.json",
)


def test_keys_of_the_registry_are_listed_in_order(store: Store) -> None:
    """By code point in each folder, whatever the order of the folders."""
    _create_all(store, {key: key.encode() for key in KEYS})
    listed = [*store.keys("")]
    assert sorted(listed) == sorted(KEYS)
    assert sorted(listed, key=_folder) == sorted(sorted(KEYS), key=_folder)
    assert {store.read(key) for key in listed} == {key.encode() for key in KEYS}


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


@pytest.mark.parametrize(
    "prefix",
    ["channels/", "channels/a/", "channels/a/production/", "versions/a/", "chunks/"],
)
def test_a_prefix_is_whole_folders(store: Store, prefix: str) -> None:
    """The prefix channels/a/ does not list channels/a-b/."""
    _create_all(store, dict.fromkeys(KEYS, b""))
    assert {*store.keys(prefix)} == {key for key in KEYS if key.startswith(prefix)}


def test_more_keys_than_a_page_are_all_listed(store: Store) -> None:
    """S3 lists a thousand at a time."""
    keys = [f"k/{number:08}.json" for number in range(1, 2102)]
    _create_all(store, dict.fromkeys(keys, b"x"))
    assert [*store.keys("k/")] == keys
    assert next(iter(store.keys("k/"))) == keys[0]


def test_what_one_has_created_others_see_at_once(anew: OpenStore) -> None:
    """In a reading, and in a list."""
    writer, reader = anew(), anew()
    for number in range(30):
        key = f"k/{number:02}"
        assert writer.create(key, key.encode())
        assert reader.read(key) == key.encode()
        assert [*reader.keys("k/")][-1] == key


def _race(stores: list[Store], key: str) -> None:
    """One of sixteen wins, and everybody reads its bytes."""
    together = Barrier(WRITERS)

    def write(writer: int) -> tuple[bool, bytes]:
        together.wait()
        won = stores[writer].create(key, b"%d " % writer * 500)
        return won, stores[writer].read(key)

    with ThreadPoolExecutor(WRITERS) as pool:
        done = [*pool.map(write, range(WRITERS))]
    winners = [writer for writer, (won, _) in enumerate(done) if won]
    assert len(winners) == 1, f"{key}: {winners}"
    assert {data for _, data in done} == {b"%d " % winners[0] * 500}


def test_writers_on_one_key_have_one_winner(anew: OpenStore) -> None:
    """Round after round, some of them at once, each with a key of its own."""
    stores = [anew() for _ in range(WRITERS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rounds = [f"race/{number:03}" for number in range(ROUNDS)]
        assert len([*pool.map(_race, [stores] * ROUNDS, rounds)]) == ROUNDS


def test_threads_share_a_store(store: Store) -> None:
    """As transfers do, with chunks."""
    chunks = {f"chunks/{n:02}": os.urandom(MIB) for n in range(24)}
    _create_all(store, chunks)
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(store.read, chunks)] == [*chunks.values()]


def test_a_store_says_what_a_key_holds(store: Store) -> None:
    """By its digest; an absent one has none."""
    assert store.sha256("a/b") is None
    for key, data in {"a/b": b"", "a/c": b"bytes", "a/d": os.urandom(8 * MIB)}.items():
        store.create(key, data)
        assert store.sha256(key) == hashlib.sha256(data).hexdigest()
    assert store.sha256("a") is None


def test_two_publishers_of_one_commit_have_one_winner(anew: OpenStore) -> None:
    """The other is told whose address is there, and publishing again is a no-op."""
    key = CryptoSigner.generate_ed25519()
    trust = follow([seal(first_root(key.public_key), key)])
    registries = Registry(anew(), trust), Registry(anew(), trust)
    for number in range(5):
        one = replace(GOOD, commit=f"{number:040}")
        rivals = one, replace(one, tree="f" * 40)
        with ThreadPoolExecutor(2) as pool:
            done = [*pool.map(_publish, registries, rivals, [key] * 2)]
        winner = registries[0].version(one.name, one.commit)
        assert winner in rivals
        for mine, said in zip(rivals, done, strict=True):
            assert said == ("" if mine == winner else winner.address[:12])
        assert not registries[1].add_version(winner, key)


def _publish(registry: Registry, manifest: Manifest, key: CryptoSigner) -> str:
    """Nothing, or the address that the refusal names."""
    try:
        assert registry.add_version(manifest, key)
    except Conflict as conflict:
        return conflict.found.rpartition(" ")[2]
    return ""
