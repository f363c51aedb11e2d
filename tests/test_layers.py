"""Imports run downward only."""

from __future__ import annotations

import ast
from pathlib import Path

import interlock

ROOT = Path(interlock.__file__).parent
# From the top: what stands in a row may not import what stands in one above.
ROWS = (
    ("cli",),
    ("printing",),
    ("doctor", "evaluate", "plan", "publish", "recompute", "smoke"),
    (
        "budget",
        "copy",
        "diff",
        "export",
        "fsck",
        "pins",
        "policy",
        "promote",
        "pull",
        "trust",
    ),
    ("evaluation", "registry"),
    ("packages",),
    ("attest",),
    ("artifact", "child"),
    ("config", "home", "model", "parallel", "progress", "source"),
    ("canonical", "durable", "errors", "wire"),
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}


def _imports(path: Path) -> set[str]:
    """The rooms that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
    parts = (name.split(".") for name in names if name.startswith("interlock."))
    return {part[1] for part in parts if part[1] in LEVEL}


def test_no_module_imports_upward() -> None:
    """And every room has its row."""
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).with_suffix("").parts[0]
        if room == "__init__":
            continue
        upward = {each for each in _imports(path) if LEVEL[each] < LEVEL[room]}
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"
