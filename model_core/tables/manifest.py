"""Values of a hand-written manifest: YAML, dates, lengths of time, required keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from model_core.errors import DataError

MANIFEST_FILE = "manifest.yaml"


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        DataError: Missing, unreadable, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(str(path), f"a {MANIFEST_FILE}", "no such file",
                        "pass a RelBench-v3 folder or write the manifest") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), "a readable text file", str(error),
                        "check the path and its permissions") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise DataError(str(path), "valid YAML", problem, "correct the line named") from error
    if not isinstance(content, dict):
        raise DataError(str(path), "key: value pairs", f"a {type(content).__name__}",
                        "write the manifest as a YAML mapping")
    return content


def require_keys(content: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    """Refuse a manifest in which one of the keys is absent or null."""
    missing = [key for key in keys if content.get(key) is None]
    if missing:
        raise DataError(where, f"the keys {list(keys)}", f"none of {missing}" if len(missing) > 1
                        else f"no {missing[0]!r}", "add what is missing to the manifest")


def parse_time(value: Any, where: str) -> int:
    """UTC seconds of a date or time; a time without zone is UTC.

    Raises:
        DataError: Not a date, implausible (the epoch itself, before 1900, after 2200), or
            not in whole seconds.
    """
    fix = "write a date such as '2011-11-25' or a time such as '2011-11-25 12:00:00' (UTC)"
    try:
        if isinstance(value, bool | int | float):
            raise ValueError("a bare number")
        moment = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise DataError(where, "a date or time", repr(value), fix) from error
    if moment is pd.NaT:
        raise DataError(where, "a date or time", repr(value), fix)
    moment = moment.tz_convert(None) if moment.tzinfo else moment
    if not 1900 <= moment.year <= 2200 or moment == pd.Timestamp(0):
        raise DataError(where, "a plausible date", repr(value), fix)
    if moment != moment.floor("s"):
        raise DataError(where, "whole seconds", repr(value), "drop the fraction of the second")
    return int(moment.timestamp())


def parse_window(value: Any, where: str) -> int:
    """Seconds of a length of time such as ``"14 days"``, as pandas reads it.

    Raises:
        DataError: Not a length of time, not positive, or not in whole seconds.
    """
    fix = "write a length of time such as '14 days'"
    try:
        if not isinstance(value, str):
            raise ValueError("not text")
        delta = pd.Timedelta(value)
    except ValueError as error:
        raise DataError(where, "a length of time", repr(value), fix) from error
    if delta is pd.NaT or delta <= pd.Timedelta(0) or delta != delta.floor("s"):
        raise DataError(where, "a positive length of time in whole seconds", repr(value), fix)
    return int(delta.total_seconds())


def parse_pairs(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    """Distinct, sorted ``[table, column]`` pairs; none where the value is null."""
    if not isinstance(value, list | tuple | None) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        for pair in value or ()
    ):
        raise DataError(where, "[table, column] pairs", repr(value)[:100], "write one pair per hidden column")
    return tuple(sorted({(table, column) for table, column in value or ()}))
