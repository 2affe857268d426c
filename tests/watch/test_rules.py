"""Rules one by one, on statistics made by hand."""

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from model_core.config import WatchConfig, parse_overrides
from model_core.errors import ConfigError
from model_core.watch.compare import compare
from model_core.watch.drift import sketch
from model_core.watch.statistics import ColumnStatistics, DataStatistics, TableStatistics

DAY, WINDOW, NOW = 86_400, 10 * 86_400, 1_700_000_000


def number(values, usual=0.0, missing=0):
    values = np.asarray(values)
    return ColumnStatistics("number", len(values) + missing, missing, len(set(values.tolist())), "numbers",
                            tuple(sketch(values).tolist()), usual_drift=usual)


def category(counts, missing=0):
    counts = tuple(sorted(counts.items(), key=lambda entry: -entry[1]))
    rows = sum(number for _, number in counts)
    return ColumnStatistics("string", rows + missing, missing, len(counts), "categories", tuple(sketch(
        np.ones(rows)).tolist()), counts, (rows, *[0] * 63))


def key(rows=1_000, missing=0):
    return ColumnStatistics("fkey", rows, missing, rows - missing)


EVENTS = TableStatistics(
    None, "time", {"user_id": "users"}, 50_000, 1_000, 100.0, NOW - 3_600, 4 * 3_600,
    {"user_id": key(), "price": number(np.arange(1_000)), "kind": category({"a": 500, "b": 300, "c": 200})})
USERS = TableStatistics("user_id", None, {}, 2_000, 2_000, None, None, None, {
    "user_id": ColumnStatistics("pkey", 2_000, 0), "age": number(np.arange(2_000) % 90)})
BEFORE = DataStatistics(1, "shop", "buy", NOW, NOW, WINDOW, NOW - 3_600, 2_000, 300, 400, 900, 0.2, 0.1,
                        {"events": EVENTS, "users": USERS})


def changed(table=None, columns=None, **fields):
    """BEFORE with fields of itself, or of one table, or columns of that table in another form."""
    if table is None:
        return dataclasses.replace(BEFORE, **fields)
    old = BEFORE.tables[table]
    kept = {name: column for name, column in (old.columns | (columns or {})).items() if column is not None}
    new = dataclasses.replace(old, columns=kept, **fields)
    return dataclasses.replace(BEFORE, tables={**BEFORE.tables, table: new})


def alarms(present, reference=BEFORE, **config):
    return [(finding.rule, finding.place, finding.level)
            for finding in compare(present, reference, WatchConfig(**config)) if finding.level != "ok"]


def test_the_same_again_is_fine():
    assert alarms(BEFORE) == []
    assert alarms(BEFORE, None) == []


