"""Small versions and small data, for a child process to load and predict."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings as hypothesis

import interlock.model
from interlock.config import Evaluation, Gate
from interlock.evaluation.predict import Version

Toy: TypeAlias = Callable[..., Version]
Settings: TypeAlias = Callable[..., Evaluation]
Write: TypeAlias = Callable[[Mapping[str, Any]], Path]

# A busy machine is slow, which is no fault of what is tested.
hypothesis.register_profile("patient", parent=hypothesis.default, deadline=None)
hypothesis.load_profile("patient")

CONTRACT = {
    "load": "toy:load",
    "predict": "toy:predict",
    "input": {"x": "number"},
    "output": "number",
}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find this interlock; no job's summary is written to."""
    source = str(Path(interlock.model.__file__).parents[1])
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, known])))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Make a version whose predict has this body; x is the probability by default."""

    def make(body: str = "return batch['x']", name: str = "toy@1") -> Version:
        folder = tmp_path / name
        folder.mkdir()
        code = "import os, signal\nimport numpy as np\n\n\ndef load(folder):\n"
        code += f"    return 1\n\n\ndef predict(model, batch):\n    {body}\n"
        (folder / "toy.py").write_text(code)
        return Version(name, folder, CONTRACT)

    return make


@pytest.fixture
def settings() -> Settings:
    """Settings with these gates, for the data that `write` writes; one worker."""

    def make(*gates: str | Gate, **others: Any) -> Evaluation:
        parsed = tuple(g if isinstance(g, Gate) else Gate(g) for g in gates)
        defaults = {"slices": ("group",), "batch_rows": 400, "workers": 1}
        return Evaluation("data.parquet", "label", parsed, **{**defaults, **others})

    return make


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write these columns as data.parquet."""

    def to_file(columns: Mapping[str, Any]) -> Path:
        path = tmp_path / "data.parquet"
        pq.write_table(pa.table(dict(columns)), path)
        return path

    return to_file


def flips(rows: int, share: float, seed: int = 1) -> dict[str, Any]:
    """Rows whose x, as a probability, is right on `share` of them."""
    chance = np.random.default_rng(seed)
    label = chance.random(rows) < 0.4
    right = chance.random(rows) < share
    group = chance.choice(["a", "b"], rows)
    x = np.where(label == right, 0.9, 0.1) + 0.01 * chance.random(rows)
    return {"x": x, "label": label, "group": group}


@pytest.fixture
def rows() -> Callable[..., dict[str, Any]]:
    """Make rows whose x, as a probability, is right on a share of them."""
    return flips
