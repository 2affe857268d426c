"""Where a user may point relrec at: paths and URIs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from model_core.errors import ConfigError

#: Other spellings of a scheme; ``minio://`` is what Kubeflow calls its own S3 store.
_ALIASES = {"gcs": "gs", "s3a": "s3", "s3n": "s3", "minio": "s3"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


@dataclass(frozen=True)
class Location:
    """A place: a local path, or a bucket and a prefix in it.

    Attributes:
        scheme: ``file``, ``gs``, ``s3`` or any other that fsspec knows.
        bucket: Bucket, container or host; empty for ``file``.
        path: Key prefix without slashes at its ends; for ``file`` the local path.

    Example:
        >>> here = parse_location("gs://bucket/runs/")
        >>> here.bucket, here.path, str(here / "a" / "b")
        ('bucket', 'runs', 'gs://bucket/runs/a/b')
    """

    scheme: str
    bucket: str
    path: str

    @property
    def is_local(self) -> bool:
        return self.scheme == "file"

    @property
    def name(self) -> str:
        """The last part, for messages and folder names."""
        return Path(self.path).name or self.bucket

    def __truediv__(self, name: str) -> Location:
        joined = f"{self.path}/{name}" if self.path else name
        return Location(self.scheme, self.bucket, joined)

    def __str__(self) -> str:
        if self.is_local:
            return self.path
        return f"{self.scheme}://{self.bucket}/{self.path}".rstrip("/")


def is_remote(text: str | Path) -> bool:
    """Whether a text names a place that is not on this machine. Hub specs are no URIs.

    Example:
        >>> is_remote("s3://b/x"), is_remote("file:///x"), is_remote("org/repo/name")
        (True, False, False)
    """
    return isinstance(text, str) and "://" in text and not text.startswith("file://")


def parse_location(text: str | Path, where: str = "path") -> Location:
    """Take a path or URI apart.

    Args:
        text: A local path, ``file://…``, ``gs://bucket/prefix``, ``s3://bucket/prefix`` or the
            URL of another fsspec filesystem.
        where: Name of the setting it came from, for the error message.

    Raises:
        ConfigError: It is empty, has no bucket, or carries credentials, a query, characters that
            cannot be seen, or spaces at an end or in the bucket's name.
    """
    if not is_remote(text):
        return Location("file", "", str(local_path(text, where)))
    assert isinstance(text, str)
    scheme, _, rest = text.partition("://")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    bucket, _, path = rest.partition("/")
    if "@" in bucket:
        # The text holds a secret, so it is not repeated.
        raise ConfigError(where, f"{scheme}://bucket/prefix", "a URI with credentials in it",
                          "leave them out; the client finds them in its environment")
    if not text.isprintable() or text != text.strip() or " " in bucket:
        # Copied along with the name, as a rule; the store would look for another place.
        raise ConfigError(where, "a URI without line breaks, control characters and stray spaces", repr(text),
                          "remove them")
    if not _SCHEME.fullmatch(scheme) or (not bucket and scheme != "memory"):
        raise ConfigError(where, "scheme://bucket/prefix, or a local path", repr(text),
                          "name the bucket, for example gs://my-bucket/shop")
    if scheme in ("gs", "s3") and ("?" in path or "#" in path):
        raise ConfigError(where, f"{scheme}://bucket/prefix", "a URI with ? or # in it",
                          "pass the plain name of the object; a signed URL is not one")
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise ConfigError(where, "a prefix without . and ..", repr(text), "write the path out")
    return Location(scheme, bucket, "/".join(parts))


def local_path(text: str | Path, where: str = "path") -> Path:
    """Turn a local path or a ``file://`` URI into a path.

    Args:
        text: What the user wrote.
        where: Name of the setting it came from, for the error message.

    Raises:
        ConfigError: It is empty, or it does not name a place on this machine.

    Example:
        >>> local_path("file:///data/my%20shop").as_posix()
        '/data/my shop'
    """
    if isinstance(text, Path):
        return text.expanduser()
    if not text.strip():
        raise ConfigError(where, "a local path or file:// URI", "an empty string", "pass a path")
    if "://" not in text:
        return Path(text).expanduser()
    parts = urlsplit(text)
    if parts.scheme != "file":
        raise ConfigError(where, "a local path or file:// URI", f"a {parts.scheme}:// URI",
                          "pass a local directory here")
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(where, "a file:// URI without a host", repr(text),
                          f"write file:///{parts.netloc}{parts.path} for a local path")
    return Path(url2pathname(parts.path))
