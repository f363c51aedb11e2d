"""The sample sizes of ease.ml/ci, to the row."""

from functools import partial

import pytest

from interlock.evaluation import sizes
from interlock.evaluation.sizes import Adaptivity

# Reliability, tolerance; rows for an accuracy (none, full) and for a gain (none, full),
# at 32 uses. Recomputed with the paper's formulas; the figures that its text prints are
# among them: 5,496, 6,279, 63 thousand and 156,955 (rounded down there).
TABLE = """
0.99   0.1      404   1340   1753   5496
0.99   0.05    1615   5358   7012  21984
0.99   0.025   6457  21429  28045  87933
0.99   0.01   40355 133930 175282 549581
0.999  0.1      519   1455   2214   5957
0.999  0.05    2075   5818   8854  23826
0.999  0.025   8299  23271  35414  95302
0.999  0.01   51868 145443 221333 595633
0.9999 0.1      634   1570   2674   6417
0.9999 0.05    2536   6279  10696  25668
0.9999 0.025  10141  25113  42782 102670
0.9999 0.01   63381 156956 267385 641684
"""


@pytest.mark.parametrize("line", TABLE.split("\n")[1:-1])
def test_the_table_of_ease_ml_ci(line: str) -> None:
    """Hoeffding, for one accuracy and for a gain; firstChange is as none."""
    reliability, tolerance, *rows = map(float, line.split())
    found = [
        sizes.hoeffding(tolerance, reliability, 32, adaptivity, gain=gain)
        for gain in (False, True)
        for adaptivity in ("none", "full")
    ]
    assert found == rows
    for gain, expected in ((False, rows[0]), (True, rows[2])):
        once = sizes.hoeffding(tolerance, reliability, 32, "firstChange", gain=gain)
        assert once == expected


def test_other_figures_of_the_paper() -> None:
    """One model; the paired bound of 29K and 67K; SemEval; three outcomes."""
    assert sizes.hoeffding(0.01, 0.9999, 1) == 46_052
    paired = partial(sizes.bennett, 0.01, 0.9999, 32, disagreement=0.1)
    assert paired() == 29_048
    assert paired("full") == 67_706
    assert paired("full", outcomes=3) == 94_507
    assert sizes.hoeffding(0.02, 0.998, 7, gain=True) == 44_269
    assert sizes.hoeffding(0.02, 0.998, 7, "full", gain=True) == 58_799
    known = partial(sizes.bennett, disagreement=0.1, clauses=1)
    assert known(0.02, 0.998, 7) == 4_713
    assert known(0.02, 0.998, 7, "full") == 6_260
    assert known(0.022, 0.998, 7, "full") == 5_204


@pytest.mark.parametrize(
    ("uses", "adaptivity", "plain", "few", "more"),
    [
        (1, "none", 73_778, 4_666, 9_052),
        (32, "none", 143_093, 8_355, 16_211),
        (32, "full", 517_392, 28_280, 54_869),
        (365, "none", 191_776, 10_947, 21_239),
        (365, "full", 5_133_753, 274_016, 531_647),
    ],
)
def test_what_365_uses_cost(
    uses: int, adaptivity: Adaptivity, plain: int, few: int, more: int
) -> None:
    """At 0.95: what a year of nights asks for, by either bound."""
    promise = (0.01, 0.95, uses, adaptivity)
    assert sizes.hoeffding(*promise, gain=True) == plain
    assert sizes.bennett(*promise, disagreement=0.05) == few
    assert sizes.bennett(*promise, disagreement=0.1) == more
