"""Which container image a step runs in.

The tag carries a digest of the code. Kubeflow's cache key holds the image name but
not what the image contains, so a changed step must have another name.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from model_core.version import __version__

REPOSITORY = "ghcr.io/relrec/relrec"
_SOURCES = ("model_core", "components")


@cache
def code_digest() -> str:
    """SHA-256 over the source files that run inside a step, as 12 hex digits."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".py", ".html", ".css", ".j2"} and path.is_file():
                digest.update(path.relative_to(root).as_posix().encode() + b"\0")
                digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def image(role: str) -> str:
    """Image of a role (``cpu`` or ``gpu``) for the code as it stands.

    Example:
        >>> image("cpu").startswith("ghcr.io/relrec/relrec-cpu:")
        True
    """
    return f"{REPOSITORY}-{role}:{__version__}-{code_digest()}"
