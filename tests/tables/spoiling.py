"""Registry of ways to spoil a good dataset, and the error each must raise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.tables.shop import good_draft

#: Name to spoiler, and parts of the error it must raise.
CASES: dict[str, tuple[Callable, str, str]] = {}


def case(where: str, message: str) -> Callable:
    """Register a spoiler. ``where`` and ``message`` are parts of the error it must raise.

    The spoiler's argument is the draft if so named, else the folder it was written to.
    """
    def register(spoil: Callable) -> Callable:
        CASES[spoil.__name__] = (spoil, where, message)
        return spoil
    return register


def write_spoiled(folder: Path, spoil: Callable) -> Path:
    """Write the good dataset with one thing spoiled, before or after writing."""
    draft = good_draft()
    on_files = "folder" in spoil.__code__.co_varnames
    if not on_files:
        spoil(draft)
    draft.write(folder)
    if on_files:
        spoil(folder)
    return folder
