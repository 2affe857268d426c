"""Where a user may point relrec at: paths and URIs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from model_core.errors import ConfigError


def local_path(text: str | Path, where: str = "path") -> Path:
    """Turn a local path or a ``file://`` URI into a path.

    Args:
        text: What the user wrote.
        where: Name of the setting it came from, for the error message.

    Raises:
        ConfigError: It is empty, or it names a storage that this release does not read.

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
        raise ConfigError(
            where, "a local path or file:// URI", f"{parts.scheme}:// ({text!r})",
            f"copy the data to a local directory first; {parts.scheme}:// is not supported by "
            "this release",
        )
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(where, "a file:// URI without a host", repr(text),
                          f"write file:///{parts.netloc}{parts.path} for a local path")
    return Path(url2pathname(parts.path))
