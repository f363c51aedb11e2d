"""Many at once: one winner, and everybody sees it; the others are told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.conftest import Project
from tests.crash import racing
from tests.crash.test_kills import CAMPAIGN

ROUNDS = 100 if CAMPAIGN == 1 else 2
Record = Callable[[str, object], None]


def _race(name: str, *arguments: str) -> list[Any]:
    """What each process did, round by round."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, racing.__file__, name, str(ROUNDS), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rounds: list[Any] = json.loads(done.stdout)
    assert len(rounds) == ROUNDS
    return rounds


def test_sixteen_writers_and_one_winner(
    project: Project, record_property: Record
) -> None:
    """Each writes bytes of its own; all read those of the one that won."""
    firsts = set()
    for *each, at_last in _race("writers"):
        assert len(each) == racing.WRITERS
        winners = [writer for writer, (won, _) in enumerate(each) if won]
        assert len(winners) == 1
        right = racing.sha256(racing.some_bytes(winners[0]))
        assert {read for _, read in each} == {at_last} == {right}
        firsts |= {*winners}
    assert len(firsts) > 1 or ROUNDS < 100  # it is a race
    record_property(
        "race: 16 writers of one key", {"rounds, all as they should be": ROUNDS}
    )


def test_two_publishers_of_one_commit_with_different_bytes(
    published: Project, record_property: Record
) -> None:
    """One wins, the other is told whose address is there."""
    commit = published.git("rev-parse", "HEAD")
    for one, other, won in _race("publishers", f"toy@{commit}"):
        (_, winner), (said, _) = (one, other) if one[0] == "True" else (other, one)
        assert "True" != said
        assert winner == won
        assert won[:12] in said
    record_property(
        "race: 2 publishers of one commit", {"rounds, all as they should be": ROUNDS}
    )


def test_two_publishes_to_one_channel(
    published: Project, record_property: Record
) -> None:
    """Neither is lost: who is told of a conflict publishes again."""
    other = published.root.with_name("other")
    shutil.copytree(published.root, other, symlinks=True)
    for place, slope in ((published.root, 3.0), (other, 4.0)):
        os.chdir(place)
        checkout = Project(place, published.capsys)
        checkout.learn(slope)
        checkout.commit()
        checkout.check()
    for at_once, again, (code, log) in _race(
        "channel", str(published.root), str(other)
    ):
        codes = sorted(code for code, _ in at_once)
        assert codes in ([0, 0], [0, 8]), at_once
        assert [code for code, _ in again] == [0] * codes.count(8), again
        assert code == 0, log
        releases = json.loads(log)["releases"]
        assert len({release["commit"] for release in releases}) == 3
    record_property(
        "race: 2 publishes to one channel", {"rounds, all as they should be": ROUNDS}
    )


def test_pulls_of_two_versions_into_one_folder(
    published: Project, record_property: Record
) -> None:
    """Readers find it whole at every moment, and so it is at the end."""
    old = published.git("rev-parse", "HEAD")
    published.learn(3.0)
    published.publish()
    new = published.git("rev-parse", "HEAD")
    for did, at_last, left in _race("pulls", f"toy@{old}", f"toy@{new}"):
        for code, said in (answer for answers in did for answer in answers):
            assert code == 0, said
        assert at_last[0] == 0
        assert left == []
    record_property(
        "race: 4 pulls of one folder, 3 readers",
        {"rounds, all as they should be": ROUNDS},
    )
