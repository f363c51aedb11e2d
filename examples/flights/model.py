"""The model as it is served: a logistic regression over five facts about a flight.

This is the only code a serving host runs, so it imports nothing but NumPy and
safetensors.  `load` and `predict` are the whole contract.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

Number: TypeAlias = float | np.floating[Any]
Vector: TypeAlias = npt.NDArray[np.float64]
Batch: TypeAlias = Mapping[str, npt.NDArray[Any]]

# One float64 tensor per term: "bias" is [weight], "distance" is [mean, scale, weight],
# and "carrier=UA" is [weight].  Names and numbers are all a safetensors file can hold,
# so reading one never runs code.
FlightModel: TypeAlias = Mapping[str, Vector]

WEIGHTS = Path("flights", "weights", "model.safetensors")

# Only what is known as the aircraft leaves the gate: air_time and arr_time are known
# after landing, and would leak the answer.
NUMBERS = ("dep_delay", "distance", "hour")  # minutes, miles, scheduled hour 0-23
CATEGORIES = ("carrier", "origin")  # two-letter airline, three-letter airport


def load(folder: Path) -> FlightModel:
    """Read the weights of the version in `folder`, the one that holds `flights/`."""
    return load_file(folder / WEIGHTS)


def standardise(values: Vector, mean: Number, scale: Number) -> Vector:
    """Centre and scale (n,) values; a missing one (NaN) counts as the mean."""
    scaled = (values - mean) / scale
    return np.where(np.isnan(scaled), 0.0, scaled)


def predict(model: FlightModel, batch: Batch) -> Vector:
    """Return the chance, (n,) in 0..1, of arriving more than 15 minutes late.

    `batch` holds (n,) columns: NUMBERS as float64, CATEGORIES as strings.  A category
    that training never saw matches no term, and so counts as an average one.
    """
    score = np.full(len(batch["dep_delay"]), model["bias"])
    # Term by term in a fixed order, not as a matrix product: the chance of a flight
    # then has the same bits whichever flights share its batch.
    for name in sorted(model.keys() - {"bias"}):
        column, _, category = name.partition("=")
        if category:
            score += model[name] * (batch[column] == category)
        else:
            mean, scale, weight = model[name]
            score += weight * standardise(batch[column], mean, scale)
    # The logistic function, in the form that cannot overflow.
    return 0.5 + 0.5 * np.tanh(0.5 * score)
