"""The pages under docs/ say what the code does, and their links lead somewhere."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from interlock.cli import _parser

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "commands"
# Folders at the top of somebody's disk; ~/... and registry/root/... are not.
MACHINE = re.compile(r"(?<![\w~.\-/])/(?:work|root|tmp|home|Users|mnt|var)/")


def _commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("interlock has no commands")


def _arguments(parser: argparse.ArgumentParser) -> tuple[set[str], set[str]]:
    """The options of a command, and what it calls its other arguments."""
    options: set[str] = set()
    others: set[str] = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in map(_arguments, action.choices.values()):
                options |= each[0]
                others |= each[1]
        if action.option_strings:
            options |= {*action.option_strings}
        else:
            others |= set(str(action.metavar or action.dest).split("|"))
    return options - {"-h", "--help"}, others


def _documents() -> list[Path]:
    """The Markdown files of the repository, those that are not committed yet too."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [name for name in listed.split("\0") if name.endswith(".md")]
    return [ROOT / name for name in sorted(names) if (ROOT / name).is_file()]


def _linked() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


def test_each_command_has_a_page_and_each_page_a_command() -> None:
    """And the table of commands links to all of them."""
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    index = (PAGES / "README.md").read_text("utf-8")
    assert pages == _commands().keys()
    assert {*re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, re.MULTILINE)} == pages


@pytest.mark.parametrize("command", sorted(_commands()))
def test_a_page_names_exactly_the_options_of_its_command(command: str) -> None:
    """In its synopsis and in its table; other arguments are named in both as well."""
    text = (PAGES / f"{command}.md").read_text("utf-8")
    synopsis = text.split("```")[1]
    table = "\n".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    options, others = _arguments(_commands()[command])
    for place in (synopsis, table):
        assert {*re.findall(r"--[a-z-]+", place)} == options
        assert {each for each in others if each not in place} == set()


@pytest.mark.parametrize("page", _linked(), ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = page.parent / target if target else page
        assert file.exists(), link
        assert not anchor or anchor in _anchors(file), link


def test_no_page_names_a_path_of_one_machine() -> None:
    """What was pasted from a terminal holds on every machine."""
    found = [
        f"{_name(page)}: {line}"
        for page in _documents()
        for line in page.read_text("utf-8").splitlines()
        if MACHINE.search(line)
    ]
    assert found == []


def test_a_path_of_one_machine_is_found() -> None:
    """The pattern finds what it must, and lets through what it may."""
    for text in ("/work/main", "in /tmp/x", "(/root/.nox", "file2:/home/ada/key.pem"):
        assert MACHINE.search(text), text
    for text in ("registry/root/00000001.json", "~/tmp/x", "file2:/path/to/key.pem"):
        assert not MACHINE.search(text), text
