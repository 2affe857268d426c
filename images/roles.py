"""The image roles and what each holds, read from ``roles.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Role:
    """One image.

    Attributes:
        name: ``cpu``, ``gpu`` or ``serve``.
        title: One line for the image's labels.
        max_mb: Largest size that the build accepts, 10^6 bytes.
        first_line_of: A step without torch, whose start is timed.
        packages: Distributions that the code in the image imports; what they need follows.
        steps: Steps that run in it.
        warm: Modules whose bytecode the image holds.
        replace: Distribution of the lock to the one that takes its place, with its version.
        extra: Pins that the lock does not hold.
    """

    name: str
    title: str
    max_mb: int
    first_line_of: str
    packages: tuple[str, ...]
    steps: tuple[str, ...]
    warm: tuple[str, ...]
    replace: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its Dockerfile and requirements lie."""
        return FOLDER / self.name


def read_roles(path: Path = FOLDER / "roles.toml") -> dict[str, Role]:
    """Every role by name.

    Example:
        >>> sorted(read_roles())
        ['cpu', 'gpu', 'serve']
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    roles = {}
    for name, table in tables.items():
        merged = tables.get(table.pop("like", ""), {}) | table
        roles[name] = Role(
            name=name, title=merged["title"], max_mb=merged["max_mb"],
            first_line_of=merged["first_line_of"], packages=tuple(merged["packages"]),
            steps=tuple(merged["steps"]), warm=tuple(merged["warm"]),
            replace=merged.get("replace", {}), extra=tuple(merged.get("extra", ())),
        )
    return roles
