"""The smoke test: the packed artifact, unpacked elsewhere, answers as it should.

The artifact is packed, written to a folder outside the checkout as a serving host
would, and loaded there by a fresh Python that sees nothing
of the checkout. It must answer the golden examples within tolerance and budget, and
take what callers of the version in production pass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from interlock import config as configuration
from interlock.artifact.manifest import Manifest, refuse_incompatible
from interlock.artifact.pack import copy_out, pack
from interlock.canonical import canonical, in_decimals
from interlock.child import Child, Ended
from interlock.errors import BadConfiguration, CheckBroken, Rejected
from interlock.home import registry_url
from interlock.model import golden_examples
from interlock.pins import place_artifact
from interlock.registry.access import NoRegistry, open_registry
from interlock.registry.answers import NoCredentials
from interlock.registry.channels import head
from interlock.source import inspect

_ROUNDS = 30  # calls that the latency is the median of
_PATIENCE = 600.0  # seconds for one of them


@dataclass(frozen=True)
class Answer:
    """What the unpacked model did: an output for each example, and how fast."""

    outputs: Sequence[Any]  # numbers, or lists of one for each class
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
    columns, _ = golden_examples(unpacked / manifest.golden)
    with closing(Child(unpacked, manifest.contract, _PATIENCE)) as child:
        try:
            outputs = child.ask(columns).numbers.tolist()
            times = [1000 * child.ask(columns).seconds for _ in range(_ROUNDS)]
        except Ended as end:
            raise CheckBroken(
                "the unpacked model to answer",
                f"its process {end}",
                "read its error output above; load it by hand to see more",
            ) from None
    return Answer(outputs, median(times))


def _compare(
    outputs: Sequence[Any], expected: Sequence[Any], tolerance: float
) -> float:
    """The largest error; an output is a number, or one for each class."""
    if np.shape(outputs) != np.shape(expected):
        raise BadConfiguration(
            f"golden outputs of shape {np.shape(outputs)}, as the model answers",
            f"shape {np.shape(expected)}",
            "write the golden examples anew, for review",
        )
    apart = np.abs(np.subtract(outputs, expected)).reshape(len(expected), -1)
    errors = apart.max(axis=1)
    worst = int(errors.argmax())
    if not errors[worst] <= tolerance:
        off = int((~(errors <= tolerance)).sum())
        raise Rejected(
            f"golden example {worst} to give {_short(expected[worst])} "
            f"within {tolerance:g}",
            f"{_short(outputs[worst])}; {off} of {len(errors)} are off",
            "if the change is meant, write the golden examples anew, for review",
        )
    return float(errors[worst])


def _short(output: float | Sequence[float]) -> str:
    numbers = [output] if isinstance(output, float) else output
    return ", ".join(f"{each:g}" for each in numbers)


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
    except NoCredentials:  # publish and promote compare, too, and they have some
        return f"not compared: nothing here may read {url}"
    found = head(registry, manifest.name, "production")
    if found is None:
        return "not compared: nothing was released to production yet"
    there = registry.released(manifest.name, found[0].commit)
    refuse_incompatible(there, manifest)
    return there.version


def report(found: Smoked) -> bytes:
    """What smoke leaves as evidence, canonical: numbers as decimal strings."""
    return canonical(in_decimals(asdict(found))) + b"\n"
