"""An object store in a local directory."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_core.errors import ArtifactError, RegistryError
from model_core.records import appearing_file, file_sha256, write_atomically
from model_core.storage.keys import check_key
from model_core.storage.object_store import ABSENT, Moved, ObjectInfo


class LocalStore:
    """An object store in a local directory.

    Writes are serialised by ``flock`` on one file, which the kernel releases when its
    holder dies, so that a killed writer never blocks the next one. Readers take no
    lock: files and trees appear by rename, complete.

    A generation is the digest of the content. Writing equal bytes therefore does not
    change it; the registry numbers its pointers, so no two of them are equal.

    Args:
        root: The directory; made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    compares_and_swaps = True

    @property
    def uri(self) -> str:
        return str(self.root)

    def read(self, key: str) -> tuple[bytes, str]:
        try:
            data = self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return b"", ABSENT
        return data, hashlib.sha256(data).hexdigest()

    def write(self, key: str, data: bytes) -> None:
        with self._lock():
            write_atomically(self._path(key), data)

    def write_if(self, key: str, data: bytes, generation: str) -> bool:
        path = self._path(key)
        with self._lock():
            if self.read(key)[1] != generation:
                return False
            write_atomically(path, data)
            return True

    def stat(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        return self._info(path) if path.is_file() else None

    def put(self, key: str, path: Path, moved: Moved = lambda count: None) -> ObjectInfo:
        target = self._path(key)
        _copy_file(path, target)
        moved(target.stat().st_size)
        return self._info(target)

    def get(
        self, key: str, path: Path, *, sha256: str | None = None, moved: Moved = lambda count: None
    ) -> ObjectInfo:
        source = self._path(key)
        if not source.is_file():
            raise ArtifactError(str(source), "a stored file", "none", "check the key, or store it first")
        if sha256 is not None and (found := file_sha256(source)) != sha256:
            raise ArtifactError(str(source), f"SHA-256 {sha256[:12]}…", f"{found[:12]}…",
                                "store the file again")
        _copy_file(source, path)
        moved(path.stat().st_size)
        return self._info(source)

    def delete(self, key: str) -> None:
        with self._lock():
            path = self._path(key)
            path.unlink(missing_ok=True)
            for folder in path.parents:  # an empty directory would pass for a tree
                if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()

    def put_tree(self, prefix: str, folder: Path) -> None:
        target = self._path(prefix)
        if not target.exists():
            self._copy_then_rename(folder, target)

    def get_tree(self, prefix: str, folder: Path) -> None:
        source = self._path(prefix)
        if not source.is_dir():
            raise RegistryError(str(source), "a stored directory", "none",
                                "pass a version that the registry lists")
        if folder.exists():
            raise RegistryError(str(folder), "no such directory yet", "one", "pass another path")
        self._copy_then_rename(source, folder)

    def list_objects(self, prefix: str) -> Sequence[ObjectInfo]:
        return sorted((self._info(path) for path in self._files(prefix)), key=lambda info: info.key)

    def _files(self, prefix: str) -> list[Path]:
        base = self._path(prefix) if prefix else self.root
        return [file for file in base.rglob("*") if file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(self.root).parts)]

    def _info(self, path: Path) -> ObjectInfo:
        sha256 = file_sha256(path)
        status = path.stat()
        return ObjectInfo(path.relative_to(self.root).as_posix(), status.st_size, sha256,
                          f"sha256:{sha256}", sha256, int(status.st_mtime))

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        # A fresh open per writer: flock then excludes threads as well as processes.
        with open(self.root / ".lock", "ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _copy_then_rename(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for file in sorted(source.rglob("*")):
                if file.is_file():
                    copy = temporary / file.relative_to(source)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)
                    with open(copy, "rb") as stream:
                        os.fsync(stream.fileno())
            temporary.chmod(0o755)
            try:
                os.rename(temporary, target)
            except OSError as error:
                # Another writer renamed the same immutable tree first: nothing is lost.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def list(self, prefix: str) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self._files(prefix))


def _copy_file(source: Path, target: Path) -> None:
    """Copy one file so that it appears whole."""
    with open(source, "rb") as original, appearing_file(target) as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
