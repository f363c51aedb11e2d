"""What the gates of a project can promise: settings and measurements, read and planned.

The arithmetic is `evaluation.planning`; here is where its numbers come from.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import inf, isfinite, prod, sqrt
from pathlib import Path
from typing import Any

from interlock import config as configuration
from interlock.config import Evaluation, Gate
from interlock.errors import BadConfiguration, expecting
from interlock.evaluation import gates, planning
from interlock.evaluation.catalogue import catalogue
from interlock.evaluation.counts import Counts
from interlock.evaluation.gates import Condition
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Interval, Proportion
from interlock.evaluation.latency import Ratios
from interlock.evaluation.metrics import Mean, Metric
from interlock.evaluation.planning import POWERS, Promise, Rows, Setting
from interlock.evaluation.run import recount
from interlock.evaluation.samples import is_asymptotic
from interlock.evaluation.tables import ROLES, Role

MEASURED = ("evidence/nightly-eval/metrics.json", "evaluation/metrics.json")
ROWS, DISAGREEMENT = 10_000, 0.05  # assumed where nothing was measured
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
    spread: float | None = None
    fresh: bool = False
    measured: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What the last evaluation found; empty where there was none."""

    rows: int | None = None
    disagreement: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    slices: dict[str, list[int]] = field(default_factory=dict)
    ratios: tuple[float, ...] = ()  # of latency
    settings: Evaluation | None = None  # that it was judged by
    predictions: Path | None = None  # that were kept of it

    def asked(self, of: Evaluation, conditions: Sequence[Condition]) -> Measured:
        """The same, to be counted for these gates as far as it has their columns."""
        if self.settings is None:
            return self
        kept = self.settings.cluster, self.settings.weight
        asked = of.cluster, of.weight
        if any(now not in ("", was) for was, now in zip(kept, asked, strict=True)):
            return replace(self, settings=None)  # they are not among what was kept
        columns = ("", *self.settings.slices)
        fit = zip(of.gates, conditions, strict=True)
        own = tuple(gate for gate, each in fit if each.per in columns)
        return replace(self, settings=replace(self.settings, gates=own, clip=of.clip))

    @cached_property
    def counts(self) -> Counts | None:
        """The counts of all its rows, where they were kept."""
        if self.predictions is None or self.settings is None:
            return None
        return recount(self.predictions, self.settings)


@dataclass(frozen=True)
class Plan:
    """What is asked, what of it was assumed, and a promise, or why none, for a gate."""

    setting: Setting
    assumed: tuple[str, ...]
    promises: dict[str, Promise | str]
    conditions: dict[str, Condition]
    ease_ml_ci: dict[str, dict[str, int]]


