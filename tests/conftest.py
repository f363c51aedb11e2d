"""A small project that takes the whole path, in a folder and a home of its own."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
from nox.command import CommandFailed

from interlock import cli, packages
from interlock import config as configuration
from interlock.artifact.manifest import Manifest
from interlock.artifact.pack import pack
from interlock.canonical import canonical
from interlock.registry.access import NoRegistry, open_registry
from interlock.registry.channels import head
from interlock.source import inspect
from tasks import evidence
from tests.servers import SERVERS, Endpoint

# How long an example takes is the machine's business; another tree tries others.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=50)
hypothesis.settings.load_profile("patient")

PYPROJECT = """
    [project]
    name = "interlock"

    [tool.interlock]
    name = "toy"
    path = "lib"
    code = ["toy/__init__.py", "toy/model.py"]
    weights = "toy/weights"
    golden = "toy/golden.json"
    load = "toy.model:load"
    predict = "toy.model:predict"

    [tool.interlock.schema]
    input = { x = "number", kind = "string" }

    [tool.interlock.evaluation]
    data = "data.csv"
    label = "y"
    slices = ["kind"]
    gates = ["accuracy >= 0.8", "accuracy >= production.accuracy - 0.02"]
"""
MODEL = '''
    """A toy: the sign of x decides, weighted by the one number it has learned."""

    from pathlib import Path

    import numpy as np


    def load(folder):
        return np.load(Path(folder, "toy/weights/slope.npy"))


    def predict(slope, batch):
        return 1 / (1 + np.exp(-slope * batch["x"]))
'''
CHECKS = ("lint", "unit", "smoke")
NIGHTLY = "nightly-eval"
# What needs servers: `nox -s servers` installs them, `nox -s unit` does not.
ON_SERVERS = ["registry/test_s3_servers.py", "registry/test_faults.py"]
ON_SERVERS += ["doctor/test_bucket.py", "policies/test_judged.py"]
ON_SERVERS += ["registry/test_mirror.py"]
collect_ignore = [] if SERVERS else ON_SERVERS


def pytest_collection_finish() -> None:
    """What is imported stays: no collection of garbage need look at it again."""
    gc.freeze()


@dataclass
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass
class Project:
    """A checkout of the toy project, and what people do with it."""

    root: Path
    capsys: pytest.CaptureFixture[str] | None

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path

    def learn(self, slope: float) -> None:
        """New weights, and the golden examples that go with them."""
        folder = self.root / "lib/toy/weights"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "slope.npy", np.float64(slope))
        examples = [
            {
                "input": {"x": x, "kind": "ab"[row % 2]},
                "output": 1 / (1 + np.exp(-slope * x)),
            }
            for row, x in enumerate(np.linspace(-2.25, 2.25, 10).tolist())
        ]
        self.write("lib/toy/golden.json", json.dumps({"examples": examples}))

    def git(self, *arguments: str) -> str:
        """Run git in the project."""
        done = subprocess.run(
            ("git", *arguments), cwd=self.root, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def commit(self, message: str = "work") -> str:
        """Commit everything; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def check(self, *sessions: str) -> None:
        """Leave the evidence of sessions that pass, as they themselves leave it.

        Smoke leaves the address of the artifact; that it runs is for its own tests. The
        tree is looked at once for all of them, and not before and after each.
        """
        tree = evidence.tree_here()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evidence, "tree_here", lambda: tree)
            for name in sessions or CHECKS:
                with evidence.recorded(_session(name)) as record:
                    if name == "nightly-eval":
                        record.notes |= self.judged()
                    if name == "smoke":
                        tried = canonical({"address": self.address()})
                        (record.folder / "smoke.json").write_bytes(tried)

    def night(self) -> Answer:
        """Evaluate, leave the evidence, attach it, and promote what passed."""
        with suppress(CommandFailed), evidence.recorded(_session(NIGHTLY)) as record:
            record.notes |= self.judged()
            answer = self.run("eval", "--out", str(record.folder))
            if answer.code:
                raise CommandFailed(answer.err)
        if answer.code:
            assert self.run("promote", "--nightly", "--attach-only").code == 0
            return answer
        return self.run("promote", "--nightly")

    def judged(self) -> dict[str, str]:
        """What an evaluation notes: the model, and the version compared with."""
        rival, model = self.production(), self.manifest().model
        return {"urn:interlock:production": rival, "urn:interlock:model": model}

    def production(self) -> str:
        """The address of the version in production; "" where there is none."""
        try:
            registry = open_registry(str(self.registry))
        except NoRegistry:
            return ""
        found = head(registry, "toy", "production")
        return found[0].address if found else ""

    def address(self) -> str:
        """The address of the artifact that the checkout makes."""
        return self.manifest().address

    def manifest(self) -> Manifest:
        """What the checkout packs to."""
        source = inspect(self.root)
        config = configuration.read(self.root)
        return pack(self.root, config, source.commit, source.tree)

    def fail(self, name: str) -> None:
        """Leave the evidence of a session that fails."""
        with pytest.raises(CommandFailed), evidence.recorded(_session(name)):
            raise CommandFailed("it found something")

    def run(self, *arguments: str) -> Answer:
        """Run interlock in the project."""
        if self.capsys is None:
            return Answer(cli.main(arguments), "", "")
        self.capsys.readouterr()
        code = cli.main(arguments)
        return Answer(code, *self.capsys.readouterr())

    def publish(self) -> Answer:
        """Commit, check and publish."""
        self.commit()
        self.check()
        answer = self.run("publish")
        assert answer.code == 0, answer.err
        return answer

    @property
    def registry(self) -> Path:
        """The folder of the embedded registry."""
        return Path(os.environ["INTERLOCK_HOME"], "registry")