@pytest.mark.parametrize(("present", "expected"), [
    (changed("events", rows_per_day=45.0, recent_rows=450), ("row_change", "events", "warn")),
    (changed("events", rows_per_day=450.0, recent_rows=4_500), ("row_change", "events", "fail")),
    (changed("events", rows_per_day=0.0, recent_rows=0, columns={
        name: ColumnStatistics(column.kind, 0, 0) for name, column in EVENTS.columns.items()}),
     ("row_change", "events", "fail")),
    (changed("events", rows=20_000), ("row_change", "events", "warn")),
    (changed("users", rows=900), ("row_change", "users", "warn")),
    (changed("users", rows=0), ("row_change", "users", "fail")),
    (changed("events", newest=NOW - 3 * DAY), ("freshness", "events", "warn")),
    (changed("events", newest=NOW - 6 * DAY), ("freshness", "events", "fail")),
    (changed(newest=NOW - 3 * DAY), ("freshness", "dataset", "warn")),
    (changed(cold_user_share=0.5), ("cold_users_change", "dataset", "warn")),
    (changed(cold_user_share=0.85), ("cold_users", "dataset", "warn")),
    (changed(cold_item_share=0.97), ("cold_items", "dataset", "fail")),
    (changed(window_s=7 * DAY), ("window_changed", "dataset", "fail")),
    (changed("events", {"user_id": key(missing=600)}), ("missing_change", "events.user_id", "fail")),
    (changed("events", {"price": number(np.arange(800), missing=200)}),
     ("missing_change", "events.price", "warn")),
    (changed("events", {"price": number(np.arange(1_000) * 100.0)}),
     ("number_drift", "events.price", "fail")),
    (changed("events", {"price": number(np.arange(1_000) + 200.0)}),
     ("number_drift", "events.price", "warn")),
    (changed("events", {"kind": category({"a": 500, "b": 300, "d": 200})}),
     ("category_drift", "events.kind", "warn")),
    (changed("events", {"kind": category({"x": 500, "b": 300, "c": 200})}),
     ("category_drift", "events.kind", "fail")),
    (changed("events", {"price": None}), ("column_removed", "events.price", "fail")),
    (changed("events", {"new": number([1, 2])}), ("column_added", "events.new", "warn")),
    (changed("events", {"price": category({"1": 1_000})}), ("column_changed", "events.price", "fail")),
    (changed("events", fkeys={"user_id": "clients"}), ("column_changed", "events.user_id", "fail")),
    (changed("users", pkey="id"), ("table_changed", "users", "fail")),
    (changed(tables={"events": EVENTS}), ("table_removed", "users", "fail")),
    (changed(tables={**BEFORE.tables, "more": USERS}), ("table_added", "more", "warn")),
])
def test_a_rule_and_no_other(present, expected):
    found = alarms(present)
    assert expected in found
    assert [entry for entry in found if entry != expected and entry[0] != "missing_keys"] == []


def test_missing_keys_need_no_reference():
    assert alarms(changed("events", {"user_id": key(missing=600)}), None) == [
        ("missing_keys", "events.user_id", "warn")]
    assert alarms(changed("events", {"user_id": key(missing=950)}), None) == [
        ("missing_keys", "events.user_id", "fail")]


@pytest.mark.parametrize(("before", "now", "level"), [
    (0.95, 950, "warn"),  # rows may go without: votes that name nobody
    (0.95, 996, "fail"),  # of the few that had one nearly all lost it
    (0.995, 1_000, "warn"),  # five rows would have had one: that none has is chance
    (0.3, 450, "ok"), (0.3, 550, "warn"), (0.3, 1_000, "fail"),
    (0.0, 950, "fail"), (1.0, 1_000, "fail"),  # a join that was broken all the time
])
def test_missing_keys_are_judged_by_what_rows_went_without_before(before, now, level):
    present = changed("events", {
        "user_id": dataclasses.replace(key(missing=now), missing_before=before)})
    found = {entry[0]: entry[2] for entry in alarms(present, None)}
    assert found.get("missing_keys", "ok") == level


def test_missing_keys_without_a_limit_for_warnings_do_not_warn():
    present = changed("events", {"user_id": dataclasses.replace(key(missing=950), missing_before=0.95)})
    assert alarms(present, None, missing_keys=(None, 0.9)) == []


def test_a_catalogues_missing_keys_only_warn_unless_no_row_has_one():
    users = dataclasses.replace(USERS, fkeys={"city_id": "events"})
    for missing, level in ((950, "warn"), (1_000, "fail")):
        present = dataclasses.replace(BEFORE, tables={**BEFORE.tables, "users": dataclasses.replace(
            users, columns={**USERS.columns, "city_id": key(missing=missing)})})
        assert alarms(present, None) == [("missing_keys", "users.city_id", level)]


def test_an_empty_table_is_a_warning_until_it_had_rows():
    empty = changed("users", rows=0, recent_rows=0, columns={
        name: ColumnStatistics(column.kind, 0, 0) for name, column in USERS.columns.items()})
    assert alarms(empty, None) == [("empty_table", "users", "warn")]
    assert alarms(empty, empty) == [("empty_table", "users", "warn")]
    assert alarms(empty) == [("row_change", "users", "fail")]


def test_what_is_usual_is_allowed_for():
    """A number that grows with time, such as an invoice's, lies elsewhere in every window."""
    before = changed("events", {"price": number(np.arange(1_000), usual=1.0)})
    after = changed("events", {"price": number(np.arange(1_000) + 1_000, usual=1.0)})
    assert alarms(after, before) == []
    assert alarms(after, BEFORE) == [("number_drift", "events.price", "fail")]
    # The present must not excuse itself.
    assert alarms(changed("events", {"price": number(np.arange(1_000) * 100, usual=1.0)})) == [
        ("number_drift", "events.price", "fail")]


