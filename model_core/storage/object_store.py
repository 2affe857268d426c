"""Object store: the operations that everything else in relrec uses, whatever holds the bytes.

One protocol for a local directory (``local.py``), Google Cloud Storage (``gcs.py``),
S3-compatible stores (``s3.py``) and any other fsspec filesystem (``filesystem.py``).
``open_store`` (``opening.py``) picks one by the scheme of a URI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

#: Generation of a key that holds nothing.
ABSENT = ""

#: Told of the bytes just moved; negative where bytes must be moved again.
Moved = Callable[[int], None]


@dataclass(frozen=True)
class ObjectInfo:
    """What a store knows of an object without sending it.

    Attributes:
        key: Its key.
        size: Bytes.
        generation: Opaque; another one after every write. ``write_if`` compares it.
        digest: ``crc32c:<base64>``, ``md5:<hex>``, ``sha256:<hex>``, ``etag:<text>`` or empty.
            The last two say only whether two listings are of the same content.
        sha256: SHA-256 in hex where relrec wrote it beside the object, else None. Listings
            leave it out.
        modified_at: When it was written, UTC seconds by the store's clock; None where it does not say.
    """

    key: str
    size: int
    generation: str
    digest: str
    sha256: str | None = None
    modified_at: int | None = field(default=None, compare=False)


class ObjectStore(Protocol):
    """Keys are relative POSIX paths; generations are opaque strings.

    Every method that talks to a remote store tries again after a fault that may pass, within
    ``StorageSettings.deadline_s``, and ends in a ``StorageError`` otherwise.
    """

    @property
    def uri(self) -> str:
        """Where keys begin, for people: a directory or ``gs://bucket/prefix``."""
        ...

    @property
    def compares_and_swaps(self) -> bool:
        """Whether ``write_if`` works here; it does wherever a registry may live."""
        ...

    def read(self, key: str) -> tuple[bytes, str]:
        """Content and generation of a small object; ``(b"", ABSENT)`` where there is none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write a small object, whatever is there."""
        ...

    def write_if(self, key: str, data: bytes, generation: str) -> bool:
        """Write only if the key is still at ``generation`` (ABSENT: only if there is none).

        Returns:
            Whether it was written. Of several writers with the same generation one wins.
        """
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """What is at a key, or None."""
        ...

    def put(self, key: str, path: Path, moved: Moved = lambda count: None) -> ObjectInfo:
        """Store a file of any size; a reader sees the old object or the new one, whole."""
        ...

    def get(
        self, key: str, path: Path, *, sha256: str | None = None, moved: Moved = lambda count: None
    ) -> ObjectInfo:
        """Copy an object to a file, which appears whole and checked.

        Args:
            key: The object.
            path: Where to; replaced if it is there.
            sha256: What it must be; unset: the checksum that the store keeps is held against it.
            moved: Told of bytes as they come.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...

    def list_objects(self, prefix: str) -> Sequence[ObjectInfo]:
        """What lies under a prefix, sorted by key, without one request per object.

        A prefix ends at a slash: ``a`` is not above ``ab/c``.
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


def new_checksum(algorithm: str) -> Any:
    """A hash object (``update``, ``digest``) for ``crc32c``, ``md5`` or ``sha256``."""
    if algorithm == "crc32c":
        import google_crc32c

        return google_crc32c.Checksum()
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    return hashlib.new(algorithm)


def digest_text(algorithm: str, checksum: Any) -> str:
    """A checksum as ``ObjectInfo.digest`` writes it.

    Example:
        >>> digest_text("md5", new_checksum("md5"))
        'md5:d41d8cd98f00b204e9800998ecf8427e'
    """
    if algorithm == "crc32c":
        import base64

        return "crc32c:" + base64.b64encode(checksum.digest()).decode()
    return f"{algorithm}:{checksum.hexdigest()}"


def file_digests(path: Path, *algorithms: str, block: int = 1 << 20) -> dict[str, str]:
    """Several digests of a file in one pass, each as ``digest_text`` writes it."""
    checksums = {name: new_checksum(name) for name in algorithms}
    with open(path, "rb") as stream:
        while data := stream.read(block):
            for checksum in checksums.values():
                checksum.update(data)
    return {name: digest_text(name, checksum) for name, checksum in checksums.items()}
