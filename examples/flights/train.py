"""Train the example model: `PYTHONPATH=examples python -m flights.train`."""

# mypy: disable-error-code="import-untyped"
# PyArrow and scikit-learn ship no types (as of 26.0 and 1.9).

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression

from flights import data
from flights.model import CATEGORIES, NUMBERS, WEIGHTS, Vector
from flights.model import load, predict, standardise

# What a version holds: the folder around this package.
ROOT = Path(__file__).parents[1]

# About how many minutes late each golden example left: from very early to hours late,
# and close together around 15, where the answer turns.
GOLDEN_DELAYS = (-18, -9, -3, 0, 7, 14, 19, 33, 90, 240)


def fit(table: pa.Table) -> dict[str, Vector]:
    """Return the tensors of a `FlightModel` fitted to the flights in `table`."""
    batch = data.batch(table)
    spread = {n: (np.nanmean(batch[n]), np.nanstd(batch[n])) for n in NUMBERS}
    terms = {n: standardise(batch[n], *spread[n]) for n in NUMBERS}
    for column in CATEGORIES:
        for category in np.unique(batch[column]):
            terms[f"{column}={category}"] = (batch[column] == category).astype(float)

    # This solver draws no random numbers, and converges so far that rounding removes
    # the bits that vary with the number of threads: same flights, same file.
    regression = LogisticRegression(solver="newton-cholesky", tol=1e-8)
    regression.fit(np.column_stack([*terms.values()]), table["late"].to_numpy())
    weights = zip(terms, regression.coef_[0], strict=True)
    tensors = {n: np.array([*spread.get(n, ()), weight]) for n, weight in weights}
    tensors["bias"] = regression.intercept_
    return {name: tensor.round(6) for name, tensor in tensors.items()}


def golden_inputs(table: pa.Table) -> list[dict[str, Any]]:
    """Pick a flight for each of GOLDEN_DELAYS, no carrier twice; blank out two."""
    rows = table.select([*NUMBERS, *CATEGORIES]).sort_by("dep_delay").to_pylist()
    picked: dict[str, dict[str, Any]] = {}
    for delay in GOLDEN_DELAYS:
        later = (row for row in rows if row["dep_delay"] >= delay)
        row = next(row for row in later if row["carrier"] not in picked)
        picked[row["carrier"]] = row
    inputs = [*picked.values()]
    inputs[2]["dep_delay"] = None  # null in JSON and Arrow, NaN in NumPy
    inputs[7]["carrier"] = "ZZ"  # no airline that training saw
    return inputs


def main() -> None:
    """Write the weights and the golden examples; print the held-out accuracy."""
    tensors = fit(data.flights(data.TRAINING))
    (ROOT / WEIGHTS).write_bytes(save(tensors))
    # Read back: the golden outputs come from the very file that hosts will read.
    model = load(ROOT)

    held_out = data.flights(data.HELD_OUT)
    inputs = golden_inputs(held_out)
    outputs = predict(model, data.batch(pa.Table.from_pylist(inputs))).round(12)
    examples = [{"input": i, "output": o} for i, o in zip(inputs, outputs.tolist())]
    golden = json.dumps({"examples": examples}, indent=2)
    (ROOT / "flights" / "golden.json").write_text(golden + "\n")

    right = (predict(model, data.batch(held_out)) > 0.5) == held_out["late"].to_numpy()
    print(f"accuracy {right.mean():.4f} on {len(right):,} held-out flights")


if __name__ == "__main__":
    main()
