"""kill -9 at every step: the next run completes, and no reader sees half a version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests import killing
from tests.conftest import Project

# Every step is for the campaign; a sample of them is for every day.
EVERY = 1 if os.environ.get("INTERLOCK_CAMPAIGN") else 11


def _attempts(*arguments: str) -> list[dict[str, Any]]:
    """What came of killing the command at each of its steps, then running it again."""
    run = subprocess.run(
        [sys.executable, killing.__file__, str(EVERY), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def test_publish_killed_anywhere_is_completed_by_the_next(project: Project) -> None:
    """A reader sees no registry, no release, or a whole version."""
    project.check()
    found = _attempts("toy@staging", "publish")
    assert len(found) * EVERY > 60
    for attempt in found:
        code, said = attempt["seen"]
        assert code in (0, 2), said  # a whole version, or nothing published yet
        assert attempt["again"][0] == 0, attempt["again"][1]
        assert attempt["after"][0] == 0, attempt["after"][1]


def test_pull_killed_anywhere_is_completed_by_the_next(published: Project) -> None:
    """A reader sees the old version or the new one, and nothing is left behind."""
    assert published.run("pull", "toy@staging", "model").code == 0
    published.learn(3.0)
    published.publish()
    found = _attempts("model", "pull", "toy@staging", "model")
    assert len(found) * EVERY > 40
    versions = set()
    for attempt in found:
        code, said = attempt["seen"]
        assert code == 0, said
        versions.add(said.partition(":")[0])
        assert attempt["again"][0] == 0, attempt["again"][1]
        assert attempt["after"][0] == 0, attempt["after"][1]
        assert attempt["left"] == []
    assert len(versions) == 2
