"""pull, verify and load: a host gets the very bytes that were judged, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

import interlock
from interlock.attest import trust
from interlock.attest.envelope import seal
from interlock.attest.trust import first_root
from interlock.errors import VerificationFailed
from interlock.packages import differences
from tests.conftest import Project


def _flip(path: Path, at: int = -2) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def _one(project: Project, pattern: str) -> Path:
    return next(iter(sorted(project.registry.glob(pattern))))


def test_a_pulled_folder_holds_the_files_and_their_records(published: Project) -> None:
    """And verifies without the registry."""
    assert published.run("pull", "toy@staging", "model").code == 0
    shutil.move(published.registry, published.registry.with_name("away"))
    answer = published.run("verify", "model")
    assert (answer.code, "4 files, 5 signed records" in answer.out) == (0, True)


@pytest.mark.parametrize(
    "record",
    ["chunks/sha256/*/*", "versions/toy/*.json", "evidence/toy/*/smoke-*.json"]
    + ["channels/toy/staging/*.json", "root/*.json"],
)
def test_one_changed_byte_in_the_registry_refuses(
    published: Project, record: str
) -> None:
    """Pull and verify say no with exit 7, and nothing is left in the folder."""
    _flip(_one(published, record))
    for command in (("pull", "toy@staging", "model"), ("verify", "toy@staging")):
        answer = published.run(*command)
        assert answer.code == 7, answer.err
        assert answer.err.startswith("expected: ")
        assert "Traceback" not in answer.err
    left = {path.name for path in published.root.iterdir() if "model" in path.name}
    assert left <= {".model.lock"}


@pytest.mark.parametrize(
    "file",
    ["toy/model.py", "toy/weights/slope.npy", "toy/golden.json"]
    + [".interlock/versions", ".interlock/evidence", ".interlock/channels"],
)
def test_one_changed_byte_in_a_pulled_folder_refuses(
    published: Project, file: str
) -> None:
    """Verify and load say no."""
    published.run("pull", "toy@staging", "model")
    path = Path("model", file)
    _flip(next(p for p in sorted(path.rglob("*.json"))) if path.is_dir() else path)
    assert published.run("verify", "model").code == 7
    with pytest.raises(VerificationFailed):
        interlock.load("model")


@pytest.mark.parametrize("kind", ["extra", "missing", "link", "bytecode"])
def test_a_folder_with_other_files_refuses(published: Project, kind: str) -> None:
    """An extra file, a missing one, a link in place of one, planted bytecode."""
    published.run("pull", "toy@staging", "model")
    file = Path("model/toy/golden.json")
    if kind == "extra":
        Path("model/toy/more.py").write_text("")
    elif kind == "bytecode":
        Path("model/toy/__pycache__").mkdir()
        Path("model/toy/__pycache__/model.cpython-311.pyc").write_bytes(b"planted")
    else:
        away = Path(shutil.move(file, "elsewhere.json")).absolute()
        if kind == "link":
            file.symlink_to(away)
    assert published.run("verify", "model").code == 7


def test_a_hurt_folder_is_made_whole_by_pulling_again(published: Project) -> None:
    """The same version, written anew."""
    published.run("pull", "toy@staging", "model")
    _flip(Path("model/toy/model.py"))
    assert published.run("pull", "toy@staging", "model").code == 0
    assert published.run("verify", "model").code == 0


def test_pull_refuses_a_folder_that_it_did_not_make(published: Project) -> None:
    """And leaves it as it was."""
    Path("model").mkdir()
    Path("model/mine.txt").write_text("mine")
    answer = published.run("pull", "toy@staging", "model")
    assert (answer.code, Path("model/mine.txt").read_text()) == (8, "mine")


@pytest.mark.parametrize("taken", ["pull", "verify", "export"])
@pytest.mark.parametrize("left", [1, 0])
def test_a_registry_put_back_to_an_older_state_is_refused(
    grown: Project, taken: str, left: int
) -> None:
    """Whoever has seen release 2, by whatever command, believes no older state."""
    answer = grown.run(*_taking(taken, "toy@staging", "1"))
    assert answer.code == 0, answer.err
    for number in range(left + 1, 3):
        _one(grown, f"channels/toy/staging/*-{number:08}.json").unlink()
    commands = [_taking(each, "toy@staging", "2") for each in TAKING]
    commands += [("show", "toy@staging"), ("log", "toy", "staging")]
    for command in (*commands, ("rollback", "toy", "staging"), ("publish",)):
        answer = grown.run(*command)
        assert (answer.code, "older state" in _line(answer.err)) == (7, True), command
    assert grown.run("pull", "toy@production", "other").code == 0


TAKING = ("pull", "verify", "export")


def _taking(command: str, reference: str, target: str) -> tuple[str, ...]:
    return command, reference, *(() if command == "verify" else (f"{target}-model",))


def test_who_has_released_believes_no_older_state(published: Project) -> None:
    """A publisher never pulls, and is not to be put back either."""
    published.learn(3.0)
    published.publish()
    _one(published, "channels/toy/staging/*-00000002.json").unlink()
    answer = published.run("publish")
    assert (answer.code, "older state" in _line(answer.err)) == (7, True)


def _line(text: str) -> str:
    return " ".join(text.split())


def test_a_commit_is_believed_on_what_one_channel_demands(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels may have no session in common; that is no reason to demand none."""
    channels = {"staging": {"lint": 720, "unit": 720}, "other": {"smoke": 720}}
    monkeypatch.setattr(trust, "CHANNELS", channels)
    project.publish()
    reference = f"toy@{project.git('rev-parse', 'HEAD')}"
    for session, code in (("smoke", 0), ("unit", 7)):
        _one(project, f"evidence/toy/*/{session}-*.json").unlink()
        assert project.run("verify", reference).code == code


