"""Publish and pull over bad lines: each finishes or refuses, and nothing is hurt."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock.artifact.chunks import digest
from interlock.pull import verify_registry
from interlock.registry import s3
from interlock.registry.access import open_registry
from interlock.registry.channels import log
from tests.conftest import Answer, Project, use
from tests.proxy import FAULTS, Line, bad_line

# Who is struck: the first requests of a command, or every fourth by chance; and where.
WHEN: dict[str, tuple[str, dict[str, Any]]] = {
    "first 3": ("seaweedfs", {"first": 3}),
    "by chance": ("ministack", {"chance": 0.25, "seed": 7}),
}
# These leave nothing to try again with, so that refusing them is as good.
_HOPELESS = {"answer damaged", "400 ExpiredToken"}
_ONLY_PUT = {"409 ConditionalRequestConflict"}

_WATCHER = """
import sys, threading
from interlock.errors import BadConfiguration
from interlock.pull import verify_registry
from interlock.registry.access import open_registry
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
stop, looks, url = threading.Event(), 0, sys.argv[1]
while not stop.is_set():
    try:
        verify_registry(open_registry(url), "toy@staging")
    except BadConfiguration:
        pass  # nothing there yet
    looks += 1
    stop.wait(0.3)
print(looks)
"""


@contextmanager
def _watched(url: str, home: Path) -> Iterator[None]:
    """Somebody on a good line looks all the time, and sees a whole version or none."""
    command = [sys.executable, "-c", _WATCHER, url]
    surroundings = os.environ | {"INTERLOCK_HOME": str(home)}
    with subprocess.Popen(
        command,
        env=surroundings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watcher:
        yield
        out, err = watcher.communicate()
    assert watcher.returncode == 0 and int(out) > 0, err


def _check_intact(url: str) -> None:
    """Every record and every chunk of the registry is what it is called."""
    registry = open_registry(url)
    store = registry.store
    for key in store.keys(""):
        kind, name, *_ = key.split("/")
        if kind == "chunks":
            assert digest(store.read(key)) == key.rpartition("/")[2]
        elif kind == "versions":
            registry.open_version(key, store.read(key))
        elif kind == "evidence":
            registry.open_evidence(key, store.read(key))
    for channel in registry.trust.channels:
        assert [*log(registry, "toy", channel)] is not None
    verify_registry(registry, "toy@staging")


def _over(
    line: Line, patch: pytest.MonkeyPatch, command: Callable[[], Answer]
) -> Answer:
    """What a command comes to over a bad line."""
    with bad_line(line), patch.context() as bent:
        bent.setenv("AWS_ENDPOINT_URL_S3", line.url)
        return command()


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "none"])
def test_publish_and_pull_over_a_bad_line(
    project: Project,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    tmp_path: Path,
    fault: str,
    when: str,
) -> None:
    """What they leave is whole, and the same command on a good line completes it."""
    server, whom = WHEN[when]
    url = use(request, monkeypatch, server)
    monkeypatch.setenv("INTERLOCK_REGISTRY", url)
    monkeypatch.setattr(s3, "SILENT", 1.0)
    methods = ("PUT",) if fault in _ONLY_PUT else ("GET", "PUT")
    project.check()
    row = [fault, f"{when}, {server}"]
    with _watched(url, tmp_path / "watcher"):
        for command in (("publish",), ("pull", "toy@staging", "model")):
            good = os.environ["AWS_ENDPOINT_URL_S3"]
            line = Line(good, fault, methods=methods, **whom)
            answer = _over(line, monkeypatch, lambda: project.run(*command))
            row.append(f"{_outcome(answer)} ({line.struck} of {len(line.seen)} struck)")
            if answer.code:
                assert fault in _HOPELESS, answer.err
                assert answer.err.startswith("expected: ")
            again = project.run(*command)
            assert again.code == 0, again.err
    _check_intact(url)
    assert project.run("verify", "model").code == 0
    record_property("outcome", f"| {' | '.join(row)} |")


def _outcome(answer: Answer) -> str:
    return f"refused, {answer.code}" if answer.code else "finished"
