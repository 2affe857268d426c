"""What the values of a column are, judged from all of them, and how SQL reads them as such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from model_core.errors import DataError
from model_core.tables.init.names import is_code
from model_core.tables.init.values import (
    FORMATS,
    MISSING_IN_NUMBERS,
    boolean_value,
    comma_number_value,
    integer_value,
    is_known,
    key_text,
    number_value,
    plain_text,
    tests_of,
    time_value,
)
from model_core.tables.init.workspace import Workspace, quoted

Kind = Literal["integer", "number", "boolean", "text", "time", "empty", "other"]

#: With at least this share of fitting values a column has that kind, and the others become empty.
MOSTLY = 0.98
_MIN_VALUES_TO_OVERRULE = 20
_SAMPLE_ROWS = 2_000
_FIRST_ROWS = 100
_USUAL = ("integer", "number", "boolean", "iso", "zoned")


@dataclass(frozen=True)
class Column:
    """One column of a source table.

    Attributes:
        name: As in the file.
        kind: What its values are.
        value: SQL expression of the typed value; values that do not fit are null.
        key: SQL expression of the value as key text: ``7``, ``"7"`` and ``7.0`` are one key.
        num_rows: Rows of the table.
        num_values: Values that are not missing.
        num_odd: Values that do not fit the kind and become missing.
        num_distinct: Distinct values, to within a tenth.
        time_format: For a time: ``iso``, ``zoned``, ``native``, ``native zoned`` or a strptime
            format; otherwise unset.
        other_formats: Formats that read every value, too, and mean other days.
        is_text: Whether the file holds text.
    """

    name: str
    kind: Kind
    value: str
    key: str
    num_rows: int
    num_values: int
    num_odd: int
    num_distinct: int
    time_format: str | None = None
    other_formats: tuple[str, ...] = ()
    is_text: bool = True

    @property
    def missing_fraction(self) -> float:
        return 1 - self.num_values / max(self.num_rows, 1)


def read_columns(
    workspace: Workspace, relation: str, types: Mapping[str, str], formats: Mapping[str, str],
    is_csv: bool = True,
) -> tuple[Column, ...]:
    """Judge every column of a relation in two passes: a sample, then all rows.

    Args:
        workspace: Where to ask.
        relation: The table as SQL relation.
        types: Column to its DuckDB type.
        formats: Column to a strptime format that its times have.
        is_csv: Whether the file has no types of its own. Otherwise text is read as times at
            most: who stored digits as text meant text.

    Raises:
        DataError: A format that reads no value of its column.
    """
    texts = [name for name, type_ in types.items() if type_ == "VARCHAR"]
    likely_formats = _likely_formats(workspace, relation, texts)
    tests = {name: tests_of(name, [formats[name]] if name in formats else likely_formats[name])
             for name in texts}
    if texts:
        sample = f"(SELECT * FROM {relation} LIMIT {_SAMPLE_ROWS})"
        for name, (known, counts) in _count(workspace, sample, tests).items():
            likely = [test for test, number in counts.items() if known and number >= 0.8 * known]
            # Whatever nothing fits in many values is text: looking at all of them is slow.
            unlikely = () if known >= _MIN_VALUES_TO_OVERRULE else _USUAL
            kept = {*(likely or unlikely), "leading zero", formats.get(name, "")}
            if kept == {"leading zero", ""}:
                kept.clear()
            if not is_csv or is_code(name):
                kept -= {"integer", "number", "comma", "boolean"}
            tests[name] = {test: condition for test, condition in tests[name].items() if test in kept}
    counted = _count(workspace, relation, tests) if texts else {}
    facts = _facts(workspace, relation, types)
    columns = []
    for name, type_ in types.items():
        num_rows, num_values, num_distinct = facts[name]
        if name in counted:
            columns.append(_text_column(name, *counted[name], num_rows, num_values, num_distinct,
                                        formats.get(name)))
        else:
            column = _typed_column(name, type_, num_rows, num_values, num_distinct)
            if name in formats:
                column = _told_time(workspace, relation, column, formats[name])
            columns.append(column)
    return tuple(columns)


def odd_values(column: Column) -> str:
    """SQL condition of rows whose value does not fit the column's kind."""
    known = (is_known(column.name, MISSING_IN_NUMBERS) if column.is_text
             else f"{quoted(column.name)} IS NOT NULL")
    return f"({known} AND {column.value} IS NULL)"


def _likely_formats(workspace: Workspace, relation: str, names: list[str]) -> dict[str, list[str]]:
    """Column to the formats that read most of its first values; SQL then counts on all."""
    if not names:
        return {}
    selected = ", ".join(map(quoted, names))
    values = list(zip(*workspace.rows(f"SELECT {selected} FROM {relation} LIMIT {_FIRST_ROWS}"), strict=True))
    return {name: _formats_of([value.strip() for value in column if value and value.strip()])
            for name, column in zip(names, values or [()] * len(names), strict=True)}


