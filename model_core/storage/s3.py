"""S3 and what speaks its protocol (MinIO, Ceph, R2, …), through s3fs.

Endpoint, region and credentials come from where the AWS client looks itself:
``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, ``AWS_REGION``, environment, web identity
(IRSA), profiles, instance metadata; or from fsspec's own configuration of ``s3``. The
client's own retries are switched off: ours have one deadline for everything.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
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

_PASSING = {408, 409, 429, 500, 502, 503, 504}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "Throttling",
                  "ThrottlingException", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}
_OLD_CREDENTIALS = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
_LOGIN = ("give the process credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a "
          "role for its service account")
#: The protocol's limits: parts of an upload, and bytes of any part but the last.
_MAX_PARTS, _LEAST_PART = 10_000, 5 << 20


class S3Store(RemoteStore):
    """Objects of one bucket below a prefix. See ``RemoteStore`` for the arguments."""

    checksum: ClassVar[str] = "md5"

    @cached_property
    def _fs(self) -> Any:
        try:
            import s3fs  # noqa: F401
        except ImportError:
            raise StorageError(self.uri, "the package s3fs", "none", "pip install 'relrec[s3]'") from None
        import fsspec

        filesystem = fsspec.filesystem(
            "s3", skip_instance_cache=True, use_listings_cache=False,
            config_kwargs={"retries": {"total_max_attempts": 1},
                           "connect_timeout": min(self.settings.timeout_s, 30.0),
                           "read_timeout": self.settings.timeout_s,
                           "max_pool_connections": max(10, self.settings.parallel)})
        filesystem.retries = 1
        return filesystem

    #: Whether the bucket is known to be there.
    _seen = False

    def _call(self, method: str, name: str, **arguments: Any) -> Any:
        return self._fs.call_s3(method, Bucket=self.location.bucket, Key=name, **arguments)

    def _stat(self, name: str) -> ObjectInfo | None:
        try:
            head = self._call("head_object", name)
        except FileNotFoundError:
            if not self._seen:
                # The answer does not say which of the two is missing, and a wrong bucket must
                # not read as an empty registry.
                self._list_page(name, None)
            self._seen = True
            return None
        return _info(name, head, head["ContentLength"])

    def _read_range(self, name: str, start: int, stop: int, info: ObjectInfo) -> bytes:
        from fsspec.asyn import sync

        try:
            answer = self._call("get_object", name, Range=f"bytes={start}-{stop - 1}",
                                IfMatch=info.generation)
        except FileNotFoundError as error:
            raise Changed(info.key) from error
        except OSError as error:
            if _status(error) in (412, 416):
                raise Changed(info.key) from error
            raise
        return sync(self._fs.loop, _body, answer["Body"])

    def _put_bytes(self, name: str, data: bytes, generation: str | None, metadata: Mapping[str, str],
                   ) -> ObjectInfo:
        condition = {} if generation is None else (
            {"IfNoneMatch": "*"} if generation == ABSENT else {"IfMatch": generation})
        answer = self._call("put_object", name, Body=data, ContentMD5=_md5(data),
                            ContentType=content_type(name), Metadata=dict(metadata), **condition)
        return _info(name, {"Metadata": metadata} | answer, len(data))

    def _put_large(self, name: str, path: Path, size: int, digest: str, metadata: Mapping[str, str],
                   moved: Moved) -> ObjectInfo:
        key = self._key(name)
        part_size = max(self.settings.chunk_bytes, _LEAST_PART, -(-size // _MAX_PARTS))
        upload = self._request(key, lambda: self._call(
            "create_multipart_upload", name, ContentType=content_type(name),
            Metadata=dict(metadata)))["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            sent = 0
            with open(path, "rb") as stream:
                while data := stream.read(part_size):
                    answer = self._request(key, partial(
                        self._call, "upload_part", name, UploadId=upload, PartNumber=len(parts) + 1,
                        Body=data, ContentMD5=_md5(data)))
                    parts.append({"PartNumber": len(parts) + 1, "ETag": answer["ETag"]})
                    sent += len(data)
                    moved(len(data))
            return self._request(key, lambda: self._complete(name, upload, parts, sent, metadata))
        except BaseException:
            # Parts cost money until they are aborted; a killed process leaves that to the
            # bucket's lifecycle rule.
            self._abort(name, upload)
            raise

    def _complete(self, name: str, upload: str, parts: list, size: int, metadata: Mapping[str, str],
                  ) -> ObjectInfo:
        # Not found: a try before this one did it and its answer was lost. What is there decides.
        with contextlib.suppress(FileNotFoundError):
            self._call("complete_multipart_upload", name, UploadId=upload, MultipartUpload={"Parts": parts})
        info = self._stat(name)
        if info is None or info.size != size or info.sha256 != metadata[SHA256]:
            raise StorageError(self._where(self._key(name)), f"an object of {size} bytes after its upload",
                               "another one or none", "run the same command again")
        return info

    def _abort(self, name: str, upload: str) -> None:
        try:
            self._call("abort_multipart_upload", name, UploadId=upload)
        except Exception as error:
            if self._fault(error) is None:
                raise

    def _delete(self, name: str) -> None:
        self._call("delete_object", name)

    def _list_page(self, prefix: str, token: str | None) -> tuple[list[ObjectInfo], str | None]:
        more = {} if token is None else {"ContinuationToken": token}
        page = self._fs.call_s3(
            "list_objects_v2", Bucket=self.location.bucket, Prefix=prefix, **more)
        found = [_info(entry["Key"], entry, entry["Size"]) for entry in page.get("Contents", [])]
        return found, page.get("NextContinuationToken") if page.get("IsTruncated") else None

    def _writer(self, name: str) -> str | None:
        try:
            return self._call("head_object", name)["Metadata"].get(WRITER)
        except FileNotFoundError:
            return None

    def _renew_credentials(self) -> bool:
        self._fs.connect(refresh=True)
        return True

    def _fault(self, error: Exception) -> Fault | None:
        import aiohttp
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            FlexibleChecksumError,
            HTTPClientError,
            IncompleteReadError,
            NoCredentialsError,
        )
        from botocore.exceptions import (
            ConnectionError as BotoConnectionError,
        )
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        cause = error if isinstance(error, ClientError) else error.__cause__
        if isinstance(cause, ClientError):
            code = str(cause.response.get("Error", {}).get("Code", ""))
            text = str(cause.response.get("Error", {}).get("Message", ""))
            return _answered(_status(error), code, redact(text, 160))
        if isinstance(error, FlexibleChecksumError):
            return DAMAGED
        if isinstance(error, NoCredentialsError):
            return Fault("no credentials", _LOGIN)
        passing = (HTTPClientError, IncompleteReadError, ResponseParserError, aiohttp.ClientError, HTTPError,
                   BotoConnectionError, ConnectionError, TimeoutError)
        if isinstance(error, passing):
            name = type(error).__name__
            return Fault(f"silence ({name})" if "Timeout" in name else f"a broken connection ({name})",
                         transient=True)
        if isinstance(error, BotoCoreError):
            return Fault(f"{type(error).__name__}: {redact(str(error), 160)}", _LOGIN)
        return None


def _answered(status: int, code: str, text: str) -> Fault:
    found = f"HTTP {status} {code}: {text}".rstrip(": ")
    if code in _OLD_CREDENTIALS or status == 401:
        return Fault(f"{found} (token expired or not accepted)", _LOGIN, stale_credentials=True)
    if status == 400 and code == "400":
        return Fault(f"{found} (no reason given, as for an expired token)", _LOGIN, stale_credentials=True)
    if code in _PASSING_CODES or status in _PASSING:
        return Fault(found, transient=True)
    if status == 412:
        return Fault(found, "read it again and decide anew", conflict=True)
    if code == "NoSuchBucket":
        return Fault(found, "create the bucket or correct its name")
    if status == 404:
        return Fault(found, "check the name, or store the object first", missing=True)
    if status == 403:
        return Fault(found, "check the key, and grant its owner list, get, put and delete on the bucket "
                            "(docs/reliability.md lists permissions)")
    if status == 501:
        return Fault(found, "use a store that knows conditional writes (If-None-Match, If-Match)")
    return Fault(found, "check the endpoint (AWS_ENDPOINT_URL), the region and the bucket's name")


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _info(name: str, answer: Mapping[str, Any], size: int) -> ObjectInfo:
    etag = str(answer["ETag"]).strip('"')
    # Only the ETag of an object written in one request is its MD5, and not with keys of one's own.
    own_key = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or (
        "SSECustomerAlgorithm" in answer)
    is_md5 = len(etag) == 32 and "-" not in etag and not own_key
    written = answer.get("LastModified")
    return ObjectInfo(name, int(size), f'"{etag}"', f"{'md5' if is_md5 else 'etag'}:{etag}",
                      answer.get("Metadata", {}).get(SHA256), int(written.timestamp()) if written else None)


async def _body(stream: Any) -> bytes:
    try:
        return await stream.read()
    finally:
        stream.close()  # a body that was not read to its end must not go back into the pool


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