def test_a_replaced_registry_is_refused(
    published: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its trust root is not the one that this machine has seen there."""
    published.run("pull", "toy@staging", str(tmp_path / "model"))
    shutil.rmtree(published.registry)
    home = os.environ["INTERLOCK_HOME"]
    monkeypatch.setenv("INTERLOCK_REGISTRY", str(published.registry))
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "stranger"))
    assert published.run("publish").code == 0
    monkeypatch.setenv("INTERLOCK_HOME", home)
    answer = published.run("pull", "toy@staging", str(tmp_path / "model"))
    assert (answer.code, "who replaced the registry" in answer.err) == (7, True)


def test_a_root_that_came_another_way_is_held_to(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INTERLOCK_ROOT pins it on a host that has never seen the registry."""
    monkeypatch.setenv("INTERLOCK_ROOT", "0" * 64)
    assert published.run("pull", "toy@staging", "model").code == 7


def test_a_stranger_cannot_release(
    published: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A key that the trust root does not know signs nothing."""
    monkeypatch.setenv("INTERLOCK_REGISTRY", str(published.registry))
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "stranger"))
    published.check()
    answer = published.run("publish")
    assert (answer.code, "a key to sign with" in answer.err) == (2, True)
    key = tmp_path / "home" / "key.pem"
    monkeypatch.setenv("INTERLOCK_KEY", f"file2:{key}")
    assert published.run("publish").code == 0


def test_other_packages_than_judged_are_an_error_that_lists_them(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a warning, where the host asked for that."""
    monkeypatch.setattr(
        "interlock.packages.differences", lambda judged: _changed(judged)
    )
    answer = published.run("pull", "toy@staging", "model")
    assert answer.code == 7
    assert "numpy 1.5.3 there, 2.0.1 here" in answer.err
    assert not Path("model").exists()
    with pytest.warns(UserWarning, match="numpy 1.5.3 there, 2.0.1 here"):
        answer = published.run("pull", "toy@staging", "model", "--packages", "warn")
    assert answer.code == 0


def _changed(judged: object) -> list[str]:
    assert "numpy" in dict(judged)  # type: ignore[call-overload]
    return ["numpy 1.5.3 there, 2.0.1 here"]


def test_differences_are_by_version_and_presence() -> None:
    """Names are compared as PyPI does; packages beyond those judged do not matter."""
    assert differences({"numpy": np.__version__, "NumPy": np.__version__}) == []
    assert differences({"numpy": "1.5.3", "no-such-thing": "1"}) == [
        "no-such-thing 1 there, not installed here",
        f"numpy 1.5.3 there, {np.__version__} here",
    ]


def test_load_gives_the_model(published: Project) -> None:
    """By channel, by commit and by folder: the golden examples come out."""
    published.run("pull", "toy@staging", "model")
    commit = published.git("rev-parse", "HEAD")
    for reference in ("toy@staging", f"toy@{commit[:10]}", "model"):
        code = (
            "import interlock, sys; m = interlock.load(sys.argv[1]);"
            "print(m.predict({'x': [0.0, 100.0], 'kind': ['a', 'b']}).tolist())"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, reference], capture_output=True, text=True
        )
        assert json.loads(run.stdout) == [0.5, 1.0], run.stderr


def test_loading_leaves_the_folder_as_it_was(published: Project) -> None:
    """No bytecode beside the verified source."""
    published.run("pull", "toy@staging", "model")
    code = "import interlock; interlock.load('model')"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert published.run("verify", "model").code == 0


def test_importing_interlock_is_cheap() -> None:
    """A host pays for what it uses: no numpy, no evaluation, no signing."""
    code = "import sys, interlock; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    heavy = {"numpy", "securesystemslib", "pyarrow", "boto3", "scipy", "tqdm"}
    assert not heavy & set(run.stdout.split())


def test_the_version_before_stays_until_the_next(project: Project) -> None:
    """A server that still reads the old files is not pulled from under its feet."""
    for slope in (2.0, 3.0, 4.0):
        project.learn(slope)
        project.publish()
        assert project.run("pull", "toy@staging", "model").code == 0
    kept = [path for path in project.root.iterdir() if path.name.startswith(".model-")]
    assert len(kept) == 2


def test_files_that_did_not_change_are_linked(project: Project) -> None:
    """The new folder shares them with the old one, if they are whole there."""
    project.publish()
    assert project.run("pull", "toy@staging", "model").code == 0
    weights, code = Path("toy/weights/slope.npy"), Path("toy/model.py")
    before = {path: (project.root / "model" / path).stat() for path in (weights, code)}
    project.write("lib/toy/__init__.py", '"""A toy, told anew."""\n')
    project.publish()
    _flip(project.root / "model" / code)
    assert project.run("pull", "toy@staging", "model").code == 0
    after = {path: (project.root / "model" / path).stat() for path in (weights, code)}
    assert after[weights].st_ino == before[weights].st_ino
    assert after[code].st_ino != before[code].st_ino
    assert project.run("verify", "model").code == 0


def test_an_interrupted_pull_goes_on(published: Project) -> None:
    """What is there of this version is kept, what is not of it goes."""
    assert published.run("pull", "toy@staging", "model").code == 0
    place = (published.root / "model").resolve()
    (published.root / "model").unlink()
    left = place.rename(place.with_name(f"{place.name}.new"))
    (left / "odd").write_text("not of this version")
    (left / "toy/model.py").unlink()
    kept = (left / "toy/weights/slope.npy").stat().st_ino
    assert published.run("pull", "toy@staging", "model").code == 0
    weights = published.root / "model/toy/weights/slope.npy"
    assert weights.stat().st_ino == kept
    assert published.run("verify", "model").code == 0


def test_a_commit_without_evidence_is_not_served(published: Project) -> None:
    """Asked for by its commit, a version needs what every channel demands."""
    commit = published.git("rev-parse", "HEAD")
    assert published.run("pull", f"toy@{commit}", "model").code == 0
    for path in published.registry.glob("evidence/toy/*/unit-*.json"):
        path.unlink()
    answer = published.run("pull", f"toy@{commit}", "other-model")
    assert (answer.code, "passing evidence of unit" in answer.err) == (7, True)


def test_the_registry_that_is_named_wins(
    published: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over the environment, which wins over the project, over the embedded one."""
    there = ("--registry", str(published.registry))
    table = published.root / "pyproject.toml"
    text = table.read_text("utf-8")
    nowhere = f'name = "toy"\nregistry = "{tmp_path}/nowhere"'
    table.write_text(text.replace('name = "toy"', nowhere), "utf-8")
    assert published.run("log", "toy").code == 2
    monkeypatch.setenv("INTERLOCK_REGISTRY", str(published.registry))
    assert published.run("log", "toy").code == 0
    monkeypatch.setenv("INTERLOCK_REGISTRY", f"{tmp_path}/nowhere")
    assert published.run("log", "toy").code == 2
    assert published.run("log", "toy", *there).code == 0


def test_two_pulls_of_one_folder_at_once(published: Project) -> None:
    """Whoever comes second finds the folder complete."""
    command = [sys.executable, "-m", "interlock.cli", "pull", "toy@staging", "model"]
    pulls = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [pull.wait() for pull in pulls] == [0] * 2
    assert published.run("verify", "model").code == 0
    assert not [*published.root.glob(".model-*.new")]


def test_another_module_of_the_host_does_not_serve(published: Project) -> None:
    """Even one that load and predict only import."""
    published.write("lib/toy/helper.py", "FACTOR = 1\n")
    code = published.root / "lib/toy/model.py"
    code.write_text("import toy.helper\n" + code.read_text())
    table = published.root / "pyproject.toml"
    listed = 'code = ["toy/__init__.py", "toy/helper.py", "toy/model.py"]'
    text = table.read_text("utf-8")
    table.write_text(text.replace('code = ["toy/__init__.py", "toy/model.py"]', listed))
    published.publish()
    program = (
        "import sys, types; sys.modules['toy.helper'] = types.ModuleType('toy.helper');"
        "import interlock; interlock.load('toy@staging')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert "expected: toy.helper from" in run.stderr


def test_names_that_look_alike_leave_each_other_alone(published: Project) -> None:
    """A folder called * is one folder."""
    for target in ("alpha-model", "*-model"):
        assert published.run("pull", "toy@staging", target).code == 0
    assert published.run("verify", "alpha-model").code == 0


def test_a_damaged_chunk_is_found_by_the_next_publish(published: Project) -> None:
    """What is there already is read before it is relied on."""
    _flip(_one(published, "chunks/sha256/*/*"))
    published.write("lib/toy/__init__.py", '"""Another."""\n')
    published.write("lib/toy/new.txt", "#\n")
    published.commit()
    published.check()
    assert published.run("publish").code == 7


@pytest.mark.parametrize("garbage", [b"\xff", b"-1", b"many", b""])
def test_what_a_host_has_seen_is_not_forgotten_quietly(
    published: Project, garbage: bytes
) -> None:
    """A number that was changed refuses; it does not count as none."""
    published.run("pull", "toy@staging", "model")
    for seen in (published.registry.parent / "seen").rglob("staging"):
        seen.write_bytes(garbage)
    assert published.run("pull", "toy@staging", "model").code == 7


def test_a_fork_of_the_trust_root_is_refused(published: Project) -> None:
    """Another root under a number that this machine has seen."""
    key = load_pem_private_key(
        (published.registry.parent / "key.pem").read_bytes(), None
    )
    signer = CryptoSigner(key)

    def root(hours: int) -> bytes:
        first = first_root(signer.public_key)
        channels = {"staging": {"lint": hours}}
        predicate = {**first.predicate, "sequence": 2, "channels": channels}
        return seal(replace(first, predicate=predicate), signer)

    path = published.registry / "root/00000002.json"
    path.write_bytes(root(1))
    assert published.run("log", "toy").code == 0
    path.write_bytes(root(2))
    answer = published.run("log", "toy")
    assert (answer.code, "forked" in answer.err) == (7, True)
