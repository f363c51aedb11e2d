"""The report's plots: SVG that takes its colours from the page around it.

They show what metrics.json holds, and say in numbers what they show. Production is a
wide pale stroke and the candidate a thin one on top of it, so that equal models are
both seen, and without colours as well.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from interlock.evaluation import wording

Record = Mapping[str, Any]

# Drawn in these colours, which no plot needs, and then given the page's.
INK, CANDIDATE, PRODUCTION, ALARM = "#000001", "#000002", "#000003", "#000004"
PAGE = {
    INK: "currentColor",
    CANDIDATE: "var(--candidate)",
    PRODUCTION: "var(--production)",
    ALARM: "var(--fail)",
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
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "butt",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
} | dict.fromkeys(
    ("text.color", "grid.color", "xtick.color", "ytick.color")
    + ("axes.labelcolor", "axes.edgecolor"),
    INK,
)


@dataclass(frozen=True)
class Chart:
    """A plot, its title, and in numbers what it shows."""

    name: str  # the start of every id in it
    title: str
    says: str
    svg: str  # safe: what it names is escaped


class Drawn(NamedTuple):
    """One model of a plot, told apart by colour and, without colours, by its stroke."""

    name: str
    stroke: Mapping[str, Any]
    curves: Record
    metrics: Record


STROKES: Mapping[str, Mapping[str, Any]] = {  # from the back to the front
    "production": {"color": PRODUCTION, "linewidth": 6, "alpha": 0.45},
    "candidate": {"color": CANDIDATE, "linewidth": 1.6},
}


def charts(metrics: Record) -> list[Chart]:
    """The plots of a task; where nothing was counted for them there is none."""
    curves = metrics["curves"] or {}
    models = [
        Drawn(name, stroke, curves[name], metrics["whole"][name])
        for name, stroke in STROKES.items()
        if name in curves
    ]
    task = metrics["settings"]["task"]
    if task == "multiclass":
        return _of_classes(metrics)
    if not models:
        return []
    if task == "regression":
        return [_answers(models), _errors(models), _mean_errors(models)]
    if task == "ranking":
        return [_queries(models, metrics["settings"]["top_k"]), _places(models)]
    share = metrics["whole"]["positives"] / metrics["rows"]
    return [
        _roc(models),
        _precision_recall(models, share),
        _calibration(models),
        _distribution(models),
    ]


@contextmanager
def _drawing(width: float = 4.8, height: float = 3.4) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that our font lacks: the browser's fonts have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def _legend(axes: Axes, place: str) -> None:
    """The candidate first."""
    axes.legend(*_front_first(axes), loc=place)


def _front_first(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles[::-1], labels[::-1]


def _areas(models: Sequence[Drawn], metric: str) -> dict[str, str]:
    return {each.name: _rounded(each.metrics[metric]) for each in models}


def _said(numbers: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {number}" for name, number in reversed([*numbers.items()])
    )


def _roc(models: Sequence[Drawn]) -> Chart:
    areas = _areas(models, "roc_auc")
    with _drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], ":", color=INK, alpha=0.6, linewidth=1)
        for name, stroke, curves, _ in models:
            label = f"{name}, area {areas[name]}"
            axes.plot(*zip(*curves["roc"], strict=True), **stroke, label=label)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        _legend(axes, "lower right")
        says = f"Area below the curve: {_said(areas)}; chance, the diagonal, 0.5."
        return Chart("roc", "ROC", says, _svg(figure, "roc"))


def _precision_recall(models: Sequence[Drawn], share: float) -> Chart:
    areas = _areas(models, "pr_auc")
    with _drawing() as (figure, axes):
        axes.axhline(share, linestyle=":", color=INK, alpha=0.6, linewidth=1)
        for name, stroke, curves, _ in models:
            label = f"{name}, area {areas[name]}"
            points = curves["precision_recall"]
            axes.plot(*zip(*points, strict=True), **stroke, label=label)
        axes.set(xlabel="recall", ylabel="precision")
        axes.set(xlim=(-0.03, 1.03), ylim=(0, 1.03))
        _legend(axes, "lower left")
        says = f"Area below the curve: {_said(areas)}; chance, the dotted line, "
        return Chart(
            *("pr", "Precision and recall", f"{says}{share:.3f}."),
            _svg(figure, "pr"),
        )


def _calibration(models: Sequence[Drawn]) -> Chart:
    errors = _areas(models, "calibration_error")
    with _drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], ":", color=INK, alpha=0.6, linewidth=1)
        far = {}
        for model in models:
            bins = model.curves["calibration"]
            means = [each["predicted"] for each in bins]
            rates = _points(axes, model, means, [each["positive"] for each in bins])
            most = max(range(len(bins)), key=lambda k: abs(rates[k] - means[k]))
            far[model.name] = (
                f"says {means[most]:.2f} where {rates[most]:.2f} are positive"
            )
        axes.set(xlabel="predicted probability", ylabel="share that is positive")
        _legend(axes, "upper left")
        says = f"Mean distance from the diagonal: {_said(errors)}. Farthest: "
        says += f"{_said(far)}. Bars: the candidate's interval in each bin."
        return Chart("calibration", "Calibration", says, _svg(figure, "calibration"))


def _distribution(models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        low = {}
        for name, stroke, curves, _ in models:
            for sign, label in ((1, "positive"), (-1, "negative")):
                rows = np.array(curves["scores"][label])
                heights = sign * rows / max(rows.sum(), 1)
                edges = np.linspace(0, 1, len(rows) + 1)
                shown = name if sign > 0 else None
                axes.stairs(heights, edges, **stroke, label=shown, baseline=None)
                low[name, label] = rows[: len(rows) // 2].sum() / max(rows.sum(), 1)
        axes.axhline(0, color=INK, linewidth=0.8)
        limit = 1.15 * max(map(abs, axes.get_ylim()))
        axes.set(xlabel="predicted probability", ylim=(-limit, limit))
        axes.set_ylabel("of negatives, down | of positives, up")
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.2g}")
        _legend(axes, "lower right")
        said = {
            each.name: f"{low[each.name, 'negative']:.1%} of negatives and "
            f"{low[each.name, 'positive']:.1%} of positives".replace("%", " %")
            for each in models
        }
        says = f"Shares of each label's rows. Below {BELOW}: {_said(said)}."
        return Chart("scores", "Scores by label", says, _svg(figure, "scores"))


BELOW = 0.48  # the edge of a bin, of 25, that is the nearest below a half


def _answers(models: Sequence[Drawn]) -> Chart:
    with _drawing(4.8, 4.4) as (figure, axes):
        window = models[0].curves["squares"]
        low, high = window["low"], window["high"]
        axes.plot([low, high], [low, high], ":", color=INK, alpha=0.6, linewidth=1)
        for model in models:
            shares = model.curves["squares"]["shares"]
            _boxes(axes, model.name, shares, low, (high - low) / SQUARES)
        axes.set(xlabel="truth", ylabel="prediction")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        _legend(axes, "upper left")
        near = {
            name: f"{each['within_50']:.3g} and {each['within_90']:.3g}"
            for name, each in ((m.name, m.curves["errors"]) for m in models)
        }
        beyond = _shares(models, lambda each: each["squares"]["outside"])
        says = (
            "The larger a square, the more rows. A half, and nine tenths, are within "
        )
        says += f"so much of the truth: {_said(near)}. "
        says += f"Outside the plot: {beyond}."
        svg = _svg(figure, "answers")
    return Chart("answers", "Prediction and truth", says, svg)


SQUARES = 20  # a side, as `drawn` has them
SMALLEST = 0.08  # of the side of the largest square


def _boxes(
    axes: Axes, role: str, found: Sequence[Any], low: float, side: float
) -> None:
    """Squares whose areas are shares: production's hollow, the candidate's full.

    `found` has the column, the row and the share of each.
    """
    columns, rows, shares = np.array(found).T
    halves = side / 2 * np.maximum(np.sqrt(shares / shares.max()), SMALLEST) * 0.92
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    middles = low + (np.stack([columns, rows], axis=1) + 0.5) * side
    outlines = middles[:, None] + halves[:, None, None] * corners
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(outlines)
    look: Any = {"facecolor": CANDIDATE, "linewidth": 0}
    if role == "production":
        look = {"facecolor": "none", "edgecolor": PRODUCTION, "linewidth": 1.8}
        look["alpha"] = 0.6
    path = Path(outlines.reshape(-1, 2), codes)
    axes.add_patch(PathPatch(path, **look, label=role))


def _errors(models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        window = models[0].curves["errors"]
        for name, stroke, curves, _ in models:
            shares = 100 * np.array(curves["errors"]["shares"])
            edges = np.linspace(window["low"], window["high"], len(shares) + 1)
            axes.stairs(shares, edges, **stroke, label=name, baseline=None)
        axes.axvline(0, linestyle=":", color=INK, alpha=0.6, linewidth=1)
        axes.set(xlabel="prediction less truth", ylabel="% of rows")
        axes.set_ylim(0, None)
        _legend(axes, "upper right")
        middle = {m.name: f"{m.curves['errors']['median']:+.3g}" for m in models}
        beyond = _shares(models, lambda each: each["errors"]["outside"])
        says = f"The error in the middle: {_said(middle)}. Outside the plot: {beyond}."
        return Chart("errors", "Errors", says, _svg(figure, "errors"))


def _mean_errors(models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        axes.axhline(0, linestyle=":", color=INK, alpha=0.6, linewidth=1)
        far = {}
        for model in models:
            bins = model.curves["means"]
            given = [each["predicted"] for each in bins]
            means = _points(axes, model, given, [each["error"] for each in bins])
            most = max(range(len(bins)), key=lambda k: abs(means[k]))
            far[model.name] = f"{means[most]:+.3g} where it predicts {given[most]:.4g}"
        axes.set(xlabel="prediction", ylabel="mean of prediction less truth")
        _legend(axes, "best")
        says = f"Of {len(models[-1].curves['means'])} groups of like predictions, as "
        says += f"many rows in each, the farthest off: {_said(far)}. "
        says += "Bars: the candidate's intervals, asymptotic."
        svg = _svg(figure, "means")
    return Chart("means", "Mean error by prediction", says, svg)


def _points(
    axes: Axes, model: Drawn, places: Sequence[float], numbers: Sequence[Record]
) -> Sequence[float]:
    """A line through the values, with the candidate's intervals; the values."""
    low, values, high = zip(*map(_ends, numbers), strict=True)
    front = model.name == "candidate"
    if front:
        axes.vlines(places, low, high, color=CANDIDATE, linewidth=1.2)
    dots = {"marker": "o", "ms": 3.5} if front else {}
    axes.plot(places, values, **model.stroke, **dots, label=model.name)
    return values


