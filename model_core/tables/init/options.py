"""What a person fixes in advance; everything left open is proposed from the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from model_core.errors import ConfigError

#: The word that says "this table has no such column" in --key, --fkey and --time.
NONE = "none"


@dataclass(frozen=True)
class InitOptions:
    """Fixed parts of a proposal.

    Attributes:
        name: Name of the dataset; unset: the folder's.
        user_table, item_table, event_table: Who acts, on what, and where it is recorded.
        times: Table to its time column; ``"none"`` for a table without time.
        keys: Table to its primary key; ``"none"`` for a table without key.
        fkeys: (table, column) to the table it points into. A table that no file holds is
            made from the values of the column. ``"none"`` for an ordinary column.
        window: Length of the label window, such as ``"7 days"``.
        task_name: Name of the task.
        val, test: Seed times of the evaluation windows.
        eval_k: Length of a recommendation list.
        timezone: Zone of times that carry none.
        time_formats: (table, column) to a strptime format.
        encoding: Of the CSV files; unset: from their bytes.
        delimiter: Of the CSV files, ``\\t`` for a tab; unset: from their first lines.
        dangling: Whether a row whose foreign key leads nowhere stays, with an empty key, or goes.
    """

    name: str | None = None
    user_table: str | None = None
    item_table: str | None = None
    event_table: str | None = None
    times: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    fkeys: Mapping[tuple[str, str], str] = field(default_factory=dict)
    window: str | None = None
    task_name: str | None = None
    val: str | None = None
    test: str | None = None
    eval_k: int = 10
    timezone: str = "UTC"
    time_formats: Mapping[tuple[str, str], str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    dangling: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError("--timezone", "a zone such as Europe/Brussels", repr(self.timezone),
                              "take a name of the IANA time zone database") from error
        if self.dangling not in ("keep", "drop"):
            raise ConfigError("--dangling", "keep or drop", repr(self.dangling), "pass one of the two")
        mark = self.mark
        if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in '"\r\n'):
            raise ConfigError("--delimiter", "one ASCII character, or \\t", repr(self.delimiter),
                              "pass for example ';'")
        if self.eval_k < 1:
            raise ConfigError("--eval-k", "at least 1", str(self.eval_k), "pass for example 10")

    @property
    def mark(self) -> str | None:
        """The delimiter itself: a tab is written ``\\t`` on a command line."""
        return "\t" if self.delimiter == "\\t" else self.delimiter


def parse_pairs(flag: str, texts: list[str] | None) -> dict[str, str]:
    """``["orders=time"]`` as ``{"orders": "time"}``.

    Raises:
        ConfigError: No ``=``, or a table twice.
    """
    pairs: dict[str, str] = {}
    for text in texts or []:
        left, found, right = text.partition("=")
        if not found or not left or not right:
            raise ConfigError(flag, "TABLE=COLUMN, or TABLE=none", repr(text), f"write {flag} orders=time")
        if left in pairs:
            raise ConfigError(flag, "one value per table", f"{left!r} twice", "leave one of them out")
        pairs[left] = right
    return pairs


def parse_columns(flag: str, texts: list[str] | None) -> dict[tuple[str, str], str]:
    """``["orders.customer=customers"]`` as ``{("orders", "customer"): "customers"}``.

    Raises:
        ConfigError: Another form, or a column twice.
    """
    result: dict[tuple[str, str], str] = {}
    for text in texts or []:
        left, found, right = text.partition("=")
        table, dot, column = left.partition(".")
        if not (found and dot and table and column and right):
            raise ConfigError(flag, "TABLE.COLUMN=VALUE", repr(text),
                              f"write {flag} orders.customer_id=...")
        if (table, column) in result:
            raise ConfigError(flag, "one value per column", f"{left!r} twice", "leave one of them out")
        result[table, column] = right
    return result


def window_text(text: str) -> str:
    """A length of time as manifests write it: ``"7d"`` becomes ``"7 days"``."""
    units = {"d": "days", "h": "hours", "w": "weeks"}
    plain = text.strip()
    number, unit = plain[:-1].strip(), plain[-1:].lower()
    if unit in units and number.isdecimal():
        return f"{int(number) * 7} days" if unit == "w" else f"{int(number)} {units[unit]}"
    return plain
