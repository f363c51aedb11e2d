"""What gates can promise, before anything runs.

Everything here is a forecast by the normal curve, LOSS standard errors on the safe
side, which is what the exact tests cost; where fewer than FEWEST rows disagree it is
rough, and says so. The verdicts themselves never rest on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from scipy import special

from interlock.evaluation import sizes

LOSS = 0.05
FEWEST = 100  # rows that disagree, for the normal curve to hold
POWERS = (0.5, 0.8)  # the chances that a plan speaks of
LOOSE = 10  # times the noise of all uses: what a threshold should not lie below
CHOSEN_FROM = 20  # models that were tried on the rows before one went to production


@dataclass(frozen=True)
class Setting:
    """What is asked of a test set; every chance is that of [tool.interlock]."""

    rows: int
    uses: int
    disagreement: float  # the share of rows where just one of the two models is right
    false_alarm: float = 0.05
    false_pass: float = 0.05
    gates: int = 1
    fresh: bool = False  # each use has rows of its own

    @property
    def level(self) -> float:
        """At which one gate, on one use, is FAILed."""
        return self.false_alarm / self.uses / self.gates


@dataclass(frozen=True)
class Caution:
    """What is wrong with a plan: a code for machines, a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True)
class Promise:
    """What a gate can promise.

    The drops and the differences are in points / 100, the chances 0 to 1.
    """

    passes: float  # the chance that a model that is no worse passes
    width: float  # how far the measured value may be off in all uses
    drops: tuple[float, ...] = ()  # found (FAIL) on one use with each of POWERS
    rows_to_pass: int | None = None  # so that `passes` is POWERS[-1]; None: no number
    find: float = 0.0  # a drop that is twice the tolerance, or a point
    rows_to_find: int | None = None  # to find that with POWERS[-1]
    cautions: tuple[Caution, ...] = ()


def against_production(
    setting: Setting, tolerance: float, slices: Sequence[int] = ()
) -> Promise:
    """The promise of `accuracy >= production.accuracy - tolerance`.

    With `slices`, their numbers of rows, that of the gate `per` their column: all must
    pass for PASS, one is enough for FAIL at a share of the level; the drops and rows
    are those of the smallest.
    """
    parts = tuple(slices) or (setting.rows,)
    level = setting.level / len(parts)
    errors = [sqrt(setting.disagreement / max(rows, 1)) for rows in parts]
    least, error = max(min(parts), 1), max(errors)
    passes = 1.0
    for each in errors:
        passes *= _above(tolerance / each - _z(setting.false_pass)) if each else 1.0
    drops = tuple(_drop(tolerance, least, setting, level, power) for power in POWERS)
    target = 2 * tolerance or 0.01
    scale = setting.rows / least
    return Promise(
        passes,
        _z(level) * error,
        drops,
        _rows(setting.disagreement, tolerance, setting.false_pass, scale),
        target,
        _rows(max(setting.disagreement, target), target - tolerance, level, scale),
        _cautions(setting, tolerance, least),
    )


def _drop(
    tolerance: float, rows: int, setting: Setting, level: float, power: float
) -> float:
    """The smallest drop that is found with this chance; a drop is disagreement too."""
    reach = (_z(level) + _z(1 - power) + LOSS) / sqrt(rows)
    drop = tolerance + reach * sqrt(setting.disagreement)
    if drop > setting.disagreement:
        drop = ((reach + sqrt(reach**2 + 4 * max(tolerance, 0))) / 2) ** 2
    return min(drop, 1.0)


def _rows(variance: float, gap: float, level: float, scale: float) -> int | None:
    """Rows until a difference of `gap` is told with POWERS[-1]; None if never."""
    if gap < 1e-9:
        return None
    errors = _z(level) + _z(1 - POWERS[-1]) + LOSS
    return ceil(variance * (errors / gap) ** 2 * scale)


def _z(alpha: float) -> float:
    """The upper quantile of the normal curve."""
    return -float(special.ndtri(alpha))


def _above(errors: float) -> float:
    """The chance of a value so many standard errors, less LOSS, from its bound."""
    return float(special.ndtr(errors - LOSS))


