"""summary.md and report.html: what metrics.json holds, for people.

Both show the numbers of the record and compute none, so that they cannot differ from
it; in the page each stands in a <data> element with all its digits. Names and values
come from data and are hostile until escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import inf
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from interlock.evaluation import charts, wording
from interlock.evaluation.intervals import Interval

Record = Mapping[str, Any]

SHOWN = 50  # slices of a column in the report's table; metrics.json has them all
NAMED = 10  # slices in a sentence, or in the list of the worst
# Told by who has them.
LATER = dict.fromkeys(("latency", "budget", "watch", "self_test"))
SYMBOLS = {"PASS": "✓", "FAIL": "✕", "UNKNOWN": "?", "NO_PRODUCTION": "–"}


def html(metrics: Record) -> str:
    """report.html: one file that needs no other, without a script."""
    page = _environment(autoescape=True).get_template("report.html.j2")
    watch = metrics.get("watch")
    columns: dict[str, list[Record]] = {}
    for each in metrics["slices"]:
        columns.setdefault(each["column"], []).append(each)
    text: str = page.render(
        {**LATER, **metrics},
        headline=headline(metrics),
        symbols=SYMBOLS,
        states=Counter(gate["state"] for gate in metrics["gates"]),
        strips=[_gate_strip(gate, metrics) for gate in metrics["gates"]],
        charts=charts.charts(metrics),
        trend=charts.trend(watch) if watch and watch["trend"] else None,
        confusion=_confusion(metrics),
        classes=_classes(metrics),
        columns=columns,
        worst=_worst(metrics["slices"]),
        leading=metrics["metrics"][0],
        shown=SHOWN,
        named=NAMED,
    )
    return text


def markdown(metrics: Record) -> str:
    """summary.md, for a job's summary page."""
    page = _environment(autoescape=False).get_template("summary.md.j2")
    text: str = page.render(
        {**LATER, **metrics},
        headline=headline(metrics),
        worst=_worst(metrics["slices"])[:NAMED],
        leading=metrics["metrics"][0],
    )
    return text


def headline(metrics: Record) -> str:
    """The sentence of the gate that decided, for whoever reads one line only.

    Of those that pass, the first against production on the whole; of those that are
    unknown, the one that lacks most rows.
    """
    deciding = [gate for gate in metrics["gates"] if gate["state"] == metrics["state"]]
    if metrics["state"] != "FAIL":
        deciding.sort(key=_rank)
    if not deciding:  # such as all of them against a production that there is not
        deciding = metrics["gates"]
    gate = deciding[0]
    said = reason(gate)
    titles = {each["name"]: each["title"] for each in metrics["metrics"]}
    if title := titles.get(gate["metric"]):
        said = re.sub(rf"^{re.escape(gate['metric'])}\b", lambda _: title, said)
    more = len(deciding) - 1 if metrics["state"] == "FAIL" else 0
    if more:
        said += f"; {more} more gate{'s' * (more > 1)} failed"
    return capital(said) + "."


def capital(text: str) -> str:
    """`text` from a capital letter on; the rest of it stays as it is.

    >>> capital("ROC AUC is a b"), capital("a B")
    ('ROC AUC is a b', 'A B')
    """
    return text[:1].upper() + text[1:]


def reason(gate: Record) -> str:
    """The sentence of a gate, without its state."""
    sentence: str = gate["sentence"]
    return sentence.removeprefix(f"{gate['state']}: ")


def _rank(gate: Record) -> tuple[bool, float, bool, bool]:
    """The first says most: what blocks, lacks most rows, is paired, is on the whole."""
    lacks = inf if gate["state"] == "UNKNOWN" else 0
    lacks = gate["further_rows"] or lacks
    paired, whole = gate["against_production"], not gate["per"]
    return gate["on_unknown"] != "block", -lacks, not paired, not whole


def _gate_strip(gate: Record, metrics: Record) -> str:
    """Of a gate on the whole: its interval, its bound, and the side that is fine."""
    if gate["per"] or not gate["findings"]:
        return ""
    better = {each["name"]: each["better"] for each in metrics["metrics"]}
    (number,) = gate["findings"]
    scale = charts.scale([number], gate["bound"], room=0.25)
    side = better.get(gate["metric"], "lower")
    return charts.strip(number, scale, side)


def strips(slices: Sequence[Record], key: str, mark: float, fine: str) -> list[str]:
    """The numbers of these slices as bars on one scale."""
    numbers = [each[key] for each in slices]
    scale = charts.scale(numbers, mark)
    return [charts.strip(number, scale, fine) for number in numbers]


