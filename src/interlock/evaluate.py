"""The full evaluation of a checkout's model, beside the version in production.

The candidate is packed and unpacked as a host would get it, production is pulled; each
predicts in a process of its own. What comes of it is in the `evaluation` room.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from interlock import config as configuration
from interlock.artifact.manifest import Manifest
from interlock.artifact.pack import copy_out, pack
from interlock.artifact.pins import read
from interlock.budget import Judged, Keeper
from interlock.canonical import canonical
from interlock.config import Config
from interlock.errors import BadConfiguration, Rejected, Unknown
from interlock.evaluation import selftest
from interlock.evaluation.gates import Verdict
from interlock.evaluation.run import Outcome, Version
from interlock.evaluation.run import evaluate as judge
from interlock.home import note, registry_url
from interlock.home import replace as leave
from interlock.pins import place
from interlock.pull import pull
from interlock.registry.access import NoRegistry, open_registry
from interlock.registry.channels import head
from interlock.registry.ledger import LEFT
from interlock.registry.records import Registry
from interlock.source import Source, inspect

RIVAL = "production.json"  # the model judged, and the version compared with


def evaluate(
    folder: Path, out: Path, data: str = "", self_test: bool = False
) -> Outcome:
    """Judge the model of the checkout at `folder`; the report goes to `out`.

    `data` replaces the data set that pyproject.toml names; a file is one from here.
    With `self_test` the gates are tested as well, on the predictions. Raises
    BadConfiguration where there is nothing to judge by, and CheckBroken when the check
    itself fails.
    """
    source = inspect(folder)
    config = configuration.read(source.root)
    if config.evaluation is None:
        raise BadConfiguration(
            "a table [tool.interlock.evaluation] in pyproject.toml",
            "none",
            "add it: docs/evaluation.md describes it",
        )
    url = registry_url(configured=config.registry)
    place(source.root, read(source.root).values(), url)
    named = str(Path(data).absolute()) if Path(data).is_file() else data
    settings = replace(config.evaluation, data=named or config.evaluation.data)
    with tempfile.TemporaryDirectory(prefix="interlock-eval-") as scratch:
        candidate, own = _candidate(source, config, Path(scratch, "candidate"))
        registry = _registry(url)
        production, rival = _production(config, url, registry)
        address = rival.address if rival else ""
        leave(out / RIVAL, canonical({"production": address, "model": own.model}))
        for name in (*LEFT, selftest.REPORT):  # of an earlier evaluation
            (out / name).unlink(missing_ok=True)
        judged = Judged(own, rival, settings, exploring=bool(data))
        keeper = Keeper(judged, registry, Path(scratch), out)
        base = source.root / config.path
        test = partial(selftest.passed, settings, out) if self_test else None
        outcome = judge(candidate, production, settings, base, out, keeper, test)
    return replace(outcome, sentences=(*outcome.sentences, *keeper.sentences))


def _registry(url: str) -> Registry | None:
    """The registry; None where there is none yet."""
    try:
        return open_registry(url)
    except NoRegistry:
        return None


def _candidate(
    source: Source, config: Config, folder: Path
) -> tuple[Version, Manifest]:
    manifest = pack(source.root, config, source.commit, source.tree)
    copy_out(manifest, source.root / config.path, folder)
    dirty = "+changes" if source.changed else ""
    version = Version(f"{manifest.short}{dirty}", folder, manifest.contract)
    return version, manifest


def _production(
    config: Config, url: str, registry: Registry | None
) -> tuple[Version | None, Manifest | None]:
    """The version in production, pulled; none where there is none."""
    if registry is None or head(registry, config.name, "production") is None:
        return None, None
    reference = f"{config.name}@production"
    kept = note("versions", url, reference)  # pulled once, not every night
    # It is compared under the candidate's packages, which may well be newer ones.
    pulled, folder = pull(registry, reference, kept, "warn")
    manifest = pulled.manifest
    return Version(manifest.short, folder, manifest.contract), manifest


def raise_verdict(outcome: Outcome) -> None:
    """Raise Rejected for FAIL and Unknown for UNKNOWN, with the gates that decided."""
    refusals = {"FAIL": Rejected, "UNKNOWN": Unknown}
    if kind := refusals.get(outcome.state):
        decided = [v for v in outcome.verdicts if _decides(v, outcome.state)]
        gates = "; ".join(verdict.condition.text for verdict in decided)
        found = f"{outcome.state}: {gates or 'no gate could be judged'}"
        raise kind("every gate to PASS", found, _advice(outcome.state))


def _decides(verdict: Verdict, state: str) -> bool:
    """Whether a gate made the whole come to `state`."""
    blocks = state != "UNKNOWN" or verdict.condition.on_unknown == "block"
    return verdict.state == state and blocks


def _advice(state: str) -> str:
    if state == "FAIL":
        return "look at report.html for where it is worse; production stays as it is"
    return "evaluate on more rows, or allow a larger tolerance"
