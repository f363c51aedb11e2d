"""kill -9 at every step: the next run completes, and no reader sees half a version.

Every day a few steps of some commands, by patched functions; in the campaign every
system call of all of them: see killing.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Project
from tests.crash import killing
from tests.crash.killing import Attempt, Outcome, Plan, cut_small

CAMPAIGN = int(os.environ.get("INTERLOCK_CAMPAIGN", "0"))  # every how many points
PARTS = 4 if CAMPAIGN == 1 else 1  # tests of one command, to run side by side
FOLDER = re.compile(r"\.model-[0-9a-f]{12}$")
Setup = Callable[[Project], list[str]]  # makes ready; the command


def _learn(project: Project, slope: float) -> None:
    """New weights, of which one file has its last chunk changed only."""
    project.learn(slope)
    many = np.arange(3 * killing.CHUNK // 8, dtype=float)
    many[-1] = slope
    np.save(project.root / "lib/toy/weights/many.npy", many)


def _create(project: Project) -> list[str]:
    return ["create", "a/b/c.json", "some bytes, "]


def _publish(project: Project) -> list[str]:
    _learn(project, 2.0)
    project.commit()
    project.check()
    return ["publish"]


def _publish_next(project: Project) -> list[str]:
    assert project.run(*_publish(project)).code == 0
    _learn(project, 3.0)
    project.commit()
    project.check()
    return ["publish"]


def _pull(project: Project) -> list[str]:
    _learn(project, 2.0)
    project.publish()
    return ["pull", "toy@staging", "model"]


def _pull_next(project: Project, *more: float) -> list[str]:
    command = _pull(project)
    for slope in (3.0, *more):
        assert project.run(*command).code == 0
        _learn(project, slope)
        project.publish()
    return command


def _pull_third(project: Project) -> list[str]:
    return _pull_next(project, 4.0)


def _pull_hurt(project: Project) -> list[str]:
    command = _pull(project)
    assert project.run(*command).code == 0
    (project.root / "model/toy/model.py").write_text("half")
    return command


def _promote(project: Project) -> list[str]:
    project.publish()
    project.check("nightly-eval")
    return ["promote"]


def _rollback(project: Project) -> list[str]:
    project.publish()
    first = project.git("rev-parse", "HEAD")
    _learn(project, 3.0)
    project.publish()
    return ["rollback", "toy", "staging", "--to", first]


def _copy(project: Project) -> list[str]:
    project.publish()
    source = os.environ.get("INTERLOCK_REGISTRY") or str(project.registry)
    return ["copy", source, "mirror"]


def _export(project: Project) -> list[str]:
    project.publish()
    return ["export", "toy@staging", "model.tar.gz"]


STAGING = ["verify", "toy@staging"]
COMMANDS: dict[str, tuple[Setup, list[str]]] = {
    "create": (_create, ["read", "a/b/c.json"]),
    "publish": (_publish, STAGING),
    "publish the next": (_publish_next, STAGING),
    "promote": (_promote, ["verify", "toy@production"]),
    "rollback": (_rollback, STAGING),
    "pull": (_pull, ["verify", "model"]),
    "pull the next": (_pull_next, ["verify", "model"]),
    "pull the third": (_pull_third, ["verify", "model"]),
    "pull over a hurt one": (_pull_hurt, ["verify", "model"]),
    "copy": (_copy, [*STAGING, "--registry", "mirror"]),
    "export": (_export, STAGING),  # the next calls half an archive a conflict
}
DAILY = [("create", 0, 3), ("publish", 0, 97), ("pull the third", 0, 67)]
ALL = [(name, part, CAMPAIGN * PARTS) for name in COMMANDS for part in range(PARTS)]


def _run(plan: Plan) -> Any:
    """What killing.py prints."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, killing.__file__, json.dumps(vars(plan))],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def log_of(command: list[str]) -> str:
    """strace's log of an unharmed run of the command."""
    return str(_run(Plan(command, [], "log")))


def _outcome(plan: Plan) -> Outcome:
    """What came of killing the command at each of its points."""
    found = _run(plan)
    attempts = [Attempt(**each) for each in found.pop("attempts")]
    return Outcome(**found, attempts=attempts)


def _wrong(outcome: Outcome, attempt: Attempt) -> str:
    """What is wrong about an attempt: "corrupt" or "stuck" and why, or nothing."""
    nothing = attempt.seen[0] == outcome.old[0] == 2 and "none" in attempt.seen[1]
    refused = outcome.old[0] == 7 and attempt.seen[0]  # it was hurt before
    if attempt.seen not in (outcome.old, outcome.new) and not (nothing or refused):
        return "corrupt: neither old nor new"
    if attempt.hurt:
        return "corrupt: values of the registry"
    if attempt.again[0] or attempt.after != outcome.new:
        return "stuck: the second run"
    if attempt.private > 1:
        return "stuck: more than one private file"
    left = {name for name in attempt.left if not name.endswith(".hurt.new")}
    if left - {".model.lock"} != set(filter(FOLDER.match, left)) or len(left) > 3:
        return "stuck: something is left behind"
    return ""


@pytest.mark.parametrize(("name", "part", "every"), ALL if CAMPAIGN else DAILY)
def test_a_command_killed_anywhere_is_completed_by_the_next(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    name: str,
    part: int,
    every: int,
) -> None:
    """A reader sees what was there before or what comes after, and nothing is stuck."""
    make, look = COMMANDS[name]
    prepare(tmp_path, monkeypatch)
    how = "in turn" if CAMPAIGN else "patched"
    first = part * CAMPAIGN
    outcome = _outcome(Plan(make(project), look, how, every, first))
    found = [(_wrong(outcome, each), each) for each in outcome.attempts]
    record_property(f"kill: {name}", _counts(outcome, [wrong for wrong, _ in found]))
    assert [each for each in found if each[0]] == []
    assert found and all(each.killed for each in outcome.attempts)


@pytest.mark.skipif(not CAMPAIGN, reason="needs strace: nox -s campaign")
@pytest.mark.parametrize("name", ["publish", "pull the next"])
def test_threads_killed_as_they_come(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    """With all of them at work, whichever comes first; or Git, in place of them."""
    make, look = COMMANDS[name]
    prepare(tmp_path, monkeypatch)
    outcome = _outcome(Plan(make(project), look, "at once", 4 * CAMPAIGN))
    for each in outcome.attempts:
        each.private = 0  # each thread may leave one
    found = [(_wrong(outcome, each), each) for each in outcome.attempts]
    record_property(f"sample: {name}", _counts(outcome, [wrong for wrong, _ in found]))
    assert [each for each in found if each[0]] == []


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let temporary folders be in `folder`, and chunks be small."""
    (folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    cut_small(monkeypatch.setattr)


def _counts(outcome: Outcome, wrong: list[str]) -> dict[str, int]:
    """For the totals: what the readers saw after the kills."""
    new = sum(each.seen == outcome.new for each in outcome.attempts)
    bad = {
        kind: sum(w.startswith(kind) for w in wrong) for kind in ("corrupt", "stuck")
    }
    return {"points": len(wrong), "old": len(wrong) - new, "new": new, **bad}
