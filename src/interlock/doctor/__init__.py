"""What falls short of the promises, in a registry and on this machine.

`facts` says what can be known; `machine`, `trust`, `folder` and `bucket` look, at the
edges; `checks` judges what they saw, in pure functions. Nothing is changed anywhere.
"""

from __future__ import annotations

from pathlib import Path

from interlock.doctor.checks import Report, judge
from interlock.doctor.facts import Bucket, Facts, Folder, Machine, Trust


def examine(url: str, root: Path) -> tuple[Facts, Report]:
    """All that can be seen of the registry at `url` and of the project at `root`."""
    from interlock.doctor import bucket, folder, machine, trust
    from interlock.registry.store import open_store

    store = open_store(url)
    facts: list[Machine | Trust | Folder | Bucket] = [
        machine.look(root),
        trust.look(store),
    ]
    if store.url.startswith("s3://"):
        facts.append(bucket.look(store.url))
    elif Path(store.url).is_dir():
        facts.append(folder.look(Path(store.url)))
    return facts, judge(facts)
