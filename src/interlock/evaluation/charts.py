"""The report's plots, as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlock.evaluation import wording
from interlock.evaluation.gates import LEVEL
from interlock.evaluation.metrics import BINS, Counts, Scores

# Drawn in these colours, which no plot needs, and then given the page's.
INK, CANDIDATE, PRODUCTION = "#000001", "#000002", "#000003"
PAGE = {
    INK: "currentColor",
    CANDIDATE: "var(--candidate)",
    PRODUCTION: "var(--production)",
}
STYLE = {
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
    "text.color axes.labelcolor axes.edgecolor xtick.color ytick.color "
    "grid.color".split(),
    INK,
)
SHOWN = 20  # slices in one plot: the worst and, if there is room, the rest
COARSE = 50  # bins that are shown of a score histogram


@dataclass(frozen=True)
class Chart:
    """A plot, what it shows, and what someone who cannot see it should know."""

    title: str
    svg: Markup


def charts(metrics: Mapping[str, Any], counts: Counts) -> list[Chart]:
    """Every plot of the report."""
    models = [("candidate", CANDIDATE, counts.candidate)]
    if counts.production is not None:
        models.append(("production", PRODUCTION, counts.production))
    general = [
        _roc(metrics["whole"], models),
        _calibration(models),
        _distribution(models),
    ]
    columns = dict.fromkeys(each["column"] for each in metrics["slices"])
    return general + [_slices(column, metrics) for column in columns]


Models = Sequence[tuple[str, str, Scores]]


@contextmanager
def _drawing(height: float = 3.2) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that our font lacks: the browser's fonts have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(4.8, height), layout="constrained")
        yield figure, figure.add_subplot()


def _roc(whole: Mapping[str, Any], models: Models) -> Chart:
    with _drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=1)
        for name, colour, scores in models:
            axes.plot(*scores.roc(), color=colour, label=name)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend(loc="lower right")
        areas = [f"{n} {_rounded(whole[n]['roc_auc']['value'])}" for n, _, _ in models]
        alternative = f"Curves over the diagonal of chance. Area: {', '.join(areas)}."
        return Chart("ROC", _svg(figure, "roc", alternative))


def _calibration(models: Models) -> Chart:
    with _drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=1)
        said = []
        for name, colour, scores in models:
            means, hits = scores.calibration()
            rates = np.array([hit.estimate for hit in hits])
            ends = np.array([hit.interval(1 - LEVEL) for hit in hits])
            axes.fill_between(means, *ends.T, color=colour, alpha=0.15, linewidth=0)
            axes.plot(means, rates, color=colour, marker="o", markersize=3, label=name)
            far = int(np.argmax(np.abs(rates - means)))
            said.append(f"{name} says {means[far]:.2f} where {rates[far]:.2f} are")
        axes.set(xlabel="predicted probability", ylabel="share that is positive")
        axes.legend(loc="upper left")
        alternative = f"Farthest from the diagonal: {'; '.join(said)}."
        return Chart("Calibration", _svg(figure, "calibration", alternative))


def _distribution(models: Models) -> Chart:
    with _drawing() as (figure, axes):
        edges = np.linspace(0, 1, COARSE + 1)
        for name, colour, scores in models:
            coarse = scores.histogram.reshape(2, COARSE, BINS // COARSE).sum(axis=2)
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
        means = [f"{name}: {_means(scores)}" for name, _, scores in models]
        alternative = f"Mean probability by label. {'. '.join(means)}."
        return Chart("Scores by label", _svg(figure, "scores", alternative))


def _means(scores: Scores) -> str:
    """The mean probability of the negatives and of the positives."""
    centres = (np.arange(BINS) + 0.5) / BINS
    rows = np.maximum(scores.histogram.sum(axis=1), 1)
    negative, positive = scores.histogram @ centres / rows
    return f"{positive:.2f} where it is 1, {negative:.2f} where it is 0"


def _slices(column: str, metrics: Mapping[str, Any]) -> Chart:
    """The gain of each slice over production, or its accuracy if there is none."""
    found = [each for each in metrics["slices"] if each["column"] == column]
    key = "pair" if metrics["production"] else "candidate"
    shown = found[:SHOWN]
    with _drawing(height=1.1 + 0.24 * len(shown)) as (figure, axes):
        _forest(axes, shown, key)
        whole = metrics["whole"]
        centre = 0 if key == "pair" else 100 * whole["candidate"]["accuracy"]["value"]
        axes.axvline(centre, color=INK, alpha=0.4, linewidth=1)
        what = "points above production" if key == "pair" else "accuracy in %"
        axes.set_xlabel(f"{what} ({wording.percent(LEVEL)} interval)")
        title = f"Accuracy per {wording.name(column)}"
        if key == "pair":
            title += " against production"
        if len(found) > SHOWN:
            title += f": the worst {SHOWN} of {len(found)}"
        least = wording.name(shown[0]["value"])
        number = wording.points(shown[0][key]["value"], sign="+" * (key == "pair"))
        alternative = f"{len(shown)} slices from the worst, {least} ({number}), down."
        place = list(metrics["settings"]["slices"]).index(column)
        return Chart(title, _svg(figure, f"slices-{place}", alternative))


def _forest(axes: Axes, shown: Sequence[Mapping[str, Any]], key: str) -> None:
    """A dot and an interval for each slice, the first on top."""
    values = np.array([[each[key][end] for end in ENDS] for each in shown]) * 100
    rows = np.arange(len(shown))
    axes.hlines(rows, values[:, 0], values[:, 2], color=CANDIDATE, linewidth=1.5)
    axes.plot(values[:, 1], rows, "o", color=CANDIDATE, markersize=4)
    axes.set_yticks(rows, [wording.name(each["value"]) for each in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)


ENDS = ("low", "value", "high")


def _rounded(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _svg(figure: Figure, name: str, alternative: str) -> Markup:
    """The figure as an <svg> element for a page: sized by it, in its colours."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    whole = buffer.getvalue()
    opening, rest = whole[whole.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box, "Matplotlib writes a viewBox"
    label = escape(alternative)
    # Ids are made unique within the page, for every figure numbers its own from 1.
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", rest)
    for drawn, seen in PAGE.items():
        rest = rest.replace(drawn, seen)
    return Markup(f'<svg role="img" aria-label="{label}" {box[0]}>{rest}')
