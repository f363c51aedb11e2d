"""Files that are whole or not there, and digests that others can compute."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from interlock.evaluation.files import digest, replacing

DIRHASH = (
    "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum"
    " | sha256sum | cut -f1 -d' '"
)


def test_a_files_digest_is_its_sha256(tmp_path: Path) -> None:
    """As sha256sum prints it."""
    (tmp_path / "file").write_bytes(b"abc")
    assert digest(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_a_folders_digest_is_intotos_dirhash(tmp_path: Path) -> None:
    """The command in the specification gives the same, whatever the names sort like."""
    for name in ("b.csv", "a/z.csv", "a.csv", "a-b/c.csv", ".hidden", "Z"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    found = subprocess.check_output(DIRHASH, shell=True, cwd=tmp_path, text=True)
    assert digest(tmp_path) == found.strip()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
