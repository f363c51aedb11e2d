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
from interlock.evaluation.predict import Models, Version
from interlock.evaluation.repeats import ENOUGH
from interlock.evaluation.rows import SCORE, SLICE

REPORT = "self-test.json"
SEED = 20261123
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
    """All the plants and controls, and the gates that none of them made FAIL."""

    plants: tuple[Plant, ...]
    toothless: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """How many were refused; and, each on its line, what could not be."""
        refused = len(self._names(Outcome.REFUSED))
        planted = refused + len(self._names(Outcome.LET_THROUGH))
        return (
            f"self-test: {refused} of {planted} plants refused",
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
                f"(balanced_accuracy, roc_auc, log_loss); see {REPORT}",
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
    return SelfTest(tuple(plants), tuple(toothless))


def written(found: SelfTest, out: Path) -> None:
    """Leave REPORT in `out`, and the sentences at the end of the summary."""
    record = {"sentences": found.sentences, **asdict(found)}
    text = json.dumps(record, indent=2, ensure_ascii=False)
    files.write_text(out / REPORT, text + "\n")
    run.summarised("\n" + "".join(f"- {line}\n" for line in found.sentences), out)


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
        filled = (batch for batch in rows if batch.num_rows)
        try:
            counts = run.counted(filled, self.settings)
        except StopIteration:
            raise CheckBroken("rows to judge", "no row", "give labelled rows") from None
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
    names = [role] + ([SCORE + role] if SCORE + role in batch.schema.names else [])
    kinds = {name: name.replace(role, "candidate") for name in names}
    other = {name: name.replace(role, "production") for name in names}
    return {to[name]: batch[name] for to in (kinds, other) for name in names}


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


def _ignorant(ground: _Ground) -> Batches:
    """Each row gets the answer of another, and the worst score there is."""
    for number, batch in enumerate(ground.twins()):
        worst = _worst(batch, ground.settings, ("candidate",))
        yield _with(batch, candidate=_mixed(batch["candidate"], number), **worst)


def _mislabelled(ground: _Ground) -> Batches:
    for number, batch in enumerate(ground.twins()):
        worst = _worst(batch, ground.settings, ("candidate", "production"))
        yield _with(batch, label=_mixed(batch["label"], number), **worst)


def _mixed(column: pa.Array, number: int) -> pa.Array:
    order = np.random.default_rng((SEED, number)).permutation(len(column))
    return column.take(pa.array(order))


def _worst(
    batch: pa.RecordBatch, settings: Evaluation, roles: Iterable[str]
) -> dict[str, pa.Array]:
    """A team's own scores cannot be computed here; damage brings them to the worst."""
    score = settings.score
    if not score:
        return {}
    value = score.low if score.better == "higher" else score.high
    column = pa.array(np.full(batch.num_rows, value))
    return {SCORE + role: column for role in roles}


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
