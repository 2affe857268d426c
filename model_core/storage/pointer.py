"""The champion pointer: what one says, and how it lies in a registry.

``champion.json`` holds the newest pointer and ``log/<serial>.json`` every one there ever
was. Fields came with time: a pointer that lacks the newer ones is read with their defaults.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

from model_core.errors import ConfigError, RegistryError
from model_core.logical_date import parse_as_of
from model_core.records import json_bytes

POINTER, LOG = "champion.json", "log"

_KINDS: dict[str, tuple[type, ...]] = {
    "serial": (int,), "version": (str,), "previous": (str, type(None)), "promoted_at": (int,),
    "reason": (str,), "who": (str,), "run": (str,), "action": (str,), "collected_at": (int,),
}


@dataclass(frozen=True)
class Champion:
    """The champion pointer.

    Attributes:
        serial: 1 for the first pointer, then one more at every move.
        version: The champion.
        previous: Where a rollback would go, or None.
        promoted_at: UTC seconds.
        reason: Why it moved.
        who: Who moved it: ``user@host``, or what the caller of a run said. Empty in old entries.
        run: Name of the run that moved it; empty for a move by hand and in old entries.
        action: ``publish``, ``promote`` or ``rollback``.
        collected_at: When versions were last removed from the registry, UTC seconds; 0 for never.
    """

    serial: int
    version: str
    previous: str | None
    promoted_at: int
    reason: str
    who: str = ""
    run: str = ""
    action: str = "publish"
    collected_at: int = 0

    def to_bytes(self) -> bytes:
        return json_bytes(asdict(self))

    @classmethod
    def parse(cls, key: str, data: bytes) -> Champion:
        """Read a pointer or a log entry.

        Raises:
            RegistryError: It is none; the message says how to mend it.
        """
        try:
            value = json.loads(data)
            if not isinstance(value, dict):
                raise TypeError(f"a {type(value).__name__}")
            # What a later release added is no reason not to read the rest.
            champion = cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})
            for name, kinds in _KINDS.items():
                if not isinstance(getattr(champion, name), kinds):
                    raise TypeError(f"{name} is {getattr(champion, name)!r}")
        except (TypeError, ValueError) as error:
            raise RegistryError(
                key, "a champion pointer (serial, version, previous, promoted_at, reason)", str(error),
                f"copy the newest readable file of {LOG}/ over {POINTER}"
                if key == POINTER else "remove the damaged log entry",
            ) from error
        return champion


def caller() -> str:
    """Who runs this process, as the log has it: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def log_key(serial: int) -> str:
    """Where the log entry of a serial lies."""
    return f"{LOG}/{serial:06d}.json"


def parse_json(key: str, data: bytes) -> dict[str, Any]:
    """A JSON object of the registry.

    Raises:
        RegistryError: It is none.
    """
    try:
        value = json.loads(data)
        if isinstance(value, dict):
            return value
        problem = f"{type(value).__name__}"
    except ValueError as error:
        problem = f"{len(data)} bytes that are not JSON ({error})"
    raise RegistryError(key, "a JSON object", problem,
                        "restore the file from a backup, or remove this version and publish again")


def logical_seconds(text: str) -> int:
    """The moment that a stored logical date names, in UTC seconds.

    Raises:
        RegistryError: It is no date.

    Example:
        >>> logical_seconds("20111125") == logical_seconds("2011-11-25T00:00:00Z")
        True
    """
    try:
        seconds = parse_as_of(text, required=True)
    except ConfigError as error:
        raise RegistryError("logical_date", "a date such as 2011-11-25", repr(text),
                            "pass the run's as_of date") from error
    assert seconds is not None
    return seconds
