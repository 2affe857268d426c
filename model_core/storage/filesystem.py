"""Any other filesystem that fsspec knows: to read datasets from and to copy files to.

fsspec has no way to write only if nobody else did, so such a place cannot hold a registry
or the root of a run.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from model_core.errors import ConfigError, StorageError
from model_core.storage.fault import Changed, Fault
from model_core.storage.object_store import Moved, ObjectInfo
from model_core.storage.redact import redact
from model_core.storage.remote import RemoteStore
from model_core.storage.uri import Location

_IDENTITY = ("etag", "ETag", "generation", "md5", "content_md5", "version_id", "mtime", "last_modified",
             "LastModified", "created")


def check_scheme(location: Location, where: str) -> None:
    """Refuse a scheme that no installed package knows.

    Raises:
        ConfigError: None does; the message names the known ones.
    """
    import fsspec

    if location.scheme not in fsspec.available_protocols():
        raise ConfigError(where, "a local path, gs://, s3:// or a scheme that fsspec knows",
                          f"{location.scheme}://", "correct it, or install the fsspec package for it")


class FilesystemStore(RemoteStore):
    """Files of an fsspec filesystem below a prefix. See ``RemoteStore`` for the arguments."""

    checksum: ClassVar[str] = ""
    compares_and_swaps: ClassVar[bool] = False

    @cached_property
    def _fs(self) -> Any:
        import fsspec

        try:
            return fsspec.filesystem(self.location.scheme)
        except ImportError as error:
            raise StorageError(self.uri, f"a package for {self.location.scheme}://", "none",
                               redact(str(error))) from None

    def _path(self, name: str) -> str:
        if self.location.scheme in ("http", "https"):
            return f"{self.location.scheme}://{self.location.bucket}/{name}"
        return "/".join(part for part in (self.location.bucket, name) if part)

    def write_if(self, key: str, data: bytes, generation: str) -> NoReturn:
        """Refused: see the module's text."""
        raise StorageError(
            self._where(key), "a store that can write only if nobody else did (a local directory, gs:// "
            "or s3://)", f"{self.location.scheme}://",
            "keep registries and roots of runs in one of those; others serve to read from")

    def _stat(self, name: str) -> ObjectInfo | None:
        try:
            details = self._fs.info(self._path(name))
        except FileNotFoundError:
            return None
        return None if details.get("type") == "directory" else _info(name, details)

    def _read_range(self, name: str, start: int, stop: int, info: ObjectInfo) -> bytes:
        try:
            return self._fs.cat_file(self._path(name), start=start, end=stop)
        except FileNotFoundError as error:
            raise Changed(info.key) from error

    def _put_bytes(self, name: str, data: bytes, generation: str | None, metadata: Mapping[str, str],
                   ) -> ObjectInfo:
        assert generation is None
        self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
        self._fs.pipe_file(self._path(name), data)
        return self._after(name)

    def _put_large(self, name: str, path: Path, size: int, digest: str, metadata: Mapping[str, str],
                   moved: Moved) -> ObjectInfo:
        def send() -> ObjectInfo:
            self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
            self._fs.put_file(str(path), self._path(name))
            return self._after(name)

        info = self._request(self._key(name), send)
        moved(size)
        return info

    def _writer(self, name: str) -> str | None:
        return None

    def _after(self, name: str) -> ObjectInfo:
        self._fs.invalidate_cache()
        info = self._stat(name)
        if info is None:
            raise StorageError(self._where(self._key(name)), "an object after its upload", "none",
                               "check that the place can be written to")
        return info

    def _delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _list_page(self, prefix: str, token: str | None) -> tuple[list[ObjectInfo], str | None]:
        self._fs.invalidate_cache()
        root = self._fs._strip_protocol(self._path(prefix)).rstrip("/")
        base = prefix.rstrip("/")
        found = self._fs.find(root, detail=True)
        named = ((base + "/" + path[len(root):].lstrip("/") if base else path[len(root):].lstrip("/"), entry)
                 for path, entry in found.items())
        return [_info(name, entry) for name, entry in named], None

    def _fault(self, error: Exception) -> Fault | None:
        if isinstance(error, PermissionError):
            return Fault(f"no permission ({redact(str(error), 160)})", "give the process credentials for it")
        if isinstance(error, FileNotFoundError):
            return Fault("nothing there", "check the name", missing=True)
        # Backends have errors of their own for broken connections and refusals alike; what is
        # not plainly a refusal may pass.
        if isinstance(error, OSError) or type(error).__module__.split(".")[0] in (
                "aiohttp", "requests", "urllib3", "azure", "gcsfs", "adlfs"):
            return Fault(f"{type(error).__name__}: {redact(str(error), 160)}", transient=True)
        return None


def _info(name: str, details: Mapping[str, Any]) -> ObjectInfo:
    size = int(details.get("size") or 0)
    identity = "|".join(f"{key}={details[key]}" for key in _IDENTITY if details.get(key) is not None)
    digest = hashlib.sha256(f"{size}|{identity}".encode()).hexdigest()
    return ObjectInfo(name, size, digest, f"etag:{digest}" if identity else "")
