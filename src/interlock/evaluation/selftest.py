"""The gate, tested as a gate: what must be refused is planted, and must be refused.

Plants are made from the predictions that were just judged, batch by batch, and come
before the very functions that judge a model; a damaged model is one process more, asked
as every other. A damaged candidate stands beside the undamaged answers: those of
production, or of the candidate where there is none. So the outcome says something about
the gates and this package, not about tonight's model.

Damaged answers and labels are refused by FAIL or UNKNOWN; rows that no verdict may rest
on, and a model that breaks its contract, by a broken check alone. What this set-up
cannot catch is said, with what would help. The controls are harmless and must stay so,
for who refuses everything would refuse every plant.
"""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from interlock.config import Evaluation
from interlock.errors import CheckBroken
from interlock.evaluation import files, gates, latency, run
from interlock.evaluation.gates import MEASURED, State, Verdict
from interlock.evaluation.latency import Ratios
from interlock.evaluation.moments import Integers
from interlock.evaluation.predict import Models, Version
from interlock.evaluation.record import Record
from interlock.evaluation.repeats import ENOUGH
from interlock.evaluation.rows import SCORE, SLICE
from interlock.evaluation.tables import ROLES

REPORT = "self-test.json"
SEED = 20261123
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of rows that a model guesses on
ASKED = 1000  # rows that a damaged model is asked for

Batches: TypeAlias = Iterator[pa.RecordBatch]


class Outcome(StrEnum):
    """What became of a plant or of a control."""

    REFUSED = "refused"
    LET_THROUGH = "let through"
    NOT_CAUGHT = "cannot be caught"  # with these gates and these rows
    HELD = "held"  # a control: harmless, and not refused
    CRIED_WOLF = "cried wolf"  # a control that was refused


@dataclass(frozen=True)
class Plant:
    """What was planted, what became of it, and the words it was refused with."""

    name: str
    outcome: Outcome
    found: str


@dataclass(frozen=True)
class SelfTest:
    """All the plants and controls, the gates that none of them made FAIL, and more."""

    plants: tuple[Plant, ...]
    toothless: tuple[str, ...]
    noticed: float | None = None  # the least of SHARES of lost answers that FAILs

    @property
    def sentences(self) -> tuple[str, ...]:
        """How many were refused; and, each on its line, what could not be."""
        refused = len(self._names(Outcome.REFUSED))
        planted = refused + len(self._names(Outcome.LET_THROUGH))
        sharp = ""
        if self.noticed:
            sharp = f"; a model that guesses on {self.noticed:.0%} of the rows FAILs"
        return (
            f"self-test: {refused} of {planted} plants refused{sharp}",
            *(
                f"self-test: {each.name} cannot be caught: {each.found}"
                for each in self.plants
                if each.outcome is Outcome.NOT_CAUGHT
            ),
            *(f"self-test: no plant made {gate!r} FAIL" for gate in self.toothless),
        )

    def _names(self, outcome: Outcome) -> list[str]:
        return [each.name for each in self.plants if each.outcome is outcome]

    def demand_refusals(self) -> None:
        """Raises CheckBroken for a plant let through, and a control that was not."""
        let, cried = self._names(Outcome.LET_THROUGH), self._names(Outcome.CRIED_WOLF)
        if let:
            raise CheckBroken(
                f"the gates to refuse {', '.join(let)}",
                "PASS",
                "raise the bounds, or gate a metric that tells such a model apart "
                "(balanced_accuracy, roc_auc, log_loss); what no gate decides, "
                f"report, with {REPORT}",
            )
        if cried:
            raise CheckBroken(
                f"the gates to leave {', '.join(cried)} alone",
                next(e.found for e in self.plants if e.outcome is Outcome.CRIED_WOLF),
                f"report it, with {REPORT}: the check itself is broken",
            )


