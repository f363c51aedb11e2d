"""How many rows ease.ml/ci asks for: bounds that hold for every distribution.

Renggli, Karlas, Ding, Liu, Schawinski, Wu & Zhang, "Continuous Integration of Machine
Learning Models with ease.ml/ci", SysML 2019. A condition on an accuracy, or on a gain
in accuracy, is estimated to within a tolerance with a probability, the reliability, for
every one of a number of uses of the test set.

What a team learns of each use decides how much of 1 - reliability it may spend:

- "none": no verdict influences the next model. Each of H uses gets a share of 1 / H;
- "firstChange": verdicts are seen, and the test set is replaced when one passes. Then
  no more than one history of verdicts goes on: also 1 / H;
- "full": verdicts are seen and models chosen by them. Of O outcomes a use there are
  O ** H histories: 1 / O ** H. The paper counts 2; this gate has three, and whoever
  shows numbers and plots as well leaks more than any count: renew the rows then.
"""

from __future__ import annotations

from math import ceil, log, log1p
from typing import Literal

Adaptivity = Literal["none", "firstChange", "full"]


def histories(uses: int, adaptivity: Adaptivity, outcomes: int = 2) -> float:
    """ln of the number of histories that 1 - reliability is divided over."""
    return uses * log(outcomes) if adaptivity == "full" else log(uses)


def hoeffding(
    tolerance: float,
    reliability: float,
    uses: int,
    adaptivity: Adaptivity = "none",
    *,
    gain: bool = False,
    outcomes: int = 2,
) -> int:
    """Rows for an accuracy, or the gain of one over another, to within `tolerance`.

    Hoeffding's inequality, one side: ln(K / delta) / (2 tolerance ** 2) rows, with K
    histories. A gain has two accuracies, each with half of the tolerance and of delta.
    """
    spent = histories(uses, adaptivity, outcomes) - log(1 - reliability)
    if gain:
        spent, tolerance = spent + log(2), tolerance / 2
    return ceil(spent / (2 * tolerance**2))


def bennett(
    tolerance: float,
    reliability: float,
    uses: int,
    adaptivity: Adaptivity = "none",
    *,
    disagreement: float,
    clauses: int = 2,
    outcomes: int = 2,
) -> int:
    """Rows for a gain to within `tolerance`, of models that differ on few rows.

    Bennett's inequality for a paired difference, where at most `disagreement` of the
    rows differ: (ln(2 C / delta) + ln K) / (p h(tolerance / p)), p the disagreement and
    h(u) = (1 + u) ln(1 + u) - u. Two `clauses`, C, where "they differ on at most p" is
    tested as well; one where it is known.
    """
    spent = log(2 * clauses) - log(1 - reliability)
    spent += histories(uses, adaptivity, outcomes)
    u = tolerance / disagreement
    return ceil(spent / (disagreement * ((1 + u) * log1p(u) - u)))
