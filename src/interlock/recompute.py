"""A version's verdict, derived again from the predictions that it rests on.

The evidence names predictions.parquet and metrics.json by digest, and metrics.json says
by which settings was judged. So all that goes in here was signed; nothing is predicted,
and neither the data nor the model is needed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock import config as configuration
from interlock.artifact.manifest import File, Manifest
from interlock.attest.evidence import EVALUATION, Evidence, newest
from interlock.errors import EvidenceRefused, VerificationFailed, expecting
from interlock.evaluation import gates
from interlock.evaluation.gates import State
from interlock.evaluation.latency import ASKED, Ratios
from interlock.evaluation.run import recount
from interlock.registry.results import find
from interlock.registry.records import Registry
from interlock.registry.resolve import Version
from interlock.registry.transfer import fetch

PREDICTIONS, METRICS = "predictions.parquet", "metrics.json"


@dataclass(frozen=True)
class Again:
    """A verdict that was derived again, and is the one in the evidence."""

    state: State
    rows: int
    sentences: tuple[str, ...]  # one for each gate


def recompute(registry: Registry, version: Version) -> Again:
    """Derive the verdict of a version's newest evaluation again.

    Raises EvidenceRefused where there is no evaluation, or what it left was not kept,
    and VerificationFailed when the verdict is not the one in the evidence.
    """
    evidence = _evaluated(version)
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        folder = Path(scratch)
        files = [
            _named(registry, version.manifest, evidence, name)
            for name in (PREDICTIONS, METRICS)
        ]
        fetch(registry, files, folder)
        with expecting(
            f"{METRICS} and {PREDICTIONS} as interlock eval writes them",
            "do not use this version: what it was judged by cannot be read",
        ):
            metrics = json.loads((folder / METRICS).read_text("utf-8"))
            derived, again = _derived(folder / PREDICTIONS, metrics)
            said = _said(metrics, evidence)
    _compare(said, derived)
    return again


def _evaluated(version: Version) -> Evidence:
    found = newest(version.evidence).get(EVALUATION)
    if found is None:
        name = version.manifest.name
        raise EvidenceRefused(
            f"evidence of {EVALUATION} among that of {version.manifest.short}",
            "none",
            f"name a version that was evaluated, as {name}@production or {name}@COMMIT",
        )
    return found


def _named(
    registry: Registry, manifest: Manifest, evidence: Evidence, name: str
) -> File:
    """What to fetch a file by that the evaluation left."""
    sha256 = evidence.files.get(f"{EVALUATION}/{name}")
    if sha256 is None:
        raise EvidenceRefused(
            f"{name} among what {EVALUATION} left",
            f"it {evidence.result} without: the check broke, so there is no verdict",
            f"run it again, on that commit: nox -s {EVALUATION}",
        )
    return find(registry, manifest, sha256, name)


def _derived(
    predictions: Path, metrics: Mapping[str, Any]
) -> tuple[dict[str, object], Again]:
    settings = configuration.recorded(metrics["settings"])
    conditions = [gates.parse(gate, settings) for gate in settings.gates]
    counts = recount(predictions, settings)
    verdicts = gates.judge(conditions, counts, settings, _measured(metrics))
    state = gates.overall(verdicts)
    said = _facts(
        counts.whole.rows,
        state,
        {each.condition.text: each.state for each in verdicts},
        "PASSED" if state is State.PASS else "FAILED",
    )
    sentences = tuple(verdict.sentence for verdict in verdicts)
    return said, Again(state, counts.whole.rows, sentences)


def _measured(metrics: Mapping[str, Any]) -> dict[str, Ratios]:
    """The latency, which is not told by predictions: its ratios are kept as well."""
    found = metrics["latency"]
    return {ASKED: Ratios(tuple(found["ratios"]))} if found else {}


def _said(metrics: Mapping[str, Any], evidence: Evidence) -> dict[str, object]:
    states = {each["gate"]: each["state"] for each in metrics["gates"]}
    return _facts(metrics["rows"], metrics["state"], states, evidence.result)


def _facts(
    rows: int, state: str, states: Mapping[str, str], result: str
) -> dict[str, object]:
    """What must be the same, each under what it is called in a refusal."""
    gates_ = {f"{text!r} to come to": str(each) for text, each in states.items()}
    return {"rows": rows, "verdict": str(state), **gates_, "evidence": result}


def _compare(said: Mapping[str, object], derived: Mapping[str, object]) -> None:
    both = {what: (said.get(what), derived.get(what)) for what in {**said, **derived}}
    odd = {what: pair for what, pair in both.items() if pair[0] != pair[1]}
    if odd:
        raise VerificationFailed(
            "; ".join(f"{what} {pair[0]}" for what, pair in odd.items()),
            "; ".join(f"{pair[1]}" for pair in odd.values()),
            "do not use this version: its verdict does not follow from its predictions",
        )
