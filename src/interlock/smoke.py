"""The smoke test: the packed artifact, unpacked elsewhere, answers as it should.

The artifact is packed, written to a folder outside the checkout as a serving host
would, and loaded there by a fresh Python that sees nothing
of the checkout. It must answer the golden examples within tolerance and budget, and
take what callers of the version in production pass.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from interlock import config as configuration
from interlock.artifact.manifest import Manifest, refuse_incompatible
from interlock.artifact.pack import copy_out, pack
from interlock.canonical import canonical
from interlock.errors import BadConfiguration, CheckBroken, Refusal, Rejected
from interlock.home import registry_url
from interlock.model import golden_examples, load_folder
from interlock.pins import place_artifact
from interlock.registry.access import NoRegistry, open_registry
from interlock.registry.channels import head
from interlock.source import inspect

_ROUNDS = 30  # calls that the latency is the median of


@dataclass(frozen=True)
class Answer:
    """What the unpacked model did: an output for each example, and how fast."""

    outputs: Sequence[float]
    milliseconds: float  # median of a call with all golden examples


@dataclass(frozen=True)
class Smoked:
    """What smoke found; `address` is that of the artifact it tried."""

    address: str
    files: int
    bytes: int
    examples: int
    worst_error: float
    milliseconds: float
    production: str  # the version whose schema was compared, or why none was


def smoke(folder: Path) -> Smoked:
    """Try the artifact of the checkout at `folder`.

    Raises Rejected for an answer out of tolerance or budget or a schema that breaks
    callers, CheckBroken when the model does not load or answer at all.
    """
    source = inspect(folder)
    config = configuration.read(source.root)
    url = registry_url(configured=config.registry)
    place_artifact(source.root, config, url)
    manifest = pack(source.root, config, source.commit, source.tree)
    with tempfile.TemporaryDirectory(prefix="interlock-smoke-") as elsewhere:
        unpacked = Path(elsewhere, "version")
        copy_out(manifest, source.root / config.path, unpacked)
        answer = _ask(unpacked, manifest)
        _, expected = golden_examples(unpacked / manifest.golden)
    worst = _compare(answer.outputs, expected, config.smoke.tolerance)
    _check_latency(answer.milliseconds, config.smoke.latency_ms)
    production = _compare_with_production(url, manifest)
    return Smoked(
        address=manifest.address,
        files=len(manifest.files),
        bytes=manifest.size,
        examples=len(expected),
        worst_error=worst,
        milliseconds=answer.milliseconds,
        production=production,
    )


def _ask(unpacked: Path, manifest: Manifest) -> Answer:
    """Load and ask the model in a fresh Python, outside the checkout."""
    request = json.dumps({**manifest.contract, "golden": manifest.golden})
    run = subprocess.run(
        (sys.executable, "-I", "-m", "interlock.smoke", str(unpacked), request),
        cwd=unpacked.parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        capture_output=True,
        text=True,
        errors="replace",
    )
    try:
        reply = json.loads(run.stdout.splitlines()[-1])
        refused = _REFUSALS[reply["refused"]] if "refused" in reply else None
        return _refuse(refused, reply["lines"]) if refused else Answer(**reply)
    except (LookupError, ValueError, TypeError):
        last = (run.stderr.strip() or "nothing").splitlines()[-1]
        raise CheckBroken(
            "the unpacked model to answer",
            f"its process ended with exit code {run.returncode}: {last}",
            "load the model in the serve virtualenv by hand to see more",
        ) from None


def _refuse(kind: type[Refusal], lines: Sequence[str]) -> NoReturn:
    raise kind(*lines)


_REFUSALS = {kind.__name__: kind for kind in (BadConfiguration, CheckBroken)}


def _compare(
    outputs: Sequence[float], expected: Sequence[float], tolerance: float
) -> float:
    errors = [abs(a - b) for a, b in zip(outputs, expected, strict=True)]
    worst = max(range(len(errors)), key=errors.__getitem__)
    if not errors[worst] <= tolerance:
        off = sum(not error <= tolerance for error in errors)
        raise Rejected(
            f"golden example {worst} to give {expected[worst]:g} within {tolerance:g}",
            f"{outputs[worst]:g}; {off} of {len(errors)} are off",
            "if the change is meant, write the golden examples anew, for review",
        )
    return errors[worst]


def _check_latency(found: float, budget: float) -> None:
    if found > budget:
        raise Rejected(
            f"a call with the golden examples in {budget:g} ms or less",
            f"{found:.1f} ms, the median of {_ROUNDS}",
            "make predict faster, or raise [tool.interlock.smoke] latency_ms",
        )


def _compare_with_production(url: str, manifest: Manifest) -> str:
    """The version in production, whose callers this one serves as well."""
    try:
        registry = open_registry(url)
    except NoRegistry:
        return f"not compared: there is no registry at {url} yet"
    found = head(registry, manifest.name, "production")
    if found is None:
        return "not compared: nothing was released to production yet"
    there = registry.version(manifest.name, found[0].commit)
    refuse_incompatible(there, manifest)
    return there.version


def report(found: Smoked) -> bytes:
    """What smoke leaves as evidence, canonical: numbers as decimal strings."""
    values = {
        k: repr(v) if isinstance(v, float) else v for k, v in asdict(found).items()
    }
    return canonical(values) + b"\n"


def _answer(unpacked: Path, request: Mapping[str, Any]) -> Answer:
    """In the fresh Python: load, answer the golden examples, and time it."""
    columns, _ = golden_examples(unpacked / request["golden"])
    model = load_folder(unpacked, request)
    outputs = model.predict(columns)
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        model.predict(columns)
        times.append(1000 * (time.perf_counter() - start))
    return Answer([float(each) for each in outputs], median(times))


def _main(folder: str, request: str) -> None:
    try:
        reply = asdict(_answer(Path(folder), json.loads(request)))
    except (BadConfiguration, CheckBroken) as error:
        lines = (error.expected, error.found, error.todo)
        reply = {"refused": type(error).__name__, "lines": lines}
    print("\n" + json.dumps(reply))


if __name__ == "__main__":
    _main(*sys.argv[1:])
