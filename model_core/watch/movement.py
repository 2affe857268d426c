"""In words, what moved between two distributions of a column."""

from __future__ import annotations

from model_core.watch.levels import duration, percent, plain
from model_core.watch.statistics import NUM_STEPS, ColumnStatistics

_NUM_MOVERS = 3
#: Least change of a category's share that is worth a word.
_MIN_MOVE = 0.005
_MAX_VALUE = 40


def movement(place: str, now: ColumnStatistics, before: ColumnStatistics) -> str:
    """One sentence: the categories whose shares changed most, or where the middle went.

    Args:
        place: ``table.column``.
        now, before: The column in both snapshots.
    """
    if now.measure == before.measure == "categories":
        return f"{place}: {_categories(now, before)}."
    if now.measure != before.measure and "categories" in (now.measure, before.measure):
        few, many = ("had", "now has") if before.measure == "categories" else ("has", "had")
        number = before.distinct if before.measure == "categories" else now.distinct
        return f"{place} {few} {number:,} different values and {many} too many to count; compared by length."
    what = {"ages": "ages", "lengths": "lengths"}.get(now.measure, "values")
    write = duration if now.measure == "ages" else plain
    middle, earlier = (column.sketch[NUM_STEPS // 2] for column in (now, before))
    spread = " and ".join(
        f"{write(column.sketch[NUM_STEPS // 20])} to {write(column.sketch[-(NUM_STEPS // 20) - 1])}"
        for column in (now, before))
    return (f"{place}: the median of its {what} is {write(middle)} and was {write(earlier)}; nine in ten lie "
            f"within {spread.replace(' and ', ', before within ')}.")


def _categories(now: ColumnStatistics, before: ColumnStatistics) -> str:
    shares = [now.shares, before.shares]
    complete = [(column.distinct or 0) <= len(column.categories) for column in (now, before)]
    moves = []
    for value in shares[0].keys() | shares[1].keys():
        if (value in shares[0] or complete[0]) and (value in shares[1] or complete[1]):
            moves.append((shares[0].get(value, 0.0) - shares[1].get(value, 0.0), value))
    moves = [move for move in sorted(moves, key=lambda move: (-abs(move[0]), move[1]))
             if abs(move[0]) >= _MIN_MOVE]
    if not moves:
        return "shares of values are about as before"
    words = []
    for _, value in moves[:_NUM_MOVERS]:
        found, expected = shares[0].get(value, 0.0), shares[1].get(value, 0.0)
        if not found:
            words.append(f"{_quoted(value)} ({percent(expected)}) is gone")
        elif not expected:
            words.append(f"{_quoted(value)} ({percent(found)}) is new")
        else:
            words.append(f"{_quoted(value)} {percent(found)}, was {percent(expected)}")
    more = len(moves) - len(words)
    return "; ".join(words) + (f"; and {more} more" if more else "")


def _quoted(value: str) -> str:
    """A value of the data on one line: a terminal must not obey what stands in a table."""
    value = "".join(letter if letter.isprintable() else "·" for letter in value)
    return f"“{value if len(value) <= _MAX_VALUE else value[:_MAX_VALUE - 1] + '…'}”"
