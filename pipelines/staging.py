"""A run's root in an object store, worked on in a local folder.

Runners know nothing of buckets: they run steps in ``folder``. Around every step they call
``fetch`` on its inputs and ``store`` on its outputs, which then lie at the same relative
place under the root. The step cache's entries lie there, too, so that the same command on
another machine finds finished steps and fetches only what the next one reads::

    <root>/<run>/<step>/<artifact>      a record or directory (index last), or one file
    <root>/<run>/<step>/log.txt         what the step said
    <root>/cache/<key>.json             outputs of a step, by the key of its inputs
    <root>/report.html, summary.json    of the newest run
    <root>/lock.json                    who is running here
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from model_core.errors import ConfigError, RelrecError, StorageError
from model_core.records import MANIFEST, json_bytes, verify_record
from model_core.storage.cache import ContentCache, cache_folder
from model_core.storage.opening import open_store
from model_core.storage.progress import ProgressLines
from model_core.storage.settings import StorageSettings
from model_core.storage.transfer import INDEX, download_tree, remove_tree, tree_index, upload_tree
from model_core.storage.uri import parse_location
from pipelines.remote_lock import RemoteLock

#: Stores that can compare and swap, which the lock needs.
_SCHEMES = ("gs", "s3")
#: One renewal of the lock must not outlast the lease.
_LOCK_DEADLINE_S = 20.0


class RootStaging:
    """A remote root and its local folder.

    Args:
        uri: The root, ``gs://bucket/prefix`` or ``s3://bucket/prefix``.
        folder: Where to work; unset: a folder of its own under RELREC_CACHE_DIR. It may be
            removed when no run uses it.
        cache: Cache of fetched files; unset: that of the environment.

    Raises:
        ConfigError: Another scheme.

    Example:
        >>> staging = RootStaging("gs://bucket/x", Path("/data/work"))
        >>> staging.remote(Path("/data/work/run/ingest/snapshot"))
        'gs://bucket/x/run/ingest/snapshot'
        >>> staging.local("gs://bucket/x/run/ingest/snapshot").as_posix()
        '/data/work/run/ingest/snapshot'
    """

    def __init__(
        self, uri: str, folder: Path | None = None, cache: ContentCache | None = None
    ) -> None:
        location = parse_location(uri, "--root")
        if location.scheme not in _SCHEMES:
            raise ConfigError("--root", "a local directory, gs:// or s3://", f"{location.scheme}://",
                              "use one of those; two runs cannot be kept apart elsewhere")
        self.uri = str(location)
        self.store = open_store(location, "--root")
        settings = StorageSettings.from_environment()
        brief = dataclasses.replace(settings, deadline_s=min(settings.deadline_s, _LOCK_DEADLINE_S))
        self._lock = RemoteLock(open_store(location, "--root", brief))
        digest = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        self.folder = (folder or cache_folder() / "roots" / f"{location.name}-{digest}").resolve()
        self._cache = cache or ContentCache.from_environment()
        self._stored: set[str] = set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the root meanwhile.

        Raises:
            ConfigError: Another run is in.
        """
        with self._lock.held():
            yield

    def remote(self, path: Path | str) -> str:
        """Where a path in the folder lies under the root. Other places are left as they are."""
        return re.sub(rf"^{re.escape(str(self.folder))}(?=/|$)", lambda _: self.uri, str(path))

    def local(self, uri: str) -> Path:
        """Where an object under the root lies in the folder."""
        key = self._key(uri)
        return self.folder / key if key else Path(uri)

    def without_folder(self, value: Any) -> Any:
        """A JSON-like value with the root's URI in place of the folder: the same on any machine."""
        if isinstance(value, str):
            return re.sub(rf"{re.escape(str(self.folder))}(?=[/\"'\s]|$)", lambda _: self.uri, value)
        if isinstance(value, Mapping):
            return {key: self.without_folder(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.without_folder(item) for item in value]
        return value

    def holds(self, uri: str) -> bool:
        """Whether a complete artifact lies under the root."""
        key = self._key(uri)
        if not key:
            return False
        if key not in self._stored and (
            self.store.stat(key) is not None or tree_index(self.store, key) is not None
        ):
            self._stored.add(key)
        return key in self._stored

    def fetch(self, uri: str) -> Path:
        """Bring an artifact here, if it is not: after that it is in the folder, checked.

        Args:
            uri: Under the root, or a path in the folder.

        Raises:
            StorageError: It is not complete under the root, or cannot be fetched.
        """
        key = self._key(uri)
        if not key:
            return Path(uri)
        path = self.folder / key
        if self._is_here(path):
            return path
        info = self.store.stat(key)
        if info is not None:
            self.store.get(key, path)
        else:
            shutil.rmtree(path, ignore_errors=True)
            download_tree(self.store, key, path, cache=self._cache,
                          progress=ProgressLines(f"fetching {path.name}"))
            (path / INDEX).unlink(missing_ok=True)
        return path

    def store_artifacts(self, paths: Iterable[Path | str]) -> None:
        """Bring artifacts under the root: each is seen there only when it is complete.

        Raises:
            StorageError: The store does not take them in time, or another run took over the
                root. Calling again goes on where it stopped.
        """
        self._lock.check()
        for path in map(Path, paths):
            key = self._key(self.remote(path))
            if not key or key in self._stored or not path.exists():
                continue
            if path.is_dir():
                upload_tree(self.store, key, path, ProgressLines(f"storing {path.name}"))
            else:
                self.store.put(key, path)
            self._stored.add(key)

    def remove(self, paths: Iterable[Path | str]) -> None:
        """Take artifacts out of the root, as a step must before it writes them anew.

        Trees are immutable there: one that an earlier attempt left would stay in the place of
        the new one.

        Raises:
            StorageError: The store does not do it in time, or another run took over the root.
        """
        self._lock.check()
        for key in filter(None, (self._key(self.remote(path)) for path in paths)):
            self._stored.discard(key)
            if self.store.stat(key) is not None:
                self.store.delete(key)
            remove_tree(self.store, key)

    def store_log(self, path: Path) -> None:
        """Bring a log under the root. A log that cannot be stored stops nothing."""
        with contextlib.suppress(StorageError):
            if path.is_file():
                self.store.put(self._key(self.remote(path)), path)

    def write(self, name: str, data: bytes) -> str:
        """Write a small file under the root, such as ``report.html``. Returns its URI."""
        self._lock.check()
        self.store.write(name, data)
        return f"{self.uri}/{name}"

    def entry(self, key: str) -> dict[str, Any] | None:
        """A step's outputs as the step cache has them, with URIs under the root; None if unknown."""
        try:
            data, _ = self.store.read(f"cache/{key}.json")
            entry = json.loads(data) if data else None
            return entry if isinstance(entry, dict) else None
        except ValueError:
            return None

    def keep_entry(self, key: str, outputs: Mapping[str, Any]) -> None:
        """Note a step's outputs, whose artifacts must be stored by now."""
        self._lock.check()
        self.store.write(f"cache/{key}.json", json_bytes(self.without_folder(outputs)))

    def peek(self, uri: str, *names: str) -> Path:
        """Some files of an artifact, or one that is a file, for reading here.

        Args:
            uri: Under the root, or a path in the folder.
            names: Files of a directory artifact; none for an artifact that is a file.

        Raises:
            StorageError: One is not there, or cannot be fetched.
        """
        key = self._key(uri)
        if not key or (self.folder / key).exists():
            return self.folder / key if key else Path(uri)
        place = self.folder / ".peek" / key
        for name in names or ("",):
            self.store.get(f"{key}/{name}" if name else key, place / name if name else place)
        return place

    def _key(self, uri: str) -> str:
        uri = self.remote(uri)
        return uri[len(self.uri) + 1:] if uri.startswith(self.uri + "/") else ""

    @staticmethod
    def _is_here(path: Path) -> bool:
        """Whether a local copy is complete: files appear by rename, records are checked to the byte."""
        if not path.is_dir():
            return path.is_file()
        if not (path / MANIFEST).exists():
            return True
        try:
            verify_record(path)
        except (RelrecError, OSError):
            return False
        return True
