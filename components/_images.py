"""Which container image a step runs in.

The tag carries a digest of the code. Kubeflow's cache key holds the image name but
not what the image contains, so a changed step must have another name. A cluster gets
the digest of the pushed image instead (``Pins``), which nobody can move.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model_core.errors import ConfigError
from model_core.version import __version__

REPOSITORY = "ghcr.io/relrec/relrec"
#: Images, by what they hold: every step without GPU, training and ranking on one, publishing.
ROLES = ("cpu", "gpu", "serve")
RECIPE_LABEL = "relrec.recipe"
_SOURCES = ("model_core", "components")
_PINNED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


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


def recipe_digest() -> str:
    """Digest of what else an image is made of: pinned packages and how they are installed.

    12 hex digits; empty where relrec was installed without its source tree. Images carry it as the
    label ``RECIPE_LABEL``, so that one of other packages is not taken for one of these.
    """
    folder = Path(__file__).resolve().parent.parent / "images"
    if not (folder / "roles.toml").is_file():
        return ""
    digest = hashlib.sha256()
    for path in sorted([folder / "install.sh", folder / "roles.toml", folder / "assemble.py",
                        *folder.glob("*/Dockerfile"), *folder.glob("*/requirements.txt")]):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def image(role: str) -> str:
    """Image of a role (``cpu``, ``gpu`` or ``serve``) for the code as it stands.

    Example:
        >>> image("cpu").startswith("ghcr.io/relrec/relrec-cpu:")
        True
    """
    return f"{REPOSITORY}-{role}:{__version__}-{code_digest()}"


def is_pinned(name: str) -> bool:
    """Whether an image name holds a digest.

    Example:
        >>> is_pinned("registry.example.org/relrec-cpu:0.1.0")
        False
    """
    return _PINNED.fullmatch(name) is not None


@dataclass(frozen=True)
class Pins:
    """Pushed images by role, as ``make push`` wrote them.

    Attributes:
        images: Role to ``repository@sha256:…``.
        path: The file, for messages.
    """

    images: Mapping[str, str]
    path: str

    @classmethod
    def read(cls, path: Path) -> Pins:
        """Read a file of pins.

        Raises:
            ConfigError: It is no such file, holds an image without digest, or pins images of other code.
        """
        try:
            content = json.loads(path.read_bytes())
            images, code = dict(content["images"]), content["code_digest"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"--images {path}", "the file that make push writes",
                              f"{type(error).__name__}: {error}", "run make push REGISTRY=…") from error
        for role, name in images.items():
            if role not in ROLES or not isinstance(name, str) or not is_pinned(name):
                raise ConfigError(f"--images {path}", f"roles {list(ROLES)} with REPOSITORY@sha256:DIGEST",
                                  f"{role}: {name}", "run make push REGISTRY=… again")
        if code != code_digest():
            raise ConfigError(f"--images {path}", f"images of this code ({code_digest()})", f"of {code}",
                              "run make images and make push again")
        return cls(images, str(path))

    def of(self, role: str, *, cpu_only: bool = False) -> str:
        """The pinned image of a role.

        Args:
            role: As for ``image``.
            cpu_only: Take the cpu image for the role gpu.

        Raises:
            ConfigError: It was not pushed.
        """
        wanted = "cpu" if cpu_only and role == "gpu" else role
        if wanted not in self.images:
            raise ConfigError(
                f"--images {self.path}", f"an image of the role {wanted}", f"only {sorted(self.images)}",
                f"run make images ROLES={wanted} and make push again"
                + (", or pass --cpu-only" if wanted == "gpu" else ""))
        return self.images[wanted]
