"""How fast the evaluation is, beside the model alone, its peers, and itself elsewhere.

    nox -s benchmark -- evaluation        # all but the peers, on 1,000,000 rows
    nox -s benchmark -- evaluation --only peers
    nox -s benchmark -- evaluation --rows 200000 --rounds 1 --only speed,memory

Everything is measured in one run, each measurement in a fresh process, in rounds that
take turns; a figure is the best of its rounds, for other work on a machine only ever
makes things slower. Compare ratios, not seconds. "CPU" counts all processes. On one
core means that all processes share it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[1]
Process = cast(Any, get_context("fork")).Process
BATCH = 65_536
# What each peer needs where nothing of ours is installed; its versions are printed.
PEERS = {
    "mlflow": ["mlflow", "scikit-learn", "pyarrow"],
    "evidently": ["evidently", "pandas<3", "pyarrow"],
}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}

TREES = """
from pathlib import Path
import joblib
import numpy as np

def load(folder: Path):
    return joblib.load(folder / "trees.joblib")

def predict(trees, batch):
    return trees.predict_proba(np.column_stack(list(batch.values())))[:, 1]
"""


# ---------------------------------------------------------------- what is measured


@dataclass
class Spent:
    """Seconds; and CPU seconds of this process and of those that ended meanwhile."""

    s: float
    cpu: float


@contextmanager
def clock() -> Iterator[Spent]:
    """What the body took, once it has ended."""
    found = Spent(time.perf_counter(), _cpu())
    yield found
    found.s, found.cpu = time.perf_counter() - found.s, _cpu() - found.cpu


def alone(
    folder: Path, model: str, rows: int, from_files: bool = False, **_: Any
) -> Spent:
    """Load and predict on every core, from arrays that are ready or from files."""
    import joblib

    from interlock.evaluation import data
    from interlock.model import Schema, load_folder

    version = _version(folder, model)
    schema = Schema(version.contract["input"])
    inputs = data.narrowest([schema.input])
    parts = (
        schema.batch(data.arrays(batch))
        for batch in data.batches(_data(folder, rows), inputs, BATCH)
    )

    def predict(some: Iterable[Any]) -> None:
        loaded = load_folder(version.folder, version.contract)
        for part in some:
            loaded.call(loaded.loaded, part)

    cores = 1 if from_files else joblib.cpu_count()
    shares = [parts] if from_files else _shares(list(parts), cores)
    others = [Process(target=predict, args=(share,)) for share in shares[1:]]
    with clock() as found:
        for other in others:
            other.start()
        predict(shares[0])
        for other in others:
            other.join()
    return found


def _shares(parts: list[Any], cores: int) -> list[Iterable[Any]]:
    return [parts[core::cores] for core in range(cores)]


def engine(
    folder: Path,
    model: str,
    rows: int,
    versions: int = 1,
    where: str = "local",
    **_: Any,
) -> Spent:
    """From the files to predictions.parquet and the counts, on every core."""
    from interlock.evaluation import run

    chosen, both = _settings(), [_version(folder, model)] * versions
    out = folder / f"{os.getpid()}.parquet"
    with _somewhere(where, chosen) as settings:
        with clock() as found:
            run.stream(both, settings, _data(folder, rows), out)
    out.unlink()
    return found


def parts(folder: Path, model: str, rows: int, part: str, **_: Any) -> Spent:
    """One part of what an evaluation does, by itself."""
    from interlock.evaluation import counts, data, rows as kept, run
    from interlock.model import load_folder

    settings, version = _settings(), _version(folder, model)
    wanted, plan = run._columns([version], settings), run._plan(settings)
    loaded, inputs = load_folder(version.folder, version.contract), [*wanted]
    inputs = [name for name in inputs if name in version.contract["input"]]
    done: dict[str, Any] = {}

    def write() -> None:
        with run._writer(folder / "parts.parquet", settings) as writer:
            for each in done["keep"]:
                writer.write(each)

    steps: dict[str, Callable[[], Any]] = {
        "read": lambda: [*data.batches(_data(folder, rows), wanted, BATCH)],
        "arrays": lambda: [data.arrays(b.select(inputs)) for b in done["read"]],
        "predict": lambda: [loaded.predict(each) for each in done["arrays"]],
        "keep": lambda: [
            kept.joined(batch, [answer], settings, BATCH * place)
            for place, (batch, answer) in enumerate(zip(done["read"], done["predict"]))
        ],
        "count": lambda: [
            counts.fold(kept.batch_of(each, settings), plan) for each in done["keep"]
        ],
        "add": lambda: sum(done["count"][1:], start=done["count"][0]),
        "write": write,
    }
    for name, step in steps.items():
        with clock() as found:
            done[name] = step()
        if name == part:
            break
    return found


PARTS = {
    "read": "read the files",
    "arrays": "arrays for NumPy",
    "predict": "predict, with the checks of its contract",
    "keep": "check labels and answers, text of slices",
    "count": "count",
    "add": "add up",
    "write": "write predictions.parquet",
}


def evaluate(folder: Path, model: str, rows: int, **_: Any) -> Spent:
    """All that `interlock eval` does with one version, to the report."""
    from interlock.evaluation import run

    settings = replace(_settings(), data=str(_data(folder, rows)))
    settings = replace(settings, gates=settings.gates[:1])
    with clock() as found:
        run.evaluate(_version(folder, model), None, settings, folder, folder / "out")
    return found


def sklearn(folder: Path, **_: Any) -> Spent:
    """scikit-learn's metrics, of predictions that are there."""
    from sklearn import metrics

    label, score = _predictions(folder)
    with clock() as found:
        called = score >= 0.5
        for of_calls in ("accuracy", "precision", "recall", "f1"):
            getattr(metrics, f"{of_calls}_score")(label, called)
        metrics.confusion_matrix(label, called)
        metrics.roc_curve(label, score), metrics.roc_auc_score(label, score)
        metrics.log_loss(label, score), metrics.brier_score_loss(label, score)
    return found


