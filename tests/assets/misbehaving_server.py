"""A loopback HTTP server that serves files, with each way in which a download can go wrong."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    """One request; the ways to answer it are the methods below."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.owner.requests.append((self.path, self.headers.get("Range")))
        self.close_connection = True
        served = self.server.owner.behaviours
        behaviours = served.get(self.path) or served.get(f"{self.command} {self.path.partition('?')[0]}")
        if not behaviours:
            self.status(404)
            return
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        behaviour(self)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the tests look at the recorded requests."""

    def asked_from(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else 0

    def status(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": "0", "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def body(self, content: bytes, *, promise: int | None = None, code: int = 200, **headers: str) -> None:
        length = len(content) if promise is None else promise
        self.status(code, Content_Length=str(length), **headers)
        self.wfile.write(content)
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    owner: Loopback
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is what many tests are about."""


Behaviour = Callable[[Answer], None]


@dataclass
class Loopback:
    """The server: for each path the behaviours of its successive answers (the last one repeats)."""

    url: str
    behaviours: dict[str, list[Behaviour]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def serve(self, path: str, *behaviours: Behaviour) -> str:
        self.behaviours[path] = list(behaviours)
        return self.url + path

    def stalls_after(self, content: bytes, count: int) -> Behaviour:
        """Sends ``count`` bytes, then nothing until the test is over."""

        def answer(request: Answer) -> None:
            request.body(content[:count], promise=len(content))
            self.release.wait(30)

        return answer


def whole(content: bytes) -> Behaviour:
    """Ignores ranges, as simple servers do."""
    return lambda request: request.body(content)


def by_range(content: bytes) -> Behaviour:
    """Continues where it is asked to."""

    def answer(request: Answer) -> None:
        start = request.asked_from()
        if start >= len(content):
            request.status(416, Content_Range=f"bytes */{len(content)}")
        elif start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.body(content[start:], code=206, Content_Range=span)
        else:
            request.body(content)

    return answer


def breaks_off_after(content: bytes, count: int) -> Behaviour:
    """Sends ``count`` bytes of what was asked for, then closes the connection."""

    def answer(request: Answer) -> None:
        start = request.asked_from()
        rest = content[start:]
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        code = 206 if start else 200
        request.body(rest[:count], promise=len(rest), code=code, Content_Range=span)

    return answer


def continues_elsewhere(content: bytes) -> Behaviour:
    """Answers a range with another one."""
    span = f"bytes 0-{len(content) - 1}/{len(content)}"
    return lambda request: request.body(content, code=206, Content_Range=span)


def without_length(content: bytes) -> Behaviour:
    def answer(request: Answer) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(content)

    return answer


def drips(content: bytes) -> Behaviour:
    """Sends a byte now and then, so that the connection never quite falls silent."""

    def answer(request: Answer) -> None:
        request.body(b"", promise=len(content))
        for number in range(100):
            if request.server.owner.release.wait(0.05):
                return
            request.wfile.write(content[number : number + 1])
            request.wfile.flush()

    return answer


def page(text: str, code: int = 200) -> Behaviour:
    return lambda request: request.body(text.encode(), code=code, Content_Type="text/html; charset=utf-8")


def attached(content: bytes, name: str, **headers: str) -> Behaviour:
    """Continues where it is asked to, and says what the file is called."""

    def answer(request: Answer) -> None:
        start = request.asked_from()
        told = {"Content_Disposition": f'attachment; filename="{name}"', **headers}
        if start:
            told["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        request.body(content[start:], code=206 if start else 200, **told)

    return answer


def says(code: int, **headers: str) -> Behaviour:
    return lambda request: request.status(code, **headers)


def redirects_to(url: str) -> Behaviour:
    return says(302, Location=url)


@contextmanager
def loopback() -> Iterator[Loopback]:
    server = _Server(("127.0.0.1", 0), Answer)
    owner = Loopback(f"http://127.0.0.1:{server.server_port}")
    server.owner = owner
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        owner.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