def _queries(models: Sequence[Drawn], k: int) -> Chart:
    with _drawing() as (figure, axes):
        for name, stroke, curves, _ in models:
            shares = 100 * np.array(curves["queries"])
            edges = np.linspace(0, 1, len(shares) + 1)
            axes.stairs(shares, edges, **stroke, label=name, baseline=None)
        axes.set(xlabel=f"NDCG@{k} of the query", ylabel="% of queries")
        axes.set_ylim(0, None)
        _legend(axes, "best")
        width = 1 / len(models[-1].curves["queries"])
        worst = _shares(models, lambda each: each["queries"][0])
        best = _shares(models, lambda each: each["queries"][-1])
        says = f"Below {width:g}: {worst} of queries. {1 - width:g} or more: {best}."
        return Chart("queries", "Queries", says, _svg(figure, "queries"))


def _places(models: Sequence[Drawn]) -> Chart:
    with _drawing() as (figure, axes):
        first, last = {}, {}
        for model in models:
            places = model.curves["places"]
            numbers = [each["relevant"] for each in places]
            by = [each["place"] for each in places]
            values = _points(axes, model, by, numbers)
            first[model.name] = _percent(values[0])
            last[model.name] = _percent(values[-1])
        axes.set(xlabel="place", ylabel="share that is relevant")
        axes.set_ylim(0, None)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(axes, "best")
        says = (
            f"At place {by[0]}: {_said(first)} of the answers are relevant; at place "
        )
        says += f"{by[-1]}: {_said(last)}. Bars: the candidate's intervals."
        return Chart("places", "Relevance by place", says, _svg(figure, "places"))