def mlflow(folder: Path, **_: Any) -> Spent:
    """mlflow.models.evaluate, of predictions that are there."""
    import mlflow as peer
    import pandas as pd

    label, score = _predictions(folder)
    frame = pd.DataFrame({"label": label.astype(int), "called": (score >= 0.5) * 1})
    kind = {"targets": "label", "predictions": "called", "model_type": "classifier"}
    with tempfile.TemporaryDirectory() as store:
        peer.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
        peer.create_experiment("benchmark", artifact_location=f"file://{store}/files")
        peer.set_experiment("benchmark")
        with peer.start_run(), clock() as found:
            peer.models.evaluate(data=frame, **kind)
    return found


def evidently(folder: Path, **_: Any) -> Spent:
    """Evidently's classification preset with its HTML, likewise."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationPreset

    label, score = _predictions(folder)
    frame = pd.DataFrame({"label": label.astype(int), "score": score})
    kind = BinaryClassification(target="label", prediction_probas="score")
    with clock() as found:
        data = Dataset.from_pandas(frame, DataDefinition(classification=[kind]))
        report = Report([ClassificationPreset()]).run(data, None)
        report.save_html(str(folder / "evidently.html"))
    return found


MEASURES: dict[str, Callable[..., Spent]] = {
    each.__name__: each
    for each in (alone, engine, parts, evaluate, sklearn, mlflow, evidently)
}


def _predictions(folder: Path) -> Any:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "out/predictions.parquet")
    return table["label"].to_numpy(), table["candidate"].to_numpy()


def _settings() -> Any:
    from interlock import config

    settings = config.read(ROOT).evaluation
    assert settings
    return replace(settings, workers=0, batch_rows=BATCH)


def _version(folder: Path, model: str) -> Any:
    from interlock import config
    from interlock.evaluation.predict import Version

    ours = config.read(ROOT)
    contract: dict[str, Any] = {
        "output": "number",
        "load": ours.load,
        "predict": ours.predict,
    }
    if model == "flights":
        contract["input"] = dict(ours.schema.input)
        return Version("flights", ROOT / ours.path, contract)
    inputs = dict.fromkeys(("dep_delay", "distance", "hour"), "number")
    contract |= {"input": inputs, "load": "trees:load", "predict": "trees:predict"}
    return Version("trees", folder / "trees", contract)


@contextmanager
def _somewhere(where: str, settings: Any) -> Iterator[Any]:
    """The settings, for a place to work at; starting it is not measured."""
    if where == "dask":
        import joblib
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=joblib.cpu_count(),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster:
            address = cluster.scheduler_address
            yield replace(settings, engine="dask", scheduler=address)
    elif where == "processes":
        with _processes():
            yield settings
    else:
        yield settings


@contextmanager
def _processes() -> Iterator[None]:
    """Workers as processes of loky, where the engine has threads: the alternative."""
    import joblib
    from joblib.externals.loky import ProcessPoolExecutor

    from interlock.evaluation import engine as threads

    def local(work: Any, versions: Any, batches: Any, settings: Any) -> Iterator[Any]:
        cores = joblib.cpu_count()
        with ProcessPoolExecutor(cores) as pool:
            yield from threads.in_order(
                lambda *each: pool.submit(_in_process, work, versions, *each),
                batches,
                threads.AHEAD * cores,
            )

    kept, threads._local = threads._local, cast(Any, local)
    yield
    threads._local = kept


def _in_process(work: Any, versions: Any, first: int, batch: Any) -> Any:
    from interlock.evaluation import predict

    if not hasattr(predict, "of_this_process"):
        setattr(predict, "of_this_process", predict.Models(versions, 600, 1))
    return work(getattr(predict, "of_this_process"), first, batch)


# ---------------------------------------------------------------- each in a process


def _data(folder: Path, rows: int) -> Path:
    return folder / f"{rows}.parquet"


def prepare(folder: Path, rows: int) -> None:
    """`rows` flights, the held-out ones again and again; and trees fitted to some.

    Each time they leave a millisecond later, for copies are refused.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    sys.path.insert(0, str(ROOT / "examples"))
    from flights import data

    if _data(folder, rows).exists():
        return
    table, left = data.flights(data.HELD_OUT), rows
    place = table.schema.get_field_index("dep_delay")
    with pq.ParquetWriter(_data(folder, rows), table.schema) as writer:
        while left:
            writer.write_table(table.slice(0, left))
            left -= min(len(table), left)
            later = pc.add(table["dep_delay"], 1e-3 / 60)
            table = table.set_column(place, "dep_delay", later)
    if not (folder / "trees").exists():
        _fit(folder / "trees", table.slice(0, 40_000))


