"""What gates can promise, before anything runs: forecasts, on which no verdict rests.

Each promise says how it was forecast:

- "exact": the test is exact, and its chances are summed over what may be counted, or
  over SPREAD evenly likely parts of it. The paired test of a share is LOSS standard
  errors on the safe side, which is what the proof of it costs;
- "normal": the estimate is taken for normal, with the spread that rows had or that was
  stated; the test itself is the gate's own, with the guarantee that the gate has.

The rows that a promise needs are found to a hundredth.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, isfinite, isnan, prod, sqrt
from typing import Literal

import numpy as np
from scipy import special, stats

from interlock.evaluation import paired, sizes
from interlock.evaluation.gates import MOST_ROWS
from interlock.evaluation.binomial import Floats, at_least
from interlock.evaluation.intervals import Difference, Proportion, Sample

SPREAD = 100  # evenly likely outcomes that are summed in place of more
LOSS = 0.05  # standard errors that the proof of the paired test costs
POWERS = (0.5, 0.8)  # the chances that a plan speaks of
LOOSE = 10  # times the noise of all uses: what a threshold should not lie below
CLEAR = 1e-6  # a chance so near to 0 or 1 settles that of the slices beyond
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

    Drops and differences are in the metric's own unit, the chances 0 to 1.
    """

    passes: float  # the chance that a model that is no worse passes
    width: float | None  # how far the value may be off in all uses; None: too few rows
    drops: tuple[float, ...] = ()  # found (FAIL) on one use with each of POWERS
    rows_to_pass: int | None = None  # so that `passes` is POWERS[-1]; None: no number
    find: float = 0.0  # a drop that is twice the tolerance, or a point
    rows_to_find: int | None = None  # to find that with POWERS[-1]
    cautions: tuple[Caution, ...] = ()
    forecast: Literal["exact", "normal"] = "exact"
    guarantee: Literal["every size", "asymptotic"] = "every size"  # of the gate

    def of_more(self, times: float) -> Promise:
        """The same where the rows that it needs are one in so many."""
        to_pass, to_find = (
            rows and ceil(rows * times)
            for rows in (self.rows_to_pass, self.rows_to_find)
        )
        return replace(self, rows_to_pass=to_pass, rows_to_find=to_find)


def against_production(
    setting: Setting, tolerance: float, slices: Sequence[int] = ()
) -> Promise:
    """The promise of `accuracy >= production.accuracy - tolerance`.

    With `slices`, their numbers of rows, that of the gate `per` their column: all must
    pass for PASS, one is enough for FAIL at a share of the level; the drops, and the
    rows to find one, are those of the smallest.
    """
    parts = tuple(slices) or (setting.rows,)
    least, few = max(min(parts), 1), setting.disagreement
    level, margin = setting.level / len(parts), (-tolerance, setting.false_pass)

    def passes(rows: int) -> float:
        """With so many rows in the smallest, and in proportion in the others."""
        sizes = (max(round(part * rows / least), 1) for part in parts)
        return _all(lambda size: _chance(size, few, 0.0, *margin), sizes)

    def fails(drop: float, rows: int) -> float:
        return _chance(rows, few, drop, tolerance, level)

    find = 2 * tolerance if tolerance > 0 else 0.01
    return Promise(
        passes(least),
        _z(level) * sqrt(few / least),
        tuple(_least_drop(lambda d: fails(d, least), tolerance, p) for p in POWERS),
        _least_rows(passes, few, tolerance, setting.false_pass),
        find,
        _least_rows(
            lambda rows: fails(find, rows), max(few, find), find - tolerance, level
        ),
        _cautions(setting, tolerance),
    ).of_more(setting.rows / least)


def _all(chance: Callable[[int], float], parts: Iterable[int]) -> float:
    """The chance that all parts pass: the more rows, the likelier, so some are told."""
    together = 1.0
    for part, often in sorted(Counter(parts).items()):
        one = chance(part)
        together *= one**often
        if one > 1 - CLEAR or together < CLEAR:
            break
    return together


def _chance(rows: int, few: float, gain: float, margin: float, alpha: float) -> float:
    """How often "the gain is `margin` or less" is rejected where it is `gain`.

    Of models that differ on a share `few` of the rows, or on as many as the gain takes.
    """
    usual, few = round(rows * few), max(few, abs(gain))
    differ, chances = _parts(rows, few)
    if margin:
        far = paired.critical(rows, margin, usual, alpha) + LOSS
        least = rows * margin + far * np.sqrt(np.maximum(differ, rows * abs(margin)))
        needed: Floats = np.ceil((differ + least) / 2)
    else:  # McNemar's test
        needed = np.asarray(stats.binom.isf(alpha, differ, 0.5)) + 1
    luck = np.asarray(min((1 + gain / few) / 2, 1.0))
    return float(chances @ at_least(np.clip(needed, 0, differ + 1), differ, luck))


