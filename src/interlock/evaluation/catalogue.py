"""The catalogue: the metrics of each kind of task, by their names in a gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import log, nan
from typing import Any

import numpy as np

from interlock.config import Evaluation
from interlock.errors import BadConfiguration
from interlock.evaluation import ranking
from interlock.evaluation.batch import Batch
from interlock.evaluation.group import Group
from interlock.evaluation.intervals import Interval, Proportion
from interlock.evaluation.metrics import (
    UNIT,
    Area,
    Features,
    Fraction,
    Mean,
    Metric,
    quotient,
)
from interlock.evaluation.moments import Floats, Integers
from interlock.evaluation.samples import ANY, Dice
from interlock.evaluation.tables import Role


def _accuracy(label: Integers, called: Integers, _: int) -> tuple[Any, Any]:
    return label == called, np.True_


def _precision(label: Integers, called: Integers, k: int) -> tuple[Any, Any]:
    return (label == k) & (called == k), called == k


def _recall(label: Integers, called: Integers, k: int) -> tuple[Any, Any]:
    return (label == k) & (called == k), label == k


def _f1(label: Integers, called: Integers, k: int) -> tuple[Any, Any]:
    """2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall."""
    both = (label == k) & (called == k)
    return 2 * both.astype(np.int64), (label == k) + (called == k).astype(np.int64)


def _fraction(name: str, title: str, features: Features, *classes: int) -> Fraction:
    exact = _of_hits if features is _f1 else Proportion
    shared = features in (_accuracy, _recall)
    return Fraction(
        name, title, True, True, "", features, classes or (1,), exact, shared
    )


def _of_hits(twice: int, den: int) -> Dice:
    """F1 of 2 tp and 2 tp + fp + fn."""
    return Dice(Proportion(twice // 2, den - twice // 2))


EPSILON = float(np.finfo(np.float64).eps)
NATS = Interval(0.0, -log(EPSILON))


def _nats(truth: Floats) -> Floats:
    """-ln of the probability given to the truth.

    An answer of exactly 0 that is wrong costs 36 nats, not infinitely many: the same
    epsilon as scikit-learn's log_loss.
    """
    return np.asarray(-np.log(np.clip(truth, EPSILON, 1 - EPSILON)))


def _log_loss(batch: Batch, role: Role) -> Floats:
    """Of the distance to the wrong answer, which is to the bit the truth's chance."""
    return _nats(np.abs(batch.predictions[role] - ~batch.labels.astype(np.bool_)))


def _brier(batch: Batch, role: Role) -> Floats:
    """(p - y) ** 2: Brier, Monthly Weather Review 78 (1950) 1."""
    return np.asarray(np.square(batch.predictions[role] - batch.labels))


NOISY = "noise alone makes it larger than 0, the more the fewer the rows"
NO_ERROR = "its error has no estimate that holds for rare positives; gate roc_auc"


def _binary(settings: Evaluation) -> list[Metric]:
    return [
        _fraction("accuracy", "Accuracy", _accuracy),
        _fraction("balanced_accuracy", "Balanced accuracy", _recall, 0, 1),
        _fraction("precision", "Precision", _precision),
        _fraction("recall", "Recall", _recall),
        _fraction("specificity", "Specificity", _recall, 0),
        _fraction("f1", "F1", _f1),
        Area("roc_auc", "ROC AUC"),
        Area("pr_auc", "PR AUC", refused=NO_ERROR, of="pr_auc"),
        Mean("log_loss", "Log loss", False, rows=_log_loss, range=NATS, tail=True),
        Mean("brier", "Brier score", False, rows=_brier, range=UNIT),
        Area(
            "calibration_error",
            "Calibration error",
            False,
            refused=NOISY + "; gate log_loss or brier",
            of="calibration_error",
        ),
    ]


def _multiclass(settings: Evaluation) -> list[Metric]:
    each = range(len(settings.classes))
    whole: list[Metric] = [
        _fraction("accuracy", "Accuracy", _accuracy),
        _fraction("balanced_accuracy", "Balanced accuracy", _recall, *each),
        _fraction("macro_f1", "Macro F1", _f1, *each),
        _fraction("micro_f1", "Micro F1", _accuracy),  # of one label each, the same
        Mean(
            *("top_k_accuracy", f"Top-{settings.top_k} accuracy", True, True),
            rows=partial(_top_k, k=settings.top_k),
            range=UNIT,
            exact=True,
        ),
        Mean(
            "log_loss", "Log loss", False, rows=_class_log_loss, range=NATS, tail=True
        ),
    ]
    return whole + [
        _fraction(f"{kind}[{name}]", f"{title} of {name}", features, place)
        for kind, title, features in (
            ("precision", "Precision", _precision),
            ("recall", "Recall", _recall),
            ("f1", "F1", _f1),
        )
        for place, name in enumerate(settings.classes)
    ]