def _fit(folder: Path, table: Any) -> None:
    import joblib
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    folder.mkdir()
    names = ("dep_delay", "distance", "hour")
    inputs = np.column_stack([table[name].to_numpy() for name in names])
    trees = HistGradientBoostingClassifier(max_iter=100, random_state=0)
    joblib.dump(trees.fit(inputs, table["late"].to_numpy()), folder / "trees.joblib")
    (folder / "trees.py").write_text(TREES, "utf-8")


def measure(
    what: str, folder: Path, python: str = sys.executable, **how: Any
) -> dict[str, float]:
    """Seconds, CPU seconds and mebibytes of one measurement, in a fresh process."""
    request = json.dumps({"what": what, "folder": str(folder), **how})
    run = subprocess.run(
        [python, __file__, "--one", request],
        env=os.environ | QUIET | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(run.stderr.strip().splitlines()[-1])
    return dict(json.loads(run.stdout.splitlines()[-1]))


def _one(request: dict[str, Any]) -> None:
    folder, what = Path(request.pop("folder")), request.pop("what")
    if (cores := request.pop("cores", 0)) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    spent = MEASURES[what](folder, **request)
    own, children = (resource.getrusage(who).ru_maxrss / 1024 for who in _WHO)
    print(json.dumps({**asdict(spent), "mb": own, "child_mb": children}))


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in _WHO]
    return sum(each.ru_utime + each.ru_stime for each in used)