@lru_cache(maxsize=256)
def _parts(rows: int, few: float) -> tuple[Floats, Floats]:
    """How many rows may differ, and the chance of each: all, or evenly likely ones."""
    outcomes = stats.binom(rows, few)
    low, high = (float(outcomes.ppf(share)) for share in (1e-6, 1 - 1e-6))
    if high - low < SPREAD:
        each: Floats = np.arange(low, high + 1)
        return each, np.asarray(outcomes.pmf(each))
    even = np.asarray(outcomes.ppf((np.arange(SPREAD) + 0.5) / SPREAD))
    return even, np.full(SPREAD, 1 / SPREAD)


def _least_drop(
    fails: Callable[[float], float], tolerance: float, power: float
) -> float:
    """The least drop beyond the tolerance that is found with this chance, at most 1."""
    low, high = max(tolerance, 0.0), 1.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (low, middle) if fails(middle) >= power else (middle, high)
    return high


def _least_rows(
    chance: Callable[[int], float], variance: float, gap: float, level: float
) -> int | None:
    """The least rows for a chance of POWERS[-1]; None if no number of rows does.

    `variance` of a row's number, and the `gap` that is to be told at `level`, give
    where the normal curve would look.
    """
    if gap < 1e-9:
        return None
    errors = _z(level) + _z(1 - POWERS[-1])
    return _from(chance, ceil(variance * (errors / gap) ** 2))


def _from(chance: Callable[[int], float], start: int) -> int | None:
    """The least rows, to a hundredth, looked for from `start` on."""
    low = high = max(start, 1)
    while chance(high) < POWERS[-1]:
        if high > MOST_ROWS:
            return None
        low, high = high, ceil(high * 1.2)
    while low > 1 and chance(low) >= POWERS[-1]:
        low, high = int(low / 1.2), low
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        enough = chance(middle) >= POWERS[-1]
        low, high = (low, middle) if enough else (middle, high)
    return high


def _z(alpha: float) -> float:
    """The upper quantile of the normal curve."""
    return -float(special.ndtri(alpha))


