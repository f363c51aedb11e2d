"""promote and rollback: how a channel moves, and what its log says."""

from __future__ import annotations

from typing import Any

import pytest

from interlock import promote
from interlock.promote import standing
from tasks import evidence
from tests.conftest import Project, _session
from tests.test_publish import rewrite


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


def test_digits_that_two_commits_start_with_are_refused(project: Project) -> None:
    """And both are named: nobody goes back to the wrong one by a short name."""
    first = _release(project, 2.0)
    project.learn(3.0)
    second = project.commit()
    while second[0] != first[0]:
        project.git("commit", "--amend", "-m", f"not {second}")
        second = project.git("rev-parse", "HEAD")
    _release(project, 4.0)
    project.git("checkout", "--quiet", second)
    project.check()
    assert project.run("publish").code == 0
    project.check("nightly-eval")
    assert project.run("promote").code == 0
    for command in (("rollback", "toy", "--to", first[0]), ("show", f"toy@{first[0]}")):
        answer = project.run(*command)
        assert answer.code == 2
        assert first[:12] in answer.err and second[:12] in answer.err
    assert len(project.run("log", "toy", "--json").json["releases"]) == 6


def test_a_rollback_to_what_was_altered_is_refused(project: Project) -> None:
    """A release that no host could take would leave the channel with nothing."""
    first, _ = _release(project, 2.0), _release(project, 3.0)
    record = next(project.registry.glob(f"evidence/toy/{first}/unit-*.json"))
    record.chmod(0o644)
    record.write_bytes(record.read_bytes().replace(b"a", b"b", 1))
    answer = project.run("rollback", "toy")
    assert (answer.code, "that release 1 names" in answer.err) == (7, True)
    assert project.run("pull", "toy@production", "model").code == 0


def test_a_rollback_to_a_commit_may_be_run_again(project: Project) -> None:
    """Somebody who does not know whether it was done: it is done once."""
    first, _ = (_release(project, slope) for slope in (2.0, 3.0))
    for _ in range(2):
        answer = project.run("rollback", "toy", "--to", first)
        assert f"release 3 of production: toy@{first[:12]}" in answer.out


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


def test_an_old_job_that_runs_again_does_not_undo_the_newer(project: Project) -> None:
    """A commit that was live and then replaced is not released again by itself."""
    first, second = (_release(project, slope) for slope in (2.0, 3.0))
    project.git("checkout", "--quiet", first)
    project.check("lint", "unit", "smoke", "nightly-eval")
    for command in ("publish", "promote"):
        answer = project.run(command)
        assert (answer.code, "was not live in" in answer.err) == (8, True), command
    assert f"toy@{second[:12]}" in project.run("show", "toy@staging").out
    assert project.run("publish", "--reason", "the newer one is slow").code == 0


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


def test_evidence_compared_with_another_production_does_not_count(
    published: Project,
) -> None:
    """An evaluation that could not see production cannot move it."""
    published.check("nightly-eval")
    assert published.run("promote").code == 0
    published.learn(3.0)
    published.publish()
    with evidence.recorded(_session("nightly-eval")) as record:
        record.notes["urn:interlock:production"] = ""
    answer = published.run("promote")
    assert (answer.code, "[production]" in answer.err) == (6, True)
    published.check("nightly-eval")
    assert published.run("promote").code == 0


def test_a_package_that_is_not_locked_does_not_reach_production(
    published: Project,
) -> None:
    """The sessions that only production demands are held to the lock as well."""
    published.check("nightly-eval")
    rewrite(published, "nightly-eval", "pkg:pypi/numpy@", "pkg:pypi/numpy@0.0.")
    answer = published.run("promote")
    assert (answer.code, "also numpy 0.0." in answer.err) == (6, True)


def test_a_schema_that_breaks_callers_is_not_released(published: Project) -> None:
    """Whatever smoke could see: the release itself compares with production."""
    published.check("nightly-eval")
    assert published.run("promote").code == 0
    table = published.root / "pyproject.toml"
    text = table.read_text("utf-8")
    table.write_text(text.replace('x = "number"', 'x = "number", z = "number"'))
    golden = published.root / "lib/toy/golden.json"
    golden.write_text(golden.read_text().replace('{"x":', '{"z": 1.0, "x":'))
    published.commit()
    published.check()
    answer = published.run("publish")
    assert (answer.code, "needs the new column 'z'" in answer.err) == (3, True)


def test_a_rollback_that_comes_first_is_not_overridden(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release is decided on one head, and goes after that one or not at all."""
    first = published.git("rev-parse", "HEAD")
    published.learn(3.0)
    published.publish()
    real = promote.append  # type: ignore[attr-defined]

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(promote, "append", real)
        assert published.run("rollback", "toy", "staging").code == 0
        return real(*arguments)

    published.write("notes.txt", "new")
    published.commit()
    published.check()
    monkeypatch.setattr(promote, "append", late)
    answer = published.run("publish")
    assert (answer.code, "just before" in answer.err) == (8, True)
    live = published.run("show", "toy@staging", "--json").json["version"]
    assert live == f"toy@{first}"


def test_what_a_failed_night_found_is_attached(published: Project) -> None:
    """And nothing is released, nor is anything refused twice."""
    published.fail("nightly-eval")
    answer = published.run("promote", "--nightly", "--attach-only")
    assert (answer.code, answer.out) == (
        0,
        "attached: lint, unit, smoke, nightly-eval\n",
    )
    assert len([*published.registry.glob("evidence/toy/*/nightly-eval-*.json")]) == 1


def test_a_reason_cannot_forge_the_log(published: Project) -> None:
    """Neither by lines of its own nor by colours."""
    published.learn(3.0)
    published.publish()
    forged = "fine\n\nstaging 9  toy@000\x1b[31m"
    assert published.run("rollback", "toy", "staging", "--reason", forged).code == 0
    out = published.run("log", "toy").out
    assert "\\n\\nstaging 9" in out and "\x1b" not in out


def test_an_evaluation_of_another_model_moves_nothing(project: Project) -> None:
    """A file that Git ignores changed what was judged, and no tree and no weights."""
    table = project.root / "pyproject.toml"
    text = table.read_text("utf-8").replace(
        '"toy/model.py"]', '"toy/model.py", "toy/more"]'
    )
    project.write("pyproject.toml", text)
    project.write("lib/toy/more/__init__.py", "")
    project.write(
        ".gitignore", (project.root / ".gitignore").read_text() + "over.json\n"
    )
    project.publish()
    over = project.write("lib/toy/more/over.json", "{}")
    project.check("nightly-eval")
    over.unlink()
    answer = project.run("promote")
    assert (answer.code, "[model]" in answer.err) == (6, True)
    project.check("nightly-eval")
    assert project.run("promote").code == 0


def test_a_version_that_was_lost_is_named(project: Project) -> None:
    """A release names it, so its absence is damage and not an empty place."""
    first = _release(project, 2.0)
    _release(project, 3.0)
    (project.registry / f"versions/toy/{first}.json").unlink()
    answer = project.run("rollback", "toy")
    assert (answer.code, f"versions/toy/{first}" in "".join(answer.err.split())) == (
        7,
        True,
    )
