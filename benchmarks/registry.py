"""Publish and pull beside what teams do now, on one S3 server, in one run.

    python benchmarks/registry.py [--size MIB] [--folder SCRATCH]
    python benchmarks/registry.py --memory --size 10240

The peers get the same weights and code: `tar -czf` and `aws s3 cp` of the archive, and
`aws s3 cp --recursive` of the folder. `aws` must be on the PATH. Each command is timed
as a person would, start of the program included; times are seconds of the clock, and
ratios are the peer's time over ours. Run it on an idle machine with twenty times SIZE
of room; `--memory`, which measures interlock alone, needs three times SIZE. It starts
SeaweedFS, unless INTERLOCK_TEST_SERVER names a server that runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests import conftest, servers  # noqa: E402

LAYERS = 50
PIECE = 2**20  # bytes
TRIES = 3  # of what takes a second, of which the best counts
OURS = (sys.executable, "-m", "interlock.cli")


@dataclass(order=True)
class Measured:
    """Seconds of the clock, and the most memory that one process had."""

    seconds: float = 0.0
    megabytes: float = 0.0

    def __add__(self, other: Measured) -> Measured:
        most = max(self.megabytes, other.megabytes)
        return Measured(self.seconds + other.seconds, most)


# In a small process, for what a child takes over from its parent counts as its own.
LAUNCH = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([seconds, peak, done.stdout]))
sys.exit(done.returncode)
"""


def run(*command: str, cwd: Path) -> Measured:
    """Run a command that must succeed, once the disk has what was written before."""
    os.sync()
    launch = (sys.executable, "-S", "-c", LAUNCH, *command)
    done = subprocess.run(launch, cwd=cwd, stdout=subprocess.PIPE, text=True)
    seconds, peak, said = json.loads(done.stdout)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{said}")
    return Measured(seconds, peak / (2**20 if sys.platform == "darwin" else 2**10))


@dataclass
class Bench:
    """One model in a checkout, and three ways to bring it to a bucket and back."""

    folder: Path
    bucket: str
    toy: conftest.Project
    peers: Path = field(init=False)

    def __post_init__(self) -> None:
        self.peers = self.folder / "peers"
        self.peers.mkdir()

    def interlock(self, *arguments: str) -> Measured:
        """A command of ours in the checkout."""
        return run(*OURS, *arguments, cwd=self.toy.root)

    def publish(self, pin: bool) -> Measured:
        """Commit and check, which is not timed; then pin where asked, and publish."""
        done = self.interlock("pin", "lib/toy/weights") if pin else Measured()
        self.toy.commit()
        self.toy.check()
        return done + self.interlock("publish", "--json")

    def change_code(self, number: int) -> tuple[Measured, Measured]:
        """Publish other code for the same weights, and pull that over the version."""
        self.toy.write("lib/toy/__init__.py", f'"""A toy, told anew: {number}."""\n')
        return self.publish(pin=False), self.interlock(
            "pull", "toy@staging", "cold-model"
        )

    def tar_up(self) -> Measured:
        """The way of many teams: an archive, sent whole."""
        archive = str(self.peers / "model.tgz")
        packed = run("tar", "-czf", archive, "lib", cwd=self.toy.root)
        return packed + run(
            *("aws", "s3", "cp", "--quiet", archive, f"{self.bucket}/tar/model.tgz"),
            cwd=self.peers,
        )

    def copy_up(self) -> Measured:
        """The folder, file by file."""
        there = f"{self.bucket}/copy"
        command = ("aws", "s3", "cp", "--quiet", "--recursive", "lib", there)
        return run(*command, cwd=self.toy.root)

    def tar_down(self) -> Measured:
        """The archive, and out of it."""
        out = self._empty("untarred")
        source = f"{self.bucket}/tar/model.tgz"
        got = run("aws", "s3", "cp", "--quiet", source, "model.tgz", cwd=out)
        return got + run("tar", "-xzf", "model.tgz", cwd=out)

    def copy_down(self) -> Measured:
        """The folder, file by file."""
        out = self._empty("copied")
        command = ("aws", "s3", "cp", "--quiet", "--recursive", f"{self.bucket}/copy")
        return run(*command, ".", cwd=out)

    def _empty(self, name: str) -> Path:
        shutil.rmtree(self.peers / name, ignore_errors=True)
        (self.peers / name).mkdir()
        return self.peers / name


