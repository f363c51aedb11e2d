"""What real Nox sessions leave behind: of a pass, a failure, a kill, a change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from interlock.attest.evidence import Evidence, newest, read
from interlock.attest.handover import local_evidence
from tasks.evidence import tree_here
from tests.conftest import Project

ROOT = Path(__file__).parents[2]
NOXFILE = f"""
import sys, time
from pathlib import Path

sys.path.insert(0, {str(ROOT)!r})

import nox
from tasks import evidence

nox.options.error_on_external_run = False


def run(session, code):
    with evidence.recorded(session) as record:
        record.notes["urn:test:note"] = "noted"
        (record.folder / "left.txt").write_text("left")
        session.run("python", "-c", code)


@nox.session(venv_backend="none")
def good(session):
    run(session, "pass")


@nox.session(venv_backend="none")
def bad(session):
    run(session, "raise SystemExit(1)")


@nox.session(venv_backend="none")
def verdict(session):
    run(session, "raise SystemExit(3)")


@nox.session(venv_backend="none")
def changing(session):
    run(session, "open('lib/toy/new.txt', 'w').close()")


@nox.session(venv_backend="none")
def skipped(session):
    with evidence.recorded(session):
        session.skip("nothing to do")


@nox.session(venv_backend="none")
def broken(session):
    with evidence.recorded(session):
        raise RuntimeError("in the session itself")


@nox.session(venv_backend="none")
def slow(session):
    run(session, "import time; open('evidence/started', 'w').close(); time.sleep(60)")


@nox.session(venv_backend="venv", venv_params=["--without-pip"])
def real(session):
    run(session, "pass")
"""


def environment() -> dict[str, str]:
    """This environment, with this very Python as the first one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "NO_COLOR": "1"}


def nox(*arguments: str) -> int:
    """Run Nox in the current folder; its exit code."""
    command = (sys.executable, "-m", "nox", *arguments)
    return subprocess.run(command, env=environment(), capture_output=True).returncode


@pytest.fixture
def toy(project: Project) -> Project:
    """The toy project with sessions of its own."""
    project.write("noxfile.py", NOXFILE)
    project.write(".gitignore", "/evidence/\n/.nox/\n__pycache__/\n")
    project.commit()
    return project


def found() -> dict[str, Evidence]:
    """The evidence in the current folder, each verified as publish does it."""
    return {each.session: each for each in local_evidence(Path("evidence"), "")}


def results() -> dict[str, str]:
    """Each session with its result."""
    return {name: each.result for name, each in found().items()}


def test_a_session_leaves_what_it_found(toy: Project) -> None:
    """PASSED and FAILED; none of one that was skipped or broke; changed is FAILED.

    A verdict is the exit code: 3 to 8 say why, where Nox itself would say 1.
    """
    tree = toy.git("rev-parse", "HEAD^{tree}")
    toy.check("skipped", "broken", "bad")  # what older runs have left goes first
    sessions = ("verdict", "good", "bad", "skipped", "broken", "changing")
    assert nox("-s", *sessions) == 3
    failed = dict.fromkeys(("verdict", "bad", "changing"), "FAILED")
    assert results() == {"good": "PASSED"} | failed
    good = found()["good"]
    assert good.tree == found()["changing"].tree == tree
    assert not good.fresh  # of a session without a virtualenv nothing is known
    left = sha256(b"left").hexdigest()
    assert good.files["good/left.txt"] == left
    assert good.statement.predicate["urn:test:note"] == "noted"
    assert good.statement.digest["gitCommit"] == toy.git("rev-parse", "HEAD")
    assert "pytest" in good.packages


def test_arguments_leave_no_evidence(toy: Project) -> None:
    """`-- -k one_test` is another check; nor does the older pass stay."""
    toy.check("good")
    assert results() == {"good": "PASSED"}
    assert nox("-s", "good", "--", "-k", "one_test") == 0
    assert results() == {}


