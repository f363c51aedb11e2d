"""export: one file that any system unpacks, and `interlock verify` believes."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.export import export
from interlock.registry.access import open_registry
from tests.conftest import Project

FILE = "toy.tar.gz"


def _unpacked(file: str, into: Path) -> Path:
    """The folder that the system's tar makes of an archive."""
    into.mkdir()
    subprocess.run(["tar", "-xzf", file, "-C", into], check=True)
    (folder,) = into.iterdir()
    return folder


@pytest.mark.parametrize("reference", ["toy@staging", "toy@{commit}"])
def test_what_the_system_s_tar_unpacks_is_verified(
    published: Project, reference: str, tmp_path: Path
) -> None:
    """Without the registry, and no less than what pull makes."""
    reference = reference.format(commit=published.git("rev-parse", "HEAD"))
    answer = published.run("export", reference, FILE, "--json")
    assert (answer.code, answer.json["new"]) == (0, True), answer.err
    published.run("pull", reference, "model")
    shutil.move(published.registry, published.registry.with_name("away"))
    folder = _unpacked(FILE, tmp_path / "unpacked")
    assert folder.name == answer.json["folder"]
    assert published.run("verify", str(folder)).code == 0
    assert _files(folder) == _files(Path("model"))


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.resolve().rglob("*") if path.is_file()]
    return {str(p.relative_to(folder.resolve())): p.read_bytes() for p in paths}


def test_two_exports_are_the_same_bytes(published: Project) -> None:
    """Of another copy of the registry, at another time, with another umask."""
    published.run("export", "toy@staging", FILE)
    shutil.copytree(published.registry, "copy")
    before = os.umask(0o077)
    try:
        published.run("export", "toy@staging", "2.tar.gz", "--registry", "copy")
    finally:
        os.umask(before)
    assert Path(FILE).read_bytes() == Path("2.tar.gz").read_bytes()


def test_the_same_archive_is_done_and_another_file_is_a_conflict(
    grown: Project,
) -> None:
    """Nothing is overwritten: not a file, not a folder, not a link to nowhere."""
    assert grown.run("export", "toy@staging", FILE).code == 0
    whole = Path(FILE).read_bytes()
    answer = grown.run("export", "toy@staging", FILE, "--json")
    assert (answer.code, answer.json["new"]) == (0, False)
    assert grown.run("export", "toy@production", FILE).code == 8
    assert Path(FILE).read_bytes() == whole
    for other in (whole[:-1], whole + b"\0", b""):
        Path("other").write_bytes(other)
        assert grown.run("export", "toy@staging", "other").code == 8
        assert Path("other").read_bytes() == other
    Path("link").symlink_to("nowhere")
    assert grown.run("export", "toy@staging", "link").code == 8
    assert grown.run("export", "toy@staging", "lib").code == 8
    assert [*Path().glob(".*.new")] == []


@pytest.mark.parametrize("kind", ["altered", "missing"])
def test_a_damaged_registry_leaves_no_file(published: Project, kind: str) -> None:
    """Not even a private one."""
    path = sorted(published.registry.glob("chunks/sha256/*/*"))[-1]
    path.unlink() if kind == "missing" else path.write_bytes(b"altered")
    before = {*Path().iterdir()}
    assert published.run("export", "toy@staging", FILE).code == 7
    assert {*Path().iterdir()} == before


def test_what_a_killed_export_left_is_written_over(published: Project) -> None:
    """However long it was."""
    Path(f".{FILE}.new").write_bytes(bytes(10**6))
    assert published.run("export", "toy@staging", FILE).code == 0
    published.run("export", "toy@staging", "2.tar.gz")
    assert Path(FILE).read_bytes() == Path("2.tar.gz").read_bytes()
    assert [*Path().glob(".*.new")] == []


def test_exports_of_one_file_take_turns(grown: Project) -> None:
    """One writes it, and the others find that it is this archive, or is not."""
    registry = open_registry(str(grown.registry))

    def attempt(channel: str) -> str:
        try:
            return f"{channel} {export(registry, f'toy@{channel}', Path(FILE)).new}"
        except Exception as error:
            return f"{channel} {type(error).__name__}"

    with ThreadPoolExecutor(8) as pool:
        said = [*pool.map(attempt, ["staging", "production"] * 4)]
    (winner,) = [each.split()[0] for each in said if each.endswith("True")]
    (loser,) = {"staging", "production"} - {winner}
    assert sorted(said) == sorted(
        [f"{winner} True"] + [f"{winner} False"] * 3 + [f"{loser} Conflict"] * 4
    )
    assert [*Path().glob(".*.new")] == []


def test_a_folder_that_is_not_there_is_a_usage_error(published: Project) -> None:
    """It is not made: a name that was mistyped would make one."""
    answer = published.run("export", "toy@staging", "no/such/toy.tar.gz")
    assert (answer.code, Path("no").exists()) == (2, False)
