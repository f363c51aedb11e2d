"""trust: the next trust root, and what is believed after it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from interlock import trust
from interlock.registry.records import root_key
from tests.conftest import Project


def _key(project: Project, name: str) -> tuple[str, str]:
    """A new key: the file of its public half, and INTERLOCK_KEY of the private one."""
    made = CryptoSigner.generate_ed25519()
    private, public = Path(f"../{name}.pem"), Path(f"../{name}.pub")
    private.write_bytes(made.private_bytes)
    loaded = load_pem_private_key(made.private_bytes, None).public_key()
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(loaded.public_bytes(*form))
    return str(public), f"file2:{private}"


def _keys(project: Project) -> dict[str, list[str]]:
    answer = project.run("trust", "show", "--json")
    assert answer.code == 0, answer.err
    found: dict[str, list[str]] = answer.json["keys"]
    return found


def _other(project: Project, own: str) -> str:
    (other,) = _keys(project).keys() - {own}
    return other


def _publish(project: Project, slope: float) -> int:
    project.learn(slope)
    project.commit()
    project.check()
    return project.run("publish").code


def test_the_root_is_shown(published: Project) -> None:
    """Keys by their roles, what each channel demands, and what pins it on a host."""
    found = published.run("trust", "show", "--json").json
    (roles,) = found["keys"].values()
    first = published.registry / root_key(1)
    sha256 = subprocess.run(["sha256sum", first], capture_output=True, text=True)
    assert (found["root"], roles) == (1, ["root", "version", "evidence", "release"])
    assert found["first"] == sha256.stdout.split()[0]
    assert found["channels"]["production"]["nightly-eval"] == 48
    assert "(the key here)" in published.run("trust", "show").out


def test_a_key_is_added_and_publishes(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word about roots: that role is not given by default."""
    public, private = _key(published, "ci")
    monkeypatch.setenv("INTERLOCK_KEY", private)
    published.learn(3.0)
    published.commit()
    published.check()
    assert published.run("publish").code == 2
    monkeypatch.delenv("INTERLOCK_KEY")
    answer = published.run("trust", "add", public, "--json")
    assert (answer.code, answer.json["root"]) == (0, 2), answer.err
    assert published.run("trust", "add", public, "--json").json["root"] == 2
    monkeypatch.setenv("INTERLOCK_KEY", private)
    assert published.run("publish").code == 0
    answer = published.run("trust", "add", public, "--role", "root")
    assert (answer.code, "may sign a trust root" in answer.err) == (2, True)
    assert published.run("fsck").code == 0


