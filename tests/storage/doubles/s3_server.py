"""moto's S3 as a server process whose conditional writes are atomic, as S3's are.

moto compares the ETag and stores the object in two steps, between which another thread may
do the same: then two writers win one race.

    python -m tests.storage.doubles.s3_server
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

Environ = dict[str, Any]


class AtomicConditions:
    """A WSGI application whose requests with a condition come one after the other."""

    def __init__(self, app: Callable[[Environ, Any], Iterable[bytes]]) -> None:
        self._app, self._lock = app, threading.Lock()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not environ.keys() & {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"} or environ["REQUEST_METHOD"] != "PUT":
            return self._app(environ, start_response)
        # All of it first: a client that hangs must not hold up the others.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self._lock:
            return self._app(environ | {"wsgi.input": io.BytesIO(body)}, start_response)


def main() -> None:
    """Serve on a free port, which is printed."""
    app = AtomicConditions(DomainDispatcherApplication(create_backend_app))
    server = make_server("0.0.0.0", 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
