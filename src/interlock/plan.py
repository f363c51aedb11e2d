"""What the gates of a project can promise: settings and measurements, read and planned.

The arithmetic is `evaluation.planning`; here is where its numbers come from.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from interlock import config as configuration
from interlock.config import Evaluation, Gate
from interlock.errors import BadConfiguration, expecting
from interlock.evaluation import gates, planning
from interlock.evaluation.gates import Condition
from interlock.evaluation.planning import POWERS, Promise, Setting

MEASURED = ("evidence/nightly-eval/metrics.json", "evaluation/metrics.json")
ROWS, DISAGREEMENT = 10_000, 0.05  # assumed where nothing was measured
WIDTH = 2 * 1.96  # standard errors that an interval of metrics.json spans
DEFAULT = Gate("accuracy >= production.accuracy - 0.005")


@dataclass(frozen=True)
class Given:
    """What the command line says instead of the project; None: nothing."""

    gates: tuple[str, ...] = ()
    rows: int | None = None
    uses: int | None = None
    disagreement: float | None = None
    slices: int | None = None
    false_alarm: float | None = None
    false_pass: float | None = None
    score: float | None = None
    noise: float | None = None
    fresh: bool = False
    measured: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What the last evaluation found; empty where there was none."""

    rows: int | None = None
    disagreement: float | None = None
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)  # and noise
    slices: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is asked, what of it was assumed, and a promise, or why none, for a gate."""

    setting: Setting
    assumed: tuple[str, ...]
    promises: dict[str, Promise | str]
    ease_ml_ci: dict[str, dict[str, int]]


def plan(folder: Path, given: Given) -> Plan:
    """The plan for the project in `folder`, if there is one, with what is `given`.

    Raises BadConfiguration for gates, numbers and files that are not as they must be.
    """
    settings = _settings(folder, given)
    found = _measured(folder, given)
    conditions = [gates.parse(gate, settings) for gate in settings.gates]
    setting = Setting(
        rows=_first(given.rows, found.rows, ROWS),
        uses=_first(given.uses, settings.uses),
        disagreement=_first(given.disagreement, found.disagreement, DISAGREEMENT),
        false_alarm=_first(given.false_alarm, settings.false_alarm),
        false_pass=_first(given.false_pass, settings.false_pass),
        gates=max(len(conditions), 1),
        fresh=given.fresh,
    )
    _check(setting, given)
    assumed = [
        name
        for name in ("rows", "disagreement")
        if getattr(given, name) is getattr(found, name) is None
    ]
    promises = {c.text: _promise(c, setting, given, found) for c in conditions}
    tolerances = [-c.bound for c in conditions if c.paired and c.bound < 0]
    return Plan(
        setting,
        tuple(assumed),
        promises,
        planning.ease_ml_ci(setting, min(tolerances)) if tolerances else {},
    )


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _settings(folder: Path, given: Given) -> Evaluation:
    """The project's, or the defaults; with the gates that were given."""
    settings = Evaluation("", "", (DEFAULT,))
    if (folder / "pyproject.toml").is_file():
        settings = configuration.read(folder).evaluation or settings
    if not given.gates:
        return settings
    columns = [text.rpartition(" per ")[2] for text in given.gates if " per " in text]
    slices = tuple(dict.fromkeys((*settings.slices, *columns)))
    return replace(settings, gates=tuple(map(Gate, given.gates)), slices=slices)


def _measured(folder: Path, given: Given) -> Measured:
    """From the first metrics.json that is there."""
    choices = [given.measured] if given.measured else [folder / m for m in MEASURED]
    path = next((choice for choice in choices if choice.is_file()), None)
    if path is None:
        if given.measured:
            raise BadConfiguration(
                "a metrics.json that interlock eval wrote",
                f"no file {given.measured}",
                "give the path of one",
            )
        return Measured()
    with expecting(
        f"{path} to be what interlock eval wrote",
        "run interlock eval again",
        BadConfiguration,
    ):
        return _read(json.loads(path.read_text("utf-8")))


def _read(record: Any) -> Measured:
    scores = {
        name: (each["value"], (each["high"] - each["low"]) / WIDTH)
        for name, each in record["whole"]["candidate"].items()
        if None not in [each.get(key) for key in ("value", "low", "high")]
    }
    slices: dict[str, list[int]] = {}
    for each in record["slices"]:
        slices.setdefault(each["column"], []).append(int(each["rows"]))
    pair = record["whole"]["pair"] or {}
    return Measured(int(record["rows"]), pair.get("disagreement"), scores, slices)


