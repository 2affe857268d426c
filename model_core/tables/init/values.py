"""How SQL reads text as a number, a truth value, a time or a key; what does not fit is null."""

from __future__ import annotations

from collections.abc import Sequence

from model_core.tables.init.workspace import literal, quoted

MISSING_IN_NUMBERS = ("na", "n/a", "#n/a", "nan", "none", "null", "\\n", "-", "?", "unknown", "(null)", ".")
_MISSING_IN_TEXT = ("null", "\\n", "(null)")
_MISSING_IN_KEYS = ("", "null", "\\n", "nan", "none", "(null)", "<na>")
_INTEGER = r"[+-]?\d{1,18}"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_COMMA_NUMBER = r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?"
_LEADING_ZERO = r"[+-]?0\d+"
_ISO = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)?"
_ZONED = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)? ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)"
#: Formats beside ISO 8601, by the words that the proposal uses for them.
FORMATS = tuple(f"{date}{time}" for date in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y",
                                             "%d %b %Y", "%b %d, %Y", "%d-%b-%Y", "%d/%m/%y", "%m/%d/%y")
                for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p"))


def time_value(name: str, time_format: str, timezone: str) -> str:
    """SQL of a time as TIMESTAMP in UTC; a time without zone is of ``timezone``."""
    column = quoted(name)
    if time_format == "native zoned":
        return f"({column} AT TIME ZONE 'UTC')"
    if time_format == "zoned":
        # DuckDB reads no zone behind a space, and none but Z by name.
        zoned = f"regexp_replace(trim({column}), ' ?(Z|UTC|GMT)$', 'Z')"
        zoned = f"regexp_replace({zoned}, ' ([+-][0-9:]+)$', '\\1')"
        return (f"(CASE WHEN regexp_full_match(trim({column}), {literal(_ZONED)}) THEN "
                f"TRY_CAST({zoned} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END)")
    if time_format == "native":
        plain = f"CAST({column} AS TIMESTAMP)"
    elif time_format == "iso":
        plain = (f"CASE WHEN regexp_full_match(trim({column}), {literal(_ISO)}) "
                 f"THEN TRY_CAST(trim({column}) AS TIMESTAMP) END")
    else:
        plain = f"TRY_STRPTIME(trim(CAST({column} AS VARCHAR)), {literal(time_format)})"
    if timezone == "UTC":
        return f"({plain})"
    return f"((({plain}) AT TIME ZONE {literal(timezone)}) AT TIME ZONE 'UTC')"


def tests_of(name: str, formats: Sequence[str]) -> dict[str, str]:
    """Test to SQL condition on a known value."""
    text = f"trim({quoted(name)})"
    tests = {
        "integer": f"regexp_full_match({text}, {literal(_INTEGER)})",
        "number": f"regexp_full_match({text}, {literal(_NUMBER)})",
        "comma": f"regexp_full_match({text}, {literal(_COMMA_NUMBER)})",
        "leading zero": f"regexp_full_match({text}, {literal(_LEADING_ZERO)})",
        "boolean": f"lower({text}) IN ('true', 'false', 'yes', 'no', 't', 'f', 'y', 'n')",
        "iso": f"{time_value(name, 'iso', 'UTC')} IS NOT NULL",
        "zoned": f"{time_value(name, 'zoned', 'UTC')} IS NOT NULL",
    }
    for time_format in formats:
        tests[time_format] = f"{time_value(name, time_format, 'UTC')} IS NOT NULL"
    return tests


def is_known(name: str, missing: tuple[str, ...]) -> str:
    """SQL condition of a value that is there, and no word for a missing one."""
    return f"coalesce(lower(trim({quoted(name)})) NOT IN ({', '.join(map(literal, ('', *missing)))}), false)"


def key_text(text: str) -> str:
    """SQL of a value as key: ``7``, ``" 7"`` and ``7.0`` are one."""
    whole = f"regexp_replace(trim({text}), '^([+-]?[0-9]+)\\.0+$', '\\1')"
    missing = ", ".join(map(literal, _MISSING_IN_KEYS))
    return f"(CASE WHEN lower(trim({text})) NOT IN ({missing}) THEN {whole} END)"


def plain_text(name: str) -> str:
    """SQL of a text as it is."""
    missing = ", ".join(map(literal, _MISSING_IN_TEXT))
    return f"(CASE WHEN lower(trim({quoted(name)})) NOT IN ({missing}) THEN {quoted(name)} END)"


def integer_value(name: str) -> str:
    """SQL of a whole number of at most 18 digits."""
    return _if(name, _INTEGER, f"TRY_CAST(trim({quoted(name)}) AS BIGINT)")


def number_value(name: str) -> str:
    """SQL of a number with a point."""
    return _if(name, _NUMBER, f"TRY_CAST(trim({quoted(name)}) AS DOUBLE)")


def comma_number_value(name: str) -> str:
    """SQL of a number with a comma, and points between thousands."""
    plain = f"replace(replace(trim({quoted(name)}), '.', ''), ',', '.')"
    return _if(name, _COMMA_NUMBER, f"TRY_CAST({plain} AS DOUBLE)")


def boolean_value(name: str) -> str:
    """SQL of a truth value."""
    text = f"lower(trim({quoted(name)}))"
    return (f"(CASE WHEN {text} IN ('true', 'yes', 't', 'y') THEN true "
            f"WHEN {text} IN ('false', 'no', 'f', 'n') THEN false END)")


def _if(name: str, pattern: str, value: str) -> str:
    return f"(CASE WHEN regexp_full_match(trim({quoted(name)}), {literal(pattern)}) THEN {value} END)"
