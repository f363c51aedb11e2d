"""The budget: a use counts once, fresh rows are fresh, and what is spent is spent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import config as configuration
from interlock.artifact.manifest import Manifest
from interlock.artifact.pack import pack
from interlock.attest.statement import Statement
from interlock.budget import Judged, Keeper
from interlock.config import Evaluation, Gate, Watch
from interlock.errors import CheckBroken, Unknown, VerificationFailed
from interlock.registry import ledger
from interlock.registry.access import open_registry
from interlock.registry.records import Registry
from interlock.source import inspect
from tasks import evidence
from tests.conftest import Project, _session

SETTINGS = Evaluation("data", "label", (Gate("accuracy >= 0.8"),), uses=3)
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)


@dataclass
class Desk:
    """A registry, a model, and somebody who evaluates it."""

    registry: Registry
    manifest: Manifest
    folder: Path
    runs: int = 0

    def candidate(self, number: int) -> Manifest:
        """Another model than the others of its kind."""
        return replace(self.manifest, lock=f"{number:064}")

    def rows(self, first: int, count: int) -> Path:
        """Labelled rows `first` to `first + count` of all there are."""
        number = np.arange(first, first + count)
        path = self.folder / f"rows-{first}-{count}.parquet"
        pq.write_table(pa.table({"x": number, "label": number % 2 == 0}), path)
        return path

    def keeper(self, number: int, **changes: Any) -> Keeper:
        """Whoever keeps account of the evaluation of a candidate."""
        self.runs += 1
        out, scratch = (self.folder / f"{name}-{self.runs}" for name in ("out", "work"))
        out.mkdir(exist_ok=True)
        scratch.mkdir()
        rival = changes.pop("production", None)
        exploring = changes.pop("exploring", False)
        registry = changes.pop("registry", self.registry)
        judged = Judged(
            self.candidate(number),
            self.candidate(rival) if rival is not None else None,
            replace(SETTINGS, **changes),
            exploring,
        )
        return Keeper(judged, registry, scratch, out)

    def use(
        self,
        number: int,
        path: Path,
        state: str = "PASS",
        right: float = 1.0,
        **changes: Any,
    ) -> dict[str, Any]:
        """Evaluate a candidate on rows; what metrics.json says of it.

        Production is right on the first `right` of the rows.
        """
        keeper = self.keeper(number, **changes)
        keeper.look(path)
        label = pq.read_table(path)["label"].to_numpy()
        hit = np.arange(len(label)) < right * len(label)
        answers = {"label": label, "production": np.where(hit == label, 0.9, 0.1)}
        answers["candidate"] = answers["production"]
        pq.write_table(pa.table(answers), self.folder / "predictions.parquet")
        metrics = {"state": state, "candidate": f"toy@{number}"}
        found: dict[str, Any] = keeper.entry(
            metrics, self.folder / "predictions.parquet"
        )
        return found

    def used(self, number: int, path: Path, **changes: Any) -> tuple[int, int]:
        """How often the rows were used after another evaluation, and what is left."""
        told = self.use(number, path, **changes)["budget"]
        return told["used"], told["left"]


@pytest.fixture
def desk(published: Project, tmp_path: Path) -> Desk:
    """The toy project's registry and model."""
    source = inspect(published.root)
    config = configuration.read(published.root)
    manifest = pack(published.root, config, source.commit, source.tree)
    (tmp_path / "desk").mkdir()
    registry = open_registry(str(published.registry))
    return Desk(registry, manifest, tmp_path / "desk")


@given(st.lists(DIGEST, min_size=4, max_size=4), st.integers(0, 3), DIGEST)
def test_a_use_is_its_candidate_production_rows_and_settings(
    parts: list[str], which: int, other: str
) -> None:
    """The same four are the same key; another one of them is another key."""
    changed = [*parts[:which], other, *parts[which + 1 :]]
    same = ledger.use_key(*parts) == ledger.use_key(*changed)
    assert same is (parts == changed)


def test_each_candidate_takes_a_use_and_the_same_one_none(desk: Desk) -> None:
    """By its files, contract and lock: whatever the commit, and however often."""
    data = desk.rows(0, 50)
    assert desk.used(1, data) == (1, 2)
    assert desk.used(1, data) == (1, 2)
    assert desk.use(1, data)["budget"]["again"] is True
    desk.manifest = replace(desk.manifest, commit="f" * 40, tree="e" * 40)
    assert desk.used(1, data) == (1, 2)
    assert desk.used(2, data) == (2, 1)
    assert desk.used(2, data, production=1) == (3, 0)


