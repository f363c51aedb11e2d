"""summary.md and report.html: what metrics.json holds, for people.

Both show the numbers of the record and compute none, so that they cannot differ from
it. Names and values come from data and are hostile until escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from interlock.evaluation import wording
from interlock.evaluation.charts import charts
from interlock.evaluation.intervals import Interval
from interlock.evaluation.counts import Counts

Record = Mapping[str, Any]

SHOWN = 50  # slices of a column in the report's table; metrics.json has them all


def html(metrics: Record, counts: Counts) -> str:
    """report.html: one file that needs no other, without a script."""
    page = _environment(autoescape=True).get_template("report.html.j2")
    columns: dict[str, list[Record]] = {}
    for each in metrics["slices"]:
        columns.setdefault(each["column"], []).append(each)
    text: str = page.render(
        metrics,
        charts=charts(metrics, counts),
        columns=columns,
        leading=metrics["metrics"][0],
        shown=SHOWN,
    )
    return text


def markdown(metrics: Record) -> str:
    """summary.md, for a job's summary page."""
    page = _environment(autoescape=False).get_template("summary.md.j2")
    text: str = page.render(metrics, leading=metrics["metrics"][0])
    return text


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
        span=span,
        gain=gain,
        cell=cell,
        name=wording.name,
        percent=wording.percent,
        glued=glued,
    )
    return environment


def score(number: Record, share: bool = True) -> str:
    """A metric: in percent if it is a share, else as it is.

    >>> score({"value": 0.8951, "low": 0.893, "high": 0.897}), score({"value": None})
    ('89.5 %', 'undefined')
    """
    value = number["value"]
    if value is None:
        return "undefined"
    return wording.value(value, _interval(number), share)


def glued(sentence: str) -> str:
    """`sentence` with its percent signs on the line of their numbers."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def gain(pair: Record, share: bool = True) -> str:
    """A change from production, in points if it is of a share, with its sign."""
    if pair["value"] is None:
        return "undefined"
    say = wording.points if share else wording.plain
    return say(pair["value"], _interval(pair), "+")


def span(number: Record, sign: str = "", share: bool = True) -> str:
    """Both ends of a number's interval, or nothing."""
    interval = _interval(number)
    return wording.span(interval, sign, share) if interval else ""


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
