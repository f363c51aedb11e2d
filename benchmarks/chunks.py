"""How large a chunk should be: the same bytes in pieces of several sizes, in one run.

    python -m benchmarks.chunks [--size MIB]

Each size is sent to a real S3 server and read back, verified, by the code that pin and
pull use. Time and the client's CPU are ratios to chunks of 8 MiB. A change of one byte
sends one chunk again; the digests are what `interlock.lock` and the manifest grow by.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np

from interlock.artifact import chunks
from interlock.attest.trust import TrustRoot
from interlock.registry import transfer
from interlock.registry.records import Registry
from interlock.registry.store import open_store
from interlock.registry.transfer import Sender, fetch
from tests import servers

MIB = 2**20
SIZES = (8, 1, 2, 4, 16, 32)  # MiB; the first is what the others are compared with


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of this process's CPU that `work` takes."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - start, used


def there_and_back(url: str, source: Path, out: Path) -> tuple[float, ...]:
    """Seconds and CPU of sending a file and of fetching it."""
    registry = Registry(open_store(url), cast(TrustRoot, None))
    registry.has_chunk("0" * 64)  # connected, and the clients imported
    sent = timed(lambda: Sender(registry).send(source, "weights"))
    file = chunks.describe(source, "weights")
    return *sent, *timed(lambda: fetch(registry, [file], out))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="MiB to send")
    size = parser.parse_args().size
    with TemporaryDirectory(prefix="chunks-") as scratch:
        source = Path(scratch, "weights")
        source.write_bytes(np.random.default_rng(1).bytes(size * MIB))
        with servers.seaweedfs(Path(scratch, "server")) as endpoint:
            os.environ |= endpoint.environment
            print(f"{size} MiB; ratios to chunks of {SIZES[0]} MiB; digests for 10 GiB")
            print("MiB    send   (CPU)   fetch   (CPU)   digests")
            first: tuple[float, ...] = ()
            for each in SIZES:
                for module in (chunks, transfer):
                    setattr(module, "CHUNK", each * MIB)
                url = f"{endpoint.make_bucket()}/chunks"
                found = there_and_back(url, source, Path(scratch, f"out-{each}"))
                first = first or found
                ratios = "".join(
                    f"{one / base:8.2f}" for one, base in zip(found, first, strict=True)
                )
                print(f"{each:3}{ratios}{10240 // each:10,}", flush=True)


if __name__ == "__main__":
    main()
