"""A local server that speaks the REST API of Kubeflow Pipelines, v2beta1.

Bodies go through kfp-server-api's own models in both directions, so that a wrong shape fails. It
can be slow, refuse, drop connections or answer nonsense, as a test says.
"""

import email.parser
import email.policy
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kfp_server_api import models

from tests.contract.backend import FakeBackend, Refusal
from tests.contract.schema import BadRequest, dump

PREFIX = "/apis/v2beta1"
_GRPC = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14, 504: 4}


@dataclass
class Fault:
    """What goes wrong with the next requests that match.

    Attributes:
        request: Regular expression over ``METHOD path``.
        status: Answer with this status; where ``drop`` is ``after``, once the work is done.
        headers: With these headers beside it.
        message: And this message.
        drop: Close the connection instead: ``before`` or ``after`` the work is done.
        delay_s: Wait before answering.
        html: Answer a web page.
        body: Answer this text as JSON.
        times: How many requests; None for all.
    """

    request: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "made up by the test"
    drop: str = ""
    delay_s: float = 0.0
    html: bool = False
    body: str = ""
    times: int | None = 1


@dataclass
class KfpServer:
    """The server; a context manager. Requests are kept in ``requests``."""

    backend: FakeBackend = field(default_factory=FakeBackend)
    faults: list[Fault] = field(default_factory=list)
    tokens: set[str] | None = None
    forbidden: set[str] = field(default_factory=set)
    tls: ssl.SSLContext | None = None
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> "KfpServer":
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if self.tls is not None:
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01},
                                        daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        host = "127.0.0.1" if self.tls is None else "localhost"
        return f"{scheme}://{host}:{self._http.server_port}"

    def fault_of(self, request: str) -> Fault | None:
        for fault in self.faults:
            if re.search(fault.request, request) and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    server_state: KfpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        state, parts = self.server_state, urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        request = f"{self.command} {parts.path.removeprefix(PREFIX)}"
        state.requests.append(request)
        state.headers.append({key.lower(): value for key, value in self.headers.items()})
        fault = state.fault_of(request)
        if fault is not None:
            time.sleep(fault.delay_s)
            if fault.drop == "before":
                self._drop()
                return
            if fault.status and not fault.drop:
                self._error(fault.status, fault.message, fault.headers)
                return
            if fault.html:
                self._send(200, b"<html>Sign in</html>", "text/html; charset=utf-8")
                return
            if fault.body:
                self._send(200, fault.body.encode(), "application/json")
                return
        try:
            self._authorize()
            with state.backend.lock:
                answer = self._route(parts.path, query, body)
                content = json.dumps(answer).encode()
                state.backend.watch(state.backend)
        except Refusal as refusal:
            if "/upload" in parts.path:
                self._send(refusal.status, json.dumps({
                    "error_message": refusal.message, "error_details": refusal.message}).encode(),
                    "application/json")
            else:
                self._error(refusal.status, refusal.message)
            return
        except BadRequest as error:
            self._error(400, str(error))
            return
        if fault is not None and fault.drop == "after":
            if fault.status:
                self._error(fault.status, fault.message)
            else:
                self._drop()
            return
        self._send(200, content, "application/json")

    do_GET = do_POST = do_DELETE = _serve

    def _authorize(self) -> None:
        state = self.server_state
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if state.tokens is not None and token not in state.tokens:
            raise Refusal(401, f"Request header error: there is no user identity header (got {token})")
        if token in state.forbidden:
            raise Refusal(403, "User is not authorized with reason")

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps({"error": message, "code": _GRPC.get(status, 2), "message": message,
                                       "details": []}).encode(), "application/json", headers)

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # the client has gone

    def _route(self, path: str, query: dict[str, str], body: bytes) -> Any:
        if not path.startswith(PREFIX + "/"):
            raise Refusal(404, "Not Found")
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path.removeprefix(PREFIX))
            if match is not None and method == self.command:
                request = Request(self.server_state.backend, query, body,
                                  self.headers.get("content-type", ""))
                return dump(answer(request, *match.groups())) or {}
        raise Refusal(404, "Not Found")


@dataclass(frozen=True)
class Request:
    backend: FakeBackend
    query: dict[str, str]
    body: bytes
    content_type: str

    def file(self) -> tuple[str, str]:
        """Name and text of the uploaded file."""
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
            f"content-type: {self.content_type}\r\n\r\n".encode() + self.body)
        for part in message.iter_parts():
            if part.get_param("name", header="content-disposition") == "uploadfile":
                name = part.get_filename() or ""
                if not name.endswith((".yaml", ".yml", ".zip", ".tar.gz", ".json")):
                    raise Refusal(400, "Unexpected pipeline file format")
                return name, part.get_payload(decode=True).decode()
        raise Refusal(400, "Failed to read pipeline from file: no uploadfile")


