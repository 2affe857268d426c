"""Google Cloud Storage through google-cloud-storage.

The client's own retries are switched off: ours have one deadline for everything.
``STORAGE_EMULATOR_HOST`` is honoured, as by the client itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from model_core.errors import StorageError
from model_core.storage.fault import DAMAGED, Changed, Fault
from model_core.storage.keys import content_type
from model_core.storage.object_store import ABSENT, Moved, ObjectInfo
from model_core.storage.redact import redact
from model_core.storage.remote import SHA256, WRITER, RemoteStore
from model_core.storage.settings import StorageSettings
from model_core.storage.uri import Location

_PASSING = {408, 429, 500, 502, 503, 504}
#: How the store says that a body does not have the checksum that came with it.
_MISMATCH = re.compile(r"(CRC32C|MD5).*(doesn.t|does not) match")
#: How often an upload session may be lost before the upload counts as failed.
_SESSIONS = 3
_LOGIN = ("give the process credentials: gcloud auth application-default login on a laptop, a workload "
          "identity on a cluster, or GOOGLE_APPLICATION_CREDENTIALS")


class GcsStore(RemoteStore):
    """Objects of one bucket below a prefix. See ``RemoteStore`` for the arguments.

    Args:
        location, settings: As there.
        client: A ``google.cloud.storage.Client``; unset: one with the default credentials, made
            at the first request.
    """

    checksum: ClassVar[str] = "crc32c"

    def __init__(
        self, location: Location, settings: StorageSettings | None = None, client: Any = None
    ) -> None:
        super().__init__(location, settings)
        self._client = client

    @cached_property
    def _bucket(self) -> Any:
        # Imported here: it takes most of a second, and few commands need it.
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage

        try:
            client = self._client or storage.Client()
        except DefaultCredentialsError:
            raise StorageError(self.uri, "Google credentials", "none", _LOGIN) from None
        return client.bucket(self.location.bucket)

    #: Whether the bucket is known to be there.
    _seen = False

    @property
    def _timeout(self) -> tuple[float, float]:
        return (min(self.settings.timeout_s, 30.0), self.settings.timeout_s)

    def _stat(self, name: str) -> ObjectInfo | None:
        blob = self._bucket.get_blob(name, retry=None, timeout=self._timeout)
        if blob is None and not self._seen:
            # The answer does not say which of the two is missing, and a wrong bucket must not
            # read as an empty registry.
            self._list_page(name, None)
        self._seen = True
        return None if blob is None else _info(blob)

    def _read_range(self, name: str, start: int, stop: int, info: ObjectInfo) -> bytes:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self._bucket.blob(name, generation=int(info.generation))
        try:
            # raw: stored bytes, whatever their Content-Encoding says; ranges count those.
            return blob.download_as_bytes(
                start=start, end=stop - 1, raw_download=True, checksum=None, retry=None,
                timeout=self._timeout)
        except (NotFound, PreconditionFailed) as error:
            raise Changed(info.key) from error

    def _put_bytes(self, name: str, data: bytes, generation: str | None, metadata: Mapping[str, str],
                   ) -> ObjectInfo:
        blob = self._bucket.blob(name)
        blob.metadata = dict(metadata)
        condition = {} if generation is None else {
            "if_generation_match": 0 if generation == ABSENT else int(generation)}
        blob.upload_from_string(data, content_type=content_type(name), checksum="crc32c",
                                retry=None, timeout=self._timeout, **condition)
        return _info(blob)

    def _put_large(self, name: str, path: Path, size: int, digest: str, metadata: Mapping[str, str],
                   moved: Moved) -> ObjectInfo:
        key = self._key(name)
        for _ in range(_SESSIONS):
            blob = self._bucket.blob(name)
            blob.metadata = dict(metadata)
            # The store refuses to finish an object with another checksum, so none is ever seen.
            blob.crc32c = digest.removeprefix("crc32c:")
            url = self._request(key, partial(
                blob.create_resumable_upload_session, content_type=content_type(name), size=size,
                checksum=None, retry=None, timeout=self._timeout))
            done = _Upload(self, key, url, path, size, moved).run()
            if done is not None:
                return done
        raise StorageError(self._where(key), "an upload session that lasts", f"{_SESSIONS} that were lost",
                           "run the same command again; files that are there already are not sent again")

    def _delete(self, name: str) -> None:
        from google.api_core.exceptions import NotFound

        with contextlib.suppress(NotFound):
            self._bucket.blob(name).delete(retry=None, timeout=self._timeout)

    def _list_page(self, prefix: str, token: str | None) -> tuple[list[ObjectInfo], str | None]:
        from google.api_core.exceptions import NotFound

        listing = self._bucket.client.list_blobs(
            self._bucket, prefix=prefix, page_token=token, retry=None, timeout=self._timeout,
            fields="items(name,size,generation,crc32c,updated),nextPageToken")
        try:
            page = [_info(blob) for blob in next(listing.pages, [])]
        except NotFound:
            raise StorageError(self.uri, "a bucket", "none of that name",
                               "create the bucket or correct its name") from None
        return page, listing.next_page_token

    def _writer(self, name: str) -> str | None:
        blob = self._bucket.get_blob(name, retry=None, timeout=self._timeout)
        return None if blob is None else (blob.metadata or {}).get(WRITER)

    def _fault(self, error: Exception) -> Fault | None:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        if isinstance(error, DataCorruption):
            return DAMAGED
        if isinstance(error, GoogleAPICallError):
            return _answered(int(error.code or 0), str(error.message))
        if isinstance(error, InvalidResponse):
            return _answered(error.response.status_code, error.response.text)
        if isinstance(error, RefreshError):
            return Fault(f"credentials that cannot be renewed ({redact(str(error), 160)})", _LOGIN,
                         transient=bool(getattr(error, "retryable", False)))
        if isinstance(error, TransportError):
            return Fault(f"no way to the token server ({type(error).__name__})", transient=True)
        if isinstance(error, GoogleAuthError):
            return Fault(f"unusable credentials ({redact(str(error), 160)})", _LOGIN)
        if isinstance(error, RequestException | HTTPError | ConnectionError | TimeoutError):
            return Fault(_connection(error), transient=True)
        return None


class _Upload:
    """One resumable upload session: chunks, and the question how far it got after a fault.

    The session's URL lets anybody write the object. It is never stored nor shown.
    """

    def __init__(
        self, store: GcsStore, key: str, url: str, path: Path, size: int, moved: Moved
    ) -> None:
        self.store, self.key, self.url = store, key, url
        self.path, self.size, self.moved = path, size, moved
        self.offset = 0
        self.uncertain = False

    def run(self) -> ObjectInfo | None:
        """The stored object, or None where the session was lost and a new one is needed."""
        with open(self.path, "rb") as stream:
            while True:
                before = self.offset
                answer = self.store._request(self.key, lambda: self._step(stream))
                if answer.status_code in (200, 201):
                    self.moved(self.size - before)
                    return self._stored(answer.json())
                if self._is_lost(answer):
                    self.moved(-before)
                    return None
                self.moved(self.offset - before)

    def _step(self, stream: Any) -> Any:
        if self.uncertain:
            answer = self._send(b"", f"bytes */{self.size}")
            if answer.status_code != 308:
                return answer
            self.uncertain = False
        stream.seek(self.offset)
        data = stream.read(self.store.settings.chunk_bytes)
        self.uncertain = True
        last = self.offset + len(data) - 1
        answer = self._send(data, f"bytes {self.offset}-{last}/{self.size}")
        self.uncertain = False
        return answer

    def _send(self, data: bytes, content_range: str) -> Any:
        from google.cloud.storage.exceptions import InvalidResponse

        answer = self.store._bucket.client._http.request(
            "PUT", self.url, data=data, headers={"Content-Range": content_range},
            timeout=self.store._timeout)
        if answer.status_code == 308:
            reached = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
            self.offset = int(reached[1]) + 1 if reached else 0
        elif answer.status_code not in (200, 201) and not self._is_lost(answer):
            raise InvalidResponse(answer, "the upload session answered", answer.status_code)
        return answer

    @staticmethod
    def _is_lost(answer: Any) -> bool:
        """Whether only a new session helps: it is gone, or its bytes have another checksum."""
        return answer.status_code in (404, 410) or (
            answer.status_code == 400 and _MISMATCH.search(answer.text) is not None)

    @staticmethod
    def _stored(resource: Mapping[str, Any]) -> ObjectInfo:
        return ObjectInfo(resource["name"], int(resource["size"]), str(resource["generation"]),
                          f"crc32c:{resource['crc32c']}", (resource.get("metadata") or {}).get(SHA256))


def _info(blob: Any) -> ObjectInfo:
    metadata = blob.metadata or {}
    return ObjectInfo(blob.name, int(blob.size or 0), str(blob.generation), f"crc32c:{blob.crc32c}",
                      metadata.get(SHA256), int(blob.updated.timestamp()) if blob.updated else None)


def _answered(code: int, message: str) -> Fault:
    text = redact(re.sub(r"^[A-Z]+ \S+: ", "", message), 160)  # the client puts the request before it
    found = f"HTTP {code}: {text}".rstrip(": ")
    if code in _PASSING:
        return Fault(found, transient=True)
    if code == 400 and _MISMATCH.search(message):
        return DAMAGED
    if code == 401:
        return Fault(f"{found} (token expired or not accepted)", _LOGIN)
    if code == 403:
        return Fault(found, "grant the process's account the role Storage Object User on the bucket "
                            "(docs/reliability.md lists permissions)")
    if code == 404:
        return Fault(found, "check the name, or store the object first", missing=True)
    if code == 412:
        return Fault(found, "read it again and decide anew", conflict=True)
    return Fault(found, "check the name of the bucket and the request's settings")


def _connection(error: Exception) -> str:
    name = type(error).__name__
    if "Timeout" in name:
        return f"silence ({name})"
    return f"a broken connection ({name})"
