"""A local cache of files by content, so that nothing is fetched twice.

Layout under its root, which any number of processes may use at once::

    content/<2 hex>/<sha256>      the files, read only; the time of modification is the last use
    names/<sha256 of identity>    which content an object of a store (URI, generation) had
    trees/<name>/                 directories of links into ``content``, for those who want a folder
    .lock                         held while something is thrown away

A file is checked whenever it is taken out, so a damaged one is thrown away and fetched again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from model_core.errors import ConfigError
from model_core.records import file_sha256, write_atomically

#: ioctl number of Linux that shares a file's blocks with another one.
_FICLONE = 0x40049409
_GB = 1_000_000_000
#: Files whose locks this process holds to its end: trees that it was given a path to.
_LEASES: list[IO[bytes]] = []
_DEFAULT_GB = 50.0


class ContentCache:
    """Files by SHA-256, oldest use thrown away first.

    Args:
        root: Its directory.
        max_bytes: Most that ``content`` may hold after a file was added. A single larger file
            is still kept until the next one comes.
    """

    def __init__(self, root: Path, max_bytes: int = int(_DEFAULT_GB * _GB)) -> None:
        self.root, self.max_bytes = root, max_bytes

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> ContentCache:
        """The cache in RELREC_CACHE_DIR (else XDG_CACHE_HOME/relrec, ~/.cache/relrec), of
        RELREC_CACHE_GB (50) at most.

        Raises:
            ConfigError: RELREC_CACHE_GB is no number above 0.
        """
        environ = os.environ if environ is None else environ
        text = environ.get("RELREC_CACHE_GB", "").strip()
        try:
            size = float(text) if text else _DEFAULT_GB
        except ValueError:
            size = 0.0
        if not 0 < size < float("inf"):
            raise ConfigError("RELREC_CACHE_GB", "a number above 0", repr(text), "correct it or unset it")
        return cls(cache_folder(environ) / "objects", int(size * _GB))

    def place(self, sha256: str, path: Path) -> bool:
        """Put a copy at a path: shared blocks or a hard link where the filesystem can, else bytes.

        Returns:
            Whether the cache had it, undamaged. The cache never fails a transfer: one that
            cannot be used, for example for want of permission, has nothing.
        """
        file = self._file(sha256)
        if file is None:
            return False
        try:
            if file_sha256(file) != sha256:
                file.unlink(missing_ok=True)
                return False
            with contextlib.suppress(PermissionError):  # another user's, in a shared cache
                os.utime(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(file, path)
        except OSError:
            return False  # never there, thrown away by another process just now, or not for us
        return True

    def add(self, path: Path, sha256: str) -> None:
        """Keep a file whose digest the caller has checked. The cache never fails a transfer."""
        file = self._file(sha256)
        if file is None:
            return
        with contextlib.suppress(OSError):
            if file.exists():
                os.utime(file)
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=file.parent, prefix=".new-")) / "file"
            try:
                _link(path, temporary)
                temporary.chmod(0o444)
                os.replace(temporary, file)
            finally:
                shutil.rmtree(temporary.parent, ignore_errors=True)
            self.shrink()

    def known(self, identity: str) -> str | None:
        """SHA-256 of what an object held when it was last fetched.

        Args:
            identity: URI, generation and size of the object, in one text.
        """
        try:
            return self._name(identity).read_text().strip() or None
        except (OSError, ValueError):
            return None

    def remember(self, identity: str, sha256: str) -> None:
        """Note what ``known`` will say."""
        with contextlib.suppress(OSError):
            write_atomically(self._name(identity), sha256.encode())

    def tree(self, name: str, build: Callable[[Path], None]) -> Path:
        """A directory that is built once and stays while any process that asked for it lives.

        Args:
            name: Its name, from its content.
            build: Fills a new, empty directory.

        Raises:
            ConfigError: The cache's folder cannot be written to.
        """
        folder = self.root / "trees" / name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._lease(folder)
        except OSError as error:
            raise ConfigError("RELREC_CACHE_DIR", "a folder that can be written to",
                              f"{self.root} ({error.strerror})", "set it to one") from error
        if not folder.is_dir():
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}."))
            try:
                build(temporary)
                temporary.chmod(0o755)
                try:
                    os.rename(temporary, folder)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else: built by another
                        raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        os.utime(folder)
        return folder

    def shrink(self) -> None:
        """Throw away what was not used for longest until the rest fits.

        Links keep the blocks of a file alive: trees that no process uses go first.
        """
        with self._locked() as mine:
            if not mine:
                return  # another process is at it
            files = self._files()
            excess = sum(size for _, size, _ in files) - self.max_bytes
            if excess <= 0:
                return
            for folder in sorted((self.root / "trees").glob("[!.]*"), key=lambda path: path.stat().st_mtime):
                if folder.is_dir():
                    self._drop_tree(folder)
            for _, size, path in sorted(files)[:-1]:  # the newest is what is being fetched
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                excess -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in (self.root / "content").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        return found

    def _lease(self, folder: Path) -> None:
        # Shared and kept until the process ends, which is when the kernel gives it back.
        stream = open(folder.with_name(f"{folder.name}.lease"), "ab")  # noqa: SIM115
        fcntl.flock(stream, fcntl.LOCK_SH)
        _LEASES.append(stream)

    def _drop_tree(self, folder: Path) -> None:
        with open(folder.with_name(f"{folder.name}.lease"), "ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _file(self, sha256: str) -> Path | None:
        """Where content lies; None for a text that is no digest, which must not become a path."""
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            return None
        return self.root / "content" / sha256[:2] / sha256

    def _name(self, identity: str) -> Path:
        return self.root / "names" / hashlib.sha256(identity.encode()).hexdigest()


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where relrec may keep what it can fetch again."""
    environ = os.environ if environ is None else environ
    if named := environ.get("RELREC_CACHE_DIR", "").strip():
        return Path(named).expanduser()
    return Path(environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache").expanduser() / "relrec"


def _link(source: Path, target: Path) -> None:
    """A second name, or a copy, of a file at a path that is free or may be replaced."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as copy, open(source, "rb") as original:
            try:
                fcntl.ioctl(copy, _FICLONE, original.fileno())
                shared = True
            except OSError:
                shared = False
        if not shared:
            os.unlink(temporary)
            try:
                os.link(source, temporary)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(source, temporary)
        else:
            os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