LISTED = 24  # classes in a plot: those that the candidate is worst at


def _of_classes(metrics: Record) -> list[Chart]:
    whole = metrics["whole"]
    roles = [role for role in STROKES if whole[role]]
    found = []
    for kind in ("recall", "precision"):
        names = metrics["settings"]["classes"]
        numbers = {r: [whole[r][f"{kind}[{n}]"] for n in names] for r in roles}
        found.append(_by_class(kind, names, numbers))
    if CLASSES < len(names) <= MOST:
        found.append(_confusion(names, {r: whole[r]["confusion"] for r in roles}))
    return found


CLASSES = 12  # of a confusion that the report shows as a table
MOST = 60  # of one that it draws
RARE = 0.01  # of a truth's rows: a mistake that is not drawn
MISTAKES = 5  # that are named


def _confusion(
    names: Sequence[str], confusions: Mapping[str, Sequence[Sequence[int]]]
) -> Chart:
    """The truths down, the answers across: the shares of a truth's rows as squares."""
    count = len(names)
    with _drawing(4.8, 4.6) as (figure, axes):
        for role, cells in confusions.items():
            rows = np.array(cells, float)
            shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
            truth, called = np.nonzero(shares >= RARE)
            found = np.stack([called, truth, shares[truth, called]], axis=1)
            _boxes(axes, role, [*found], -0.5, 1.0)
        axes.set(xlabel="answer, by the number of the class", ylabel="truth")
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
        figure.legend(*_front_first(axes), loc="outside upper right", ncols=2)
        svg = _svg(figure, "confused")
    mine = np.array(confusions["candidate"])
    np.fill_diagonal(mine, 0)
    most = np.argsort(-mine, axis=None, kind="stable")[:MISTAKES]
    said = [
        f"{wording.name(names[truth])} called {wording.name(names[called])} "
        + _said(
            {role: f"{cells[truth][called]:,}" for role, cells in confusions.items()}
        )
        for truth, called in (divmod(int(each), count) for each in most)
        if mine[truth][called]
    ]
    says = (
        f"Classes are numbered from 0 to {count - 1}; mistakes in less than 1 % of a "
    )
    says += (
        f"truth's rows are not drawn. The most, in rows: {'; '.join(said) or 'none'}."
    )
    return Chart("confused", "Confusion", says, svg)


