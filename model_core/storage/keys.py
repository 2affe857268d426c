"""Names of objects."""

from __future__ import annotations

from pathlib import PurePosixPath


def check_key(key: str) -> str:
    """The key itself, if it stays inside the store and hides nothing (no part begins with a dot)."""
    parts = PurePosixPath(key).parts
    outside = not parts or key.startswith("/") or any(part.startswith(".") for part in parts)
    assert not outside, key
    return "/".join(parts)


def is_plain(key: str) -> bool:
    """Whether a key is one that relrec can use; consoles also write markers such as ``a/``."""
    return not key.endswith("/") and key != "" and not any(
        part.startswith(".") or not part for part in key.split("/"))


def content_type(name: str) -> str:
    """What a browser is told of an object, so that it shows a report in place of saving it.

    Example:
        >>> content_type("runs/x/report.html"), content_type("graph/indices.npy")
        ('text/html; charset=utf-8', 'application/octet-stream')
    """
    known = {".html": "text/html; charset=utf-8", ".json": "application/json",
             ".txt": "text/plain; charset=utf-8", ".md": "text/markdown; charset=utf-8"}
    return known.get(PurePosixPath(name).suffix, "application/octet-stream")
