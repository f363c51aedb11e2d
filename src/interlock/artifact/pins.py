"""interlock.lock: the files that Git does not hold, pinned by digest.

A new model is a commit to this file, reviewed and tested like any other. It stands
beside requirements.lock, has a line for each chunk, and its paths start from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from interlock.artifact.manifest import File, files_from_json, files_to_json
from interlock.canonical import parse
from interlock.errors import BadConfiguration, expecting

PINS = "interlock.lock"


def read(root: Path) -> Mapping[str, File]:
    """The pinned files of a checkout, by path; none where there is no interlock.lock.

    Raises BadConfiguration for a file that `interlock pin` did not write.
    """
    path = root / PINS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    with expecting(
        f"{PINS} as interlock pin writes it",
        f"take it from Git again: git checkout {PINS}",
        BadConfiguration,
    ):
        files = files_from_json(parse(data)["files"])
    return {file.path: file for file in files}


def text(files: Iterable[File]) -> str:
    """The content of interlock.lock, the same for the same files."""
    ordered = sorted(files, key=lambda file: file.path)
    return json.dumps({"files": files_to_json(ordered)}, indent=1) + "\n"


def below(pins: Mapping[str, File], name: str) -> dict[str, File]:
    """The pins of `name` itself, or of what is in the folder `name`."""
    return {p: f for p, f in pins.items() if p == name or p.startswith(f"{name}/")}


def inside(pins: Mapping[str, File], folder: str) -> dict[str, File]:
    """The pins of what is in `folder`, by the path from there."""
    start = len(f"{PurePosixPath(folder)}/") if PurePosixPath(folder).parts else 0
    files = below(pins, str(PurePosixPath(folder))) if start else pins
    return {p[start:]: replace(f, path=p[start:]) for p, f in files.items()}