def test_what_verdicts_do_not_rest_on_makes_no_other_use(desk: Desk) -> None:
    """Batches and the watch do not; gates and chances do."""
    data = desk.rows(0, 50)
    desk.use(1, data, uses=9)
    others: list[dict[str, Any]]
    others = [{"batch_rows": 7}, {"watch": Watch(0.8)}, {"data": "elsewhere"}]
    for same in others:
        assert desk.used(1, data, uses=9, **same)[0] == 1
    others = [{"gates": (Gate("accuracy >= 0.9"),)}, {"false_pass": 0.1}]
    for number, each in enumerate(others, 2):
        assert desk.used(1, data, uses=9, **each)[0] == number


def test_a_spent_test_set_is_refused_before_anything_is_predicted(desk: Desk) -> None:
    """But for the uses that it was spent on."""
    data = desk.rows(0, 50)
    for number in range(3):
        desk.use(number, data)
    with pytest.raises(Unknown) as refused:
        desk.keeper(3).look(data)
    assert refused.value.found == "the test set was used 3 of 3 times"
    assert "label fresh rows" in refused.value.todo
    desk.keeper(2).look(data)


def test_fresh_rows_are_fresh_and_known_ones_inherit_their_uses(desk: Desk) -> None:
    """A row in common is enough, in whatever order and file it comes."""
    desk.use(1, desk.rows(0, 50))
    desk.use(2, desk.rows(100, 50))
    assert desk.used(3, desk.rows(200, 50)) == (1, 2)
    assert desk.use(4, desk.rows(49, 52))["budget"]["used"] == 3
    assert desk.use(5, desk.rows(0, 50), uses=9)["budget"]["used"] == 3
    turned = pq.read_table(desk.rows(200, 50)).take(np.arange(50)[::-1])
    pq.write_table(turned, desk.folder / "turned.parquet")
    assert desk.used(6, desk.folder / "turned.parquet") == (2, 1)


def test_rows_may_be_known_by_some_of_their_columns(desk: Desk) -> None:
    """Then a new column makes no fresh rows."""
    data = desk.rows(0, 50)
    desk.use(1, data, identity=("x",))
    wider = pq.read_table(data).append_column("new", pa.array(range(50)))
    pq.write_table(wider, desk.folder / "wider.parquet")
    assert desk.used(2, desk.folder / "wider.parquet", identity=("x",)) == (2, 1)


def test_the_same_bytes_are_not_read_row_by_row_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rows are those that the ledger knows; by other columns they are others."""
    data = desk.rows(0, 50)
    desk.use(1, data)

    def hashed(*_: object) -> str:
        raise AssertionError("row by row")

    monkeypatch.setattr(Keeper, "_hashed", hashed)
    assert desk.used(2, data) == (2, 1)
    assert not (desk.folder / "out-2/rows.u64").exists()
    with pytest.raises(AssertionError, match="row by row"):
        desk.keeper(3, identity=("x",)).look(data)


def test_other_settings_give_nothing_back(desk: Desk) -> None:
    """A use has taken the chance that it was judged at."""
    data = desk.rows(0, 50)
    desk.use(1, data)
    desk.use(2, data)
    assert desk.used(3, data, uses=300) == (3, 99)
    with pytest.raises(Unknown) as refused:
        desk.keeper(4, uses=300, false_alarm=0.02).look(data)
    assert "3 uses have taken 168 % of" in refused.value.found


def test_the_first_verdict_of_a_use_stands(desk: Desk) -> None:
    """A model that answers otherwise the second time breaks the check."""
    data = desk.rows(0, 50)
    desk.use(1, data, "UNKNOWN")
    with pytest.raises(CheckBroken) as refused:
        desk.use(1, data, "PASS")
    assert "UNKNOWN, as toy@1 came to" in refused.value.expected


def test_exploring_counts_on_rows_of_a_test_set_only(desk: Desk) -> None:
    """Other data is nobody's test set; a part of one is."""
    desk.use(1, desk.rows(0, 50))
    told = desk.use(2, desk.rows(60, 50), exploring=True)["budget"]
    assert (told["used"], "other data" in told["sentence"]) == (0, True)
    assert desk.used(2, desk.rows(60, 50)) == (1, 2)
    assert desk.used(3, desk.rows(0, 10), exploring=True) == (2, 1)


