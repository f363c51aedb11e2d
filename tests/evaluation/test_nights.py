"""The replay of a year of nights tells a good model from one that lost a column."""

from __future__ import annotations

import numpy as np

from benchmarks.nights import Rows, first, judged, line

GATE = "accuracy >= production.accuracy - 0.005"


def made() -> Rows:
    """Ten nights of 540 rows: production, one as good, and one that is no good."""
    chance = np.random.default_rng(5)
    labels = chance.random(5400) < 0.3
    flipped = chance.random((2, 5400)) < 0.1
    good = {
        name: np.where(labels ^ flip, 0.9, 0.1) + 0.05 * chance.random(5400)
        for name, flip in zip(("production", "twin"), flipped, strict=True)
    }
    return Rows(labels, np.arange(5400) // 540, good | {"lost": np.full(5400, 0.1)})


def test_the_nights_of_a_twin_and_of_a_loss() -> None:
    """No alarm of the gate or the watch for the one; the first night for the other."""
    rows = made()
    twin, lost = line(rows, "twin"), line(rows, "lost")
    assert twin[1:5] == ["0 / never", "0 / never", "never", "never"]
    assert lost[1:5] == ["10 / 1", "10 / 1", "1", "1"]
    assert lost[6].endswith(" / 1")
    whole = rows.counted("lost", np.ones(5400, bool))
    assert judged(GATE, whole).state == "FAIL"
    assert whole.whole.rows == 5400


def test_the_first_alarm_counts_from_1() -> None:
    """As people count nights."""
    assert (first([False, True, True]), first([False])) == ("2", "never")
