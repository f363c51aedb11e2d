"""The command line: help that helps, refusals of three lines, JSON for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock import cli
from tests.conftest import Project

COMMANDS: tuple[str, ...] = ("smoke", "eval", "publish", "promote", "pull", "verify")
COMMANDS += ("show", "log", "diff", "rollback", "plan", "policy", "trust", "doctor")


@pytest.mark.parametrize("command", [(), *((each,) for each in COMMANDS)])
def test_help_fits_80_columns(
    command: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of interlock itself and of each command; every command is in the first."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as done:
        cli.main([*command, "--help"])
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    if not command:
        assert all(f"\n    {each} " in out for each in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("pull", "toy", "model"), 2),
        (("pull", "toy@", "model"), 2),
        (("pull", "@staging", "model"), 2),
        (("pull", "../toy@staging", "model"), 2),
        (("pull", "toy@nowhere", "model"), 2),
        (("pull", "other@staging", "model"), 2),
        (("show", "toy@0000"), 2),
        (("verify", "no-such-folder"), 2),
        (("verify", "lib"), 2),
        (("log", "other", "no-such-channel"), 2),
        (("log", "../toy"), 2),
        (("log", ""), 2),
        (("rollback", "toy/staging"), 2),
        (("rollback", "toy", "../staging"), 2),
        (("watch", "a\nb"), 2),
        (("show", "a\0b@staging"), 2),
        (("diff", "toy@staging", "../toy@staging"), 2),
        (("rollback", "other"), 2),
        (("rollback", "toy", "no-such-channel"), 2),
        (("promote", "no-such-channel"), 2),
        (("publish", "no-such-channel"), 2),
        (("bogus",), 2),
        (("pull", "toy@staging"), 2),
        (("show", "toy@staging", "--no-such-option"), 2),
    ],
)
def test_bad_input_is_a_refusal_of_three_lines(
    published: Project, arguments: tuple[str, ...], code: int
) -> None:
    """Expected, found, to do: never a traceback, at 80 columns but for a path."""
    answer = published.run(*arguments)
    starts = [line[:10] for line in answer.err.splitlines() if line[:1] != " "]
    assert (answer.code, starts) == (code, ["expected: ", "found:    ", "to do:    "])
    lines = [each for each in answer.err.splitlines() if " " in each[10:]]
    assert max(map(len, lines)) <= 80


def test_a_refusal_fits_a_narrow_terminal(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a path stays in one piece, to be copied."""
    monkeypatch.setenv("COLUMNS", "60")
    path = f"{'long/' * 20}folder"
    lines = published.run("export", "toy@staging", f"{path}/file").err.splitlines()
    assert any(line.endswith(path) for line in lines)
    assert max(len(line) for line in lines if path not in line) <= 60


def test_outside_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands that need a checkout say so; those that need a registry say that."""
    monkeypatch.chdir(tmp_path)
    for arguments in (["smoke"], ["publish"], ["promote"], ["log", "toy"]):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err.startswith("expected: ")


@pytest.mark.parametrize(
    "arguments", [("show", "toy@staging"), ("log", "toy"), ("verify", "toy@staging")]
)
def test_json_is_json(published: Project, arguments: tuple[str, ...]) -> None:
    """Nothing else is printed on standard output, and nothing on standard error."""
    answer = published.run(*arguments, "--json")
    assert answer.code == 0
    assert json.loads(answer.out)
    assert answer.err == ""


def test_a_refusal_is_json_as_well(published: Project) -> None:
    """With its exit code."""
    answer = published.run("pull", "toy@production", "model", "--json")
    assert answer.json["exit_code"] == answer.code == 2


def test_show_names_everything(published: Project) -> None:
    """The address, what it was made from, the evidence and the files."""
    out = published.run("show", "toy@staging").out
    for word in ("address", "tree", "lock", "weights", "PASSED", "toy/model.py"):
        assert word in out


def test_a_name_without_releases_is_a_refusal(published: Project) -> None:
    """A misspelt name does not look like an empty log."""
    answer = published.run("log", "toys")
    assert (answer.code, "'toys'" in answer.err) == (2, True)


def test_what_the_system_refuses_is_a_refusal(published: Project) -> None:
    """A folder that cannot be written: no traceback."""
    Path("file").write_text("not a folder")
    for command in (
        ("pull", "toy@staging", "file/model"),
        ("smoke", "--out", "file/out"),
        ("log", "toy", "--registry", "file"),
    ):
        answer = published.run(*command)
        assert answer.code == 2, command
        assert answer.err.startswith("expected: ")


def test_without_the_packages_of_the_evaluation(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A serving host that runs eval is told what is missing."""
    import sys

    import interlock.evaluation

    # It is imported anew, without much of it; the one that was comes back.
    monkeypatch.setattr(interlock, "evaluation", interlock.evaluation)
    for name in [each for each in sys.modules if each.startswith("interlock.eval")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = project.run("eval")
    assert (answer.code, "interlock[evaluation]" in answer.err) == (2, True)
