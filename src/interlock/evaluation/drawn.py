"""What the report draws, as `curves` of metrics.json: for each model, and rounded.

Of a binary classifier its scores; of a regression how its predictions lie about the
truth; of a ranking its queries and places. Both models are drawn in the same window,
which leaves out the TAIL of all rows at either end; how much is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, TypeAlias

import numpy as np

from interlock.evaluation import ranking
from interlock.evaluation.curves import Scores
from interlock.evaluation.fits import Fit, quantile
from interlock.evaluation.gates import LEVEL
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Proportion
from interlock.evaluation.moments import Floats, totals
from interlock.evaluation.samples import student
from interlock.evaluation.tables import ROLES

Record: TypeAlias = dict[str, Any]

POINTS = 150  # of a curve: it bends less than a plot shows
COARSE = 25  # bins of a score histogram
SQUARES, BARS, MEANS = 20, 41, 20  # a side; of the errors; of the mean errors
TAIL = 0.005
ROUNDED = 5  # digits of what is only drawn


def curves(whole: Group) -> Record | None:
    """What the report draws of each model; None where there is nothing."""
    models = zip(ROLES, (whole.candidate, whole.production), strict=True)
    found: Record = {role: _of_scores(scores) for role, scores in models if scores}
    fits = {r: each for r, each in whole.plots.items() if isinstance(each, Fit)}
    if fits:
        found = _of_fits(fits, whole.is_plain)
    for role, places in whole.plots.items():
        if isinstance(places, ranking.Places):
            found[role] = _of_places(places, whole.is_plain)
    return found or None


def finite(value: float) -> float | None:
    """`value` for JSON."""
    return value if isfinite(value) else None


def _of_scores(scores: Scores) -> Record:
    false, true = scores.roc()
    negatives, positives = scores.labels
    called = false * negatives + true * positives
    some = called > 0
    precision = true[some] * positives / called[some]
    low, high = scores.coarse(COARSE)
    return {
        "roc": _thinned(false, true, (false + true) / 2),
        "precision_recall": _thinned(true[some], precision, true[some]),
        "calibration": _calibration(scores),
        "scores": {"negative": low.tolist(), "positive": high.tolist()},
    }


def _thinned(x: Floats, y: Floats, along: Floats) -> list[list[float]]:
    """The first point in each step of `along`, which goes from 0 to 1; (m, 2)."""
    new = np.diff(np.floor(along * POINTS), prepend=-1.0) > 0
    new[-1] = True
    points: list[list[float]] = np.round(np.stack([x, y], 1)[new], ROUNDED).tolist()
    return points


def _calibration(scores: Scores) -> list[Record]:
    """The share of positives in each bin of the probability, with its interval."""
    found = []
    for predicted, hits in zip(*scores.calibration(), strict=True):
        low, high = hits.interval(1 - LEVEL)
        share = {"value": finite(hits.estimate), "low": low, "high": high}
        mean = round(float(predicted), ROUNDED)
        found.append({"predicted": mean, "rows": hits.rows, "positive": share})
    return found


def _of_fits(fits: Mapping[Any, Fit], plain: bool) -> Record:
    answers = [fit.answers for fit in fits.values()]
    shown = _window(
        (each.centres[:, axis], each.sums[:, 0]) for each in answers for axis in (0, 1)
    )
    errors = [fit.errors for fit in fits.values()]
    low, high = _window((each.centres[:, 0], each.sums[:, 0]) for each in errors)
    about = min(low, 0.0), max(high, 0.0)
    return {
        role: {
            "squares": _squares(fit, *shown),
            "errors": _errors(fit, *about),
            "means": _means(fit, plain),
        }
        for role, fit in fits.items()
    }


def _window(parts: Iterable[tuple[Floats, Floats]]) -> tuple[float, float]:
    """What these values, by their weights, lie between, but for TAIL on each side."""
    values, weights = map(np.concatenate, zip(*parts, strict=True))
    low, high = (quantile(values, weights, share) for share in (TAIL, 1 - TAIL))
    room = 0.02 * (high - low) or max(abs(low), 1.0) / 100
    return low - room, high + room


def _squares(fit: Fit, low: float, high: float) -> Record:
    """The share of rows in each square of truth (column) and prediction (row)."""
    weights = fit.answers.sums[:, 0]
    place = np.floor((fit.answers.centres - low) * (SQUARES / (high - low)))
    inside = ((place >= 0) & (place < SQUARES)).all(axis=1)
    code = (place[inside] @ [SQUARES, 1]).astype(np.int64)
    shares = np.bincount(code, weights[inside], SQUARES**2) / weights.sum()
    return {
        "low": low,
        "high": high,
        "shares": [
            [*divmod(each, SQUARES), _round(shares[each])]
            for each in np.flatnonzero(shares).tolist()
        ],
        "outside": _round(1 - shares.sum()),
    }


def _errors(fit: Fit, low: float, high: float) -> Record:
    """The shares of rows by error, and within what error of the truth they are."""
    values, weights = fit.errors.centres[:, 0], fit.errors.sums[:, 0]
    bars, _ = np.histogram(values, BARS, (low, high), weights=weights)
    shares = bars / weights.sum()
    within = {
        f"within_{percent}": quantile(np.abs(values), weights, percent / 100)
        for percent in (50, 90)
    }
    return {
        "low": low,
        "high": high,
        "shares": np.round(shares, ROUNDED).tolist(),
        "outside": _round(1 - shares.sum()),
        "median": quantile(values, weights, 0.5),
        **within,
    }


def _means(fit: Fit, plain: bool) -> list[Record]:
    """The mean error among rows of like predictions, as many in each group."""
    places, of = np.unique(fit.answers.places[:, 1], return_inverse=True)
    sums = totals(fit.answers.sums, of, len(places))
    reached = np.cumsum(sums[:, 0]) - sums[:, 0] / 2
    group = np.floor(reached / sums[:, 0].sum() * MEANS).astype(np.int64)
    found = []
    for weight, given, error, square in totals(sums, group, MEANS):
        if weight:
            mean = error / weight
            spread = max(square - error * mean, 0.0) / max(weight - 1, 1)
            reach = student(spread, round(weight), (1 - LEVEL) / 2) if plain else np.inf
            ends = {"low": finite(mean - reach), "high": finite(mean + reach)}
            number = {"value": mean, **ends}
            found.append({"predicted": given / weight, "rows": weight, "error": number})
    return found


def _of_places(found: ranking.Places, plain: bool) -> Record:
    """The shares of queries by their NDCG, and what is relevant at each place."""
    places = []
    columns = zip(found.asked.tolist(), found.relevant.tolist(), strict=True)
    for place, (asked, relevant) in enumerate(columns, 1):
        if asked:
            share: Record = {"value": relevant / asked}
            if plain:
                hits = Proportion(round(relevant), round(asked))
                share |= hits.interval(1 - LEVEL)._asdict()
            places.append({"place": place, "queries": asked, "relevant": share})
    shares = found.queries / found.queries.sum()
    return {"queries": np.round(shares, ROUNDED).tolist(), "places": places}


def _round(value: float) -> float:
    return round(float(value), ROUNDED)