def test_who_has_no_key_leaves_the_use_to_be_entered(
    desk: Desk, published: Project
) -> None:
    """It is counted when the evidence is attached, however often that is."""
    data, key = desk.rows(0, 50), published.registry.parent / "key.pem"
    key.rename(key.with_suffix(".away"))
    told = desk.use(1, data)["budget"]
    assert (told["used"], told["entered"]) == (1, False)
    assert "no key here" in told["sentence"]
    assert desk.use(2, data)["budget"]["used"] == 1
    key.with_suffix(".away").rename(key)
    for out in sorted(desk.folder.glob("out-*")) * 2:
        ledger.enter(desk.registry, out, _signer(desk.registry))
    assert desk.use(3, data)["budget"]["used"] == 3
    told = desk.use(1, data, registry=None)["budget"]
    assert "no registry yet" in told["sentence"]


def _signer(registry: Registry) -> Any:
    from interlock.registry.access import signer

    return signer(registry)


@pytest.mark.parametrize(
    "change",
    [
        lambda use: use | {"uses": 0},
        lambda use: use | {"rows": "none"},
        lambda use: use | {"false_alarm": "1/0"},
        lambda use: use | {"false_alarm": "half"},
        lambda use: use | {"judged": "today"},
        lambda use: use | {"more": 1},
        lambda use: use | {"night": []},
        lambda use: use | {"late": 0},
        lambda use: [use],
        lambda use: use | {"rows": "0" * 64},
    ],
)
def test_a_use_that_is_none_is_not_entered(
    desk: Desk, change: Callable[[Any], Any]
) -> None:
    """Whatever was left under its name."""
    desk.use(1, desk.rows(0, 50), registry=None)
    path = desk.folder / "out-1/use.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(VerificationFailed):
        ledger.enter(desk.registry, path.parent, _signer(desk.registry))
    assert ledger.index(desk.registry, "toy") == {}


def test_a_ledger_that_was_altered_is_refused(desk: Desk, published: Project) -> None:
    """A use under another name, or with another signature."""
    data = desk.rows(0, 50)
    desk.use(1, data)
    desk.use(2, data)
    one, other = sorted(published.registry.glob("ledger/toy/*/uses/*.json"))
    kept = one.read_bytes()
    for record in (other.read_bytes(), kept[:-2] + b"}}", b""):
        one.write_bytes(record)
        with pytest.raises(VerificationFailed):
            desk.keeper(1).look(data)


RACER = """
import sys
from pathlib import Path
from interlock.registry import ledger
from interlock.registry.access import open_registry, signer

registry = open_registry(sys.argv[1])
key = signer(registry)
print("ready", flush=True)
input()
ledger.enter(registry, Path(sys.argv[2]), key)
"""


def test_uses_at_once_are_all_counted(desk: Desk) -> None:
    """Of the same new rows, and of new rows that overlap: none is overlooked."""
    sets = [desk.rows(first, 50) for first in (0, 0, 10)]
    for number, data in enumerate(sets):
        desk.use(number, data, uses=99, registry=None)
    outs = [str(desk.folder / f"out-{run}") for run in range(1, desk.runs + 1)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    (sys.executable, "-c", RACER, desk.registry.store.url, out),
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for out in outs
        ]
        assert [racer.stdout and racer.stdout.readline() for racer in racers] == [
            b"ready\n"
        ] * 3
        for racer in racers:
            assert racer.stdin
            racer.stdin.write(b"go\n")
            racer.stdin.flush()
    assert [racer.returncode for racer in racers] == [0] * 3
    for number, data in enumerate(sets[1:]):
        assert desk.use(8 + number, data, uses=99)["budget"]["used"] == 4 + number


def test_of_evaluations_at_once_no_more_are_told_than_the_budget_has(
    desk: Desk,
) -> None:
    """Three find room for one: the last to enter is not told its verdict, nor later."""
    data = desk.rows(0, 50)
    desk.use(1, data)
    keepers = [desk.keeper(number) for number in (2, 3, 4)]
    for keeper in keepers:
        keeper.look(data)
    metrics = {"state": "PASS", "candidate": "toy"}
    for keeper in keepers[:2]:
        keeper.entry(metrics, desk.folder)
    with pytest.raises(Unknown, match="used 3 of 3 times"):
        keepers[2].entry(metrics, desk.folder)
    desk.keeper(3).look(data)
    with pytest.raises(Unknown, match="used 3 of 3 times"):
        desk.keeper(4).look(data)


