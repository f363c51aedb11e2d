"""Packing: from a checkout to a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from interlock.artifact.pins import below, inside, read
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
    pins = inside(read(root), config.path)
    weights = _files(base, config.weights, pins)
    alone = [file.path for file in weights] == [config.weights]
    if not weights or alone:
        raise BadConfiguration(
            f"{config.weights} to be a folder with weights",
            "a file" if alone else "no file in it",
            "train the model first, or correct weights in [tool.interlock]",
        )
    named = [*config.code, config.golden]
    others = [file for each in named for file in _files(base, each, pins)]
    files = {file.path: file for file in (*weights, *others)}
    _refuse_odd(sorted(files))
    for file in files.values():
        if (base / file.path).exists():  # what is pinned is somewhere else
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


def _files(base: Path, name: str, pins: Mapping[str, File]) -> list[File]:
    """The files that `name` stands for: those that are here, and those pinned."""
    pinned = below(pins, name)
    here = () if pinned and not (base / name).exists() else _below(base, name)
    found = {each: describe(path, each) for each, path in here}
    return [*(pinned | found).values()]


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
        write(file, folder, cut(base / file.path))
