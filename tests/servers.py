"""Real S3 servers on loopback, started by whoever needs one and killed at the end.

    python tests/servers.py [PORT]    SeaweedFS in the foreground, to try things with

* SeaweedFS keeps its objects on the disk and is quick.
* ministack keeps them in memory, and judges users by their IAM policies.
* One more that runs on loopback already is used as well, where it is given:
  INTERLOCK_TEST_SERVER=http://ACCESS_KEY:SECRET_KEY@127.0.0.1:PORT
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

GIVEN = urlsplit(os.environ.get("INTERLOCK_TEST_SERVER", ""))
START = 60  # seconds that a server may take on a busy machine; it usually takes four
_PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and who may do everything there."""

    url: str
    access_key: str = "interlock"
    secret_key: str = "not-a-secret"
    region: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """The standard settings that lead every AWS client there."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def client(self, service: str = "s3") -> Any:
        """A plain boto3 client, which looks at nothing but this."""
        from boto3 import Session
        from botocore.config import Config

        session = Session(self.access_key, self.secret_key, region_name=self.region)
        patient = Config(retries={"mode": "standard", "max_attempts": 10})
        return session.client(service, endpoint_url=self.url, config=patient)

    def make_bucket(self, name: str = "") -> str:
        """The URL of a new and empty bucket."""
        bucket = name or f"registry-{uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=bucket)
        return f"s3://{bucket}"


Server = Callable[[Path], AbstractContextManager[Endpoint]]


@contextmanager
def seaweedfs(folder: Path, port: int = 0) -> Iterator[Endpoint]:
    """SeaweedFS with its data in `folder`."""
    s3, *others = _free_ports(8)
    endpoint = Endpoint(f"http://127.0.0.1:{port or s3}")
    settings = folder / "seaweedfs"
    data = folder / "data"
    for each in (settings, data):
        each.mkdir(parents=True, exist_ok=True)
    # One volume a bucket: seven, the default, are soon all that there may be.
    (settings / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    (settings / "s3.json").write_text(_ADMIN % (endpoint.access_key, "not-a-secret"))
    inner = ("master", "volume", "filer")
    ports = {f"{name}.port": others.pop() for name in inner}
    ports |= {f"{name}.port.grpc": others.pop() for name in (*inner, "s3")}
    command = [
        *(_PROGRAMS / "weed", f"-config_dir={settings}", f"-logdir={settings}"),
        *("server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-filer", "-s3", f"-s3.config={settings}/s3.json", "-s3.port.iceberg=0"),
        *(f"-s3.port={port or s3}", "-s3.port.lance=0", "-s3.autoCreateBucket=false"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=128"),
        *("-volume.max=500", *(f"-{name}={value}" for name, value in ports.items())),
    ]
    with _running(command, {}, endpoint, settings / "log"):
        yield endpoint


_ADMIN = """{"identities": [{"name": "admin", "actions": ["Admin"],
    "credentials": [{"accessKey": "%s", "secretKey": "%s"}]}]}"""


@contextmanager
def ministack(folder: Path) -> Iterator[Endpoint]:
    """ministack, which asks for signatures and judges by policies."""
    (port,) = _free_ports(1)
    endpoint = Endpoint(f"http://127.0.0.1:{port}", "test", "test")
    settings = {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "S3_DATA_DIR": str(folder / "data"),
    }
    with _running([_PROGRAMS / "ministack"], settings, endpoint, folder / "log"):
        yield endpoint


def given(_: Path) -> AbstractContextManager[Endpoint]:
    """The server that runs already."""
    url = f"{GIVEN.scheme}://{GIVEN.hostname}:{GIVEN.port}"
    return nullcontext(Endpoint(url, str(GIVEN.username), str(GIVEN.password)))


# None where `nox -s servers` did not install them: `nox -s unit` does without.
SERVERS: Mapping[str, Server] = {
    name: server
    for name, server, wanted in (
        ("seaweedfs", seaweedfs, True),
        ("ministack", ministack, True),
        ("given", given, GIVEN.hostname in ("127.0.0.1", "localhost")),
    )
    if wanted and (_PROGRAMS / "weed").exists()
}


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is known."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _running(
    command: list[Any], settings: dict[str, str], endpoint: Endpoint, log: Path
) -> Iterator[None]:
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command)],
            env=surroundings | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # with children of its own, which end with it
        )
    try:
        _await(process, endpoint, log)
        yield
    finally:
        # SeaweedFS takes half a minute to end by itself.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(process: subprocess.Popen[bytes], endpoint: Endpoint, log: Path) -> None:
    """Return when the server makes and forgets a bucket."""
    from botocore.exceptions import BotoCoreError, ClientError

    end = time.monotonic() + START
    while True:
        try:
            client = endpoint.client()
            client.delete_bucket(Bucket=endpoint.make_bucket().removeprefix("s3://"))
            return
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > end:
                tail = log.read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"no server at {endpoint.url}: {tail}") from error
            time.sleep(0.1)


def main(port: int = 8333) -> None:
    """Run SeaweedFS until interrupted; nothing of it is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        with seaweedfs(Path(folder), port) as endpoint:
            registry = endpoint.make_bucket("models") + "/team"
            settings = endpoint.environment | {"INTERLOCK_REGISTRY": registry}
            print("An S3 server is running. In another terminal:\n")
            for name, value in settings.items():
                print(f"    export {name}={value}")
            print("\nControl-C stops it, and forgets what it was given.", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                pass


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
