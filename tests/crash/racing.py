"""Processes that do something at the same moment.

    python racing.py RACE ROUNDS ARGUMENTS...   # prints what each did, round by round

Each round forks its processes, holds them until all are there, and lets them go.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from interlock.errors import Conflict
from interlock.home import home, registry_url
from interlock.registry.access import open_registry, signer
from interlock.registry.store import open_store
from tests.crash.killing import run

WRITERS = 16


def together(*works: Callable[[], Any]) -> list[Any]:
    """What each work returns, all done at once in processes of their own."""
    wait, go = os.pipe()
    answers = [_started(work, wait, go) for work in works]
    os.close(wait)
    os.close(go)  # who waits for its end goes on
    found = []
    for answer in answers:
        with os.fdopen(answer) as file:
            found.append(json.loads(file.read() or '"it died"'))
    for _ in works:
        os.wait()
    return found


def _started(work: Callable[[], Any], wait: int, go: int) -> int:
    """Where to read what a new process says."""
    said, say = os.pipe()
    if os.fork():
        os.close(say)
        return said
    try:
        os.close(go)
        os.read(wait, 1)
        os.write(say, json.dumps(work()).encode())
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def writers(rounds: int) -> Iterator[Any]:
    """Many create one key with bytes of their own; each says if it won, what it read.

    Last comes what is read when all is quiet.
    """
    store = open_store(registry_url())
    for number in range(rounds):
        key = f"race/{number}"

        def write(writer: int, key: str = key) -> tuple[bool, str]:
            won = store.create(key, some_bytes(writer))
            return won, sha256(store.read(key))

        works = [lambda writer=writer: write(writer) for writer in range(WRITERS)]
        yield [*together(*works), sha256(store.read(key))]


def some_bytes(writer: int) -> bytes:
    """What this writer writes."""
    return bytes([writer]) * (1 << 18)


def sha256(data: bytes) -> str:
    """As 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def publishers(rounds: int, version: str) -> Iterator[Any]:
    """Two store a version of one commit, with different bytes."""
    registry = open_registry(registry_url())
    key = signer(registry)
    there = registry.version(*version.split("@"))
    for number in range(rounds):
        commit = f"{number:040x}"
        drafts = [replace(there, commit=commit, tree=tree * 40) for tree in "ab"]

        def add(draft: Any) -> str:
            try:
                return str(registry.add_version(draft, key))
            except Conflict as conflict:
                return str(conflict)

        said = together(*(lambda draft=draft: add(draft) for draft in drafts))
        won = registry.version(there.name, commit).address
        yield [*zip(said, [draft.address for draft in drafts], strict=True), won]


def channel(rounds: int, *checkouts: str) -> Iterator[Any]:
    """Each checkout is published to one channel; who is refused does it again."""
    registry = Path(registry_url())
    begun = registry.with_name("registry-begun")
    shutil.copytree(registry, begun)

    def publish(checkout: str) -> Any:
        os.chdir(checkout)
        return run("publish")

    for _ in range(rounds):
        shutil.rmtree(registry)
        shutil.copytree(begun, registry)
        shutil.rmtree(home() / "seen")  # of the round before
        at_once = together(*(lambda c=c: publish(c) for c in checkouts))
        told = [c for c, (code, _) in zip(checkouts, at_once, strict=True) if code]
        again = [publish(checkout) for checkout in told]
        yield at_once, again, run("log", "toy", "staging", "--json")


def pulls(rounds: int, *versions: str) -> Iterator[Any]:
    """Four pull all versions into one folder, by turns; three readers verify it."""
    for number in range(rounds):
        folder = f"model-{number}"
        assert run("pull", versions[0], folder)[0] == 0

        def read(folder: str = folder) -> list[Any]:
            return [run("verify", folder) for _ in range(5)]

        def pull(order: Sequence[str], folder: str = folder) -> list[Any]:
            return [run("pull", version, folder) for version in order]

        orders = (versions, versions[::-1]) * 2
        works = [lambda order=order: pull(order) for order in orders]
        did = together(read, read, read, *works)
        left = [path.name for path in Path.cwd().glob(f".{folder}*.new")]
        yield did, run("verify", folder), left


RACES: dict[str, Callable[..., Iterator[Any]]] = {
    each.__name__: each for each in (writers, publishers, channel, pulls)
}

if __name__ == "__main__":
    print(json.dumps([*RACES[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])]))
