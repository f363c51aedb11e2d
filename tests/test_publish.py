"""publish: what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from interlock import promote, publish
from tasks import evidence
from tests.conftest import Project


def test_a_checked_commit_is_published_and_can_be_pulled(project: Project) -> None:
    """The last line that publish prints is the one that pulls."""
    answer = project.publish()
    assert f"published toy@{project.git('rev-parse', 'HEAD')}" in answer.out
    command = answer.out.splitlines()[-1].removeprefix("pull it: interlock ")
    assert command == "pull toy@staging toy-model"
    assert project.run(*command.split()).code == 0
    assert Path("toy-model/toy/model.py").is_file()


def test_publishing_again_is_a_no_op_that_says_so(published: Project) -> None:
    """Neither a version nor a release is added."""
    before = sorted(published.registry.rglob("*"))
    answer = published.run("publish")
    assert answer.code == 0
    assert "published already: nothing to do" in answer.out
    assert "release 1 of staging: toy@" in answer.out
    assert sorted(published.registry.rglob("*")) == before


def test_a_key_that_was_begun_is_in_nobodys_way(project: Project) -> None:
    """In a container every process may have the number of the one that was killed."""
    begun = project.registry.parent / f".key-{os.getpid()}"
    begun.parent.mkdir()
    begun.write_bytes(b"half")
    project.publish()


def test_a_dirty_tree_is_refused(project: Project) -> None:
    """With the changed files named, tracked or not."""
    project.check()
    project.write("notes.txt", "new")
    answer = project.run("publish")
    assert (answer.code, "1 changed: notes.txt" in answer.err) == (2, True)


@pytest.mark.parametrize("session", ["lint", "unit", "smoke"])
def test_missing_evidence_is_refused(project: Project, session: str) -> None:
    """Each session's, by name, with the command that makes it."""
    project.check(*{"lint", "unit", "smoke"} - {session})
    answer = project.run("publish")
    assert answer.code == 6
    assert f"{session}: none [missing]" in answer.err
    assert f"nox -s {session}" in answer.err
    assert not project.registry.joinpath("versions").exists()


def test_failed_evidence_is_refused(project: Project) -> None:
    """A session that ran and failed is worse than one that did not run."""
    project.check()
    project.fail("unit")
    answer = project.run("publish")
    assert (answer.code, "unit: FAILED [failed]" in answer.err) == (6, True)


def test_evidence_of_another_tree_is_refused(project: Project) -> None:
    """A commit after the checks needs checks of its own."""
    project.check()
    project.write("lib/toy/__init__.py", '"""Another toy."""\n')
    project.commit()
    answer = project.run("publish")
    assert (answer.code, "[tree]" in answer.err) == (6, True)


def test_evidence_of_another_lock_and_other_weights_is_refused(
    project: Project,
) -> None:
    """Both are named beside the tree that they are part of."""
    project.check()
    project.learn(3.0)
    lock = project.root / "requirements.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    project.commit()
    answer = project.run("publish")
    assert answer.code == 6
    assert "[lock]" in answer.err and "[weights]" in answer.err


