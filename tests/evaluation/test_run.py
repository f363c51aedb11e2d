"""An evaluation from end to end, and the files it leaves."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as oracle

from interlock.config import Evaluation, Score
from interlock.errors import BadConfiguration, CheckBroken
from interlock.evaluation import files, gates, record
from interlock.evaluation.run import FILES, Outcome, evaluate, recount
from tests.evaluation.conftest import Settings, Toy, Write

Rows = Callable[..., dict[str, Any]]
WORSE = "return np.where(batch['x'] * 1e5 % 3 > 1, batch['x'], 1 - batch['x'])"
PAIRED = "accuracy >= production.accuracy - 0.01"


def metrics(outcome: Outcome) -> dict[str, Any]:
    """What metrics.json holds."""
    found: dict[str, Any] = json.loads(outcome.paths["metrics.json"].read_text())
    return found


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("number", "body", "gate", "state", "says"),
    [
        (2000, "return batch['x']", PAIRED, "PASS", "equal to production"),
        (2000, WORSE, PAIRED, "FAIL", "points below production"),
        (60, "return batch['x']", PAIRED, "UNKNOWN", "more rows would settle it"),
    ],
)
def test_the_verdict(
    number: int,
    body: str,
    gate: str,
    state: str,
    says: str,
    tmp_path: Path,
    toy: Toy,
    settings: Settings,
    write: Write,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PASS, FAIL or UNKNOWN; all the files say the same, and so does the job's page."""
    write(rows(number, 0.9))
    page = tmp_path / "page.md"
    page.write_text("# earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    candidate, production = toy(body, "toy@2"), toy(name="toy@1")
    outcome = evaluate(
        candidate, production, settings(gate), tmp_path, tmp_path / "out"
    )
    assert outcome.state == state
    assert says in outcome.sentences[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    found = metrics(outcome)
    assert found["state"] == state
    assert [each["sentence"] for each in found["gates"]] == list(outcome.sentences)
    summary = outcome.paths["summary.md"].read_text()
    assert summary.startswith(f"## {state}: toy@2")
    assert page.read_text() == "# earlier\n" + summary


@pytest.mark.usefixtures("undrawn")
def test_the_first_version_has_nothing_to_be_compared_with(
    tmp_path: Path, toy: Toy, settings: Settings, write: Write, rows: Rows
) -> None:
    """Its paired gate is not judged, and the record says so."""
    write(rows(2000, 0.9))
    chosen = settings(PAIRED, "accuracy >= 0.8")
    both = evaluate(toy(), None, chosen, tmp_path, tmp_path / "out")
    assert both.state == "PASS"
    assert [verdict.state for verdict in both.verdicts] == ["NO_PRODUCTION", "PASS"]
    assert metrics(both)["whole"]["production"] is None
    assert pq.read_table(both.paths["predictions.parquet"])["production"].null_count


@pytest.mark.usefixtures("undrawn")
def test_the_numbers_can_be_computed_again(
    tmp_path: Path, toy: Toy, settings: Settings, write: Write, rows: Rows
) -> None:
    """From predictions.parquet alone: by scikit-learn, and the record by ourselves."""
    write(rows(1500, 0.85))
    chosen = settings(PAIRED, "accuracy >= 0.7 per group", slices=("group", "label"))
    outcome = evaluate(
        toy(WORSE, "toy@2"), toy(name="toy@1"), chosen, tmp_path, tmp_path / "out"
    )
    found, path = metrics(outcome), outcome.paths["predictions.parquet"]
    table = pq.read_table(path)
    assert table["row"].to_pylist() == list(range(1500))
    label = table["label"].to_numpy()
    for role in ("candidate", "production"):
        scores, whole = table[role].to_numpy(), found["whole"][role]
        expected = {
            "accuracy": oracle.accuracy_score(label, scores >= 0.5),
            "f1": oracle.f1_score(label, scores >= 0.5),
            "brier": oracle.brier_score_loss(label, scores),
            "log_loss": oracle.log_loss(label, scores),
        }
        values = {name: whole[name]["value"] for name in expected}
        assert values == pytest.approx(expected, abs=1e-12)
    assert found["predictions"]["sha256"] == files.digest(path)
    counts = recount(path, replace(chosen, batch_rows=77))
    verdicts = gates.judge([v.condition for v in outcome.verdicts], counts, chosen)
    assert verdicts == outcome.verdicts
    facts = record.Facts("toy@2", "toy@1", found["data"]["sha256"])
    digest, seconds = found["predictions"]["sha256"], found["seconds"]
    again = record.metrics(facts, counts, verdicts, chosen, digest, seconds)
    assert json.loads(json.dumps(again))["slices"] == found["slices"]
    assert json.loads(json.dumps(again))["gates"] == found["gates"]


@pytest.mark.usefixtures("undrawn")
def test_parquet_and_csv_give_the_same_numbers(
    tmp_path: Path, toy: Toy, settings: Settings, rows: Rows
) -> None:
    """A slice of whole numbers included, whatever the size of a batch."""
    table = pa.table({**rows(1200, 0.9), "month": np.arange(1200) % 12})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=100)
    pa.csv.write_csv(table, tmp_path / "data.csv")
    version, found = toy(), []
    for name, size in (("data.parquet", 1000), ("data.csv", 170)):
        chosen = settings("accuracy >= 0.8", slices=("group", "month"))
        chosen = replace(chosen, data=name, batch_rows=size)
        outcome = evaluate(version, None, chosen, tmp_path, tmp_path / name[5:])
        found.append(metrics(outcome))
    one, other = found
    assert one["slices"] == other["slices"]
    assert one["gates"] == other["gates"]
    assert {s["value"] for s in one["slices"] if s["column"] == "month"} == {
        str(month) for month in range(12)
    }


@pytest.mark.parametrize(
    ("change", "body", "says"),
    [
        ({}, "raise ValueError('no')", "ValueError at row 0: no"),
        ({"label": None}, "return batch['x']", "None at row 0"),
    ],
)
def test_a_broken_check_leaves_no_verdict(
    change: dict[str, Any],
    body: str,
    says: str,
    tmp_path: Path,
    toy: Toy,
    settings: Settings,
    write: Write,
    rows: Rows,
) -> None:
    """Not even an older one."""
    columns = rows(900, 0.9)
    write({**columns, **{name: [None] * 900 for name in change}})
    out = tmp_path / "out"
    out.mkdir()
    for name in FILES:
        (out / name).write_text("an older one")
    with pytest.raises(CheckBroken, match=f"(?s){says}"):
        evaluate(toy(body), None, settings("accuracy >= 0.5"), tmp_path, out)
    assert list(out.iterdir()) == []


def test_a_probability_out_of_range_is_named_by_its_row(
    tmp_path: Path, toy: Toy, settings: Settings, write: Write, rows: Rows
) -> None:
    """Counted over the whole data set."""
    write({**rows(900, 0.9), "x": [0.5] * 850 + [-0.25] * 50})
    with pytest.raises(CheckBroken, match="-0.25 at row 850"):
        evaluate(toy(), None, settings("accuracy >= 0"), tmp_path, tmp_path / "out")


def test_a_bad_gate_is_refused_before_any_work(
    tmp_path: Path, toy: Toy, settings: Settings
) -> None:
    """The data is not even looked for."""
    with pytest.raises(BadConfiguration, match="a metric"):
        evaluate(toy(), None, settings("speed >= 1"), tmp_path, tmp_path / "out")


def test_data_that_changes_meanwhile_breaks_the_check(
    tmp_path: Path, toy: Toy, settings: Settings, rows: Rows
) -> None:
    """The digest would name other rows than those that were judged."""
    csv = tmp_path / "data.csv"
    pa.csv.write_csv(pa.table(rows(900, 0.9)), csv)
    chosen = replace(settings("accuracy >= 0.5"), data="data.csv")
    grown = f"open({str(csv)!r}, 'a').write('\\n'); return batch['x']"
    with pytest.raises(CheckBroken, match="stay the same"):
        evaluate(toy(grown), None, chosen, tmp_path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def ended(
    tmp_path: Path, version: Any, chosen: Evaluation, production: Any = None
) -> tuple[Outcome, dict[str, Any], Any]:
    """An evaluation, its record and its kept rows; derived again, it is the same."""
    outcome = evaluate(version, production, chosen, tmp_path, tmp_path / "out")
    path = outcome.paths["predictions.parquet"]
    conditions = [verdict.condition for verdict in outcome.verdicts]
    again = gates.judge(conditions, recount(path, chosen), chosen)
    assert [v.sentence for v in again] == list(outcome.sentences)
    page = outcome.paths["report.html"].read_text()
    for sentence in outcome.sentences:
        said = sentence.split(": ", 1)[1].split(" (95")[0]
        assert said.replace(" %", "\N{NO-BREAK SPACE}%") in page
    assert 'role="img"' in page
    return outcome, metrics(outcome), pq.read_table(path)


def test_a_model_of_three_classes_is_judged(
    tmp_path: Path, toy: Toy, settings: Settings, write: Write
) -> None:
    """By name of the class, from a probability of each; a wrong name is refused."""
    chance = np.random.default_rng(8)
    x = chance.choice([-1.0, 0.0, 1.0], 1500)
    names = np.array(["bad", "fair", "good"])
    label = np.where(chance.random(1500) < 0.9, x, -x).astype(int)
    write({"x": x, "label": names[label + 1], "group": ["a", "b"] * 750})
    kinds = "np.stack([batch['x'] == k for k in (-1, 0, 1)], 1)"
    version = toy(f"return 0.05 + 0.85 * {kinds}")
    contract = {**version.contract, "output": '["bad", "fair", "good"]'}
    chosen = settings(
        "accuracy >= 0.85",
        "recall[good] >= production.recall[good] - 0.1 per group",
        "log_loss <= 0.6",
        task="multiclass",
        classes=("bad", "fair", "good"),
    )
    judge = replace(version, contract=contract)
    outcome, found, rows = ended(tmp_path, judge, chosen, judge)
    assert outcome.state == "PASS", outcome.sentences
    assert rows["candidate"][0].as_py() == pytest.approx(
        0.05 + 0.85 * (x[0] == [-1, 0, 1])
    )
    given_ = np.array(rows["candidate"].to_pylist())
    expected = oracle.f1_score(label + 1, given_.argmax(axis=1), average="macro")
    assert found["whole"]["candidate"]["macro_f1"]["value"] == pytest.approx(expected)
    others = ("bad", "fair", "best")
    wrong = replace(chosen, classes=others, gates=chosen.gates[:1])
    with pytest.raises(CheckBroken, match="'good' at row"):
        evaluate(judge, None, wrong, tmp_path, tmp_path / "other")
    with pytest.raises(CheckBroken, match=r"toy@1: shape \(400, 3\)"):
        evaluate(version, None, chosen, tmp_path, tmp_path / "other")


def test_a_regression_with_weights_and_clusters_is_judged(
    tmp_path: Path, toy: Toy, settings: Settings, write: Write
) -> None:
    """The weight of 0 is named by its row; rows of a user are not independent."""
    chance = np.random.default_rng(9)
    user = np.repeat(np.arange(300), 5)
    x = chance.normal(size=1500)
    label = x + chance.normal(size=300)[user] + 0.1 * chance.normal(size=1500)
    rows: dict[str, Any] = {"x": x, "label": label, "group": ["a"] * 1500}
    write({**rows, "user": user, "w": [1.0, 2.0] * 750})
    chosen = settings(
        "mae <= 1.2",
        "rmse <= production.rmse + 0.1",
        task="regression",
        clip={"mae": 4.0, "rmse": 4.0},
    )
    chosen = replace(chosen, cluster="user", weight="w")
    outcome, found, kept = ended(tmp_path, toy(), chosen, toy(name="toy@0"))
    assert outcome.state == "PASS", outcome.sentences
    # Rows of a user share most of their error.
    assert outcome.verdicts[0].findings[0].design > 3
    assert found["gates"][0]["findings"][0]["design_effect"] > 3
    weights = kept["weight"].to_numpy()
    expected = oracle.mean_absolute_error(label, x, sample_weight=weights)
    assert found["whole"]["candidate"]["mae"]["value"] == pytest.approx(expected)
    write({**rows, "user": user, "w": [1.0, 0.0] * 750})
    with pytest.raises(CheckBroken, match="0 at row 1\n"):
        evaluate(toy(name="toy@3"), None, chosen, tmp_path, tmp_path / "other")


def test_a_ranking_is_judged_query_by_query(
    tmp_path: Path, toy: Toy, settings: Settings, write: Write
) -> None:
    """However the batches fall; a query in two places is refused."""
    chance = np.random.default_rng(10)
    query = np.repeat(np.arange(300), 7)
    label = (chance.random(2100) < 0.3).astype(int)
    x = np.round(label + chance.normal(size=2100), 1)
    columns: dict[str, Any] = {"x": x, "label": label, "group": ["a"] * 2100}
    write({**columns, "q": query})
    chosen = settings("ndcg >= 0.6", "hit_rate >= production.hit_rate - 0.05")
    chosen = replace(chosen, task="ranking", query="q", batch_rows=100)
    outcome, found, _ = ended(tmp_path, toy(), chosen, toy(name="toy@0"))
    assert outcome.state == "PASS", outcome.sentences
    expected = oracle.ndcg_score(label.reshape(300, 7), x.reshape(300, 7), k=5)
    assert found["whole"]["candidate"]["ndcg"]["value"] == pytest.approx(expected)
    assert found["rows"] == 300
    write({**columns, "q": query % 200})
    with pytest.raises(CheckBroken, match="0 again at row 1400"):
        evaluate(toy(name="toy@3"), None, chosen, tmp_path, tmp_path / "other")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return (predictions - columns['x']) ** 2 + 0.25", ""),
        ("return [1.5] * len(labels)", "1.5 at row 0"),
        ("return [1.0]", "shape"),
        ("raise ValueError('odd')", "ValueError: odd"),
    ],
)
def test_an_own_score_is_kept_and_gated(
    body: str,
    says: str,
    tmp_path: Path,
    toy: Toy,
    settings: Settings,
    write: Write,
    rows: Rows,
) -> None:
    """It is given labels, predictions and columns, and held to its bounds."""
    module = f"score_{abs(hash(body))}"
    code = f"def score(labels, predictions, columns):\n    {body}\n"
    (tmp_path / f"{module}.py").write_text(code)
    write(rows(900, 0.9))
    own = Score(f"{module}:score", 0.0, 1.0, "lower", ("x",))
    chosen = settings("score <= 0.5", "accuracy >= 0.8", score=own)
    if says:
        with pytest.raises(CheckBroken, match=says):
            evaluate(toy(), None, chosen, tmp_path, tmp_path / "out")
        return
    outcome, found, kept = ended(tmp_path, toy(), chosen)
    assert outcome.state == "PASS", outcome.sentences
    assert kept["score.candidate"].to_pylist() == [0.25] * 900
    assert found["whole"]["candidate"]["score"]["value"] == 0.25
