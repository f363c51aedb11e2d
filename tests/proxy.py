"""A bad line to an S3 server: it delays, loses, cuts, damages, stalls, or says no.

A proxy on loopback that knows HTTP. Each request passes, or meets the fault: the first
few of them, or some by chance from a seed. It notes all that it saw.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_ERROR = "<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>"
DELAY = 0.2  # seconds


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Cut(Exception):
    """The connection ends here, after these bytes of the answer's body."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer


@dataclass
class Line:
    """A line to a server, its fault, and whom that befalls."""

    server: str  # URL
    fault: str
    first: int = 0
    chance: float = 0.0
    seed: int = 0
    methods: tuple[str, ...] = ("GET", "PUT")
    url: str = ""
    seen: list[str] = field(default_factory=list)  # METHOD PATH?QUERY
    struck: int = 0

    def __post_init__(self) -> None:
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.dice = random.Random(self.seed)

    def carry(self, request: Request) -> Answer:
        """The answer to a request, by way of the fault where it strikes."""
        fault = FAULTS[self.fault] if self._strikes(request) else _pass
        return fault(self, request)

    def _strikes(self, request: Request) -> bool:
        with self.lock:
            self.seen.append(f"{request.method} {request.path}")
            if request.method not in self.methods:
                return False
            hit = self.struck < self.first or self.dice.random() < self.chance
            self.struck += hit
            return hit

    def send(self, request: Request, body: bytes) -> Answer:
        """What the server says to a request with this body."""
        connection = HTTPConnection(urlsplit(self.server).netloc, timeout=60)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(body)
            if len(body) < len(request.body):
                raise Cut()
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class Request:
    """What the client asked."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes


Fault = Callable[[Line, Request], Answer]


def _pass(line: Line, request: Request) -> Answer:
    return line.send(request, request.body)


def _delayed(line: Line, request: Request) -> Answer:
    time.sleep(DELAY)
    return _pass(line, request)


def _request_cut(line: Line, request: Request) -> Answer:
    line.send(request, request.body[: len(request.body) // 2])
    raise Cut()


def _request_damaged(line: Line, request: Request) -> Answer:
    return line.send(request, _damaged(request.body))


def _answer_lost(line: Line, request: Request) -> Answer:
    _pass(line, request)
    raise Cut()


def _answer_cut(line: Line, request: Request) -> Answer:
    raise Cut(_pass(line, request))


def _answer_damaged(line: Line, request: Request) -> Answer:
    answer = _pass(line, request)
    return Answer(answer.status, answer.headers, _damaged(answer.body))


def _answer_a_failure(line: Line, request: Request) -> Answer:
    _pass(line, request)  # it was done, but who asked is told otherwise
    return _no(500, "InternalError")


def _stalled(line: Line, request: Request) -> Answer:
    line.closing.wait(60)
    raise Cut()


def _saying(status: int, code: str) -> Fault:
    return lambda line, request: _no(status, code)


def _no(status: int, code: str) -> Answer:
    body = (_ERROR % (code, "said by the line")).encode()
    return Answer(status, [("Content-Type", "application/xml")], body)


def _damaged(data: bytes) -> bytes:
    """The same with one bit turned, in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 4 for b in data[middle:][:1]) + data[middle + 1 :]


FAULTS: dict[str, Fault] = {
    "none": _pass,
    "delayed": _delayed,
    "request cut": _request_cut,
    "request damaged": _request_damaged,
    "answer lost": _answer_lost,
    "answer cut": _answer_cut,
    "answer damaged": _answer_damaged,
    "done, but 500": _answer_a_failure,
    "stalled": _stalled,
    "500 InternalError": _saying(500, "InternalError"),
    "503 SlowDown": _saying(503, "SlowDown"),
    "409 ConditionalRequestConflict": _saying(409, "ConditionalRequestConflict"),
    "400 ExpiredToken": _saying(400, "ExpiredToken"),
}


@contextmanager
def bad_line(line: Line) -> Iterator[Line]:
    """The line, open: its `url` is where to connect instead of to the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = [*self.headers.items()]
            try:
                answer = line.carry(Request(self.command, self.path, headers, body))
                self.say(answer, len(answer.body))
            except (Cut, OSError) as cut:
                if isinstance(cut, Cut) and cut.answer:
                    self.say(cut.answer, len(cut.answer.body) // 2)
                self.close_connection = True

        def say(self, answer: Answer, count: int) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("content-length", "transfer-encoding"):
                    self.send_header(name, value)
            length = dict(answer.headers).get("Content-Length", "0")
            whole = length if self.command == "HEAD" else str(len(answer.body))
            self.send_header("Content-Length", whole)
            self.end_headers()
            self.wfile.write(answer.body[:count])

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        line.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield line
        finally:
            line.closing.set()
            server.shutdown()
            thread.join()