def write_weights(path: Path, mebibytes: int, seed: int) -> None:
    """A safetensors file of LAYERS tensors that nothing can compress."""
    size = mebibytes * 2**20 // LAYERS
    ends = [(f"layer{n}", n * size, (n + 1) * size) for n in range(LAYERS)]
    header = ",".join(
        f'"{name}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}'
        for name, start, end in ends
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write((len(header) + 2).to_bytes(8, "little") + b"{%s}" % header.encode())
        chance = np.random.default_rng(seed)
        for start in range(0, size * LAYERS, PIECE):  # a child's peak counts ours, too
            file.write(chance.bytes(min(PIECE, size * LAYERS - start)))


def change_layer(path: Path) -> None:
    """Other weights in one layer of fifty, in place."""
    size = path.stat().st_size // LAYERS
    with path.open("r+b") as file:
        file.seek(20 * size)
        file.write(np.random.default_rng(99).bytes(size))


@contextmanager
def bench(scratch: Path, mebibytes: int) -> Iterator[Bench]:
    """A server, a bucket, and the toy project with large weights beside its own."""
    home, root = scratch / "home", scratch / "project"
    root.mkdir()
    server = servers.SERVERS.get("given", servers.seaweedfs)
    with server(scratch / "server") as endpoint:
        bucket = endpoint.make_bucket()
        os.environ |= endpoint.environment | {
            "INTERLOCK_HOME": str(home),
            "INTERLOCK_REGISTRY": f"{bucket}/team",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{r}_NAME": "bench" for r in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{r}_EMAIL": "bench@example.org" for r in ("AUTHOR", "COMMITTER")},
        }
        os.chdir(root)
        toy = conftest.Project(root, None)
        conftest.begin(toy)
        toy.git("rm", "--quiet", "--cached", "-r", "lib/toy/weights")
        write_weights(root / "lib/toy/weights/model.safetensors", mebibytes, seed=1)
        yield Bench(scratch, bucket, toy)


def measure(here: Bench) -> Iterator[tuple[str, Measured, Measured, Measured]]:
    """Each row: what, and the time of interlock, of tar and cp, and of cp alone."""
    yield "first publish", here.publish(pin=True), here.tar_up(), here.copy_up()
    cold = here.interlock("pull", "toy@staging", "cold-model")
    yield "pull, cold", cold, here.tar_down(), here.copy_down()
    code, cached = zip(*map(here.change_code, range(TRIES)), strict=True)
    yield "publish, code changed", min(code), here.tar_up(), here.copy_up()
    yield "pull, one before is there", min(cached), here.tar_down(), here.copy_down()
    change_layer(here.toy.root / "lib/toy/weights/model.safetensors")
    layer = here.publish(pin=True)
    yield "publish, 1 layer of 50", layer, here.tar_up(), here.copy_up()
    layered = here.interlock("pull", "toy@staging", "cold-model")
    yield "pull, 1 layer of 50", layered, here.tar_down(), here.copy_down()
    weights = "cold-model/toy/weights/model.safetensors"
    summed = run("sha256sum", weights, cwd=here.toy.root)
    yield "verify (peer: sha256sum)", here.interlock(
        "verify", "cold-model"
    ), summed, summed


def memory(here: Bench) -> None:
    """Print what interlock alone takes for each step."""
    weights = here.toy.root / "lib/toy/weights/model.safetensors"
    steps = {"pin": here.interlock("pin", str(weights.parent))}
    steps["publish"] = here.publish(pin=False)
    weights.unlink()  # room for the one that is pulled
    steps["pull"] = here.interlock("pull", "toy@staging", "cold-model")
    steps["verify"] = here.interlock("verify", "cold-model")
    for name, spent in steps.items():
        print(f"{name:10}{spent.seconds:8.1f} s{spent.megabytes:6.0f} MiB", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of weights")
    parser.add_argument("--folder", type=Path, help="where there is room")
    parser.add_argument("--memory", action="store_true", help="interlock alone")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder, prefix="bench-") as scratch:
        with bench(Path(scratch), options.size) as here:
            if options.memory:
                return memory(here)
            print(f"{options.size} MiB of weights; seconds, and ratio to interlock")
            print(f"{'':26}{'interlock':>10}{'tar + cp':>16}{'cp -r':>16}{'peak':>10}")
            for what, ours, tar, copy in measure(here):
                print(
                    f"{what:26}{ours.seconds:10.2f}"
                    f"{tar.seconds:9.2f} {tar.seconds / ours.seconds:5.1f}x"
                    f"{copy.seconds:9.2f} {copy.seconds / ours.seconds:5.1f}x"
                    f"{ours.megabytes:6.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
