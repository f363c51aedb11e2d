"""The report's plots, as SVG that takes its colours from the page around it."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlock.evaluation import wording
from interlock.evaluation.gates import LEVEL
from interlock.evaluation.counts import Counts
from interlock.evaluation.curves import CENTRES, Scores

# Drawn in these colours, which no plot needs, and then given the page's.
INK, CANDIDATE, PRODUCTION = "#000001", "#000002", "#000003"
PAGE = {
    INK: "currentColor",
    CANDIDATE: "var(--candidate)",
    PRODUCTION: "var(--production)",
}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it scales, and can be read out
    "svg.hashsalt": "interlock",  # the same numbers, the same bytes
    "text.parse_math": False,  # a slice may be called "$x"
    "font.family": ["sans-serif"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
} | dict.fromkeys(
    ("text.color", "grid.color", "xtick.color", "ytick.color")
    + ("axes.labelcolor", "axes.edgecolor"),
    INK,
)
SHOWN = 20  # slices in one plot: the worst and, if there is room, the rest
COARSE = 25  # bins that are shown of a score histogram


@dataclass(frozen=True)
class Chart:
    """A plot, what it shows, and what someone who cannot see it should know."""

    title: str
    svg: str  # safe: what it names is escaped


def charts(metrics: Mapping[str, Any], counts: Counts) -> list[Chart]:
    """Every plot of the report."""
    whole, models = counts.whole, list[Drawn]()
    if whole.production is not None:  # first, so that the candidate is on top
        models.append(Drawn("production", PRODUCTION, "--", whole.production))
    if whole.candidate is not None:
        models.append(Drawn("candidate", CANDIDATE, "-", whole.candidate))
    general = []
    if models:
        general = [_roc(metrics["whole"], models)]
        general += [_calibration(models), _distribution(models)]
    columns = dict.fromkeys(each["column"] for each in metrics["slices"])
    return general + [_slices(column, metrics) for column in columns]


class Drawn(NamedTuple):
    """One model of a plot, told apart by colour and, without colours, by dashes."""

    name: str
    colour: str
    dashes: str
    scores: Scores


@contextmanager
def _drawing(height: float = 3.2) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that our font lacks: the browser's fonts have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(4.8, height), layout="constrained")
        yield figure, figure.add_subplot()


def _roc(whole: Mapping[str, Any], models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=1)
        areas = [f"{m.name} {_rounded(whole[m.name]['roc_auc'])}" for m in models]
        for (_, colour, dashes, scores), area in zip(models, areas, strict=True):
            axes.plot(*scores.roc(), dashes, color=colour, label=area)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend(loc="lower right", title="area")
        alternative = f"Curves over the diagonal of chance. Area: {', '.join(areas)}."
        return Chart("ROC", _svg(figure, "roc", alternative))


def _calibration(models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=1)
        said = []
        for name, colour, dashes, scores in models:
            means, hits = scores.calibration()
            rates = np.array([hit.estimate for hit in hits])
            ends = np.array([hit.interval(1 - LEVEL) for hit in hits])
            axes.fill_between(means, *ends.T, color=colour, alpha=0.15, linewidth=0)
            axes.plot(means, rates, f"o{dashes}", color=colour, ms=3, label=name)
            far = int(np.argmax(np.abs(rates - means)))
            said.append(f"{name} says {means[far]:.2f} where {rates[far]:.2f} are")
        axes.set(xlabel="predicted probability", ylabel="share that is positive")
        axes.legend(loc="upper left")
        alternative = f"Farthest from the diagonal: {'; '.join(said)}."
        return Chart("Calibration", _svg(figure, "calibration", alternative))


def _distribution(models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        edges = np.linspace(0, 1, COARSE + 1)
        for name, colour, _, scores in models:
            coarse = scores.coarse(COARSE)
            for label, style in ((1, "-"), (0, ":")):
                axes.stairs(
                    coarse[label] / max(coarse[label].sum(), 1),
                    edges,
                    color=colour,
                    linestyle=style,
                    linewidth=1.5,
                    label=f"{name}, label {label}",
                )
        axes.set(xlabel="predicted probability", ylabel="share of the label's rows")
        axes.legend(loc="best", fontsize=8)
        means = [f"{model.name}: {_means(model.scores)}" for model in models]
        alternative = f"Mean probability by label. {'. '.join(means)}."
        return Chart("Scores by label", _svg(figure, "scores", alternative))


def _means(scores: Scores) -> str:
    """The mean probability of the negatives and of the positives."""
    rows = np.maximum(scores.labels, 1e-300)
    negative, positive = scores.histogram @ CENTRES / rows
    return f"{positive:.2f} where it is 1, {negative:.2f} where it is 0"


def _slices(column: str, metrics: Mapping[str, Any]) -> Chart:
    """The change of each slice from production, or its metric if there is none."""
    key = "pair" if metrics["production"] else "candidate"
    leading, whole = metrics["metrics"][0], metrics["whole"]
    found = [each for each in metrics["slices"] if each["column"] == column]
    shown = [each for each in found if each[key]["value"] is not None][:SHOWN]
    scale = 100 if leading["share"] else 1
    with _drawing(height=1.1 + 0.24 * len(shown)) as (figure, axes):
        if shown:
            _forest(axes, shown, key, scale)
        own = whole["candidate"][leading["name"]]["value"]
        axes.axvline(
            0 if key == "pair" else scale * own, color=INK, alpha=0.4, linewidth=1
        )
        axes.set_xlabel(_axis(leading, key))
        title = f"{leading['title']} per {wording.name(column)}"
        if key == "pair":
            title += " against production"
        if len(found) > SHOWN:
            title += f": the worst {SHOWN} of {len(found)}"
        alternative = f"{len(shown)} slices from the worst"
        if shown:
            number = f"{scale * shown[0][key]['value']:{'+' * (key == 'pair')}.4g}"
            alternative += f", {wording.name(shown[0]['value'])} ({number}), down"
        place = list(metrics["settings"]["slices"]).index(column)
        return Chart(title, _svg(figure, f"slices-{place}", alternative + "."))


def _axis(leading: Mapping[str, Any], key: str) -> str:
    unit = "points" if leading["share"] else leading["title"]
    what = f"{leading['title']} in %" if leading["share"] else leading["title"]
    if key == "pair":
        what = f"{unit} above production"
    return f"{what} ({wording.percent(LEVEL)} interval)"


def _forest(
    axes: Axes, shown: Sequence[Mapping[str, Any]], key: str, scale: int
) -> None:
    """A dot and an interval for each slice, the first on top."""
    values = np.array([_ends(each[key]) for each in shown]) * scale
    low, middle, high = values.T
    rows = np.arange(len(shown))
    axes.hlines(rows, low, high, color=CANDIDATE, linewidth=1.5)
    axes.plot(middle, rows, "o", color=CANDIDATE, markersize=4)
    # A slice of few rows must not squeeze the others: its interval leaves the plot.
    reach = WIDEST * float(np.median(high - low))
    left = np.maximum(low, middle - reach).min()
    right = np.minimum(high, middle + reach).max()
    margin = 0.04 * (right - left) or 1.0
    axes.set_xlim(left - margin, right + margin)
    axes.set_yticks(rows, [wording.name(each["value"]) for each in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)


def _ends(number: Mapping[str, Any]) -> tuple[float, float, float]:
    """Low, value and high; the value itself where there is no interval."""
    value = number["value"]
    low, high = (number.get(end) for end in ("low", "high"))
    return value if low is None else low, value, value if high is None else high


WIDEST = 3  # of an interval that is shown whole, in median widths


def _rounded(number: Mapping[str, Any]) -> str:
    return "undefined" if number["value"] is None else f"{number['value']:.3f}"


def _svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an <svg> element for a page: sized by it, in its colours."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    whole = buffer.getvalue()
    opening, rest = whole[whole.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box, "Matplotlib writes a viewBox"
    label = html.escape(alternative)
    # Ids are made unique within the page, for every figure numbers its own from 1.
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", rest)
    for drawn, seen in PAGE.items():
        rest = rest.replace(drawn, seen)
    return f'<svg role="img" aria-label="{label}" {box[0]}>{rest}'
