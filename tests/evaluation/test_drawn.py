"""What regression and ranking plots show is what the rows are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.config import Evaluation
from interlock.evaluation import charts, drawn, ranking
from interlock.evaluation.batch import Batch
from interlock.evaluation.counts import fold, plan

REGRESSION = Evaluation("", "", (), task="regression")
RANKING = Evaluation("", "", (), task="ranking", query="q", top_k=3)


def curves(
    settings: Evaluation, labels: Any, given: Any, cut: int = 0, **other: Any
) -> Any:
    """The curves of some rows, counted in two parts where they are cut."""
    wanted = plan(settings, drawn=True)

    def part(low: int, high: int | None) -> Any:
        some = {role: answers[low:high] for role, answers in given.items()}
        more: Any = {
            n: None if each is None else each[low:high] for n, each in other.items()
        }
        return fold(Batch(labels[low:high], some, **more), wanted)

    counts = part(0, cut) + part(cut, None) if cut else part(0, None)
    return drawn.curves(counts.whole)


@pytest.fixture(scope="module")
def fit() -> tuple[Any, Any, Any]:
    """Labels far from 0 and two models; and what is drawn of them."""
    chance = np.random.default_rng(3)
    labels = 1e4 + chance.normal(0, 10, 9000)
    both = labels + chance.normal([[0.5], [-1.0]], [[1.0], [2.0]], (2, 9000))
    given = dict(zip(("candidate", "production"), both, strict=True))
    return labels, both, curves(REGRESSION, labels, given, 4000)


def test_squares_are_the_rows_in_them(fit: Any) -> None:
    """As NumPy counts them, but for rows within a cell of an edge."""
    labels, both, found = fit
    for answers, role in zip(both, ("candidate", "production"), strict=True):
        squares = found[role]["squares"]
        edges = np.linspace(squares["low"], squares["high"], drawn.SQUARES + 1)
        expected = np.histogram2d(labels, answers, (edges, edges))[0] / len(labels)
        ours = np.zeros_like(expected)
        for column, row, share in squares["shares"]:
            ours[int(column), int(row)] = share
        assert np.abs(ours - expected).sum() < 0.15  # cells are a tenth of a square
        assert ours.sum() == pytest.approx(1 - squares["outside"], abs=1e-3)
        assert squares["outside"] < 0.03
    assert found["candidate"]["squares"]["low"] == found["production"]["squares"]["low"]


def test_errors_are_those_of_the_rows(fit: Any) -> None:
    """Their shares, the one in the middle, and how near most of them are."""
    labels, both, found = fit
    for answers, role in zip(both, ("candidate", "production"), strict=True):
        error, ours = answers - labels, found[role]["errors"]
        edges = np.linspace(ours["low"], ours["high"], drawn.BARS + 1)
        expected = np.histogram(error, edges)[0] / len(error)
        assert ours["shares"] == pytest.approx(expected, abs=0.01)
        assert ours["low"] < 0 < ours["high"]
        assert ours["median"] == pytest.approx(np.median(error), abs=0.02)
        for percent in (50, 90):
            expected = np.percentile(np.abs(error), percent)
            assert ours[f"within_{percent}"] == pytest.approx(expected, abs=0.02)


def test_mean_errors_are_those_of_like_predictions(fit: Any) -> None:
    """As many rows in each group, the intervals Student's, the whole the bias."""
    labels, both, found = fit
    for answers, role in zip(both, ("candidate", "production"), strict=True):
        means = found[role]["means"]
        assert len(means) == drawn.MEANS
        weights = [each["rows"] for each in means]
        assert sum(weights) == len(labels)
        assert max(weights) < 2 * min(weights)
        values = [each["error"]["value"] for each in means]
        bias = np.average(values, weights=weights)
        assert bias == pytest.approx((answers - labels).mean())
        middle = means[drawn.MEANS // 2]
        low, high = middle["error"]["low"], middle["error"]["high"]
        spread = (answers - labels).std()
        assert high - low == pytest.approx(
            2 * 1.96 * spread / middle["rows"] ** 0.5, rel=0.2
        )


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        ([1.0], [1.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([1e-60, 1e60, 5.0], [3.0, -1e60, 0.0]),
        ([1e15, 1e15 + 1], [1e15, 1e15]),
        ([*range(100)], [7.0] * 100),
    ],
)
def test_odd_numbers_are_drawn(labels: Any, answers: Any) -> None:
    """One row, equal ones, enormous ones: without a warning."""
    given = {"candidate": np.array(answers), "production": np.array(answers)}
    found = curves(REGRESSION, np.array(labels, float), given)
    model = {"value": None}
    record = {"curves": found, "settings": {"task": "regression"}}
    record["whole"] = {"candidate": model, "production": model}
    assert len(charts.charts(record)) == 3


def test_weights_weigh_and_leave_no_interval() -> None:
    """A row of weight 3 is three rows."""
    chance = np.random.default_rng(4)
    labels, times = chance.normal(size=300), chance.integers(1, 4, 300)
    answers = labels + chance.normal(size=300)
    found = curves(
        REGRESSION, labels, {"candidate": answers}, weights=times.astype(float)
    )["candidate"]
    again = curves(
        REGRESSION, labels.repeat(times), {"candidate": answers.repeat(times)}
    )["candidate"]
    assert found["errors"] == again["errors"] and found["squares"] == again["squares"]
    assert found["means"][0]["error"]["low"] is None
    assert again["means"][0]["error"]["low"] is not None


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
@settings(max_examples=20)
def test_places_are_the_mean_over_every_order_of_ties(seed: int, queries: int) -> None:
    """Each of those that tie is as likely there as another."""
    chance = np.random.default_rng(seed)
    sizes = chance.integers(1, 14, queries)
    query = np.repeat(np.arange(queries), sizes)
    labels = (chance.random(len(query)) < 0.4) * 2.0
    scores = chance.integers(0, 3, len(query)) * 1.0
    found = curves(RANKING, labels, {"candidate": scores}, queries=query)
    places = found["candidate"]["places"]
    asked = [(sizes >= place).sum() for place in range(1, ranking.PLACES + 1)]
    assert [each["queries"] for each in places] == [n for n in asked if n]
    hits = np.zeros(ranking.PLACES)
    for each in range(queries):
        mine, theirs = scores[query == each], labels[query == each] > 0
        order = np.argsort(-mine, kind="stable")
        of = {s: theirs[mine == s].mean() for s in mine}
        for place, row in enumerate(order[: ranking.PLACES]):
            hits[place] += of[mine[row]]
    for each in places:
        expected = hits[each["place"] - 1] / each["queries"]
        assert each["relevant"]["value"] == pytest.approx(expected)
        assert each["relevant"]["low"] <= each["relevant"]["high"]
    assert sum(found["candidate"]["queries"]) == pytest.approx(1, abs=1e-4)