def _check(setting: Setting, given: Given) -> None:
    """Refuse numbers that make no sense."""
    for name, value, least, most in (
        ("rows", setting.rows, 1, 10**12),
        ("uses", setting.uses, 1, 10**9),
        ("slices", _first(given.slices, 1), 1, 10**6),
        ("disagreement", setting.disagreement, 1e-9, 1),
        ("false-alarm", setting.false_alarm, 1e-9, 1 - 1e-9),
        ("false-pass", setting.false_pass, 1e-9, 1 - 1e-9),
        ("score", _first(given.score, 0.5), 0, 1),
        ("noise", _first(given.noise, 0.5), 0, 1),
    ):
        if not least <= value <= most:
            raise BadConfiguration(
                f"--{name} from {least:g} to {most:g}", f"{value:g}", "give another"
            )


def _promise(
    condition: Condition, setting: Setting, given: Given, found: Measured
) -> Promise | str:
    """What the gate can promise; if it cannot be planned, why."""
    planned = ("accuracy",) if condition.paired else ("accuracy", "precision", "recall")
    if condition.metric not in planned:
        return f"{condition.metric} is not planned: run interlock eval"
    if condition.paired:
        slices = _slices(condition, setting, given, found)
        return planning.against_production(setting, -condition.bound, slices)
    score, noise = found.scores.get(condition.metric, (given.score, None))
    if given.score is not None:
        score, noise = given.score, None
    if score is None:
        return f"no {condition.metric} is known: give --score, or run interlock eval"
    noise = noise if given.noise is None else given.noise
    return planning.against_number(setting, condition.bound, score, noise)


def _slices(
    condition: Condition, setting: Setting, given: Given, found: Measured
) -> Sequence[int]:
    """The rows of each slice; of equal size where they were not counted."""
    if not condition.per:
        return ()
    if given.slices is None and condition.per in found.slices:
        return found.slices[condition.per]
    count = given.slices or 1
    return [setting.rows // count] * count


def values(plan: Plan) -> dict[str, Any]:
    """For machines."""
    return {
        **asdict(plan.setting),
        "assumed": plan.assumed,
        "gates": [
            (
                {"gate": gate, "not_planned": promise}
                if isinstance(promise, str)
                else {"gate": gate, **_values(promise)}
            )
            for gate, promise in plan.promises.items()
        ],
        "ease.ml/ci": plan.ease_ml_ci,
    }


def _values(promise: Promise) -> dict[str, Any]:
    drops = dict(zip(map(str, POWERS), promise.drops, strict=False))
    return {**asdict(promise), "drops": drops}


def text(plan: Plan) -> str:
    """For people, in 80 columns."""
    setting = plan.setting
    note = {name: " (assumed)" for name in plan.assumed}
    lines = [
        f"{setting.rows:,} rows{note.get('rows', '')}, {setting.uses:,} uses, "
        f"{100 * setting.disagreement:.3g} % disagreement"
        f"{note.get('disagreement', '')}"
    ]
    for gate, promise in plan.promises.items():
        said = [promise] if isinstance(promise, str) else _said(promise)
        lines += ["", gate, *(_indented(each) for each in said)]
    if plan.ease_ml_ci:
        few = plan.ease_ml_ci["paired"]
        lines += [
            "",
            f"ease.ml/ci would ask for {few['none']:,} rows, and for {few['full']:,} "
            "if models are",
            "chosen by the verdicts.",
        ]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="    ")


def _said(promise: Promise) -> list[str]:
    half, most = (f"{100 * power:.0f} %" for power in POWERS)
    said = [
        f"can promise +-{_points(promise.width)} over all uses",
        f"PASS for a model as good as now: {100 * promise.passes:.0f} % of the time",
    ]
    if promise.drops:
        first, second = promise.drops
        said.append(
            f"FAIL on one use: {half} of the time for a drop of {_points(first)}, "
            f"{most} for {100 * second:.2g}"
        )
    if promise.rows_to_pass:
        said.append(f"that PASS {most} of the time needs {promise.rows_to_pass:,} rows")
    if promise.rows_to_find:
        said.append(
            f"that FAIL {most} of the time for {_points(promise.find)} needs "
            f"{promise.rows_to_find:,} rows"
        )
    return said + [f"warning: {each.text}" for each in promise.cautions]


def _points(value: float) -> str:
    number = f"{100 * value:.2g}"
    return f"{number} point" if number == "1" else f"{number} points"