def test_who_judged_when_others_had_spent_the_budget_releases_nothing(
    desk: Desk,
) -> None:
    """Evaluations without a key: the first to be entered count, whenever judged."""
    for number in range(4):
        desk.use(number, desk.rows(0, 50), registry=None)
    outs = [desk.folder / f"out-{run + 1}" for run in range(4)]
    key = _signer(desk.registry)
    uses = [ledger.enter(desk.registry, out, key) for out in reversed(outs)]
    for use in uses[:3]:
        assert use and not use.late
        ledger.demand_in_time(desk.registry, use)
    for _ in range(2):
        late = ledger.enter(desk.registry, outs[0], key)
        assert late and late.late
        with pytest.raises(Unknown, match="used 3 of 3 times"):
            ledger.demand_in_time(desk.registry, late)


def test_who_judged_first_and_entered_last_is_not_told_later_either(
    desk: Desk, published: Project
) -> None:
    """One use: what others had spent before the entry stays spent, run after run."""
    data, key = desk.rows(0, 50), published.registry.parent / "key.pem"
    first = desk.keeper(1, uses=1)
    first.look(data)
    moment = first._new({"state": "PASS", "candidate": "toy@1"}, data)
    desk.use(2, data, uses=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "_new", lambda *_: moment)
        with pytest.raises(Unknown, match="used 1 of 1 times"):
            first.entry({"state": "PASS", "candidate": "toy@1"}, data)
    for _ in range(2):
        with pytest.raises(Unknown, match="used 1 of 1 times"):
            desk.keeper(1, uses=1).look(data)
    key.rename(key.with_suffix(".away"))
    with pytest.raises(Unknown, match="used 1 of 1 times"):
        desk.keeper(1, uses=1).look(data)
    key.with_suffix(".away").rename(key)
    assert desk.use(2, data, uses=1)["budget"]["again"] is True