def test_a_session_that_is_killed_leaves_nothing(toy: Project) -> None:
    """The old pass is gone before the new run starts."""
    toy.check("slow", "good")
    command = (sys.executable, "-m", "nox", "-s", "slow")
    process = subprocess.Popen(
        command,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not Path("evidence/started").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert results() == {"good": "PASSED"}


def test_a_virtualenv_is_fresh_once(toy: Project) -> None:
    """With -R the same one is used again, and the evidence says so."""
    states = []
    for reuse in ((), ("-R",)):
        assert nox(*reuse, "-s", "real") == 0
        states.append(found()["real"].fresh)
    assert states == [True, False]


def test_a_session_that_ran_nothing_leaves_no_pass(toy: Project) -> None:
    """--install-only skips what a session runs, so nothing was found."""
    nox("--install-only", "-s", "real", "good")
    assert "PASSED" not in results().values()


# --- the tree ------------------------------------------------------------------------


def test_the_tree_of_a_clean_checkout_is_the_commit_s(project: Project) -> None:
    """And it is the same from a folder below."""
    tree = project.git("rev-parse", "HEAD^{tree}")
    assert tree_here() == tree
    project.write("evidence/ignored", "x")
    assert tree_here() == tree


def _edit(project: Project) -> None:
    project.write("lib/toy/__init__.py", "x\n")


def _untracked(project: Project) -> None:
    project.write("lib/toy/né w.txt", "x")


def _remove(project: Project) -> None:
    (project.root / "lib/toy/__init__.py").unlink()


def _mode(project: Project) -> None:
    (project.root / "lib/toy/__init__.py").chmod(0o755)


def _assume(project: Project) -> None:
    project.git("update-index", "--assume-unchanged", "lib/toy/__init__.py")
    _edit(project)


def _skip(project: Project) -> None:
    project.git("update-index", "--skip-worktree", "lib/toy/__init__.py")
    _edit(project)


def _same_size_and_time(project: Project) -> None:
    path = project.root / "lib/toy/__init__.py"
    stat, data = path.stat(), path.read_bytes()
    path.write_bytes(b"X" + data[1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES = (_edit, _untracked, _remove, _mode, _assume, _skip, _same_size_and_time)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows_in_the_tree(project: Project, change: Any) -> None:
    """It is that which a commit of all files would have; the index is not asked."""
    before = tree_here()
    change(project)
    found = tree_here()
    assert found != before
    (project.root / ".git/index").unlink()  # with all that Git was told to overlook
    project.commit("all of it")
    assert found == project.git("rev-parse", "HEAD^{tree}")


def objects(project: Project) -> list[str]:
    """Every file below .git."""
    return sorted(str(path) for path in (project.root / ".git").rglob("*"))


def test_looking_leaves_nothing_in_the_repository(project: Project) -> None:
    """No object, no reference, and the index as it was."""
    _untracked(project)
    _edit(project)
    index = (project.root / ".git/index").read_bytes()
    before = objects(project)
    assert tree_here()
    assert objects(project) == before
    assert (project.root / ".git/index").read_bytes() == index


def test_the_environment_does_not_choose_the_repository(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for publish: what counts is the folder."""
    other = Project(tmp_path / "other", None)
    other.write("a.txt", "a")
    other.git("init", "--quiet")
    commit = project.git("rev-parse", "HEAD")
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    project.check("lint")
    assert found()["lint"].statement.digest["gitCommit"] == commit


def test_evidence_is_named_by_its_digest(project: Project) -> None:
    """And is canonical JSON, in one line, with the fields that in-toto names."""
    project.check("lint")
    (path,) = Path("evidence").glob("lint-*.json")
    data = path.read_bytes()
    assert path.stem == f"lint-{sha256(data).hexdigest()}"
    assert read(data).statement.to_bytes() == data
    value = json.loads(data)
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert value["predicate"]["result"] == "PASSED"
    for each in value["predicate"]["configuration"]:
        assert each["name"] and ("uri" in each or "digest" in each)


def test_sessions_whose_names_begin_alike_keep_apart(project: Project) -> None:
    """`eval` does not forget the evidence of `eval-more`."""
    project.check("eval-more", "eval")
    project.check("eval")
    each = [read(p.read_bytes()) for p in Path("evidence").glob("*-*.json")]
    assert {*newest(each)} == {"eval-more", "eval"} and len(each) == 2


def test_the_run_is_named_in_ci(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evidence from GitHub Actions says which run made it, and nothing elsewhere."""
    project.check("lint")
    assert "url" not in found()["lint"].statement.predicate
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    project.check("lint")
    url = found()["lint"].statement.predicate["url"]
    assert url == "https://github.example/a/b/actions/runs/7"


@pytest.mark.parametrize("how", ["sparse", "exclude", "filter", "global"])
def test_no_setting_of_git_hides_a_file(project: Project, how: str) -> None:
    """The tree is that of the files, whatever Git was told to leave out or change."""
    committed = project.git("rev-parse", "HEAD^{tree}")
    assert tree_here() == committed
    if how == "sparse":
        project.git("status")  # the files were copied: Git looks at them anew
        project.git("sparse-checkout", "set", "--no-cone", "/*", "!/lib/data.csv")
    elif how == "exclude":
        (project.root / ".git/info").mkdir(exist_ok=True)
        (project.root / ".git/info/exclude").write_text("conftest.py\n")
        project.write("conftest.py", "import os; os._exit(0)\n")
    elif how == "global":
        project.git("config", "core.excludesFile", project.write("x.txt", "h*\n").name)
        project.write("hidden.py", "")
    else:
        project.git("config", "filter.same.clean", "git show HEAD:lib/toy/model.py")
        (project.root / ".git/info").mkdir(exist_ok=True)
        (project.root / ".git/info/attributes").write_text("*.py filter=same\n")
        project.write("lib/toy/model.py", "changed = True\n")
    assert tree_here() != committed
