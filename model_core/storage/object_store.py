"""Object store: the few operations the registry needs, and a local directory that has them.

Everything the registry does goes through these, so that a bucket can take the place of
the directory: its generation preconditions (GCS) or ETags (S3) are ``write_if``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from model_core.errors import RegistryError
from model_core.records import write_atomically

#: Generation of a key that holds nothing.
ABSENT = ""


class ObjectStore(Protocol):
    """Keys are relative POSIX paths; generations are opaque strings."""

    def read(self, key: str) -> tuple[bytes, str]:
        """Content and generation of a key; ``(b"", ABSENT)`` where there is none."""
        ...

    def write_if(self, key: str, data: bytes, generation: str) -> bool:
        """Write only if the key is still at ``generation`` (ABSENT: only if there is none).

        Returns:
            Whether it was written. Of several writers with the same generation one wins.
        """
        ...

    def put_tree(self, prefix: str, folder: Path) -> None:
        """Store a directory's files under a prefix. Trees are immutable: one that is there stays."""
        ...

    def get_tree(self, prefix: str, folder: Path) -> None:
        """Copy the files under a prefix into a new directory."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Keys under a prefix, sorted."""
        ...


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

    def read(self, key: str) -> tuple[bytes, str]:
        try:
            data = self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return b"", ABSENT
        return data, hashlib.sha256(data).hexdigest()

    def write_if(self, key: str, data: bytes, generation: str) -> bool:
        path = self._path(key)
        with self._lock():
            if self.read(key)[1] != generation:
                return False
            write_atomically(path, data)
            return True

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

    def list(self, prefix: str) -> list[str]:
        base = self._path(prefix) if prefix else self.root
        keys = (file.relative_to(self.root) for file in base.rglob("*") if file.is_file())
        return sorted(key.as_posix() for key in keys
                      if not any(part.startswith(".") for part in key.parts))

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        outside = not parts or key.startswith("/") or any(part.startswith(".") for part in parts)
        assert not outside, key
        return self.root.joinpath(*parts)

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