def test_a_table_with_long_gaps_may_be_old():
    late = changed("events", newest=NOW - 3 * DAY, longest_gap_s=4 * DAY)
    assert alarms(late) == []
    assert alarms(changed("events", newest=NOW - 3 * DAY, longest_gap_s=None)) == []


def test_few_rows_prove_nothing():
    few = dataclasses.replace(EVENTS, recent_rows=6, rows_per_day=0.6, columns={
        "user_id": key(6), "price": number([1, 2, 3, 900, 901, 902]), "kind": category({"a": 6})})
    fewer = dataclasses.replace(few, recent_rows=2, rows_per_day=0.2, columns={
        "user_id": key(2), "price": number([1, 2]), "kind": category({"b": 2})})
    before, after = (changed(tables={"events": table, "users": USERS}) for table in (few, fewer))
    assert alarms(after, before) == []


def test_a_category_that_becomes_text_is_compared_by_length():
    text = dataclasses.replace(EVENTS.columns["kind"], distinct=None, measure="lengths", categories=(),
                               buckets=(), sketch=tuple(sketch(np.full(1_000, 30)).tolist()))
    findings = compare(changed("events", {"kind": text}), BEFORE, WatchConfig())
    assert (findings[0].rule, findings[0].place) == ("number_drift", "events.kind")
    assert "had 3 different values" in findings[0].message


def test_without_a_logical_date_nothing_is_late():
    assert alarms(changed(as_of=None, newest=NOW - 9 * DAY)) == []


def test_limits_and_levels_come_from_the_configuration():
    gone = changed("events", {"price": None})
    assert alarms(gone, removed="warn") == [("column_removed", "events.price", "warn")]
    assert alarms(gone, removed="ok") == []
    assert alarms(gone, ignore=["events.price"]) == []
    assert alarms(gone, ignore=["events"]) == []
    scaled = changed("events", {"price": number(np.arange(1_000) * 100.0)})
    assert alarms(scaled, number_drift=[0.1, None]) == [("number_drift", "events.price", "warn")]
    assert alarms(scaled, number_drift=[None, None]) == []
    assert "any drift" in {finding.expected for finding in compare(
        scaled, BEFORE, WatchConfig(number_drift=(None, None)))}


def test_limits_are_checked():
    assert parse_overrides(["watch.row_change=[3,null]"]).watch.row_change == (3.0, None)
    with pytest.raises(ConfigError, match="above the one to fail"):
        parse_overrides(["watch.freshness=[2,1]"])
    with pytest.raises(ConfigError, match="watch"):
        parse_overrides(["watch.freshness=1"])
    with pytest.raises(ValidationError):
        WatchConfig(number_drift=(-1, 2))


def test_values_are_shown_on_one_line():
    odd = changed("events", {"kind": category({"a\x1b[2J\nb" + "c" * 90: 500, "b": 300, "c": 200})})
    message = compare(odd, BEFORE, WatchConfig())[0].message
    assert "“a·[2J·bccc" in message
    assert message.isprintable()
    assert len(message) < 160


def test_every_finding_is_a_sentence_and_worst_come_first():
    broken = changed("events", {"price": None, "kind": category({"a": 500, "b": 300, "d": 200})})
    findings = compare(broken, BEFORE, WatchConfig())
    assert [finding.level for finding in findings][:3] == ["fail", "warn", "ok"]
    for finding in findings:
        assert finding.message.endswith("."), finding
        assert finding.expected, finding
        assert finding.found, finding


def test_rows_that_come_where_there_were_none_are_told_so():
    empty = changed("events", rows=0, rows_per_day=0.0)
    (finding,) = (finding for finding in compare(BEFORE, empty, WatchConfig())
                  if finding.rule == "row_change" and finding.table == "events")
    assert (finding.level, finding.message) == ("ok", "events has 100 rows per day; it had none lately.")