def _cautions(setting: Setting, tolerance: float) -> tuple[Caution, ...]:
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
    it, the rows are independent, and the binomial test's own chances are known.
    """
    if noise is not None:
        reach = _z(setting.false_pass) * noise
        passes = _above(score - bound - reach, noise)

        def chance(rows: int) -> float:
            error = noise * sqrt(setting.rows / rows)
            return _above(score - bound - _z(setting.false_pass) * error, error)

    else:

        def chance(rows: int) -> float:
            return _reaching(rows, bound, score, setting.false_pass)

        passes = chance(setting.rows)
    smooth = (score * setting.rows + 1) / (setting.rows + 2)  # even a score of 1
    own = sqrt(smooth * (1 - smooth) / setting.rows)
    error = own if noise is None else noise
    gap, spread = score - bound, error**2 * setting.rows
    return Promise(
        passes,
        _z(setting.level) * error,
        rows_to_pass=_least_rows(chance, spread, gap, setting.false_pass),
        cautions=threshold_cautions(setting, bound, score, error),
        forecast="exact" if noise is None else "normal",
    )


def _reaching(rows: int, bound: float, score: float, alpha: float) -> float:
    """How often the binomial test says that a share, `score`, reaches `bound`."""

    def reaches(hits: int) -> bool:
        return Proportion(hits, rows).reaches(bound, alpha)

    least = bisect_left(range(rows + 1), True, key=reaches)
    return float(stats.binom.sf(least - 1, rows, score))


def _above(gap: float, error: float) -> float:
    """The chance of a normal value of this error that is expected `gap` above 0."""
    return float(special.ndtr(gap / error)) if error else float(gap >= 0)


@dataclass(frozen=True)
class Rows:
    """What is known of a metric's rows: the gate's own sample, and its spread."""

    sample: Sample  # of the metric, or of its change from production
    error: float  # the standard error of its estimate ...
    rows: int  # ... in so many rows
    paired: bool
    share: bool
    higher: bool
    asymptotic: bool


def from_rows(setting: Setting, bound: float, known: Rows) -> Promise:
    """The promise of any gate; `bound` is the least that the sample may be.

    A model as good as now is one that scores as the rows do, or that is no other than
    production. Exact where the gate's test is one of counts.
    """
    sample = known.sample.scaled(setting.rows, known.rows)
    if isinstance(sample, Proportion | Difference) and sample.rows:
        own = replace(setting, rows=sample.rows)
        if isinstance(sample, Difference):
            few = max(sample.better + sample.worse, 1) / sample.rows
            found = against_production(replace(own, disagreement=few), -bound)
        else:
            found = against_number(own, bound, sample.estimate)
        return found.of_more(setting.rows / sample.rows)
    if isnan(known.sample.estimate) or isinstance(sample, Proportion | Difference):
        return Promise(0.0, None)  # no row counts
    level = setting.level
    now = 0.0 if known.paired else known.sample.estimate
    gap = now - bound

    def reach(rows: int, alpha: float, side: int) -> float:
        scaled = known.sample.scaled(rows, known.rows)
        low, high = scaled.interval(2 * alpha)
        return scaled.estimate - low if side == 1 else high - scaled.estimate

    def error(rows: int) -> float:
        return known.error * sqrt(known.rows / rows)

    def passes(rows: int) -> float:
        return passing(replace(setting, rows=rows), bound, known)

    def fails(drop: float, rows: int) -> float:
        return _above(drop - gap - reach(rows, level, -1), error(rows))

    rows = setting.rows
    far, noise = reach(rows, level, -1), error(rows)
    drops = tuple(max(gap, 0.0) + far - _z(power) * noise for power in POWERS)
    find = 2 * gap if known.paired and gap > 0 else 0.0
    cautions = _cautions(setting, gap) if known.paired else ()
    if not known.paired:
        sign = 1 if known.higher else -1
        cautions = threshold_cautions(
            *(setting, sign * bound, sign * now, noise),
            *(known.share, known.higher),
        )
    return Promise(
        passes(rows),
        far if isfinite(far) else None,
        drops if isfinite(far) else (),
        _from(passes, rows) if gap > 0 else None,
        find,
        _from(lambda rows: fails(find, rows), rows) if find else None,
        cautions,
        "normal",
        "asymptotic" if known.asymptotic else "every size",
    )


def passing(setting: Setting, bound: float, known: Rows) -> float:
    """The chance that a model as good as now passes: that of `from_rows`."""
    sample, alpha = known.sample.scaled(setting.rows, known.rows), setting.false_pass
    if isinstance(sample, Proportion) and sample.rows:
        return _reaching(sample.rows, bound, sample.estimate, alpha)
    if isinstance(sample, Difference) and sample.rows:
        few = max(sample.better + sample.worse, 1) / sample.rows
        return _chance(sample.rows, few, 0.0, bound, alpha)
    now = 0.0 if known.paired else known.sample.estimate
    reach = sample.estimate - sample.interval(2 * alpha).low
    error = known.error * sqrt(known.rows / setting.rows)
    return _above(now - bound - reach, error)


def rows_for_all(
    setting: Setting, bound: float, found: Sequence[Rows], whole: int, start: int
) -> int | None:
    """The rows of the whole so that all of these slices pass, of what has `whole` now.

    Looked for from `start` on.
    """

    def passes(rows: int) -> float:
        parts = (max(round(known.rows * rows / whole), 1) for known in found)
        each = zip(found, parts, strict=True)
        return prod(passing(replace(setting, rows=n), bound, one) for one, n in each)

    return _from(passes, start)


def threshold_cautions(
    setting: Setting,
    bound: float,
    score: float,
    noise: float,
    share: bool = True,
    higher: bool = True,
) -> tuple[Caution, ...]:
    """Whether a threshold lies within the noise of the score, or far beyond it.

    Within: an unchanged model, run `uses` times, would be beyond it once or more with a
    higher chance than false_alarm, if its score were compared with the bare number.
    """
    sign, side = (1, "below") if higher else (-1, "above")
    safe = safe_threshold(setting, sign * score, noise)

    def said(value: float, digits: int = 4) -> str:
        return f"{100 * value:.{digits}g} %" if share else f"{value:.{digits}g}"

    if sign * bound > safe:
        once = float(special.ndtr(sign * (bound - score) / noise)) if noise else 1.0
        ever = 1 - (1 - once) ** setting.uses
        limit = "up to" if higher else "from"
        text = (
            f"{said(bound, 6)} lies within the noise of the score, {said(score)}: an "
            f"unchanged model would be {side} it in {100 * once:.2g} % of runs, "
            f"and with a chance of {100 * ever:.3g} % once or more in {setting.uses} "
            f"uses; {limit} {said(sign * safe)} is safe"
        )
        return (Caution("within-noise", text),)
    if noise and sign * bound < sign * score - LOOSE * (sign * score - safe):
        worse = said(abs(score - bound), 3).replace(" %", " points")
        text = (
            f"{said(bound, 6)} is far {side} the score, {said(score)}: a model {worse} "
            "worse than now would pass"
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
