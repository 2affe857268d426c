"""The champion pointer: what one says, and how it lies in a registry.

``champion.json`` holds the newest pointer and ``log/<serial>.json`` every one there ever
was. Fields came with time: a pointer that lacks the newer ones is read with their defaults.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from model_core.errors import RegistryError
from model_core.records import json_bytes

POINTER, LOG = "champion.json", "log"


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
    """

    serial: int
    version: str
    previous: str | None
    promoted_at: int
    reason: str
    who: str = ""
    run: str = ""
    action: str = "publish"

    def to_bytes(self) -> bytes:
        return json_bytes(asdict(self))

    @classmethod
    def parse(cls, key: str, data: bytes) -> Champion:
        """Read a pointer or a log entry.

        Raises:
            RegistryError: It is none; the message says how to mend it.
        """
        try:
            champion = cls(**json.loads(data))
            if not isinstance(champion.serial, int) or not isinstance(champion.version, str):
                raise TypeError("serial is not a number or version not a string")
        except (TypeError, ValueError) as error:
            raise RegistryError(
                key, "a champion pointer (serial, version, previous, promoted_at, reason)", str(error),
                f"copy the newest readable file of {LOG}/ over {POINTER}"
                if key == POINTER else "remove the damaged log entry",
            ) from error
        return champion


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


_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?!\d)(.*)", re.DOTALL)


def logical_seconds(text: str) -> int:
    """The moment that a logical date names, in UTC seconds.

    Args:
        text: ``20111125``, ``20111125T060000``, ``2011-11-25`` or ``2011-11-25T06:00:00Z``;
            UTC where it names no zone.

    Raises:
        RegistryError: It is no date.

    Example:
        >>> logical_seconds("20111125") == logical_seconds("2011-11-25T00:00:00Z")
        True
    """
    match = _DATE.match(text)
    try:
        if not match:
            raise ValueError("no date")
        moment = datetime.fromisoformat("-".join(match.groups()[:3]) + match[4])
    except ValueError as error:
        raise RegistryError("logical_date", "a date such as 2011-11-25", repr(text),
                            "pass the run's as_of date") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def logical_date_text(seconds: int) -> str:
    """A moment as registries keep it: ``2011-11-25``, with the time of day where it has one.

    Example:
        >>> logical_date_text(86_400), logical_date_text(86_400 + 3_600)
        ('1970-01-02', '1970-01-02T01:00:00Z')
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if seconds % 86_400 else "%Y-%m-%d")