def test_who_enters_at_once_with_another_is_not_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw room for one before it was written, and the other after that."""
    for number in range(2):
        desk.use(number, desk.rows(0, 50), uses=1, registry=None)
    one, other = (desk.folder / f"out-{run}" for run in (1, 2))
    key, seal = _signer(desk.registry), ledger.seal  # type: ignore[attr-defined]

    def at_once(statement: Statement, signer: Any) -> Any:
        if statement.predicate.get("candidate") == desk.candidate(0).model:
            monkeypatch.setattr(ledger, "seal", seal)
            ledger.enter(desk.registry, other, key)
        return seal(statement, signer)

    monkeypatch.setattr(ledger, "seal", at_once)
    with pytest.raises(Unknown, match="used 1 of 1 times"):
        ledger.enter(desk.registry, one, key)


def test_a_night_is_what_production_did_on_rows_that_nobody_had_used(
    desk: Desk,
) -> None:
    """Each row counts once, and none that production was chosen on."""
    settings: dict[str, Any] = {"watch": Watch(0.6), "uses": 99}
    first = desk.use(1, desk.rows(0, 50), **settings)["watch"]
    assert (first["trend"], first["alarm"]) == ([], False)
    again = desk.use(2, desk.rows(0, 50), production=1, **settings)["watch"]
    assert again["trend"] == []
    night = desk.use(2, desk.rows(40, 50), right=0.6, production=1, **settings)
    (point,) = night["watch"]["trend"]
    assert (point["rows"], point["value"]) == (40, 0.5)
    for _ in range(2):
        night = desk.use(3, desk.rows(40, 50), production=1, **settings)
        assert len(night["watch"]["trend"]) == 1
    explored = desk.use(3, desk.rows(500, 9), production=1, exploring=True, **settings)
    assert len(explored["watch"]["trend"]) == 1


def test_an_alarm_is_told_apart_from_the_verdict(
    desk: Desk, published: Project
) -> None:
    """Nine bad nights: the candidates pass all along, and `watch` exits with 9."""
    settings: dict[str, Any] = {"watch": Watch(0.8), "production": 0}
    nobody = published.run("watch")
    assert (nobody.code, "nobody watches toy" in nobody.out) == (0, True)
    for number in range(9):
        data = desk.rows(100 * number, 50)
        found = desk.use(number + 1, data, right=0.1, **settings)
    assert found["watch"]["alarm"] is True
    assert found["watch"]["sentence"].startswith("ALARM: production is at 10.0 %")
    answer = published.run("watch", "toy")
    assert (answer.code, "ALARM" in answer.out) == (9, True)
    assert "0.05 in 365 nights" in " ".join(answer.err.split())
    desk.use(20, desk.rows(5000, 50), watch=Watch(0.8), production=1, registry=None)
    out = str(desk.folder / f"out-{desk.runs}")
    assert published.run("watch", "--night", out, "--json").code == 9


def test_a_project_spends_its_test_set(judged: Project) -> None:
    """The night before was its first use: with one use there is none left."""
    left = json.loads(Path("evidence/nightly-eval/metrics.json").read_text())
    assert (left["budget"]["used"], left["budget"]["left"]) == (1, 364)
    assert left["budget"]["entered"] is True
    assert "these rows were used 1 of 365 times" in (
        Path("evidence/nightly-eval/summary.md").read_text()
    )
    settings = (judged.root / "pyproject.toml").read_text()
    judged.write(
        "pyproject.toml", settings.replace('label = "y"', 'label = "y"\nuses = 1')
    )
    answer = judged.run("eval")
    assert (answer.code, "used 1 of 1 times" in answer.err) == (4, True)
    assert {path.name for path in Path("evaluation").iterdir()} == {"production.json"}


def _late(project: Project) -> None:
    """Judge a published version without a key; by then another spent the one use."""
    settings = (project.root / "pyproject.toml").read_text()
    project.write(
        "pyproject.toml", settings.replace('label = "y"', 'label = "y"\nuses = 1')
    )
    project.publish()
    key, left = project.registry.parent / "key.pem", Path("evidence/nightly-eval")
    key.rename(key.with_suffix(".away"))
    with evidence.recorded(_session("nightly-eval")) as record:
        record.notes |= project.judged()
        assert project.run("eval", "--out", str(record.folder)).code == 0
    key.with_suffix(".away").rename(key)
    other = Path(shutil.copytree(left, project.registry.parent / "other"))
    use = json.loads((left / "use.json").read_text()) | {"candidate": "0" * 64}
    (other / "use.json").write_text(json.dumps(use))
    registry = open_registry(str(project.registry))
    ledger.enter(registry, other, _signer(registry))


@pytest.mark.parametrize(
    "first",
    [["promote"], ["publish"], ["promote", "--attach-only"], ["publish", "production"]],
)
@pytest.mark.parametrize("again", ["publish", "promote"])
def test_no_way_leads_to_production_when_others_had_spent_the_budget(
    published: Project, first: list[str], again: str
) -> None:
    """Neither does publish, nor evidence that is in the registry and not here."""
    _late(published)
    answer = published.run(*first)
    assert answer.code == (4 if first[-1] in ("promote", "production") else 0)
    shutil.rmtree("evidence")
    published.check()
    for _ in range(2):
        answer = published.run(again, "production")
        assert (answer.code, "used 1 of 1 times" in answer.err) == (4, True)
    assert published.production() == ""


def test_who_had_room_is_promoted_and_judged_again(published: Project) -> None:
    """Whatever was entered after it: the same use costs nothing."""
    _late(published)
    for record in published.registry.glob("ledger/toy/*/uses/*.json"):
        record.unlink()
    assert published.run("promote", "--attach-only").code == 0
    registry = open_registry(str(published.registry))
    other = ledger.enter(
        registry, published.registry.parent / "other", _signer(registry)
    )
    assert other and other.late
    shutil.rmtree("evidence")
    answer = published.run("eval")
    assert (answer.code, "costs nothing" in answer.out) == (0, True), answer.err
    assert published.run("promote").code == 0


def test_a_use_that_the_ledger_lost_is_not_promoted(published: Project) -> None:
    """Evidence names it: that it is not there is damage."""
    _late(published)
    assert published.run("promote", "--attach-only").code == 0
    shutil.rmtree("evidence")
    for record in published.registry.glob("ledger/toy/*/uses/*.json"):
        record.unlink()
    assert published.run("promote").code == 7
