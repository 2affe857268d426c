"""What all remote stores share: the operations of an object store, each checked to its end.

A subclass knows one client library. It says how to do a single request, which faults may
pass, and what went wrong in plain words; everything that makes a transfer reliable is here
and in ``requesting.py``, and is therefore the same for every kind of store.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from model_core.errors import StorageError
from model_core.storage.fault import DAMAGED, Changed
from model_core.storage.keys import check_key, is_plain
from model_core.storage.object_store import (
    ABSENT,
    Moved,
    ObjectInfo,
    digest_text,
    file_digests,
    new_checksum,
)
from model_core.storage.requesting import Requesting
from model_core.storage.retry import TransientFault

#: How often a whole object is sent or fetched anew when its checksum is wrong at the end.
_WHOLE_TRIES = 3
#: Names of the custom metadata that relrec keeps beside an object.
SHA256, WRITER = "relrec-sha256", "relrec-writer"


class RemoteStore(Requesting):
    """An object store on the other side of a network.

    Nothing is sent, and no client library imported, before the first call.

    Args:
        location: Bucket and prefix; all keys lie below.
        settings: Limits; unset: those of the environment, read at the first request.
    """

    #: Checksum that the store keeps for an object, or "" (see ``new_checksum``).
    checksum: ClassVar[str]
    compares_and_swaps: ClassVar[bool] = True

    # ---- one request each, without retries ---------------------------------------------------

    @abstractmethod
    def _stat(self, name: str) -> ObjectInfo | None: ...

    @abstractmethod
    def _read_range(self, name: str, start: int, stop: int, info: ObjectInfo) -> bytes:
        """Bytes [start, stop) of that generation; raises ``Changed`` if it is gone."""

    @abstractmethod
    def _put_bytes(self, name: str, data: bytes, generation: str | None, metadata: Mapping[str, str],
                   ) -> ObjectInfo:
        """One request; a failed precondition raises an error whose ``Fault`` says conflict."""

    @abstractmethod
    def _put_large(self, name: str, path: Path, size: int, digest: str, metadata: Mapping[str, str],
                   moved: Moved) -> ObjectInfo:
        """Many requests, each with ``self._request``."""

    @abstractmethod
    def _delete(self, name: str) -> None: ...

    @abstractmethod
    def _list_page(self, prefix: str, token: str | None) -> tuple[list[ObjectInfo], str | None]: ...

    @abstractmethod
    def _writer(self, name: str) -> str | None:
        """The writer's label of the object that is there now."""

    # ---- the protocol -------------------------------------------------------------------------

    def read(self, key: str) -> tuple[bytes, str]:
        name = self._name(key)

        def attempt() -> tuple[bytes, str]:
            info = self._stat(name)
            if info is None:
                return b"", ABSENT
            try:
                data = self._whole(name, info)
            except Changed as error:  # between the two requests: look again
                raise TransientFault("replaced while it was read") from error
            return data, info.generation

        return self._request(key, attempt)

    def write(self, key: str, data: bytes) -> None:
        self._request(key, lambda: self._put_bytes(self._name(key), data, None, self._labels(data)))

    def write_if(self, key: str, data: bytes, generation: str) -> bool:
        name = self._name(key)
        # A lost answer leaves open who wrote, and some clients try again unasked. The label tells
        # our own write from an equal one.
        labels = self._labels(data) | {WRITER: uuid.uuid4().hex}

        def attempt() -> bool:
            try:
                self._put_bytes(name, data, generation, labels)
                return True
            except Exception as error:
                fault = self._fault(error)
                if fault is None or not fault.conflict:
                    raise
                return self._writer(name) == labels[WRITER]

        return self._request(key, attempt)

    def stat(self, key: str) -> ObjectInfo | None:
        info = self._request(key, lambda: self._stat(self._name(key)))
        return None if info is None else replace(info, key=check_key(key))

    def put(self, key: str, path: Path, moved: Moved = lambda count: None) -> ObjectInfo:
        name, size = self._name(key), path.stat().st_size
        digests = file_digests(path, *{"sha256", self.checksum} - {""})
        labels = {SHA256: digests["sha256"].removeprefix("sha256:")}
        wanted = digests.get(self.checksum, "")
        for _ in range(_WHOLE_TRIES):
            if size <= self.settings.chunk_bytes:
                data = path.read_bytes()
                info = self._request(key, partial(self._put_bytes, name, data, None, labels))
                moved(size)
            else:
                info = self._put_large(name, path, size, wanted, labels, moved)
            good = info.size == size and (
                not wanted or info.digest == wanted or not info.digest.startswith(self.checksum))
            if good:
                return replace(info, key=check_key(key))
            moved(-size)
        raise StorageError(self._where(key), f"{size} bytes with {wanted or 'no checksum'} after an upload",
                           f"{info.size} bytes with {info.digest}",
                           "check that the file is not written to, then run the same command again")

    def get(
        self, key: str, path: Path, *, sha256: str | None = None, moved: Moved = lambda count: None
    ) -> ObjectInfo:
        found, wanted = "nothing", ""
        for _ in range(_WHOLE_TRIES):
            info = self._request(key, lambda: self._stat(self._name(key)))
            if info is None:
                raise StorageError(self._where(key), "an object", "none",
                                   "check the name, or run the step that writes it again")
            handle, temporary = tempfile.mkstemp(dir=_made(path.parent), prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as stream:
                    digests = self._stream(key, info, stream.write, moved)
                    stream.flush()
                    os.fsync(stream.fileno())
                wanted = f"sha256:{sha256 or info.sha256}" if sha256 or info.sha256 else ""
                fit = {"sha256": wanted, self.checksum: info.digest}
                wanted = wanted or info.digest
                found = next((digests[name] for name, text in fit.items()
                              if text.startswith(f"{name}:") and name and digests[name] != text), "")
                if not found:
                    os.chmod(temporary, 0o644)
                    os.replace(temporary, path)
                    return replace(info, key=check_key(key))
            except Changed:
                found = "an object that is replaced again and again"
            finally:
                Path(temporary).unlink(missing_ok=True)
            moved(-info.size)
        raise StorageError(
            self._where(key), f"content with {wanted or 'its own checksum'}",
            f"{found} in {_WHOLE_TRIES} downloads",
            DAMAGED.fix)

    def delete(self, key: str) -> None:
        self._request(key, lambda: self._delete(self._name(key)))

    def list_objects(self, prefix: str) -> Sequence[ObjectInfo]:
        base = self.location.path + "/" if self.location.path else ""
        under = base + (check_key(prefix) + "/" if prefix else "")
        found: list[ObjectInfo] = []
        token: str | None = None
        while True:
            page, token = self._request(prefix, partial(self._list_page, under, token))
            found += [replace(info, key=self._key(info.key)) for info in page
                      if is_plain(self._key(info.key))]
            if token is None:
                return sorted(found, key=lambda info: info.key)

    def put_tree(self, prefix: str, folder: Path) -> None:
        from model_core.storage.transfer import upload_tree

        upload_tree(self, prefix, folder)

    def get_tree(self, prefix: str, folder: Path) -> None:
        from model_core.storage.cache import ContentCache
        from model_core.storage.transfer import download_tree

        download_tree(self, prefix, folder, cache=ContentCache.from_environment())

    # ---- inside -------------------------------------------------------------------------------

    def _stream(self, key: str, info: ObjectInfo, write: Callable[[bytes], object], moved: Moved,
                ) -> dict[str, str]:
        """Fetch in ranges, so that a broken connection costs one range and not the object."""
        checksums = {name: new_checksum(name) for name in {"sha256", self.checksum} - {""}}
        for start in range(0, info.size, self.settings.chunk_bytes):
            stop = min(start + self.settings.chunk_bytes, info.size)
            data = self._request(key, partial(self._range, info, start, stop))
            write(data)
            for checksum in checksums.values():
                checksum.update(data)
            moved(len(data))
        return {name: digest_text(name, checksum) for name, checksum in checksums.items()}

    def _whole(self, name: str, info: ObjectInfo) -> bytes:
        data = self._range(info, 0, info.size, name) if info.size else b""
        if self.checksum and info.digest.startswith(self.checksum):
            checksum = new_checksum(self.checksum)
            checksum.update(data)
            if digest_text(self.checksum, checksum) != info.digest:
                raise TransientFault(DAMAGED.found)
        return data

    def _range(self, info: ObjectInfo, start: int, stop: int, name: str | None = None) -> bytes:
        data = self._read_range(name or info.key, start, stop, info)
        if len(data) != stop - start:
            raise TransientFault(f"a body of {len(data)} bytes instead of {stop - start}")
        return data

    def _labels(self, data: bytes) -> dict[str, str]:
        checksum = new_checksum("sha256")
        checksum.update(data)
        return {SHA256: checksum.hexdigest()}

    def _name(self, key: str) -> str:
        key = check_key(key)
        return f"{self.location.path}/{key}" if self.location.path else key

    def _key(self, name: str) -> str:
        return name.removeprefix(self.location.path + "/") if self.location.path else name

    def list(self, prefix: str) -> list[str]:
        return [info.key for info in self.list_objects(prefix)]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