def self_test(
    predictions: Path, verdicts: Sequence[Verdict], settings: Evaluation
) -> SelfTest:
    """Plant everything beside an evaluation's predictions.parquet and its verdicts."""
    ground = _Ground(predictions, settings, verdicts)
    plants = [*_in_the_rows(ground), *_in_the_timing(ground)]
    plants += _in_the_process(settings.patience)
    texts = [each.text for each in ground.conditions]
    toothless = [text for text in texts if text not in ground.failed]
    return SelfTest(tuple(plants), tuple(toothless), _noticed(ground))


def passed(
    settings: Evaluation, out: Path, predictions: Path, verdicts: Sequence[Verdict]
) -> Record:
    """The record of a self-test that the gates pass; it is left in `out` as REPORT.

    Raises CheckBroken where they do not pass it; REPORT is left also then.
    """
    found = self_test(predictions, verdicts, settings)
    record = {"sentences": found.sentences, **asdict(found)}
    text = json.dumps(record, indent=2, ensure_ascii=False)
    files.write_text(out / REPORT, text + "\n")
    found.demand_refusals()
    return record


class _Ground:
    """Where rows are planted: an evaluation that was judged, and its settings."""

    def __init__(
        self, predictions: Path, settings: Evaluation, verdicts: Sequence[Verdict]
    ) -> None:
        self._predictions, self.settings = predictions, settings
        self._verdicts = _of_rows(verdicts)
        self.conditions = [gates.parse(gate, settings) for gate in settings.gates]
        self._twin = self.judge(self.twins())
        # Gates that FAIL undamaged answers would seem to refuse every plant.
        self._spoilt = _failed(self._twin)
        self.failed = {*self._spoilt}

    def rows(self) -> Batches:
        """The rows as they were judged."""
        return run.kept(self._predictions, self.settings)

    def twins(self) -> Batches:
        """The rows with the undamaged answers of one model on both sides."""
        for batch in self.rows():
            production = batch["production"]
            role = "candidate" if production.null_count else "production"
            yield _with(batch, **_both(batch, role))

    def judge(self, rows: Iterable[pa.RecordBatch]) -> list[Verdict]:
        """The verdicts of the gates on metrics of rows, as an evaluation has them."""
        counts = run.counted((r for r in rows if r.num_rows), self.settings)
        return _of_rows(gates.judge(self.conditions, counts, self.settings))

    def same(self) -> Plant:
        """A control: the same predictions get the same verdicts again."""
        found = self.judge(self.rows())
        same = [v.state for v in found] == [v.state for v in self._verdicts]
        outcome = Outcome.HELD if same else Outcome.CRIED_WOLF
        return Plant("the same predictions again", outcome, _said(found))

    def twin(self) -> Plant:
        """A control: a model is no worse than itself."""
        tolerant = [v for v in self._twin if v.condition.least <= 0]  # want no gain
        found = [each for each in tolerant if each.condition.paired]
        outcome = Outcome.CRIED_WOLF if _failed(found) else Outcome.HELD
        return Plant("a twin of production", outcome, _said(found))

    def ruined(self, name: str, rows: Iterable[pa.RecordBatch]) -> Plant:
        """What becomes of answers or labels that no gate may PASS."""
        found = [v for v in self.judge(rows) if v.condition.text not in self._spoilt]
        if not found:
            advice = "undamaged answers FAIL every gate on rows"
            return Plant(name, Outcome.NOT_CAUGHT, advice)
        self.failed |= _failed(found)
        passed = gates.overall(found) is State.PASS
        outcome = Outcome.LET_THROUGH if passed else Outcome.REFUSED
        return Plant(name, outcome, _said(found))

    def fails(self, rows: Iterable[pa.RecordBatch]) -> bool:
        """Whether a gate FAILs rows that it does not FAIL undamaged."""
        return bool(_failed(self.judge(rows)) - self._spoilt)

    def unsound(self, name: str, rows: Iterable[pa.RecordBatch]) -> Plant:
        """What becomes of rows that no verdict may rest on, not even FAIL."""
        try:
            return Plant(name, Outcome.LET_THROUGH, _said(self.judge(rows)))
        except CheckBroken as refusal:
            return Plant(name, Outcome.REFUSED, refusal.args[0])

    def different(self) -> int:
        """How many different rows are counted, at least."""
        repeats = run.counted(self.twins(), self.settings).repeats
        return len(repeats.times) if repeats else 0


