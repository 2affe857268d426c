"""The part of ``requirements.lock`` that each image needs.

One lock pins everything. An image takes the packages that its code imports and what
those need, at the versions of the lock, so that images and tests run the same code.

Run ``python -m images.subsets`` in an environment made from the lock (``make setup``)
after the lock or ``roles.toml`` has changed; a test fails until that is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from images.roles import FOLDER, Role, read_roles
from model_core.errors import ConfigError

LOCK = FOLDER.parent / "requirements.lock"
_HEADER = "# Made from requirements.lock by python -m images.subsets; do not edit.\n"


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """Canonical name to the line that pins it."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {str(canonicalize_name(line.split("==")[0])): line
            for line in lines if line and not line.startswith("#")}


def closure(
    roots: Iterable[str],
    lock: Mapping[str, str],
    requires: Callable[[str], Sequence[str] | None] = metadata.requires,
    *,
    passed_over: Collection[str] = (),
) -> list[str]:
    """Names of the roots and of everything they need, in alphabetical order.

    Args:
        roots: Distributions to start from.
        lock: As ``read_lock`` gives it.
        requires: Requirements of a distribution; the installed ones' by default.
        passed_over: Names not to follow: what a CUDA build of torch needs more than the lock holds.

    Raises:
        ConfigError: One of them is not pinned, or not installed.
    """
    found: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(str(canonicalize_name(r)), frozenset()) for r in roots]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        if name in passed_over:
            continue
        if name not in lock:
            raise ConfigError(f"images: package {name}", "a pin in requirements.lock", "none",
                              "run make lock, or correct images/roles.toml")
        found.add(name)
        try:
            needed = requires(name) or ()
        except metadata.PackageNotFoundError as error:
            raise ConfigError(f"images: package {name}", "an environment made from requirements.lock",
                              "it is not installed", "run make setup, then this again") from error
        for text in needed:
            requirement = Requirement(text)
            environments = [{"extra": extra} for extra in extras or {""}]
            if requirement.marker is not None and not any(map(requirement.marker.evaluate, environments)):
                continue
            entry = (str(canonicalize_name(requirement.name)), frozenset(requirement.extras))
            if entry not in seen:
                seen.add(entry)
                waiting.append(entry)
    return sorted(found)


def requirements(role: Role, lock: Mapping[str, str] | None = None) -> str:
    """Text of the role's ``requirements.txt``."""
    lock = read_lock() if lock is None else lock
    lines = []
    cuda = {str(canonicalize_name(line.split("==")[0])) for each in read_roles().values()
            for line in each.extra}
    for name in closure(role.packages, lock, passed_over=cuda):
        pinned, _, version = lock[name].partition("==")
        lines.append(f"{role.replace.get(name, pinned)}=={version}")
    return _HEADER + "".join(f"{line}\n" for line in sorted({*lines, *role.extra}, key=str.lower))


def main() -> int:
    """Write every role's requirements; print what changed."""
    for role in read_roles().values():
        path, text = role.folder / "requirements.txt", requirements(role)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(FOLDER.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