def plan(folder: Path, given: Given) -> Plan:
    """The plan for the project in `folder`, if there is one, with what is `given`.

    Raises BadConfiguration for gates, numbers and files that are not as they must be.
    """
    settings = _settings(folder, given)
    found = _measured(folder, given)
    conditions = [gates.parse(gate, settings) for gate in settings.gates]
    found = found.asked(settings, conditions)
    setting = Setting(
        rows=_first(given.rows, found.rows, ROWS),
        uses=_first(given.uses, settings.uses),
        disagreement=_first(given.disagreement, found.disagreement, DISAGREEMENT),
        false_alarm=_first(given.false_alarm, settings.false_alarm),
        false_pass=_first(given.false_pass, settings.false_pass),
        gates=max(len(conditions), 1),
        fresh=given.fresh,
    )
    _check(setting, given, _scores(conditions, settings))
    assumed = [
        name
        for name in ("rows", "disagreement")
        if getattr(given, name) is getattr(found, name) is None
    ]
    promises = {
        c.text: _promise(c, setting, given, found, settings) for c in conditions
    }
    tolerances = [
        -c.bound
        for c in conditions
        if c.metric == EVERY_ROW and c.paired and c.bound < 0
    ]
    return Plan(
        setting,
        tuple(assumed),
        promises,
        {c.text: c for c in conditions},
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
        return _read(json.loads(path.read_text("utf-8")), path.parent)


def _read(record: Any, folder: Path) -> Measured:
    scores = {
        name: each["value"]
        for name, each in record["whole"]["candidate"].items()
        if each.get("value") is not None
    }
    slices: dict[str, list[int]] = {}
    for each in record["slices"]:
        slices.setdefault(each["column"], []).append(int(each["rows"]))
    pair = record["whole"]["pair"] or {}
    kept = folder / "predictions.parquet"
    given = record.get("settings")
    return Measured(
        int(record["rows"]),
        pair.get("disagreement") or None,  # equal models tell nothing of others
        scores,
        slices,
        tuple((record.get("latency") or {}).get("ratios", ())),
        configuration.recorded(given) if given else None,
        kept if kept.is_file() else None,
    )


def _scores(conditions: Sequence[Condition], settings: Evaluation) -> Interval:
    """What --score may be: within the range of every metric against a number."""
    metrics = catalogue(settings)
    asked = {each.metric for each in conditions if not each.paired}
    found = []
    for metric in map(metrics.get, asked or {""}):
        if isinstance(metric, Mean):
            found.append(metric.apart[0].range)
        else:
            found.append(Interval(0.0, 1.0))
    return Interval(max(low for low, _ in found), min(high for _, high in found))


def _check(setting: Setting, given: Given, scores: Interval) -> None:
    """Refuse numbers that make no sense."""
    low, high = scores
    for name, value, least, most in (
        ("rows", setting.rows, 1, 10**12),
        ("uses", setting.uses, 1, 10**9),
        ("slices", _first(given.slices, 1), 1, 10**6),
        ("disagreement", setting.disagreement, 1e-9, 1),
        ("false-alarm", setting.false_alarm, 1e-9, 0.5),
        ("false-pass", setting.false_pass, 1e-9, 0.5),
        ("score", _first(given.score, low), low, high),
        ("noise", _first(given.noise, 0.5), 0, 1),
        ("spread", _first(given.spread, 1.0), 1e-12, 1e12),
    ):
        if not least <= value <= most:
            raise BadConfiguration(
                f"--{name} from {least:g} to {most:g}", f"{value:g}", "give another"
            )


def _promise(
    condition: Condition,
    setting: Setting,
    given: Given,
    found: Measured,
    settings: Evaluation,
) -> Promise | str:
    """What the gate can promise; if it cannot be planned, why."""
    if condition.metric in gates.MEASURED:
        ratios = found.ratios
        return _latency(setting, condition.bound, ratios) if ratios else NO_RATIOS
    stated = condition.metric == EVERY_ROW and _is_plain(settings, found)
    if stated and condition.paired:
        slices = _slices(condition, setting, given, found)
        return planning.against_production(setting, -condition.bound, slices)
    if condition.metric in ASKED and not condition.paired and given.noise is not None:
        noisy = _stated(condition, setting, given, found)
        return _guaranteed(noisy, settings, found)
    if stated and given.score is not None:
        return _stated(condition, setting, given, found)
    if given.spread is not None:
        known = _spread(condition, setting, given, settings)
        return known if isinstance(known, str) else _of([known], condition, setting)
    if found.counts is not None and found.settings:
        groups = _groups(condition, found.counts)
        metric = catalogue(found.settings).get(condition.metric)
        rows = [_rows(condition, metric, each) for each in groups if metric]
        if rows and None not in rows:
            times = setting.rows / found.counts.whole.rows
            return _of([each for each in rows if each], condition, setting, times)
    if stated:
        return _stated(condition, setting, given, found)
    return _unknown(condition, settings, found)


EVERY_ROW = "accuracy"  # an exact test of every row, planned from what is stated alone
ASKED = (EVERY_ROW, "precision", "recall")  # with the noise of their score
ROUNDING = 1e-6  # of one model's error: less is none
NO_RATIOS = "no latency was measured: run interlock eval"
EQUAL = (
    "the last evaluation's models were equal in it, on the whole or on a slice, which "
    "leaves no difference to forecast from: evaluate a candidate that differs"
)
UNKNOWN = "nothing is known of its rows: run interlock eval"


def _is_plain(settings: Evaluation, found: Measured) -> bool:
    """Whether rows are independent of each other and count alike."""
    judged = [settings, *([found.settings] if found.settings else [])]
    return not any(each.cluster or each.weight for each in judged)


def _guaranteed(
    promise: Promise | str, settings: Evaluation, found: Measured
) -> Promise | str:
    """With the guarantee of clusters, where there are some."""
    clusters = settings.cluster or (found.settings and found.settings.cluster)
    if isinstance(promise, str) or not clusters:
        return promise
    return replace(promise, guarantee="asymptotic")


def _unknown(condition: Condition, settings: Evaluation, found: Measured) -> str:
    """Why there is no plan, and what would help."""
    said = EQUAL if _is_equal(condition, found) else UNKNOWN
    if _has_spread(catalogue(settings)[condition.metric]):
        return f"{said}, or give --spread"
    noisy = condition.metric in ASKED and not condition.paired
    return f"{said}, or give --score and --noise" if noisy else said


def _is_equal(condition: Condition, found: Measured) -> bool:
    """Whether the last two models did not differ in it, be it on one slice."""
    if not condition.paired or found.counts is None or found.settings is None:
        return False
    metric = catalogue(found.settings).get(condition.metric)
    groups = [each for each in _groups(condition, found.counts) if each.paired]
    return metric is not None and any(_error(metric, g, ROLES) == 0 for g in groups)


def _stated(
    condition: Condition, setting: Setting, given: Given, found: Measured
) -> Promise | str:
    """From a score, as given or as last measured, and its noise."""
    score = _first(given.score, found.scores.get(condition.metric), -1.0)
    if score < 0:
        return f"no {condition.metric} is known: give --score, or run interlock eval"
    return planning.against_number(setting, condition.bound, score, given.noise)


def _has_spread(metric: Metric) -> bool:
    """Whether --spread says all that there is to know of its rows."""
    return isinstance(metric, Mean) and not (metric.root or metric.exact)


def _groups(condition: Condition, counts: Counts) -> list[Group]:
    if not condition.per:
        return [counts.whole]
    return [*counts.per(condition.per).values()]


def _error(metric: Metric, group: Group, roles: Sequence[Role]) -> float:
    """Its standard error; 0 where two models differ by rounding alone."""
    error = metric.error(group, roles)
    return 0.0 if error <= ROUNDING * metric.error(group, ROLES[:1]) else error


def _rows(condition: Condition, metric: Metric, group: Group) -> Rows | None:
    """What the last evaluation's rows say of a gate; None where that is nothing."""
    if condition.paired and not group.paired:
        return None
    roles = ROLES if condition.paired else ROLES[:1]
    sample = metric.gain(group) if condition.paired else None
    sample = sample or metric.sample(group, "candidate")
    error = _error(metric, group, roles)
    if sample is None or not (error > 0 or isinstance(sample, Proportion)):
        return None
    return Rows(
        *(sample, error, group.rows, condition.paired),
        *(condition.share, condition.higher, is_asymptotic(sample)),
    )


def _spread(
    condition: Condition, setting: Setting, given: Given, settings: Evaluation
) -> Rows | str:
    """Rows of a stated spread: of their numbers, or of what they differ by."""
    metric = catalogue(settings)[condition.metric]
    if not isinstance(metric, Mean) or not _has_spread(metric):
        return f"--spread is for means of rows, which {condition.metric} is not"
    score = None if condition.paired else given.score
    if score is None and not condition.paired:
        return "give --score as well, what the model scores now"
    rows, spread = setting.rows, _first(given.spread, 0.0)
    sample = metric.imagined(rows, spread, score, bool(settings.cluster))
    return Rows(
        *(sample, spread / sqrt(rows), rows, condition.paired),
        *(condition.share, condition.higher, is_asymptotic(sample)),
    )


def _of(
    found: Sequence[Rows], condition: Condition, setting: Setting, times: float = 1.0
) -> Promise:
    """The promise of a gate on each of these, which share its level: all must pass."""
    promises = []
    for known in found:
        rows = max(round(known.rows * times), 1)
        own = replace(setting, rows=rows, gates=setting.gates * len(found))
        promise = planning.from_rows(own, condition.least, known)
        promises.append(promise.of_more(setting.rows / rows))
    widest = max(promises, key=lambda each: inf if each.width is None else each.width)
    if len(promises) == 1:
        return widest
    needed = [each.rows_to_pass or 0 for each in promises]
    whole = round(setting.rows / times)
    to_pass = min(needed) and planning.rows_for_all(
        setting, condition.least, found, whole, max(needed)
    )
    passes = prod(each.passes for each in promises)
    return replace(widest, passes=passes, rows_to_pass=to_pass or None)


def _latency(setting: Setting, bound: float, ratios: Sequence[float]) -> Promise:
    """Of as many pairs, as many of which are within the bound as were last time."""
    within = sum(each <= bound for each in ratios) / len(ratios)
    own = replace(setting, rows=len(ratios))
    low, high = Ratios(tuple(ratios)).interval(2 * setting.level)
    passes = planning.against_number(own, 0.5, within).passes
    width = (high - low) / 2
    return Promise(passes, width if isfinite(width) else None)


def _slices(
    condition: Condition, setting: Setting, given: Given, found: Measured
) -> Sequence[int]:
    """The rows of each slice; of equal size where they were not counted."""
    if not condition.per:
        return ()
    if given.slices is None and condition.per in found.slices:
        times = setting.rows / (found.rows or setting.rows)
        return [max(round(n * times), 1) for n in found.slices[condition.per]]
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
        asked = plan.conditions[gate]
        said = [promise] if isinstance(promise, str) else _said(promise, asked)
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


def _said(promise: Promise, asked: Condition) -> list[str]:
    share = asked.share
    half, most = (f"{100 * power:.0f} %" for power in POWERS)
    said = [
        (
            "can promise nothing over all uses: too few rows"
            if promise.width is None
            else f"can promise +-{_amount(promise.width, share)} over all uses"
        ),
        f"PASS for a model as good as now: {100 * promise.passes:.0f} % of the time",
    ]
    if promise.drops:
        first, second = (_amount(drop, share) for drop in promise.drops)
        said.append(
            f"FAIL on one use: {half} of the time for a "
            f"{'drop' if asked.higher else 'rise'} of {first}, "
            f"{most} for {second.split()[0]}"
        )
    if promise.rows_to_pass:
        said.append(f"that PASS {most} of the time needs {promise.rows_to_pass:,} rows")
    if promise.rows_to_find:
        said.append(
            f"that FAIL {most} of the time for {_amount(promise.find, share)} needs "
            f"{promise.rows_to_find:,} rows"
        )
    said.append(f"{FORECAST[promise.forecast]}; {GUARANTEE[promise.guarantee]}")
    return said + [f"warning: {each.text}" for each in promise.cautions]


FORECAST = {
    "exact": "forecast by the exact test",
    "normal": "forecast by the normal curve, at the spread that is known",
}
GUARANTEE = {
    "every size": "the gate's chances hold at every number of rows",
    "asymptotic": "the gate's chances hold in the limit of many rows",
}


def _amount(value: float, share: bool) -> str:
    number = f"{100 * value if share else value:.2g}"
    if not share:
        return number
    return f"{number} point" if number == "1" else f"{number} points"
