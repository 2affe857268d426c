"""gcp-storage-emulator as a server that is good enough for races.

The emulator ignores generation preconditions and serves one request at a time. Here it
answers 412 where a precondition does not hold, 404 for a generation that is gone, and every
connection has a thread of its own. It stays a process of its own, on a port of its own:

    python -m tests.storage.doubles.gcs_server PORT BUCKET [BUCKET ...]
"""

from __future__ import annotations

import logging
import sys
import threading
from functools import partial
from http import HTTPStatus, server

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage


class PreconditionFailed(Exception):
    """ifGenerationMatch does not hold."""


class CheckingStorage(Storage):
    """Checks preconditions in the moment of writing. All calls come under one lock."""

    lock = threading.Lock()
    query: dict[str, list[str]]

    def create_file(self, bucket_name, file_name, content, file_obj, file_id=None):
        self._check(bucket_name, file_name, "ifGenerationMatch", PreconditionFailed)
        super().create_file(bucket_name, file_name, content, file_obj, file_id)

    def delete_file(self, bucket_name, file_name):
        self._check(bucket_name, file_name, "ifGenerationMatch", PreconditionFailed)
        super().delete_file(bucket_name, file_name)

    def get_file(self, bucket_name, file_name, show_error=True):
        if bucket_name in self.buckets:
            self._check(bucket_name, file_name, "generation", NotFound)
        return super().get_file(bucket_name, file_name, False)

    def _check(self, bucket: str, name: str, parameter: str, failure: type[Exception]) -> None:
        wanted = self.query.get(parameter)
        if wanted and wanted[0] != str(self.objects.get(bucket, {}).get(name, {}).get("generation", 0)):
            raise failure

    def _write_config_to_file(self):
        """Everything is in memory; writing it out at every request would only cost time."""


def checked(call, request, response, storage, *args, **kwargs) -> None:
    """One request: its body is read first, so that a slow client holds nobody up."""
    _ = request.data
    with storage.lock:
        storage.query = request.query
        try:
            call(request, response, storage, *args, **kwargs)
        except PreconditionFailed:
            response.status = HTTPStatus.PRECONDITION_FAILED
            response.json({"error": {"code": 412, "message": "conditionNotMet"}})
        upload = request.query.get("upload_id")
        if response.status.value == 308 and not storage.get_resumable_byte_count(upload[0]):
            del response._headers["Range"]  # before the first byte a real server names no range


class Handler(emulator.RequestHandler):
    """Keeps connections open between requests, as a real server does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


def main(port: int, names: list[str]) -> None:
    logging.disable(logging.CRITICAL)
    emulator.HANDLERS = tuple(
        (regex, {verb: partial(checked, call) for verb, call in verbs.items()})
        for regex, verbs in emulator.HANDLERS)
    storage = CheckingStorage(use_memory_fs=True)
    storage.query = {}
    for name in names:
        buckets.create_bucket(name, storage)
    httpd = server.ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, storage))
    print(httpd.server_address[1], flush=True)
    httpd.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
