"""One column of a source table, brought to the form that a snapshot holds.

Times become timestamp[us] without zone (UTC), keys int64 with null for missing, other
columns int64, float64, boolean, string or timestamp. Nothing here knows a whole table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_core.errors import DataError
from model_core.tables.snapshot import ColumnKind

TIMESTAMP = pa.timestamp("us")
_MICROS = {"s": 1_000_000, "ms": 1_000}
_EARLIEST = np.datetime64("1900-01-01", "us").astype(np.int64)
_LATEST = np.datetime64("2201-01-01", "us").astype(np.int64)
_FEBRUARY_1970 = np.datetime64("1970-02-01", "us").astype(np.int64)

#: Counts one treated fault of this column: ``count("negative", 3)``.
Count = Callable[[str, int], None]


def plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo encodings that do not change a value: dictionaries and extension types."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values


def to_timestamp(values: pa.ChunkedArray, where: str, count: Count) -> pa.ChunkedArray:
    """Dates and timestamps of any unit or zone as timestamp[us] in UTC.

    Nanoseconds are rounded up: an event just after a cutoff must stay after it.

    Raises:
        DataError: Another type (text and numbers are not guessed at), or years that
            timestamp[us] cannot hold.
    """
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms" if pa.types.is_date64(values.type) else "s"))
    if not pa.types.is_timestamp(values.type):
        raise DataError(where, "a date or timestamp column", f"type {values.type}",
                        "convert it, for example with pandas.to_datetime, and write the table again")
    if values.type.tz is not None:
        count("converted_to_utc", len(values))
    valid, ticks = _ints(values.cast(pa.timestamp(values.type.unit)).cast(pa.int64()))
    factor = _MICROS.get(values.type.unit, 1)
    if factor > 1 and np.abs(ticks[valid], dtype=np.float64).max(initial=0) * factor >= 2.0**63:
        raise DataError(where, "plausible dates", "dates beyond the year 294,000",
                        "check the unit in which the times were stored")
    micros = -(-ticks // 1_000) if values.type.unit == "ns" else ticks * factor
    return pa.chunked_array([pa.array(micros, pa.int64(), mask=~valid).cast(TIMESTAMP)])


def to_event_time(values: pa.ChunkedArray, where: str, count: Count) -> pa.ChunkedArray:
    """A time column: as ``to_timestamp``, but every row has a plausible time.

    Raises:
        DataError: A row without time; the epoch itself, years before 1900 or after 2200,
            or a whole column inside January 1970, which all come of a wrong unit.
    """
    values = to_timestamp(values, where, count)
    if values.null_count:
        raise DataError(where, "a time in every row", f"{values.null_count:,} rows without one",
                        "fill in or drop these rows, or declare no time_col for the table")
    micros = values.cast(pa.int64()).to_numpy()
    bad = (micros == 0) | (micros < _EARLIEST) | (micros >= _LATEST)
    if len(micros) and not bad.any() and micros.min() >= 0 and micros.max() < _FEBRUARY_1970:
        bad[:] = True
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            where, "plausible times (1900 to 2200, not the epoch 1970-01-01)",
            f"{int(bad.sum()):,} implausible ones, such as {values[row].as_py()} in row {row}",
            "check the unit and the placeholder used for missing times",
        )
    return values


def to_pkey(values: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A primary key: exactly 0..n-1 in row order, as int64.

    Raises:
        DataError: Another type, a missing or duplicate key, or another order.
    """
    if not pa.types.is_integer(values.type):
        raise DataError(where, "an integer primary key", f"type {values.type}",
                        "number the rows 0..n-1 and map the foreign keys accordingly")
    if values.null_count:
        raise DataError(where, "a primary key in every row", f"{values.null_count:,} missing",
                        "number the rows 0..n-1 and map the foreign keys accordingly")
    keys = values.to_numpy()
    expected = np.arange(len(keys))
    if not np.array_equal(keys, expected):
        row = int(np.flatnonzero(keys != expected)[0])
        num_duplicates = len(keys) - len(np.unique(keys))
        found = f"{keys[row]} in row {row}"
        if num_duplicates:
            found += f" and {num_duplicates:,} duplicate keys"
        raise DataError(where, "keys 0..n-1 in row order", found,
                        "number the rows 0..n-1 and map the foreign keys accordingly")
    return values.cast(pa.int64())


def to_fkey(values: pa.ChunkedArray, num_target: int, where: str, count: Count) -> pa.ChunkedArray:
    """A foreign key as int64; missing, negative and out-of-range keys are null and counted.

    Raises:
        DataError: Neither integers nor whole numbers stored as floats.
    """
    if pa.types.is_null(values.type):
        values = values.cast(pa.int64())
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values.cast(pa.float64())), None, values.cast(pa.float64()))
        keys = np.nan_to_num(values.to_numpy(), nan=0.0, posinf=2.0**62, neginf=-1.0)
        broken = keys != np.floor(keys)
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            raise DataError(where, "whole numbers", f"{keys[row]} in row {row}",
                            "write the row number of the target table, or leave the key empty")
    elif pa.types.is_integer(values.type):
        keys = np.asarray(pc.fill_null(values, 0).to_numpy())
    else:
        raise DataError(where, "an integer foreign key", f"type {values.type}",
                        "map the values to row numbers of the target table")
    valid = np.asarray(values.is_valid().to_numpy(), dtype=bool)
    negative, beyond = valid & (keys < 0), valid & (keys >= num_target)
    for fault, number in (("missing", len(keys) - int(valid.sum())), ("negative", int(negative.sum())),
                          ("out_of_range", int(beyond.sum()))):
        if number:
            count(fault, number)
    valid &= ~(negative | beyond)
    kept = np.where(valid, keys, 0).astype(np.int64)
    return pa.chunked_array([pa.array(kept, mask=~valid)])


def to_feature(
    values: pa.ChunkedArray, where: str, count: Count
) -> tuple[pa.ChunkedArray, ColumnKind]:
    """Any other column, and its kind. NaN and infinite numbers become null.

    A list of strings or whole numbers (tags, categories) is read as text, one word each.

    Raises:
        DataError: A type that is no number, boolean, string or time (structs, bytes, vectors).
    """
    kind = values.type
    if _is_list_of_words(kind):
        count("joined_lists", len(values) - values.null_count)
        words = pa.large_list(pa.large_string())
        return pc.binary_join(values.cast(words), " ").cast(pa.large_string()), "string"
    if pa.types.is_boolean(kind):
        return values, "boolean"
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return values.cast(pa.int64()), "number"
    if pa.types.is_time(kind):  # time of day, in seconds
        ticks = values.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
        per_second = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return pc.divide(ticks.cast(pa.float64()), per_second), "number"
    if pa.types.is_duration(kind):
        per_second = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), per_second), "number"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        numbers = values.cast(pa.float64(), safe=False)
        infinite = pc.sum(pc.is_inf(numbers)).as_py() or 0
        if infinite:
            count("infinite", infinite)
        return pc.if_else(pc.is_finite(numbers), numbers, None), "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return to_timestamp(values, where, count), "datetime"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) \
            or pa.types.is_null(kind):
        return values.cast(pa.large_string()), "string"
    raise DataError(where, "numbers, booleans, text or times", f"type {kind}",
                    "spread it over plain columns, write it as text, or drop it from the file")


def _is_list_of_words(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    word = kind.value_type
    return pa.types.is_string(word) or pa.types.is_large_string(word) or pa.types.is_integer(word)


def _ints(values: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    valid = np.asarray(values.is_valid().to_numpy(), dtype=bool)
    return valid, np.asarray(pc.fill_null(values, 0).to_numpy())
