"""Which client moves the registry's bytes best: boto3, its CRT, or obstore.

    nox -s benchmark -- clients

One server (SeaweedFS on loopback, with its data on the disk), one run, the clients in
turn and each round anew. What is measured is what the registry does: chunks of 8 MiB
created if absent with a SHA-256 that the server verifies, and read back; and small
records. Each figure is the best of the rounds, as a ratio to plain boto3 with as many
threads; in brackets, the CPU time of the client, again as a ratio: the server shares
the machine, so that one says more about a host of its own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.servers import Endpoint, seaweedfs

ROUNDS = 3
CHUNK = 8 * 2**20
CHUNKS = 64  # 512 MiB
RECORDS = 1000
RECORD = 2048


class Client(Protocol):
    """Puts and gets of a whole object."""

    def put(self, key: str, data: bytes) -> None:
        """Create an object that is not there, its SHA-256 verified."""

    def get(self, key: str) -> bytes:
        """Read an object."""


class Boto3:
    """put_object and get_object, as most people write them."""

    def __init__(self, endpoint: Endpoint, bucket: str) -> None:
        from boto3 import Session
        from botocore.config import Config

        session = Session(endpoint.access_key, endpoint.secret_key, None, "us-east-1")
        pool = Config(max_pool_connections=32)
        self.s3 = session.client("s3", endpoint_url=endpoint.url, config=pool)
        self.bucket = bucket

    def put(self, key: str, data: bytes) -> None:
        """As above."""
        sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
        self.s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            IfNoneMatch="*",
            ChecksumSHA256=sha256,
            ChecksumAlgorithm="SHA256",
        )

    def get(self, key: str) -> bytes:
        """As above."""
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body


class Crt:
    """The transfer manager over awscrt. It cannot create if absent."""

    def __init__(self, endpoint: Endpoint, bucket: str) -> None:
        from botocore.credentials import Credentials
        from botocore.session import Session
        from s3transfer.crt import (
            BotocoreCRTCredentialsWrapper,
            BotocoreCRTRequestSerializer,
            CRTTransferManager,
            create_s3_crt_client,
        )

        keys = Credentials(endpoint.access_key, endpoint.secret_key)
        wrapped = BotocoreCRTCredentialsWrapper(keys).to_crt_credentials_provider()
        crt = create_s3_crt_client("us-east-1", wrapped, use_ssl=False)
        where = {"region_name": "us-east-1", "endpoint_url": endpoint.url}
        self.s3 = CRTTransferManager(
            crt, BotocoreCRTRequestSerializer(Session(), where)
        )
        self.bucket = bucket

    def put(self, key: str, data: bytes) -> None:
        """As above."""
        checksum = {"ChecksumAlgorithm": "SHA256"}
        self.s3.upload(io.BytesIO(data), self.bucket, key, checksum).result()

    def get(self, key: str) -> bytes:
        """As above."""
        body = io.BytesIO()
        self.s3.download(self.bucket, key, body).result()
        return body.getvalue()


class Obstore:
    """object_store, in Rust, behind obstore."""

    def __init__(self, endpoint: Endpoint, bucket: str) -> None:
        from obstore.store import S3Store

        self.store = S3Store(
            bucket,
            endpoint=endpoint.url,
            region="us-east-1",
            access_key_id=endpoint.access_key,
            secret_access_key=endpoint.secret_key,
            checksum_algorithm="SHA256",
            client_options={"allow_http": True},
        )

    def put(self, key: str, data: bytes) -> None:
        """As above."""
        self.store.put(key, data, mode="create", use_multipart=False)

    def get(self, key: str) -> bytes:
        """As above."""
        return bytes(self.store.get(key).bytes())


CLIENTS: dict[str, Callable[[Endpoint, str], Client]] = {
    "boto3": Boto3,
    "awscrt": Crt,
    "obstore": Obstore,
}


@dataclass(frozen=True)
class Cost:
    """What a piece of work took, in seconds."""

    wall: float
    cpu: float  # of this process, all threads


def cost(work: Callable[[int], Any], count: int, threads: int) -> Cost:
    """What it takes to do `work` with 0 .. count - 1 on so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in pool.map(work, range(count)):
            pass
        return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def measure(client: Client, run: str) -> Iterator[tuple[str, Cost]]:
    """The cost of each kind of work; `run` keeps its keys apart from others'."""
    chunks = [os.urandom(CHUNK) for _ in range(CHUNKS)]
    for threads in (2, 4, 8):

        def put(n: int, name: str = f"{run}/{threads}") -> None:
            client.put(f"{name}/{n}", chunks[n])

        def get(n: int, name: str = f"{run}/{threads}") -> None:
            assert len(client.get(f"{name}/{n}")) == CHUNK

        yield f"put {CHUNKS} x 8 MiB, {threads} threads", cost(put, CHUNKS, threads)
        yield f"get {CHUNKS} x 8 MiB, {threads} threads", cost(get, CHUNKS, threads)
    record = os.urandom(RECORD)
    yield f"put {RECORDS} x 2 KiB, 8 threads", cost(
        lambda n: client.put(f"{run}/small/{n}", record), RECORDS, 8
    )
    yield f"get {RECORDS} x 2 KiB, 8 threads", cost(
        lambda n: client.get(f"{run}/small/{n}"), RECORDS, 8
    )


def main() -> None:
    """Print the table."""
    best: dict[str, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as endpoint:
        bucket = endpoint.make_bucket().removeprefix("s3://")
        for round_ in range(ROUNDS):
            for name, make in CLIENTS.items():
                for what, each in measure(make(endpoint, bucket), f"{name}-{round_}"):
                    row = best.setdefault(what, {})
                    row[name] = min(row.get(name, each), each, key=lambda c: c.wall)
    print(f"| {'':32} |" + "".join(f" {name:>24} |" for name in CLIENTS))
    print("|---|" + "---:|" * len(CLIENTS))
    for what, row in best.items():
        base = row["boto3"]
        cells = (
            f"{base.wall / c.wall:.2f} x ({c.cpu / base.cpu:.2f} CPU) {c.wall:5.2f} s"
            for c in (row[name] for name in CLIENTS)
        )
        print(f"| {what:32} |" + "".join(f" {cell:>24} |" for cell in cells))


if __name__ == "__main__":
    main()