def _session(name: str) -> Any:
    """What `recorded` needs of a Nox session, with this very Python as its own."""
    folder = Path(
        os.environ["INTERLOCK_HOME"], "venvs", f"{name}-{os.urandom(4).hex()}"
    )
    folder.mkdir(parents=True)

    def run(python: str, *arguments: str, **_: object) -> str:
        return _output(sys.executable, *arguments)

    return SimpleNamespace(
        name=name,
        posargs=[],
        virtualenv=SimpleNamespace(location=str(folder)),
        run=run,
        log=lambda text: None,
    )


# What is installed here stays the same while the tests run.
@cache
def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


packages._installed = cache(packages._installed)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the home, registry, key, AWS account or CI of who runs it."""
    _isolate(monkeypatch, tmp_path)


def _isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("INTERLOCK_", "GITHUB_", "GIT_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INTERLOCK_HOME", str(folder / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


def altered(value: Any, *where: Any, to: Any) -> Any:
    """A copy with another value in one place; `...` takes the key away."""
    copied = each = json.loads(json.dumps(value))
    for key in where[:-1]:
        each = each[key]
    if to is ...:
        del each[where[-1]]
    else:
        each[where[-1]] = to
    return copied


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without plots, for whoever looks at something else."""
    monkeypatch.setattr("interlock.evaluation.charts.charts", lambda metrics: [])


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """SeaweedFS, once for all tests of this process; see tests/servers.py."""
    with SERVERS["seaweedfs"](tmp_path_factory.mktemp("seaweedfs")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """ministack, once for all tests of this process; see tests/servers.py."""
    with SERVERS["ministack"](tmp_path_factory.mktemp("ministack")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def given() -> Iterator[Endpoint]:
    """The server of INTERLOCK_TEST_SERVER; see tests/servers.py."""
    with SERVERS["given"](Path()) as endpoint:
        yield endpoint


def use(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: str
) -> str:
    """The URL of a new registry on a server, to which AWS settings now lead."""
    endpoint: Endpoint = request.getfixturevalue(server)
    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)
    return f"{endpoint.make_bucket()}/team/models"


Enter = Callable[[Path], Project]


@pytest.fixture
def _enter(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Enter:
    """Copies what was made once for all tests: each may do to it what it wants."""

    def enter(made: Path) -> Project:
        shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path / "project")
        return Project(tmp_path / "project", capsys)

    return enter


@pytest.fixture
def project(_enter: Enter, _begun: Path) -> Project:
    """The toy project, committed, as the current folder."""
    return _enter(_begun)


@pytest.fixture
def published(_enter: Enter, _published: Path) -> Project:
    """The toy project, published to staging once, as the current folder."""
    return _enter(_published)


@pytest.fixture
def judged(_enter: Enter, _judged: Path) -> Project:
    """The toy project, published, evaluated and in production."""
    return _enter(_judged)


@pytest.fixture
def grown(_enter: Enter, _grown: Path) -> Project:
    """The toy project: two versions in staging, the second in production as well."""
    return _enter(_grown)


@pytest.fixture(scope="session")
def _begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with _made(tmp_path_factory) as toy:
        begin(toy)
    return toy.root.parent


def begin(toy: Project) -> None:
    """Write the toy project where there is none yet, and commit it."""
    toy.write("pyproject.toml", PYPROJECT)
    toy.write("lib/toy/__init__.py", '"""A toy."""\n')
    toy.write("lib/toy/model.py", MODEL)
    toy.write(".gitignore", "/evidence/\n/evaluation/\n/*model*\n/.*model*\n")
    toy.write("requirements.lock", _installed())
    toy.write("lib/data.csv", "\n".join(["x,kind,y", *_rows(4000), ""]))
    toy.learn(2.0)
    toy.git("init", "--quiet", "--template=", "--initial-branch=main")
    toy.commit("begin")


@pytest.fixture(scope="session")
def _published(tmp_path_factory: pytest.TempPathFactory, _begun: Path) -> Path:
    with _made(tmp_path_factory, _begun) as toy:
        toy.publish()
    return toy.root.parent


@pytest.fixture(scope="session")
def _judged(tmp_path_factory: pytest.TempPathFactory, _published: Path) -> Path:
    with _made(tmp_path_factory, _published) as toy:
        assert toy.night().code == 0
    return toy.root.parent


@pytest.fixture(scope="session")
def _grown(tmp_path_factory: pytest.TempPathFactory, _published: Path) -> Path:
    with _made(tmp_path_factory, _published) as toy:
        toy.learn(3.0)
        toy.publish()
        toy.check("nightly-eval")
        assert toy.run("promote").code == 0
    return toy.root.parent


@contextmanager
def _made(
    temporary: pytest.TempPathFactory, of: Path | None = None
) -> Iterator[Project]:
    """A project in a folder and a home of its own, to be made of another."""
    folder = temporary.mktemp("made")
    if of:
        shutil.copytree(of, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, folder)
        (folder / "project").mkdir(exist_ok=True)
        patch.chdir(folder / "project")
        yield Project(folder / "project", None)


def _rows(count: int) -> Iterator[str]:
    """Rows whose label is right by the sign of x; no two are equal."""
    for i in range(count):
        yield f"{(i % 200 - 99.5) / 50 + i / 1e6},{'ab'[i % 2]},{int(i % 200 > 99)}"


def _installed() -> str:
    """A lock of just what runs here."""
    found = {
        d.name.lower().replace("_", "-").replace(".", "-"): d.version
        for d in metadata.distributions()
    }
    return "".join(
        f"{n}=={v} \\\n    --hash=sha256:00\n" for n, v in sorted(found.items())
    )