def _by_class(
    kind: str, names: Sequence[str], numbers: Mapping[str, Sequence[Record]]
) -> Chart:
    """A bar for each class, the lowest first; production's is wide and pale."""
    values = {
        role: [each["value"] or 0.0 for each in mine] for role, mine in numbers.items()
    }
    order = sorted(range(len(names)), key=lambda k: values["candidate"][k])[:LISTED]
    rows = np.arange(len(order))[::-1]
    with _drawing(4.8, 1.3 + 0.26 * len(order)) as (figure, axes):
        for role, mine in values.items():
            look: Any = {"height": 0.8, "alpha": 0.45, "color": PRODUCTION}
            if role == "candidate":
                look = {"height": 0.34, "color": CANDIDATE}
            axes.barh(rows, [100 * mine[k] for k in order], **look, label=role)
        low, _, high = np.array([_ends(numbers["candidate"][k]) for k in order]).T
        axes.hlines(rows, 100 * low.astype(float), 100 * high.astype(float), color=INK)
        axes.set_yticks(rows, [wording.name(names[k]) for k in order])
        axes.set(xlim=(0, 100), xlabel=f"{kind} in %")
        axes.grid(visible=False, axis="y")
        figure.legend(*_front_first(axes), loc="outside upper right", ncols=2)
        svg = _svg(figure, kind)
    lowest = order[0]
    said = {role: _percent(mine[lowest]) for role, mine in values.items()}
    says = f"The lowest: {wording.name(names[lowest])}, {_said(said)}. "
    if len(names) > LISTED:
        says += f"The {LISTED} lowest of {len(names)} classes. "
    says += "Lines: the candidate's intervals."
    return Chart(kind, f"{kind.capitalize()} by class", says, svg)


def _shares(models: Sequence[Drawn], of: Callable[[Record], float]) -> str:
    return _said({each.name: _percent(of(each.curves)) for each in models})


def trend(watch: Record) -> Chart:
    """Production night by night, and the band in which a night sounds the alarm."""
    points = watch["trend"]
    nights = np.arange(1, len(points) + 1)
    values = np.array([100 * each["value"] for each in points])
    band = np.array([100 * (each["alarm_below"] or 0.0) for each in points])
    rung = np.array([each["alarm"] for each in points])
    floor = 100 * watch["floor"]
    lowest = min(*values, floor)
    margin = 0.25 * (max(*values, floor) - lowest) or 1.0
    with _drawing(9.6, 3.0) as (figure, axes):
        # A night's band is as wide as the night: what sounded then says nothing later.
        edges = np.append(nights, len(nights) + 1) - 0.5
        bottom = lowest - margin
        axes.stairs(band, edges, fill=True, color=ALARM, alpha=0.18, baseline=bottom)
        axes.stairs(band, edges, color=ALARM, baseline=None, label="alarm below")
        axes.axhline(floor, linestyle="--", color=INK, linewidth=1, label="expected")
        axes.plot(nights, values, "o-", color=PRODUCTION, ms=4, label="production")
        if rung.any():
            axes.plot(nights[rung], values[rung], "X", color=ALARM, ms=9, label="alarm")
        axes.set_ylim(bottom, max(*values, floor) + margin)
        axes.set_xlim(edges[0], edges[-1])
        axes.set(xlabel="night", ylabel=f"{watch['metric']} in %")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="lower left", ncols=4)
        svg = _svg(figure, "trend")
    return Chart("trend", "Production night by night", _trend_says(watch), svg)