def test_a_key_is_replaced_and_what_it_signed_stays_believed(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions, evidence and the log; but nothing that it signs from then on."""
    grown.run("pull", "toy@production", "before-model")
    (old,) = _keys(grown)
    public, private = _key(grown, "new")
    roles = [a for r in ("root", *trust.SIGNING) for a in ("--role", r)]
    assert grown.run("trust", "add", public, *roles).code == 0
    answer = grown.run("trust", "remove", old[:8])
    assert (answer.code, "to lose that role" in answer.err) == (2, True)
    monkeypatch.setenv("INTERLOCK_KEY", private)
    answer = grown.run("trust", "remove", old[:8], "--json")
    assert (answer.code, answer.json["root"]) == (0, 3), answer.err
    rooms = ("versions", "evidence", "channels")
    records = [p for room in rooms for p in (grown.registry / room).rglob("*.json")]
    assert answer.json["vouched"] == len(records)
    for command in (("fsck",), ("verify", "toy@staging"), ("log", "toy")):
        assert grown.run(*command).code == 0
    for folder in ("before-model", "after-model"):
        assert grown.run("pull", "toy@production", folder).code == 0
        assert grown.run("verify", folder).code == 0
    assert _publish(grown, 5.0) == 0
    assert grown.run("rollback", "toy", "staging").code == 0
    monkeypatch.delenv("INTERLOCK_KEY")
    answer = grown.run("rollback", "toy", "staging")
    assert (answer.code, "trust root" in answer.err) == (2, True)


def test_what_a_removed_key_signs_later_is_refused(
    grown: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody who has the old key and may write adds a release: nobody believes it."""
    copy = tmp_path / "copy"
    shutil.copytree(grown.registry, copy)  # where the key still counts
    assert grown.run("rollback", "toy", "staging", "--registry", str(copy)).code == 0
    forged = next((copy / "channels/toy/staging").glob("*-00000003.json"))
    (old,) = _keys(grown)
    public, private = _key(grown, "new")
    assert grown.run("trust", "add", public, "--role", "root").code == 0
    assert grown.run("trust", "add", public).code == 0
    monkeypatch.setenv("INTERLOCK_KEY", private)
    assert grown.run("trust", "remove", old).code == 0
    shutil.copy(forged, grown.registry / "channels/toy/staging")
    for command in (("show", "toy@staging"), ("log", "toy"), ("fsck",), ("publish",)):
        assert grown.run(*command).code == 7, command


def test_roots_alone_are_handed_over_without_vouching(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that loses the role root only goes on publishing, and signs no root."""
    (old,) = _keys(published)
    public, private = _key(published, "keeper")
    assert published.run("trust", "add", public, "--role", "root").code == 0
    monkeypatch.setenv("INTERLOCK_KEY", private)
    answer = published.run("trust", "remove", old, "--role", "root", "--json")
    assert (answer.code, answer.json["vouched"]) == (0, 0), answer.err
    assert answer.json["keys"][old] == ["version", "evidence", "release"]
    for role in ("root", "version"):
        answer = published.run("trust", "remove", _other(published, old)[:8])
        assert answer.code == 2
    monkeypatch.delenv("INTERLOCK_KEY")
    assert _publish(published, 3.0) == 0
    assert published.run("trust", "add", public).code == 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("remove", "zz"), "with which none start"),
        (("remove", "", "--role", "evidence"), "interlock trust add"),
        (("add", "pyproject.toml"), "a public key in pyproject.toml"),
        (("add", "nowhere"), "nowhere"),
        (("add", "../home/key.pem"), "a public key"),
        (("add", "../key.pub", "--role", "king"), "king"),
    ],
)
def test_what_is_no_next_root_is_refused(
    published: Project, command: tuple[str, ...], words: str
) -> None:
    """And the registry is as it was."""
    _key(published, "key")
    answer = published.run("trust", *command)
    assert (answer.code, words in " ".join(answer.err.split())) == (2, True)
    assert len([*(published.registry / "root").iterdir()]) == 1


def test_a_race_for_the_next_root_has_one_winner(
    published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second is told, and loses nothing: the winner's root stands."""
    first, second = _key(published, "first")[0], _key(published, "second")[0]
    real = trust._write

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(trust, "_write", real)
        assert published.run("trust", "add", first).code == 0
        real(*arguments)

    monkeypatch.setattr(trust, "_write", late)
    answer = published.run("trust", "add", second)
    assert (answer.code, "just before" in answer.err) == (8, True)
    assert len(_keys(published)) == 2
    assert published.run("trust", "add", second).code == 0
    assert len(_keys(published)) == 3


def test_what_is_signed_while_records_are_read_is_vouched_for(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one more root: else nobody could ever read that channel again."""
    (old,) = _keys(grown)
    public, private = _key(grown, "new")
    roles = [a for r in ("root", *trust.SIGNING) for a in ("--role", r)]
    assert grown.run("trust", "add", public, *roles).code == 0
    real = trust._write

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(trust, "_write", real)
        monkeypatch.delenv("INTERLOCK_KEY")
        assert grown.run("rollback", "toy", "staging").code == 0
        monkeypatch.setenv("INTERLOCK_KEY", private)
        real(*arguments)

    monkeypatch.setenv("INTERLOCK_KEY", private)
    monkeypatch.setattr(trust, "_write", late)
    answer = grown.run("trust", "remove", old, "--json")
    assert answer.code == 0, answer.err + answer.out
    assert answer.json["root"] == 4
    for command in (("log", "toy"), ("verify", "toy@staging"), ("fsck",)):
        assert grown.run(*command).code == 0, command


def test_an_rsa_key_that_is_too_short_is_refused(published: Project) -> None:
    """With its length, and what would do."""
    key = rsa.generate_private_key(65537, 1024).public_key()
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    Path("../short.pub").write_bytes(key.public_bytes(*form))
    answer = published.run("trust", "add", "../short.pub")
    assert answer.code == 2
    assert "RSA of 1024 bits" in answer.err and "RSA of 2048" in answer.err


def test_two_registries_that_each_add_a_key_have_forked(published: Project) -> None:
    """A machine that has seen one believes the other no more."""
    shutil.copytree(published.registry, "copy")
    assert published.run("trust", "add", _key(published, "first")[0]).code == 0
    answer = published.run(
        "trust", "add", _key(published, "second")[0], "--registry", "copy"
    )
    assert answer.code == 0
    assert published.run("copy", "copy", str(published.registry)).code == 8
    shutil.rmtree(published.registry)
    shutil.copytree("copy", published.registry)
    answer = published.run("show", "toy@staging")
    assert (answer.code, "forked" in answer.err) == (7, True)