def _top_k(batch: Batch, role: Role, k: int) -> Floats:
    """1 where fewer than k classes come before the truth, else 0.

    Of classes with the same probability the later one comes first, as in scikit-learn.
    """
    scores, labels = batch.predictions[role], batch.labels.astype(np.int64)
    truth = np.take_along_axis(scores, labels[:, None], axis=1)
    later = np.arange(scores.shape[1]) > labels[:, None]
    before = (scores > truth) | ((scores == truth) & later)
    return np.asarray(before.sum(axis=1) < k, np.float64)


def _class_log_loss(batch: Batch, role: Role) -> Floats:
    labels = batch.labels.astype(np.int64)[:, None]
    return _nats(np.take_along_axis(batch.predictions[role], labels, axis=1)[:, 0])


def _regression(settings: Evaluation) -> list[Metric]:
    return [
        Mean("mae", "Mean absolute error", False, rows=_absolute, tail=True),
        Mean(
            *("rmse", "Root mean squared error", False),
            rows=_squared,
            tail=True,
            root=True,
        ),
        Mean(
            *("bias", "Bias", False),
            refused="it is best in the middle; gate mae",
            rows=_error,
            range=ANY,
        ),
        Mean(
            *("quantile_loss", f"Loss of quantile {settings.quantile:g}", False),
            rows=partial(_pinball, quantile=settings.quantile),
            tail=True,
        ),
        Explained("r2", "R2", refused="it is rmse on another scale; gate rmse"),
    ]


def _error(batch: Batch, role: Role) -> Floats:
    """Prediction less truth: its mean is the bias."""
    return np.asarray(batch.predictions[role] - batch.labels)


def _absolute(batch: Batch, role: Role) -> Floats:
    return np.abs(_error(batch, role))


def _squared(batch: Batch, role: Role) -> Floats:
    return np.square(_error(batch, role))


def _pinball(batch: Batch, role: Role, quantile: float) -> Floats:
    """Koenker & Bassett, Econometrica 46 (1978) 33."""
    error = _error(batch, role)
    return np.maximum((1 - quantile) * error, -quantile * error)


@dataclass(frozen=True)
class Explained(Metric):
    """1 less the squared errors over those of the labels' mean."""

    def value(self, group: Group, role: Role) -> float:
        """From the labels' moments, every row by its weight."""
        if group.labels is None or "rmse" not in group.means:
            return nan
        spread = group.labels.spread
        error = quotient(group.moments("rmse"), role) * group.labels.weight
        return 1 - error / spread if spread > 0 else nan


def _ranking(settings: Evaluation) -> list[Metric]:
    k = settings.top_k
    return [
        Mean("ndcg", f"NDCG@{k}", rows=partial(_ndcg, k=k), range=UNIT),
        Mean("mrr", "Mean reciprocal rank", rows=_reciprocal_rank, range=UNIT),
        Mean(
            *("hit_rate", f"Hit rate@{k}", True, True),
            rows=partial(_hits, k=k),
            range=UNIT,
            exact=True,
        ),
    ]


def _ranked(batch: Batch, role: Role) -> tuple[Floats, Floats, Integers]:
    assert batch.queries is not None, "a ranking has queries"
    return batch.labels, batch.predictions[role], batch.queries


def _ndcg(batch: Batch, role: Role, k: int) -> Floats:
    return ranking.ndcg(*_ranked(batch, role), k)


def _reciprocal_rank(batch: Batch, role: Role) -> Floats:
    return ranking.reciprocal_rank(*_ranked(batch, role))


def _hits(batch: Batch, role: Role, k: int) -> Floats:
    return ranking.hits(*_ranked(batch, role), k)


def shown(known: Mapping[str, Metric]) -> dict[str, Metric]:
    """What a record has numbers of: of a loss with a `clip`, with it and without it."""
    parts = (m.apart if isinstance(m, Mean) else [m] for m in known.values())
    return {each.name: each for part in parts for each in part}


def _own(settings: Evaluation) -> list[Metric]:
    """The team's own score, where there is one."""
    if settings.score is None:
        return []
    ends = Interval(settings.score.low, settings.score.high)
    higher = settings.score.better == "higher"
    return [Mean("score", "Own score", higher, rows=_own_score, range=ends)]


def _own_score(batch: Batch, role: Role) -> Floats:
    return batch.scores[role]


TASKS: Mapping[str, Callable[[Evaluation], list[Metric]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
    "ranking": _ranking,
}


def catalogue(settings: Evaluation) -> dict[str, Metric]:
    """Every metric of the settings' task by its name, the first the leading one.

    Raises BadConfiguration for a `clip` of what has bounds of its own.
    """
    found = {
        each.name: each for each in (*TASKS[settings.task](settings), *_own(settings))
    }
    for name, limit in settings.clip.items():
        metric = found.get(name)
        if not isinstance(metric, Mean) or not metric.tail:
            raise BadConfiguration(
                "evaluation.clip to name losses of which few rows may make up most",
                f"{name!r} of a {settings.task} task",
                "leave it out: docs/evaluation.md lists the metrics",
            )
        found[name] = replace(metric, clip=limit**2 if metric.root else limit)
    return found
