"""diff: what differs between two versions, or between a version and the checkout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interlock.artifact.chunks import CHUNK, digest
from interlock.artifact.manifest import File
from interlock.diff import ChangedFile, _lacking, changed_files
from tests.conftest import Project


def _file(path: str, content: Sequence[int]) -> File:
    """A file of full chunks, each known by a number, and a last one of a byte."""
    size = max(0, len(content) - 1) * CHUNK + min(1, len(content))
    last = len(content) - 1
    names = [digest(f"{c}{i == last}".encode()) for i, c in enumerate(content)]
    return File(path, size, digest(repr(content).encode()), tuple(names))


FOLDERS = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(0, 3), max_size=4)
)


@given(FOLDERS, FOLDERS)
def test_files_are_told_by_their_content(
    was: dict[str, list[int]], now: dict[str, list[int]]
) -> None:
    """Each that differs stands there once; what is new is what nobody had before."""
    old = [_file(path, content) for path, content in was.items()]
    new = [_file(path, content) for path, content in now.items()]
    there = {chunk for file in old for chunk in file.chunks}
    found = {each.path: each for each in changed_files(old, new)}
    assert {*found} == {p for p in was | now if was.get(p) != now.get(p)}
    for file in new:
        fresh = [chunk for chunk in file.chunks if chunk not in there]
        if file.path in found:
            assert (found[file.path].chunks, found[file.path].new) == (
                len(file.chunks),
                len(fresh),
            )
    sizes = {
        chunk: 1 if chunk == file.chunks[-1] else CHUNK
        for file in new
        for chunk in file.chunks
    }
    assert _lacking(old, new) == sum(sizes[each] for each in sizes.keys() - there)


def test_two_evaluated_versions_side_by_side(judged: Project) -> None:
    """Files, packages, schema, commits and metrics, all from one command."""
    first = judged.git("rev-parse", "HEAD")
    lock = (judged.root / "requirements.lock").read_text("utf-8")
    judged.learn(3.0)
    judged.write("requirements.lock", f"{lock}added==1.0 \\\n    --hash=sha256:00\n")
    table = (judged.root / "pyproject.toml").read_text("utf-8")
    judged.write("pyproject.toml", table.replace(', kind = "string" }', " }"))
    judged.publish()
    judged.night()
    answer = judged.run("diff", f"toy@{first}", "toy@staging", "--json")
    found = answer.json
    assert answer.code == 0, answer.err
    assert found["now"].endswith("(staging 2)") and found["same"] == 2
    assert {file["path"]: file["new"] for file in found["files"]} == {
        "toy/golden.json": 1,
        "toy/weights/slope.npy": 1,
    }
    assert found["requirements"] == [{"name": "added", "was": None, "now": "1.0"}]
    assert found["schema"] == [{"name": "input.kind", "was": "string", "now": None}]
    assert (found["sessions"], found["broken"]) == ([], [])
    assert [each[0] for each in found["commits"]] == [">"]
    metrics = {each["name"]: each for each in found["evaluations"]["metrics"]}
    assert found["evaluations"]["same_data"]
    assert metrics["log_loss"]["was"] != metrics["log_loss"]["now"]
    text = judged.run("diff", "toy@staging", f"toy@{first}").out
    for line in ("  - added 1.0", "+ input.kind string", "needs the new column 'kind'"):
        assert line in text


def test_a_version_and_the_checkout(published: Project) -> None:
    """What the next version would change, before it is committed."""
    assert "files: 0 differ, 4 are the same" in published.run("diff", "toy@staging").out
    published.write("lib/toy/weights/more.txt", "more")
    published.commit("one\x1b[31m more")
    (published.root / "lib/toy/model.py").write_text("# nothing left\n")
    out = published.run("diff", "toy@staging").out
    assert "(the checkout, 1 files not committed)" in out
    assert "~ toy/model.py" in out and "+ toy/weights/more.txt  4 bytes" in out
    assert "more\n" in out and "\x1b" not in out and "commits: 1" in out


def test_packages_are_those_of_the_evidence_where_git_has_no_lock(
    project: Project, tmp_path: Path
) -> None:
    """On a host there is no checkout; what the sessions ran with is in the registry."""
    project.publish()
    first = project.git("rev-parse", "HEAD")
    project.write("requirements.lock", _older(project.root / "requirements.lock"))
    project.commit()
    evidence = [*(project.root / "evidence").glob("*.json")]
    for path in evidence:
        path.unlink()
    project.check()
    assert project.run("publish").code == 0
    shutil.rmtree(project.root / ".git")
    found = project.run("diff", f"toy@{first}", "toy@staging", "--json").json
    assert (found["requirements"], found["commits"]) == ([], None)
    assert found["sessions"] == ["lint", "smoke", "unit"]


def _older(lock: Path) -> str:
    """A lock of other bytes that pins the same."""
    return f"# another header\n{lock.read_text('utf-8')}"


def test_an_altered_evaluation_is_refused(judged: Project) -> None:
    """Its chunks are named by their SHA-256, like all others."""
    assert judged.run("diff", "toy@staging", "toy@production").code == 0
    for chunk in judged.registry.glob("chunks/sha256/*/*"):
        if b'"candidate"' in chunk.read_bytes():
            chunk.write_bytes(b"{}")
    answer = judged.run("diff", "toy@staging", "toy@production")
    assert (answer.code, "altered" in answer.err) == (7, True)


def test_an_empty_file_has_no_chunks() -> None:
    """And is new all the same."""
    assert changed_files([], [_file("a", [])]) == (ChangedFile("a", None, 0, 0, 0),)