def _formats_of(values: list[str]) -> list[str]:
    dated = sum(value[0].isalnum() and any(map(str.isdigit, value)) and not value.isdigit()
                for value in values)
    if dated < 0.8 * len(values):
        return []
    few = values[:: max(len(values) // 4, 1)]  # strptime is slow: most formats fail on these already
    return [time_format for time_format in FORMATS
            if any(_reads(value, time_format) for value in few)
            and sum(_reads(value, time_format) for value in values) >= 0.8 * len(values)]


def _reads(value: str, time_format: str) -> bool:
    try:
        datetime.strptime(value, time_format)
    except ValueError:
        return False
    return True


def _count(
    workspace: Workspace, relation: str, tests: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[int, dict[str, int]]]:
    """Column to its known values and how many of them pass each test; always with leading zeros."""
    selected = []
    for name, conditions in tests.items():
        known = is_known(name, MISSING_IN_NUMBERS)
        selected.append(f"count_if({known})")
        selected += [f"count_if({known} AND {condition})" for condition in conditions.values()]
    row = iter(workspace.row(f"SELECT {', '.join(selected)} FROM {relation}"))
    return {name: (int(next(row)), {test: int(next(row)) for test in conditions})
            for name, conditions in tests.items()}


def _facts(
    workspace: Workspace, relation: str, types: Mapping[str, str]
) -> dict[str, tuple[int, int, int]]:
    selected = ", ".join(f"count({quoted(name)}), approx_count_distinct({quoted(name)})" for name in types)
    num_rows, *rest = workspace.row(f"SELECT count(*), {selected} FROM {relation}")
    return {name: (int(num_rows), int(rest[2 * i]), int(rest[2 * i + 1])) for i, name in enumerate(types)}


def _text_column(name, known, counts, num_rows, num_values, num_distinct, given) -> Column:
    key = key_text(quoted(name))

    def column(kind: Kind, value: str, fitting: int, **more) -> Column:
        odd = max(known - fitting, 0)
        return Column(name, kind, value, key, num_rows, fitting, odd, num_distinct, **more)

    if given:
        fitting = counts.get(given, 0)
        if known and not fitting:
            raise _reads_none(name, given, known)
        return column("time", time_value(name, given, "UTC"), fitting, time_format=given)
    if not known:
        plain = plain_text(name)
        return column("text" if num_values else "empty", plain, num_values)

    def holds(test: str) -> bool:
        fitting = counts.get(test, 0)
        return fitting == known or (known >= _MIN_VALUES_TO_OVERRULE and fitting >= MOSTLY * known)

    has_zeros = counts.get("leading zero", 0) > 0
    if holds("integer") and not has_zeros:
        return column("integer", integer_value(name), counts["integer"])
    if holds("number") and not has_zeros:
        return column("number", number_value(name), counts["number"])
    if holds("comma") and not has_zeros:
        return column("number", comma_number_value(name), counts["comma"])
    if holds("boolean"):
        return column("boolean", boolean_value(name), counts["boolean"])
    times = sorted((test for test in counts if (test in ("iso", "zoned") or "%" in test) and holds(test)),
                   key=lambda test: (-counts[test], test not in ("iso", "zoned"), FORMATS.index(test)
                                     if test in FORMATS else -1))
    if times:
        best = times[0]
        rivals = tuple(test for test in times[1:] if counts[test] == counts[best] and "%" in best
                       and not _same_day(best, test))
        return column("time", time_value(name, best, "UTC"), counts[best], time_format=best,
                      other_formats=rivals)
    return Column(name, "text", plain_text(name), key, num_rows, num_values, 0, num_distinct)


def _same_day(one: str, other: str) -> bool:
    return one.replace("%y", "%Y").split(" %H")[0].split(" %I")[0] == \
        other.replace("%y", "%Y").split(" %H")[0].split(" %I")[0]


def _typed_column(name: str, type_: str, num_rows: int, num_values: int, num_distinct: int) -> Column:
    column = quoted(name)
    kind: Kind = "other"
    time_format = None
    is_list = type_.endswith("]")
    if type_.endswith("INT") or type_ in ("INTEGER", "UINTEGER"):
        kind = "integer"
    elif type_ in ("DOUBLE", "FLOAT") or (type_.startswith("DECIMAL") and not is_list):
        kind = "number"
    elif type_ == "BOOLEAN":
        kind = "boolean"
    elif type_ == "DATE" or (type_.startswith("TIMESTAMP") and not is_list):
        kind, time_format = "time", "native zoned" if "ZONE" in type_ else "native"
    elif type_ == "UUID" or (type_.startswith("ENUM") and not is_list):
        kind, column = "text", f"CAST({column} AS VARCHAR)"
    elif type_ in ("VARCHAR[]", "BIGINT[]", "INTEGER[]"):
        kind, column = "text", f"array_to_string({column}, ' ')"
    value = column
    if time_format:
        value = time_value(name, time_format, "UTC")
    elif kind == "number":
        value = f"(CASE WHEN isfinite(CAST({column} AS DOUBLE)) THEN CAST({column} AS DOUBLE) END)"
    if not num_values:
        kind = "empty"
    return Column(name, kind, value, key_text(f"CAST({column} AS VARCHAR)"), num_rows, num_values, 0,
                  num_distinct, time_format, is_text=False)


def _told_time(workspace: Workspace, relation: str, column: Column, time_format: str) -> Column:
    """A column that is no text, such as days as numbers, in the format that a person told."""
    value = time_value(column.name, time_format, "UTC")
    (fitting,) = workspace.row(f"SELECT count({value}) FROM {relation}")
    if column.num_values and not fitting:
        raise _reads_none(column.name, time_format, column.num_values)
    return replace(column, kind="time", value=value, num_values=int(fitting),
                   num_odd=column.num_values - int(fitting), time_format=time_format)


def _reads_none(name: str, time_format: str, num_values: int) -> DataError:
    return DataError(f"--time-format, column {name!r}", "a format that reads its times",
                     f"{time_format!r}, which reads none of {num_values:,} values", "correct the format")