def _cautions(setting: Setting, tolerance: float, least: int) -> tuple[Caution, ...]:
    found = []
    if tolerance <= 0:
        found.append(
            Caution(
                "no-tolerance",
                "no model that is merely as good ever passes: allow a tolerance, as in "
                "production.accuracy - 0.005",
            )
        )
    chance = chance_if_chosen(setting, tolerance)
    if not setting.fresh and chance > setting.false_alarm:
        found.append(
            Caution(
                "chosen-on-the-same-rows",
                "false_alarm does not hold if the model in production was chosen on "
                f"these very rows: the best of {CHOSEN_FROM} that are equally good may "
                f"be told from its equals with a chance of up to {100 * chance:.3g} %; "
                "allow a tolerance, or use fresh rows",
            )
        )
    if least * setting.disagreement < FEWEST:
        found.append(
            Caution(
                "few-rows",
                f"only {least * setting.disagreement:.0f} rows would disagree: the "
                "verdicts hold, but this plan is rough",
            )
        )
    return tuple(found)


def chance_if_chosen(
    setting: Setting, tolerance: float, among: int = CHOSEN_FROM
) -> float:
    """At most the chance of a false alarm where production is the best of `among`.

    Chosen on the rows that the gate uses, from models that are all as good as those
    that follow. A FAIL beside the best needs a FAIL beside one of them, and each pair
    FAILs with the chance of the level, moved by the tolerance: the sum of these over
    all pairs and uses (Bonferroni).
    """
    error = sqrt(setting.disagreement / setting.rows)
    shift = tolerance / error if error else 0.0
    pair = float(special.ndtr(-_z(setting.level) - shift))
    return min(1.0, among * setting.uses * setting.gates * pair)


def against_number(
    setting: Setting, bound: float, score: float, noise: float | None = None
) -> Promise:
    """The promise of `accuracy >= bound` for a model that scores `score` now.

    `noise` is the standard deviation of that score from run to run as measured; without
    it, what independent rows give, which is the least that it can be.
    """
    if noise is None:
        smooth = (score * setting.rows + 1) / (setting.rows + 2)  # even a score of 1
        noise = sqrt(smooth * (1 - smooth) / setting.rows)
    gap = score - bound
    above = _above(gap / noise - _z(setting.false_pass)) if noise else float(gap >= 0)
    rows = _rows(noise**2 * setting.rows, gap, setting.false_pass, 1)
    cautions = threshold_cautions(setting, bound, score, noise)
    width = _z(setting.level) * noise
    return Promise(above, width, rows_to_pass=rows, cautions=cautions)


def threshold_cautions(
    setting: Setting, bound: float, score: float, noise: float
) -> tuple[Caution, ...]:
    """Whether a threshold lies within the noise of the score, or far below it.

    Within: an unchanged model, run `uses` times, would be below it once or more with a
    higher chance than false_alarm, if its score were compared with the bare number.
    """
    safe = safe_threshold(setting, score, noise)
    if bound > safe:
        once = float(special.ndtr((bound - score) / noise)) if noise else 1.0
        ever = 1 - (1 - once) ** setting.uses
        text = (
            f"{100 * bound:.6g} % lies within the noise of the score, {100 * score:.4g}"
            f" %: an unchanged model would be below it in {100 * once:.2g} % of runs, "
            f"and with a chance of {100 * ever:.3g} % once or more in {setting.uses} "
            f"uses; up to {100 * safe:.4g} % is safe"
        )
        return (Caution("within-noise", text),)
    if noise and bound < score - LOOSE * (score - safe):
        text = (
            f"{100 * bound:.6g} % is far below the score, {100 * score:.4g} %: a model "
            f"{100 * (score - bound):.3g} points worse than now would pass"
        )
        return (Caution("loose", text),)
    return ()


def safe_threshold(setting: Setting, score: float, noise: float) -> float:
    """The highest threshold that an unchanged model keeps above in all its uses.

    With a chance of 1 - false_alarm, were its score compared with the bare number.
    """
    return score - _z(setting.false_alarm / setting.uses) * noise


def ease_ml_ci(setting: Setting, tolerance: float) -> dict[str, dict[str, int]]:
    """The rows that ease.ml/ci asks for, by condition and by adaptivity.

    An accuracy, a gain in accuracy, and a gain of models that disagree on few rows,
    each to within `tolerance` in every use with a chance of 1 - false_alarm.
    """
    reliability = 1 - setting.false_alarm
    kinds: tuple[sizes.Adaptivity, ...] = ("none", "firstChange", "full")
    promise = (tolerance, reliability, setting.uses)
    few = setting.disagreement
    return {
        "accuracy": {kind: sizes.hoeffding(*promise, kind) for kind in kinds},
        "gain": {kind: sizes.hoeffding(*promise, kind, gain=True) for kind in kinds},
        "paired": {
            kind: sizes.bennett(*promise, kind, disagreement=few) for kind in kinds
        },
    }