def _worst(slices: Sequence[Record]) -> list[Record]:
    """The slices with evidence of harm, of every column, the strongest first."""
    found = [each for each in slices if each["suspect"]]
    return sorted(found, key=lambda each: each["harm"])


def _confusion(metrics: Record) -> Record | None:
    """The classes, and each model's rows by the truth and by what it called them."""
    whole = metrics["whole"]
    models = [role for role in ("candidate", "production") if whole[role]]
    found = {role: whole[role].get("confusion") for role in models}
    if not found["candidate"]:
        return None
    names = metrics["settings"]["classes"] or ("negative", "positive")
    if metrics["settings"]["task"] == "binary":
        cells = {role: [*each.values()] for role, each in found.items()}
        found = {role: [each[:2], each[2:]] for role, each in cells.items()}
    return {"names": names, "wide": len(names) > charts.CLASSES, **found}


def _classes(metrics: Record) -> dict[str, list[Record]]:
    """The metrics of single classes, by class."""
    found: dict[str, list[Record]] = {}
    for each in metrics["metrics"]:
        if each["name"].endswith("]"):
            name = each["name"].split("[", 1)[1][:-1]
            found.setdefault(name, []).append(each)
    return found


@cache  # compiling a template takes longer than filling it in
def _environment(autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("interlock.evaluation", "."),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        score=score,
        told=told,
        ends=ends,
        gain=gain,
        cell=cell,
        reason=reason,
        strips=strips,
        count=count,
        chance=wording.chance,
        name=wording.name,
        percent=wording.percent,
        glued=glued,
        capital=capital,
    )
    return environment


def count(number: float) -> str:
    """Rows, in groups of three digits.

    >>> count(10000)
    '10,000'
    """
    return f"{number:,.0f}"


def score(number: Record, share: bool = True) -> str:
    """A metric: in percent if it is a share, else as it is.

    >>> score({"value": 0.8951, "low": 0.893, "high": 0.897}), score({"value": None})
    ('89.5 %', 'undefined')
    """
    value = number["value"]
    if value is None:
        return "undefined"
    interval = _interval(number)
    return wording.value(value, interval, share) if interval else bare(value, share)


def bare(value: float, share: bool = True, sign: str = "") -> str:
    """A number without an interval, to four digits after the point if it is small.

    >>> bare(-2.48e-05, False, "+"), bare(0.25), bare(123456.0, False)
    ('-0.0000', '25.0 %', '123456')
    """
    if share:
        return f"{100 * value:{sign}.1f}" + ("" if sign else " %")
    return f"{value:{sign}.4f}" if abs(value) < 1000 else f"{value:{sign}.6g}"


def glued(sentence: str) -> str:
    """`sentence` with its percent signs on the line of their numbers."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def gain(pair: Record, share: bool = True) -> str:
    """A change from production, in points if it is of a share, with its sign."""
    if pair["value"] is None:
        return "undefined"
    interval, say = _interval(pair), wording.points if share else wording.plain
    return (
        say(pair["value"], interval, "+")
        if interval
        else bare(pair["value"], share, "+")
    )


def told(number: Record, share: bool = True, sign: str = "") -> str:
    """A metric, or with a sign a change, and its interval in brackets.

    >>> told({"value": 0.8951, "low": 0.893, "high": 0.897}), told({"value": None})
    ('89.5 % (89.3 to 89.7)', 'undefined')
    """
    said = gain(number, share) if sign else score(number, share)
    ends = span(number, sign, share) if number["value"] is not None else ""
    return f"{said} ({ends})" if ends else said


def span(number: Record, sign: str = "", share: bool = True) -> str:
    """Both ends of a number's interval, or nothing."""
    return " to ".join(text for _, text in ends(number, sign, share))


def ends(number: Record, sign: str = "", share: bool = True) -> list[tuple[float, str]]:
    """Both ends of a number's interval, each with how it is shown; or none."""
    interval = _interval(number)
    if not interval:
        return []
    return [(end, wording.end(end, interval, sign, share)) for end in interval]


def _interval(number: Record) -> Interval | None:
    low, high = number.get("low"), number.get("high")
    return None if low is None or high is None else Interval(low, high)


def cell(text: object) -> str:
    """`text` inert within a Markdown table: neither markup, nor HTML, nor a new cell.

    >>> print(cell("a|b <i> *c*"))
    a\\|b &lt;i&gt; \\*c\\*
    """
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", line)