def _trend_says(watch: Record) -> str:
    points = watch["trend"]
    first, last = points[0], points[-1]
    values = [each["value"] for each in points]
    below = last["alarm_below"]
    rung = sum(each["alarm"] for each in points)
    return (
        f"{len(points)} nights from {first['judged'][:10]} to {last['judged'][:10]}: "
        f"{watch['metric']} from {_percent(min(values))} to {_percent(max(values))}, "
        f"on the last {_percent(last['value'])}; expected {_percent(watch['floor'])}. "
        + ("No night could sound yet" if below is None else "The last sounds below ")
        + ("" if below is None else _percent(below))
        + f"; under alarm on {rung} nights."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _ends(number: Record) -> tuple[float, float, float]:
    """Low, value and high; the value itself where there is no interval."""
    value = number["value"]
    low, high = (number.get(end) for end in ("low", "high"))
    return value if low is None else low, value, value if high is None else high


def _rounded(number: Record) -> str:
    return "undefined" if number["value"] is None else f"{number['value']:.3f}"


def _svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page: sized by it, in its colours.

    Elements of the ids `name`-title and `name`-says are what it is called.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Figure.savefig writes the same, and draws it twice.
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    whole = buffer.getvalue()
    opening, rest = whole[whole.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box, "Matplotlib writes a viewBox"
    # Ids are made unique within the page, for every figure numbers its own from 1.
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", rest)
    for drawn, seen in PAGE.items():
        rest = rest.replace(drawn, seen)
    called = f'aria-labelledby="{name}-title {name}-says"'
    return f'<svg role="img" {called} {box[0]}>{rest}'


@dataclass(frozen=True)
class Scale:
    """What a row of strips spans, and the value that is marked in it."""

    low: float
    high: float
    mark: float

    def place(self, value: float) -> float:
        """Where on a strip, from 0 to its width, a value stands."""
        share = (value - self.low) / (self.high - self.low)
        return round(WIDTH * min(max(share, 0.0), 1.0), 1)


WIDTH, MIDDLE = 160, 8  # of a strip
WIDEST = 3  # of an interval that is shown whole, in median widths


def scale(numbers: Sequence[Record], mark: float, room: float = 0.06) -> Scale:
    """One that shows all the numbers, and the mark, with some room on each side.

    One with a very wide interval must not squeeze the others: it leaves the strip.
    """
    found = [_ends(each) for each in numbers if each["value"] is not None]
    low, middle, high = np.array(found or [(mark, mark, mark)]).T
    reach = WIDEST * float(np.median(high - low))
    left = min(mark, *np.maximum(low, middle - reach))
    right = max(mark, *np.minimum(high, middle + reach))
    margin = room * (right - left) or 1.0
    return Scale(float(left - margin), float(right + margin), mark)


def strip(number: Record, on: Scale, fine: str = "") -> str:
    """A number's interval as a bar, beside numbers that say the same.

    `fine` is the side of the mark, "higher" or "lower", that is shaded. Without an
    interval there is no bar.
    """
    if None in (number["value"], number.get("low"), number.get("high")):
        return ""
    low, value, high = _ends(number)
    left, dot, right, mark = (on.place(each) for each in (low, value, high, on.mark))
    parts = []
    if fine:
        start, end = (mark, WIDTH) if fine == "higher" else (0, mark)
        parts.append(f'<path class="fine" d="M{start} {MIDDLE}H{end}"/>')
    caps = "".join(
        f"M{at} {MIDDLE - 3}v6"
        for at, inside in ((left, low >= on.low), (right, high <= on.high))
        if inside
    )
    parts.append(f'<path class="mark" d="M{mark} 0v{2 * MIDDLE}"/>')
    parts.append(f'<path class="bar" d="M{left} {MIDDLE}H{right}{caps}"/>')
    parts.append(f'<circle cx="{dot}" cy="{MIDDLE}" r="3.5"/>')
    box = f'class="strip" viewBox="0 0 {WIDTH} {2 * MIDDLE}"'
    return f'<svg {box} aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