def best(cases: dict[str, dict[str, Any]], folder: Path, rounds: int) -> dict[str, Any]:
    """The best of the rounds of each case, which take turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            found[name].append(measure(folder=folder, **case))
    return {
        name: {key: min(each[key] for each in runs) for key in runs[0]}
        for name, runs in found.items()
    }


# ---------------------------------------------------------------- what is printed


# The faster a model is, the more rows it takes to see more than the start.
TIMES = {"flights": 4, "trees": 1}


def speed(folder: Path, rows: int, rounds: int) -> None:
    """The engine beside the model itself, loaded too, on one core and on all."""
    for model, times in TIMES.items():
        prepare(folder, rows * times)
        how: dict[str, Any] = {"model": model, "rows": rows * times}
        both: dict[str, Any] = {"what": "engine", "versions": 2}
        cases = {
            "one core: the model alone": {"what": "alone", "cores": 1},
            "read and predict": {"what": "alone", "from_files": True, "cores": 1},
            "evaluate": {"what": "engine", "cores": 1},
            "evaluate, with production": {**both, "cores": 1},
            "all cores: the model alone": {"what": "alone"},
            "evaluate ": {"what": "engine"},
            "evaluate, with production ": both,
        }
        found = best(
            {name: {**how, **case} for name, case in cases.items()}, folder, rounds
        )
        _overheads(model, rows * times, found)


def _overheads(model: str, rows: int, found: dict[str, dict[str, float]]) -> None:
    print(f"\n| {model}, {rows:,} rows | rows a second | more time | more CPU |")
    print("|---|---|---|---|")
    alone = next(iter(found.values()))
    for name, each in found.items():
        alone = each if name.endswith("the model alone") else alone
        more = (f"{each[key] / alone[key] - 1:+.0%}" for key in ("s", "cpu"))
        print(f"| {name.strip()} | {rows / each['s']:,.0f} | {' | '.join(more)} |")


def costs(folder: Path, rows: int, rounds: int) -> None:
    """What each part of an evaluation costs by itself, in one thread."""
    how: dict[str, Any] = {"what": "parts", "model": "flights", "rows": rows}
    cases = {name: {"part": part, **how} for part, name in PARTS.items()}
    print("\n| microseconds of CPU a row | |\n|---|---|")
    for name, each in best(cases, folder, rounds).items():
        print(f"| {name} | {each['cpu'] / rows * 1e6:.3f} |")


def places(folder: Path, rows: int, rounds: int) -> None:
    """Threads, processes and Dask, on the trees, whose predict takes its time."""
    how: dict[str, Any] = {"what": "engine", "model": "trees", "rows": rows}
    cases = {
        "one core": {"cores": 1, **how},
        "all cores, threads (the engine)": how,
        "all cores, processes (loky)": {"where": "processes", **how},
        "Dask, a worker a core (CPU without theirs)": {"where": "dask", **how},
    }
    _table(f"trees, {rows:,} rows", best(cases, folder, rounds), rows)


def metrics(folder: Path, rows: int, rounds: int) -> None:
    """All of `interlock eval` beside scikit-learn, which scores what is predicted."""
    _table(f"flights, {rows:,} rows", _scored(folder, rows, rounds), rows)


def peers(folder: Path, rows: int, rounds: int) -> None:
    """The same, beside those that also draw."""
    found = _scored(folder, rows, rounds)
    for name, needs in PEERS.items():
        try:
            python, version = _throw_away(folder / name, name, needs)
            case = {f"{name} {version}": {"what": name, "python": python}}
            found |= best(case, folder, 1)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{name}: not measured: {error}")
    _table(f"flights, {rows:,} rows", found, rows)


def _scored(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    ours = {"what": "evaluate", "model": "flights", "rows": rows}
    found = best({"interlock, with predict and report": ours}, folder, rounds)
    return found | best({"scikit-learn, metrics": {"what": "sklearn"}}, folder, rounds)


def _throw_away(folder: Path, name: str, needs: list[str]) -> tuple[str, str]:
    """A virtualenv with a peer: its Python, and the version that it took."""
    python = str(folder / "bin/python")
    ask = f"from importlib.metadata import version; print(version({name!r}))"
    _run("uv", "venv", "--quiet", "--python", sys.executable, str(folder))
    _run("uv", "pip", "install", "--quiet", "--python", python, *needs)
    return python, _run(python, "-c", ask)


def _run(*command: str) -> str:
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return run.stdout.strip()


def memory(folder: Path, rows: int, rounds: int) -> None:
    """The largest resident size, of the one that drives and of the largest other."""
    how: dict[str, Any] = {"what": "engine", "model": "flights", "versions": 2}
    cases = {}
    for power in (rows // 10, rows, rows * 10):
        prepare(folder, power)
        cases[f"{power:,} rows"] = {"rows": power, **how}
    print("\n| memory, MiB | driver | largest child | seconds |\n|---|---|---|---|")
    for name, each in best(cases, folder, 1).items():
        print(
            f"| {name} | {each['mb']:.0f} | {each['child_mb']:.0f} | {each['s']:.1f} |"
        )


def _table(title: str, found: dict[str, dict[str, float]], rows: int) -> None:
    first = next(iter(found.values()))
    print(f"\n| {title} | seconds | rows a second | time, ratio | CPU, ratio |")
    print("|---|---|---|---|---|")
    for name, each in found.items():
        print(
            f"| {name} | {each['s']:.2f} | {rows / each['s']:,.0f} "
            f"| {each['s'] / first['s']:.2f} | {each['cpu'] / first['cpu']:.2f} |",
            flush=True,
        )


SECTIONS = {
    each.__name__: each for each in (speed, costs, places, memory, metrics, peers)
}


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join([*SECTIONS][:-1]))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return _one(json.loads(options.one))
    with tempfile.TemporaryDirectory(prefix="interlock-benchmark-") as scratch:
        prepare(Path(scratch), options.rows)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
        for name in options.only.split(","):
            SECTIONS[name](Path(scratch), options.rows, options.rounds)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