def _of_rows(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return [each for each in verdicts if each.condition.metric not in MEASURED]


def _failed(verdicts: Iterable[Verdict]) -> set[str]:
    return {v.condition.text for v in verdicts if v.state is State.FAIL}


def _said(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(each.sentence for each in verdicts) or "no gate to say anything"


def _with(batch: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    """`batch` with other columns by these names, as far as it has them."""
    arrays = [columns.get(name, batch[name]) for name in batch.schema.names]
    return pa.record_batch(arrays, schema=batch.schema)


def _both(batch: pa.RecordBatch, role: str) -> dict[str, pa.Array]:
    """What `role` answered and scored, as that of either model."""
    kinds = [kind for kind in ("", SCORE) if kind + role in batch.schema.names]
    return {kind + other: batch[kind + role] for kind in kinds for other in ROLES}


def _in_the_rows(ground: _Ground) -> Iterator[Plant]:
    yield ground.same()
    yield ground.twin()
    if any(each.metric not in MEASURED for each in ground.conditions):
        yield ground.ruined("a model that knows nothing", _ignorant(ground))
    yield _of_labels(ground)
    yield ground.unsound("no row at all", iter(()))
    yield _of_copies(ground)
    yield from _of_slices(ground)


def _of_labels(ground: _Ground) -> Plant:
    numbered = [each for each in ground.conditions if not each.paired]
    if any(each.metric not in MEASURED for each in numbered):
        return ground.ruined("shuffled labels", _mislabelled(ground))
    advice = "every gate compares with production, which they hurt as much; gate a "
    advice += "metric against a number as well"
    return Plant("shuffled labels", Outcome.NOT_CAUGHT, advice)


def _of_copies(ground: _Ground) -> Plant:
    name = "every row twice"
    if ground.settings.cluster:
        advice = "no harm is done: evaluation.cluster says which rows belong together"
        return Plant(name, Outcome.NOT_CAUGHT, advice)
    plant = ground.unsound(name, chain(ground.twins(), ground.twins()))
    if plant.outcome is Outcome.REFUSED or ground.different() >= ENOUGH:
        return plant
    advice = f"rows take fewer than {ENOUGH} different labels and answers together"
    return Plant(name, Outcome.NOT_CAUGHT, advice)


def _of_slices(ground: _Ground) -> Iterator[Plant]:
    expected = ground.settings.expected_slices
    for column, values in expected.items():
        name = f"a missing slice, {column} {values[0]}"
        yield ground.unsound(name, _lacking(ground.twins(), column, values[0]))
    if not expected:
        advice = "name the slices that must have rows in evaluation.expected_slices"
        yield Plant("a missing slice", Outcome.NOT_CAUGHT, advice)


def _noticed(ground: _Ground) -> float | None:
    """How little damage makes a gate FAIL; none where not even the most does."""
    found = bisect_left(
        SHARES, True, key=lambda share: ground.fails(_ignorant(ground, share))
    )
    return SHARES[found] if found < len(SHARES) else None


def _ignorant(ground: _Ground, share: float = 1.0) -> Batches:
    """A share of the rows get the answers of others, and the worst score there is."""
    for number, batch in enumerate(ground.twins()):
        places = _moved(batch.num_rows, number, share)
        worst = _worst(batch, ground.settings, ("candidate",), places)
        yield _with(batch, candidate=batch["candidate"].take(pa.array(places)), **worst)


def _mislabelled(ground: _Ground) -> Batches:
    for number, batch in enumerate(ground.twins()):
        places = _moved(batch.num_rows, number, 1.0)
        worst = _worst(batch, ground.settings, ROLES, places)
        yield _with(batch, label=batch["label"].take(pa.array(places)), **worst)


def _moved(rows: int, number: int, share: float) -> Integers:
    """For each row of a batch, the row in whose place it is: for a share, another."""
    places = np.arange(rows)
    order = np.random.default_rng((SEED, number)).permutation(rows)
    order = order[: round(share * rows)]
    places[order] = np.roll(order, 1)
    return places


def _worst(
    batch: pa.RecordBatch,
    settings: Evaluation,
    roles: Iterable[str],
    places: Integers,
) -> dict[str, pa.Array]:
    """A team's own scores cannot be computed here: of rows that moved, the worst."""
    score = settings.score
    if not score:
        return {}
    value = score.low if score.better == "higher" else score.high
    moved = places != np.arange(len(places))
    return {
        SCORE + role: pa.array(np.where(moved, value, batch[SCORE + role].to_numpy()))
        for role in roles
    }


def _lacking(batches: Batches, column: str, value: str) -> Batches:
    for batch in batches:
        text = batch[SLICE + column].cast(pa.string())
        yield batch.filter(pc.fill_null(pc.not_equal(text, value), True))


def _in_the_timing(ground: _Ground) -> Iterator[Plant]:
    """A candidate at twice the ratio that is allowed."""
    counts = None
    for condition in ground.conditions:
        if condition.metric in MEASURED:
            counts = counts or run.counted(ground.twins(), ground.settings)
            slow = {condition.metric: Ratios((2 * condition.bound,) * latency.PAIRS)}
            found = gates.judge([condition], counts, ground.settings, slow)
            failed = found[0].state is State.FAIL
            ground.failed |= {condition.text} if failed else set()
            outcome = Outcome.REFUSED if failed else Outcome.LET_THROUGH
            yield Plant("a slow model", outcome, _said(found))


# What predict answers where it should answer x.
DAMAGED = {
    "too few predictions": "x[:-1]",
    "too many predictions": "np.append(x, x[-1:])",
    "no prediction": "x[:0]",
    "NaN scores": "np.where(np.arange(len(x)) == len(x) // 2, np.nan, x)",
    "infinite scores": "np.where(np.arange(len(x)) == len(x) // 2, np.inf, x)",
    "reordered predictions": "x[::-1]",
}
CODE = """import numpy as np


def load(folder):
    return None


def predict(model, batch):
    x = batch["x"]
    return {answer}
"""
CONTRACT = {
    "load": "planted:load",
    "predict": "planted:predict",
    "input": {"x": "number"},
    "output": "number",
}


def _in_the_process(patience: float) -> list[Plant]:
    """Damaged models in processes of their own, and one that is not, as the control."""
    with ThreadPoolExecutor(2) as pool:
        asked = partial(_asked, patience)
        return [*pool.map(asked, ("a model without fault", *DAMAGED))]


def _asked(patience: float, name: str) -> Plant:
    harmless = name not in DAMAGED
    try:
        same = _answers(DAMAGED.get(name, "x"), patience)
    except CheckBroken as refusal:
        outcome = Outcome.CRIED_WOLF if harmless else Outcome.REFUSED
        return Plant(name, outcome, refusal.args[0])
    held = harmless and same
    return Plant(name, Outcome.HELD if held else Outcome.LET_THROUGH, "answered")


def _answers(answer: str, patience: float) -> bool:
    """Whether a model that gives this answer is heard, and the answer is x."""
    x = np.linspace(0, 1, ASKED)
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        Path(scratch, "planted.py").write_text(CODE.format(answer=answer), "utf-8")
        version = Version("planted", Path(scratch), CONTRACT)
        with Models([version], patience, 1) as models:
            (found,) = models.predict({"x": x}, 0)
    return np.array_equal(found, x)
