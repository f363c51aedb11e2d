"""promote and rollback: how a channel moves, and what its log says."""

from __future__ import annotations

import pytest

from interlock.promote import standing
from tests.conftest import Project


def _release(project: Project, slope: float) -> str:
    """Publish and promote a version with this slope; its commit."""
    project.learn(slope)
    project.publish()
    project.check("nightly-eval")
    assert project.run("promote").code == 0
    return project.git("rev-parse", "HEAD")


def test_production_demands_nightly_eval(published: Project) -> None:
    """Lint, unit and smoke are enough for staging only."""
    answer = published.run("promote")
    assert (answer.code, "nightly-eval: none [missing]" in answer.err) == (6, True)


def test_a_published_and_judged_version_moves_production(project: Project) -> None:
    """And is not released a second time."""
    _release(project, 2.0)
    again = project.run("promote")
    assert (again.code, "as before" in again.out) == (0, True)
    releases = project.run("log", "toy", "production", "--json").json["releases"]
    assert [each["sequence"] for each in releases] == [1]


def test_a_nightly_that_failed_later_counts(published: Project) -> None:
    """The newest evidence of a session decides, and is attached whatever it says."""
    published.check("nightly-eval")
    published.fail("nightly-eval")
    answer = published.run("promote")
    assert (answer.code, "[failed]" in answer.err) == (6, True)
    shown = published.run("show", "toy@staging", "--json").json
    assert shown["release"]["channel"] == "staging"
    attached = published.registry.glob("evidence/toy/*/nightly-eval-*.json")
    assert len([*attached]) == 1


def test_rollback_serves_the_version_before_and_the_log_says_all(
    project: Project,
) -> None:
    """Three releases, each with who, when, why and evidence."""
    first, second = _release(project, 2.0), _release(project, 3.0)
    answer = project.run("rollback", "toy", "--reason", "late flights complained")
    assert answer.code == 0
    assert f"release 3 of production: toy@{first[:12]}" in answer.out
    assert project.run("pull", "toy@production", "model").code == 0
    releases = project.run("log", "toy", "production", "--json").json["releases"]
    assert [each["commit"] for each in releases] == [first, second, first]
    assert releases[2]["reason"] == "late flights complained"
    assert all(each["actor"] == "Ada <ada@example.org>" for each in releases)
    assert all(len(each["evidence"]) == 4 for each in releases)
    assert "why       late flights complained" in project.run("log", "toy").out


def test_nothing_to_roll_back_to_is_a_refusal(project: Project) -> None:
    """With one version, and again after the only rollback there was to make."""
    _release(project, 2.0)
    assert project.run("rollback", "toy").code == 2
    _release(project, 3.0)
    assert project.run("rollback", "toy").code == 0
    assert project.run("rollback", "toy").code == 2


def test_rolling_back_twice_goes_back_two_versions(project: Project) -> None:
    """A second rollback does not return to what was rolled back from."""
    first, _, _ = (_release(project, slope) for slope in (2.0, 3.0, 4.0))
    project.run("rollback", "toy")
    answer = project.run("rollback", "toy")
    assert f"toy@{first[:12]}" in answer.out


def test_rollback_to_a_named_commit(project: Project) -> None:
    """Any version that was live in the channel, and no other."""
    first, _, _ = (_release(project, slope) for slope in (2.0, 3.0, 4.0))
    answer = project.run("rollback", "toy", "--to", first[:8])
    assert f"toy@{first[:12]}" in answer.out
    assert project.run("rollback", "toy", "--to", "0000").code == 2


def test_what_was_rolled_back_from_does_not_come_back_by_itself(
    project: Project,
) -> None:
    """The next night leaves it alone; a person may say why it returns."""
    _release(project, 2.0)
    second = _release(project, 3.0)
    project.run("rollback", "toy", "--reason", "it was wrong")
    night = project.run("promote", "--nightly")
    assert (night.code, "it was wrong" in night.out) == (0, True)
    refused = project.run("promote")
    assert (refused.code, "--reason" in refused.err) == (8, True)
    answer = project.run("promote", "--reason", "mended the caller")
    assert f"release 4 of production: toy@{second[:12]}" in answer.out


def test_the_night_leaves_unpublished_and_changed_commits_alone(
    project: Project,
) -> None:
    """It says so and succeeds; by hand it is a refusal."""
    answer = project.run("promote", "--nightly")
    assert (answer.code, "nothing promoted" in answer.out) == (0, True)
    project.publish()
    project.write("notes.txt", "changed")
    answer = project.run("promote", "--nightly")
    assert (answer.code, "nothing promoted" in answer.out) == (0, True)
    assert project.run("promote").code == 2


def test_evidence_of_another_tree_is_not_attached(published: Project) -> None:
    """What is left over from other work says nothing about this version."""
    published.write("notes.txt", "changed")
    published.check("nightly-eval")
    (published.root / "notes.txt").unlink()
    answer = published.run("promote")
    assert (answer.code, "nightly-eval: of tree" in answer.err) == (6, True)
    assert not [*published.registry.glob("evidence/toy/*/nightly-eval-*.json")]


@pytest.mark.parametrize(
    ("log", "left"),
    [("", ""), ("ab", "ab"), ("aba", "a"), ("abca", "a"), ("abcb", "ab")],
)
def test_a_rollback_takes_away_what_came_after(log: str, left: str) -> None:
    """Letters are versions; the log is read from the left."""

    class _Release:
        def __init__(self, address: str) -> None:
            self.address = address

    releases = [_Release(each) for each in log]
    kept = standing(releases)  # type: ignore[arg-type]
    assert "".join(each.address for each in kept) == left


def test_what_is_live_stays_live_however_old_its_evidence(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet project does not turn red by itself."""
    from datetime import UTC, datetime

    from interlock import promote

    assert published.run("publish").code == 0

    class Later(datetime):
        """The clock, years on."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            """The time, years on."""
            return datetime(2099, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(promote, "datetime", Later)
    answer = published.run("promote", "staging")
    assert (answer.code, "as before" in answer.out) == (0, True)
    assert published.run("promote", "production").code == 6


def test_the_night_does_not_hide_a_broken_project(project: Project) -> None:
    """Only what is not eligible is left alone."""
    table = project.root / "pyproject.toml"
    table.write_text(table.read_text("utf-8").replace("predict = ", "predicts = "))
    assert project.run("promote", "--nightly").code == 2
