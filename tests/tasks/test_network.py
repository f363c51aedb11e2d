"""No network but loopback: in the virtualenv, its children, and however it is asked.

Nothing here is to leave the machine if the guard fails: 192.0.2.1 is TEST-NET-1, which
nobody routes, and look-ups, which would ask a name server, are only announced to the
guard (`sys.audit`), and not made. So one hole has no test: a name in `connect` is
looked up before Python announces anything; the connection itself is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import network

PREAMBLE = """
import asyncio, socket, subprocess, sys
sys.dont_write_bytecode = True
socket.setdefaulttimeout(0.2)
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def ask(kind, family=socket.AF_INET):
    made = socket.socket(family, kind)
    made.settimeout(0.2)
    return made


"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a real virtualenv that `close` has closed."""
    folder = tmp_path_factory.mktemp("closed") / "venv"
    command = (sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder))
    subprocess.run(command, check=True)
    found = folder / "bin/python"

    def run(name: str, *arguments: str, **_: Any) -> str:
        assert name == "python"
        return subprocess.check_output((found, *arguments), text=True)

    session: Any = SimpleNamespace(run=run)
    network.close(session)
    return found


def said(python: Path, code: str, *flags: str) -> str:
    """What a program says: its output, or the last line of its traceback."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = subprocess.run(
        (python, *flags, "-c", PREAMBLE + code),
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return (run.stderr.strip() or run.stdout.strip()).splitlines()[-1]


ATTEMPTS = {
    "TCP": "ask(TCP).connect(('192.0.2.1', 9))",
    "TCP, without an exception": "ask(TCP).connect_ex(('192.0.2.1', 9))",
    "TCP, as people do": "socket.create_connection(('192.0.2.1', 9), 0.2)",
    "TCP, address in bytes": "ask(TCP).connect((b'192.0.2.1', 9))",
    "TCP, IPv6": "ask(TCP, socket.AF_INET6).connect(('2001:db8::1', 9))",
    "TCP, IPv6 with IPv4 inside": (
        "ask(TCP, socket.AF_INET6).connect(('::ffff:192.0.2.1', 9))"
    ),
    "UDP": "ask(UDP).sendto(b'x', ('192.0.2.1', 9))",
    "UDP, with flags": "ask(UDP).sendto(b'x', 0, ('192.0.2.1', 9))",
    "UDP, sendmsg": "ask(UDP).sendmsg([b'x'], [], 0, ('192.0.2.1', 9))",
    "UDP, connected": "ask(UDP).connect(('192.0.2.1', 9))",
    "UDP, multicast": "ask(UDP).sendto(b'x', ('224.0.0.251', 9))",
    "UDP, broadcast": "ask(UDP).sendto(b'x', ('<broadcast>', 9))",
    "_socket": (
        "import _socket\n"
        "made = _socket.socket(socket.AF_INET, TCP)\n"
        "made.settimeout(0.2)\n"
        "made.connect(('192.0.2.1', 9))"
    ),
    "asyncio": (
        "async def main():\n"
        "    await asyncio.wait_for(asyncio.open_connection('192.0.2.1', 9), 0.2)\n"
        "asyncio.run(main())"
    ),
    "urllib": (
        "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', None, 0.2)"
    ),
    "a server for all": "ask(TCP).bind(('0.0.0.0', 0))",
    "a server for all, IPv6": "ask(TCP, socket.AF_INET6).bind(('::', 0))",
    "with the hook's module reloaded": (
        "sys.modules.pop('_loopback_only')\nask(TCP).connect(('192.0.2.1', 9))"
    ),
}
# Announced, and not made: these would ask a name server, or open a port to all.
DOORS = [
    ("socket.getaddrinfo", ("host.invalid", 9, 0, 0, 0)),
    ("socket.getaddrinfo", (b"host.invalid", 9, 0, 0, 0)),
    ("socket.connect", (None, ("host.invalid", 9))),
    ("socket.sendto", (None, ("host.invalid", 9))),
    ("socket.gethostbyname", ("host.invalid",)),
    ("socket.gethostbyaddr", ("192.0.2.1",)),
    ("socket.getnameinfo", (("192.0.2.1", 9),)),
    ("socket.bind", (None, ("", 0))),
]
ATTEMPTS |= {str(door): "sys.audit({!r}, *{!r})".format(*door) for door in DOORS}


EACH = """
for name, text in attempts.items():
    try:
        exec(text)
    except BaseException as error:
        answers[name] = f"{type(error).__name__}: {error}"
    else:
        answers[name] = "it went through"
print(answers)
"""


def test_nothing_leaves_this_machine(python: Path) -> None:
    """TCP and UDP, through every door of Python: PermissionError.

    One process for all: each attempt is made, and what it came to is printed.
    """
    code = f"answers, attempts = {{}}, {ATTEMPTS!r}" + EACH
    answers = eval(said(python, code))
    assert {*answers} == {*ATTEMPTS}
    for name, answer in answers.items():
        refused = "PermissionError" in answer or "no network in tests" in answer
        assert refused, f"{name}: {answer}"


@pytest.mark.parametrize("flags", [(), ("-I",)], ids=str)
def test_children_are_guarded(python: Path, flags: tuple[str, ...]) -> None:
    """A child of the virtualenv's Python starts with the guard, isolated or not."""
    attempt = ATTEMPTS["TCP"]
    code = f"code = {PREAMBLE + attempt!r}\n"
    code += f"run = subprocess.run([sys.executable, *{flags}, '-c', code])"
    assert "PermissionError" in said(python, code)
    assert "PermissionError" in said(python, attempt, *flags)


SERVER = """
import threading
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "localhost")):
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        def answer():
            made, _ = server.accept()
            with made:
                made.sendall(made.recv(9)[::-1])
        thread = threading.Thread(target=answer)
        thread.start()
        with socket.create_connection((host, port), 5) as made:
            made.settimeout(5)
            made.sendall(b"olleh")
            print(made.recv(9).decode())
        thread.join()
"""
UDP = """
with ask(UDP) as one, ask(UDP) as two:
    one.bind(("127.0.0.1", 0))
    two.sendto(b"hello", one.getsockname())
    print(one.recv(9).decode())
"""
ASYNC = """
async def main():
    async def answer(reader, writer):
        writer.write((await reader.read(9))[::-1])
        writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"olleh")
        print((await reader.read(9)).decode())
        writer.close()
asyncio.run(main())
"""
UNIX = """
import tempfile, os
path = os.path.join(tempfile.mkdtemp(), "s")
with ask(TCP, socket.AF_UNIX) as server, ask(TCP, socket.AF_UNIX) as client:
    server.bind(path)
    server.listen()
    client.connect(path)
    client.sendall(b"hello")
    print(server.accept()[0].recv(9).decode())
"""
PAIR = """
one, two = socket.socketpair()
one.sendall(b"hello")
print(two.recv(9).decode())
"""


@pytest.mark.parametrize(
    "code",
    [SERVER, UDP, ASYNC, UNIX, PAIR],
    ids=["TCP", "UDP", "async", "Unix", "pair"],
)
def test_this_machine_itself_is_within_reach(python: Path, code: str) -> None:
    """A test may start a server and talk to it."""
    assert said(python, code) == "hello"


def test_the_guard_is_in_the_virtualenv_that_runs_the_tests() -> None:
    """`nox -s unit` closes the network before pytest starts: here it is closed."""
    if "_loopback_only" not in sys.modules:
        pytest.skip("these tests run outside of nox -s unit")
    with pytest.raises(PermissionError):
        sys.audit("socket.connect", None, ("192.0.2.1", 9))