def _upload(request: Request) -> Any:
    name, text = request.file()
    wanted = request.query.get("name") or name
    body = {"name": wanted, "display_name": wanted, "description": request.query.get("description"),
            "namespace": request.query.get("namespace")}
    pipeline = request.backend.create_pipeline(json.dumps(body).encode())
    request.backend.upload_version(pipeline.pipeline_id, wanted, None, text)
    return pipeline


def _upload_version(request: Request) -> Any:
    name, text = request.file()
    if not (pipeline_id := request.query.get("pipelineid")):
        raise Refusal(400, "Failed to create a pipeline version due to error reading pipeline id")
    return request.backend.upload_version(pipeline_id, request.query.get("name") or name,
                                          request.query.get("description"), text)


def _list(kind: str, model: Any, key: str) -> Callable[..., Any]:
    def answer(request: Request, *path: str) -> Any:
        entries = list(getattr(request.backend, kind).values())
        if path:
            entries = [entry for entry in entries if entry.pipeline_id == path[0]]
        namespaced = kind in ("runs", "recurring_runs", "experiments")
        query = dict(request.query)
        if request.backend.multi_user and namespaced and not (
                query.get("namespace") or query.get("experiment_id")):
            raise Refusal(400, "In multi-user mode, a namespace is required to list")
        if kind == "runs":
            query.pop("namespace", None)  # runs know theirs by their experiment
        found, token, total = request.backend.page(entries, query)
        return model(**{key: found, "next_page_token": token, "total_size": total})

    return answer


def _nothing(act: Callable[..., None]) -> Callable[..., Any]:
    def answer(request: Request, *path: str) -> dict[str, Any]:
        act(request.backend, *path)
        return {}

    return answer


def _one(kind: str, name: str) -> Callable[..., Any]:
    return lambda request, *path: request.backend._get(getattr(request.backend, kind), path[-1], name)


_ID = "([^/:]+)"
#: Method, path and what answers it.
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/healthz", lambda request: models.V2beta1GetHealthzResponse(
        multi_user=request.backend.multi_user, pipeline_store="database")),
    ("POST", "/pipelines", lambda request: request.backend.create_pipeline(request.body)),
    ("POST", "/pipelines/upload", _upload),
    ("POST", "/pipelines/upload_version", _upload_version),
    ("GET", "/pipelines", _list("pipelines", models.V2beta1ListPipelinesResponse, "pipelines")),
    ("GET", f"/pipelines/{_ID}", _one("pipelines", "Pipeline")),
    ("DELETE", f"/pipelines/{_ID}", _nothing(lambda b, key: b.delete(b.pipelines, key, "Pipeline"))),
    ("GET", f"/pipelines/{_ID}/versions",
     _list("versions", models.V2beta1ListPipelineVersionsResponse, "pipeline_versions")),
    ("GET", f"/pipelines/{_ID}/versions/{_ID}", _one("versions", "PipelineVersion")),
    ("DELETE", f"/pipelines/{_ID}/versions/{_ID}",
     _nothing(lambda b, _, key: b.delete(b.versions, key, "PipelineVersion"))),
    ("POST", "/experiments", lambda request: request.backend.create_experiment(request.body)),
    ("GET", "/experiments", _list("experiments", models.V2beta1ListExperimentsResponse, "experiments")),
    ("GET", f"/experiments/{_ID}", _one("experiments", "Experiment")),
    ("POST", "/runs", lambda request: request.backend.create_run(request.body)),
    ("GET", "/runs", _list("runs", models.V2beta1ListRunsResponse, "runs")),
    ("GET", f"/runs/{_ID}", lambda request, key: request.backend.look_at_run(key)),
    ("DELETE", f"/runs/{_ID}", _nothing(lambda b, key: b.delete(b.runs, key, "Run"))),
    ("POST", f"/runs/{_ID}:terminate", _nothing(lambda b, key: b.terminate(key))),
    ("POST", f"/runs/{_ID}:archive", _nothing(lambda b, key: b.archive(key))),
    ("POST", "/recurringruns", lambda request: request.backend.create_recurring_run(request.body)),
    ("GET", "/recurringruns",
     _list("recurring_runs", models.V2beta1ListRecurringRunsResponse, "recurring_runs")),
    ("GET", f"/recurringruns/{_ID}", _one("recurring_runs", "RecurringRun")),
    ("POST", f"/recurringruns/{_ID}:enable", _nothing(lambda b, key: b.set_mode(key, "ENABLE"))),
    ("POST", f"/recurringruns/{_ID}:disable", _nothing(lambda b, key: b.set_mode(key, "DISABLE"))),
    ("DELETE", f"/recurringruns/{_ID}",
     _nothing(lambda b, key: b.delete(b.recurring_runs, key, "RecurringRun"))),
]


def tls_context(certificate: Path, key: Path, client_authority: Path | None = None) -> ssl.SSLContext:
    """Of a server with a certificate; asks clients for theirs where their authority is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