def test_old_evidence_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older than the trust root allows: 30 days for lint."""
    project.check()

    class Later(datetime):
        """The clock, 31 days on."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            """The time in 31 days."""
            return datetime.now(UTC) + timedelta(days=31)

    monkeypatch.setattr(promote, "datetime", Later)
    answer = project.run("publish")
    assert (answer.code, "lint: 31 days old [stale]" in answer.err) == (6, True)


def test_evidence_from_a_reused_virtualenv_is_refused(project: Project) -> None:
    """A reused virtualenv was not checked against the lock."""
    project.check()
    rewrite(project, "lint", "virtualenv:fresh", "virtualenv:reused")
    answer = project.run("publish")
    assert (answer.code, "[reused]" in answer.err) == (6, True)


def test_a_package_that_is_not_locked_is_refused(project: Project) -> None:
    """Whatever ran beside the locked packages may have changed the outcome."""
    project.check()
    rewrite(project, "unit", "pkg:pypi/numpy@", "pkg:pypi/numpy@0.0.")
    answer = project.run("publish")
    assert (answer.code, "also numpy 0.0." in answer.err) == (6, True)


def rewrite(project: Project, session: str, old: str, new: str) -> None:
    """Change evidence as somebody would who knows how its file is named."""
    import hashlib

    (path,) = project.root.glob(f"evidence/{session}-*.json")
    text = path.read_text("utf-8")
    assert old in text
    path.unlink()
    text = text.replace(old, new)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.with_name(f"{session}-{digest}.json").write_text(text, "utf-8")


def test_smoke_must_have_tried_this_very_artifact(project: Project) -> None:
    """Not merely one from the same tree."""
    project.check()
    (path,) = project.root.glob("evidence/smoke-*.json")
    left = project.root / "evidence/smoke/smoke.json"
    old = json.loads(path.read_text())["predicate"]["configuration"][-1]["digest"]
    left.write_text(left.read_text().replace('"address":"', '"address":"0'))
    import hashlib

    new = hashlib.sha256(left.read_bytes()).hexdigest()
    rewrite(project, "smoke", old["sha256"], new)
    answer = project.run("publish")
    assert (answer.code, "smoke to have tried the artifact" in answer.err) == (6, True)


def test_weights_that_can_execute_code_are_refused(project: Project) -> None:
    """A pickle does not get in under the name of an array."""
    import pickle

    bad = project.root / "lib/toy/weights/extra.npy"
    bad.write_bytes(pickle.dumps({"harmless": print}))
    project.commit()
    answer = project.run("publish")
    assert answer.code == 7
    assert "for pickles run code" in answer.err.replace("\n          ", " ")


def test_the_files_come_from_the_commit(project: Project) -> None:
    """A file that Git was told to assume unchanged is published as committed."""
    project.commit()
    project.check()
    committed = (project.root / "lib/toy/model.py").read_bytes()
    project.git("update-index", "--assume-unchanged", "lib/toy/model.py")
    project.write("lib/toy/model.py", "raise SystemExit('planted')\n")
    assert project.run("publish").code == 0
    project.run("pull", "toy@staging", "model")
    assert Path("model/toy/model.py").read_bytes() == committed


def test_a_version_of_the_commit_with_other_bytes_is_a_conflict(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is overwritten, and the address that is there is named."""
    real = publish.pack  # type: ignore[attr-defined]

    def other(*arguments: object) -> object:
        from dataclasses import replace

        return replace(real(*arguments), golden="another")  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "pack", other)
    answer = published.run("publish")
    assert (answer.code, "never overwritten" in answer.err) == (8, True)


def test_the_same_chunks_are_sent_once(published: Project) -> None:
    """New code with old weights sends the code."""
    published.write("lib/toy/__init__.py", '"""Changed."""\n')
    sent = published.publish().out.partition("(")[2].partition(" bytes")[0]
    assert int(sent) == len('"""Changed."""\n')


def test_evidence_of_other_work_does_not_get_in_the_way(published: Project) -> None:
    """What an earlier tree left in the folder is neither checked nor attached."""
    published.check("nightly-eval")
    rewrite(published, "nightly-eval", "pkg:pypi/numpy@", "pkg:pypi/numpy@0.0.")
    published.write("lib/toy/__init__.py", '"""Newer."""\n')
    assert published.publish().code == 0


@pytest.mark.parametrize("name", ["Inter_Lock.toy", "interlock"])
def test_the_project_itself_need_not_be_locked(project: Project, name: str) -> None:
    """However its name is spelt."""
    facts = json.dumps(
        ["3.11.7", "linux-x86_64", {"inter-lock-toy": "1", "interlock": "1"}]
    )
    table = project.root / "pyproject.toml"
    text = table.read_text("utf-8")
    table.write_text(text.replace('name = "interlock"', f'name = "{name}"'), "utf-8")
    session = SimpleNamespace(run=lambda *_, **__: facts)
    entries = [*evidence._surroundings(session, True)]  # type: ignore[arg-type]
    assert len([e for e in entries if e["name"].startswith("package ")]) == 1
