"""Packing: from a checkout to a manifest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from interlock.artifact.chunks import cut, describe, digest, write
from interlock.artifact.formats import check_format
from interlock.artifact.manifest import (
    File,
    Manifest,
    check_paths,
    dir_hash,
    safe_path,
)
from interlock.config import Config
from interlock.errors import BadConfiguration
from interlock.source import LOCK


def pack(root: Path, config: Config, commit: str, tree: str) -> Manifest:
    """The manifest of the version that the checkout at `root` makes.

    Its files are the code, the weights and the golden examples that `config` names,
    each let in only when its content is of an allowed format.

    Raises BadConfiguration for a file that is missing or not a plain file, and
    VerificationFailed for a format that is not let in.
    """
    base = root.resolve() / config.path
    weights = [describe(path, name) for name, path in _below(base, config.weights)]
    if not weights or not (base / config.weights).is_dir():
        raise BadConfiguration(
            f"{config.weights} to be a folder with weights",
            "no file in it" if (base / config.weights).is_dir() else "a file",
            "train the model first, or correct weights in [tool.interlock]",
        )
    named = [*config.code, config.golden]
    others = [
        describe(path, name) for each in named for name, path in _below(base, each)
    ]
    files = {file.path: file for file in (*weights, *others)}
    _refuse_odd(sorted(files))
    for file in files.values():
        check_format(base / file.path)
    return Manifest(
        name=config.name,
        commit=commit,
        tree=tree,
        lock=digest(_required(root / LOCK).read_bytes()),
        weights=_weights_digest(weights, config.weights),
        contract={
            "load": config.load,
            "predict": config.predict,
            "input": dict(config.schema.input),
            "output": config.schema.answer,
        },
        golden=config.golden,
        files=tuple(files[path] for path in sorted(files)),
    )


def _below(base: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The plain files that `name` stands for: itself, or all those in the folder."""
    path = base / name
    if path.resolve() != path or not path.exists():
        found = "no such file" if not path.exists() else "a link, or a way through one"
        raise BadConfiguration(
            f"{name} to be a plain file", found, "correct [tool.interlock], or add it"
        )
    if path.is_file():
        yield name, path
        return
    if not path.is_dir():
        raise BadConfiguration(
            f"{name} to be a plain file", "a pipe or a device", "remove it"
        )
    for child in sorted(path.iterdir()):
        if child.name != "__pycache__":
            yield from _below(base, f"{name}/{child.name}")


def _refuse_odd(names: list[str]) -> None:
    try:
        check_paths([safe_path(name) for name in names])
    except ValueError as error:
        raise BadConfiguration(
            "file names that every system can hold", str(error), "rename the file"
        ) from None


def _weights_digest(files: list[File], folder: str) -> str:
    return dir_hash((f.path.removeprefix(f"{folder}/"), f.sha256) for f in files)


def _required(path: Path) -> Path:
    if not path.is_file():
        raise BadConfiguration(
            f"{path.name} beside pyproject.toml", "none", "write it with: nox -s lock"
        )
    return path


def copy_out(manifest: Manifest, base: Path, folder: Path) -> None:
    """Write the artifact packed from `base` into `folder`, as a pull would."""
    for file in manifest.files:
        write(file, folder, partial(_next, cut(base / file.path)))


def _next(pieces: Iterator[bytes], chunk: str) -> bytes:
    """The next piece, whatever it is called: `write` checks the whole."""
    return next(pieces, b"")
