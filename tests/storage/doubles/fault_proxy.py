"""An HTTP proxy on loopback between a real client and a real server that makes things go wrong."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: Kinds of faults: what happens to a request that one applies to.
KINDS = (
    "latency",         # answered after ``seconds``
    "status",          # answered by the proxy with ``status``; the server never sees it
    "reset_before",    # connection reset; the server never sees it
    "reset_after",     # the server does it; the connection is reset in place of the answer
    "reset_mid_body",  # half of the answer's body, then reset
    "reset_upload",    # half of the request's body read, then reset
    "truncated",       # half of the answer's body, then an orderly end
    "corrupt_answer",  # one byte of the answer's body flipped
    "corrupt_request",  # one byte of the request's body flipped
    "stall",           # no answer until the client hangs up
)

Match = Callable[[str, str], bool]


@dataclass
class Fault:
    """A fault and which requests it hits.

    Attributes:
        kind: One of ``KINDS``.
        times: How many matching requests it hits; every one where None.
        skip: How many matching requests pass before.
        match: Method and path with query to whether it may hit.
        status: For ``status``.
        headers, body: Of that answer.
        seconds: For ``latency``.
    """

    kind: str
    times: int | None = 1
    skip: int = 0
    match: Match = lambda method, path: True
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.2


class FaultProxy:
    """The running proxy.

    Attributes:
        url: Where clients connect.
        requests: Method and path of everything that arrived.
        faults: What still goes wrong; add to it.
        closing: Set when it ends, which lets stalled requests go.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.requests: list[tuple[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.faults: list[Fault] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self.url = ""

    def next_fault(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        """Note a request and take the fault that hits it."""
        with self._lock:
            self.requests.append((method, path))
            self.headers.append(headers)
            for fault in self.faults:
                if not fault.match(method, path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is None:
                    return fault
                if fault.times > 0:
                    fault.times -= 1
                    return fault
            return None

    def count(self, match: Match = lambda method, path: True) -> int:
        """How many requests of a kind arrived."""
        return sum(match(method, path) for method, path in self.requests)


@contextlib.contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy in front of a server's URL."""
    proxy = FaultProxy(upstream)

    class Handler(_Handler):
        pass

    Handler.proxy = proxy
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client hung up, as clients do
            super().handle()

    def handle_any(self) -> None:
        proxy, size = self.proxy, int(self.headers.get("Content-Length") or 0)
        fault = proxy.next_fault(self.command, self.path, dict(self.headers))
        kind = fault.kind if fault else ""
        if kind == "reset_upload":
            self.rfile.read(size // 2)
            return self._reset()
        body = self.rfile.read(size)
        if kind == "reset_before":
            return self._reset()
        if kind == "stall":
            return self._stall()
        if kind == "status":
            assert fault is not None
            return self._answer(fault.status, dict(fault.headers), fault.body, len(fault.body))
        if kind == "latency":
            assert fault is not None
            proxy.closing.wait(fault.seconds)
        if kind == "corrupt_request":
            body = _flipped(body)
        status, headers, answer = self._forward(body)
        if kind == "reset_after":
            return self._reset()
        if kind == "corrupt_answer":
            answer = _flipped(answer)
        whole = len(answer)
        if kind in ("truncated", "reset_mid_body"):
            answer = answer[:whole // 2]
        self._answer(status, headers, answer, whole)
        if kind == "truncated":
            self.close_connection = True
        if kind == "reset_mid_body":
            self._reset()
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = handle_any

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items()
                       if name.lower() not in ("connection", "expect", "transfer-encoding")}
            connection.request(self.command, self.path, body=body or None,
                               headers=headers | {"Connection": "close"})
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders()
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "date",
                                            "server")}
            if self.command == "HEAD":
                return answer.status, kept | {"Content-Length": answer.headers["Content-Length"] or "0"}, b""
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, size: int) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(size)} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        # A linger time of nought makes close() send RST in place of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _stall(self) -> None:
        self.connection.settimeout(0.05)
        while not self.proxy.closing.is_set():
            try:
                if not self.connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


def _flipped(data: bytes) -> bytes:
    if not data:
        return data
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x20]) + data[middle + 1:]
