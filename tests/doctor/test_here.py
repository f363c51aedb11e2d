"""Doctor on this machine and on a registry in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from interlock import cli
from interlock.artifact.chunks import digest
from interlock.doctor.folder import file_system
from interlock.home import home
from interlock.registry.access import open_or_make
from tests.conftest import Project


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with its first root, looked at from an empty folder."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    open_or_make(str(tmp_path / "registry"))
    return tmp_path / "registry"


def _doctor(
    registry: object, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    """The exit code, and the findings and unseen facts by their codes."""
    capsys.readouterr()
    code = cli.main(["doctor", "--json", "--registry", str(registry)])
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == code
    return code, {each["code"]: each for each in said["findings"]} | said["unseen"]


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_registry_of_ones_own_is_as_promised(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And looking leaves nothing behind, in the registry or at home."""
    before = _tree(registry) | _tree(home())
    code, found = _doctor(registry, capsys)
    assert (code, found) == (0, {})
    assert _tree(registry) | _tree(home()) == before


def test_what_it_says_is_for_people_too(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What falls short, what to do, and how much is as promised."""
    assert cli.main(["doctor", "--registry", str(registry)]) == 0
    registry.chmod(0o777)
    assert cli.main(["doctor", "--registry", str(registry)]) == 2
    out = capsys.readouterr().out
    assert "0 fall short" in out
    assert f"  to do:    chmod o-w {registry}\n" in out


def test_no_registry_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the folder is there or not."""
    for place in (tmp_path / "nowhere", tmp_path):
        code, found = _doctor(place, capsys)
        assert (code, {*found} - {"tools"}) == (2, {"root", "pin", "signer"})


def test_folders_that_all_may_write_to_are_found(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it says to do makes them right."""
    (registry / "root").chmod(0o777)
    code, found = _doctor(registry, capsys)
    assert (code, [*found]) == (2, ["writers"])
    assert os.system(found["writers"]["todo"]) == 0
    assert _doctor(registry, capsys) == (0, {})


def test_an_altered_root_is_found(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a root that is not believed, and another one than was pinned."""
    path = registry / "root" / "00000001.json"
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    code, found = _doctor(registry, capsys)
    assert (code, {*found}) == (2, {"root", "pin", "signer"})


def test_a_machine_that_never_saw_the_registry_is_told_to_pin_it(
    registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking is not seeing: doctor itself pins nothing."""
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "other"))
    for _ in range(2):
        code, found = _doctor(registry, capsys)
        assert (code, [*found]) == (2, ["pin"])
    first = digest((registry / "root" / "00000001.json").read_bytes())
    assert found["pin"]["todo"].endswith(f"export INTERLOCK_ROOT={first}")
    monkeypatch.setenv("INTERLOCK_ROOT", first)
    assert _doctor(registry, capsys) == (0, {})


def test_a_key_that_others_can_read_is_found(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it says to do makes it right."""
    (home() / "key.pem").chmod(0o644)
    code, found = _doctor(registry, capsys)
    assert (code, [*found]) == (2, ["key"])
    assert os.system(found["key"]["todo"]) == 0
    assert _doctor(registry, capsys) == (0, {})


def test_a_key_that_the_root_does_not_know_is_found(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key of another registry."""
    (home() / "key.pem").unlink()
    assert _doctor(registry, capsys) == (0, {})  # whoever only reads needs none
    open_or_make(str(tmp_path / "other"))
    code, found = _doctor(registry, capsys)
    assert (code, [*found]) == (2, ["signer"])


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("INTERLOCK_KEY", "file2:/no/such/key.pem", "key"),
        ("INTERLOCK_ROOT", "abc", "variables"),
        ("INTERLOCK_HOME", "/no/such/place/home", "variables"),
        ("INTERLOCK_HOME", "{file}", "variables"),
    ],
)
def test_a_variable_that_points_nowhere_is_found(
    registry: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    code: str,
) -> None:
    """A typing error is the likeliest reason."""
    root = registry / "root" / "00000001.json"
    monkeypatch.setenv(name, value.format(file=root))
    assert code in _doctor(registry, capsys)[1]


def test_a_project_needs_its_tools_its_settings_and_its_lock(
    project: Project,
    registry: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder that is no project needs none of them."""
    monkeypatch.setenv("PATH", "")
    assert [*_doctor(registry, capsys)[1]] == ["git"]
    monkeypatch.chdir(project.root)
    (project.root / "requirements.lock").unlink()
    (project.root / "pyproject.toml").write_text("[tool.interlock]\nname = 3\n")
    found = _doctor(registry, capsys)[1]
    assert {*found} == {"git", "tools", "project", "lock"}
    assert found["tools"]["todo"] == "pip install nox uv"


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    """By Linux's table, in which a space is an escape."""
    mounts = (
        "/dev/sda1 / ext4 rw 0 0\n"
        "server:/export /data nfs4 rw 0 0\n"
        "//server/share /data/my\\040models cifs rw 0 0\n"
        "overlay /data overlay rw 0 0\n"
    )
    assert file_system(Path("/home/ada"), mounts) == "ext4"
    assert file_system(Path("/data/registry"), mounts) == "overlay"
    assert file_system(Path("/data/my models/registry"), mounts) == "cifs"
    assert file_system(Path("/home"), "") == ""


def test_a_bucket_that_cannot_be_reached_is_unseen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of its settings is taken for a good one."""
    settings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    code, found = _doctor("s3://models/team", capsys)
    assert code == 2 and "root" in found
    seen = {"git", "tools", "project", "lock", "key", "variables"}
    assert len(found.keys() - seen) > 10
