"""What ingest treats instead of refusing, and what it must not change."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.tables.fingerprint import source_fingerprint
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import Snapshot
from model_core.tables.validate import validate_dataset
from tests.tables.shop import NUM_EVENTS, SQL, TASK, TEST, VAL, Draft, good_draft, stamps


def taken(draft: Draft, tmp_path: Path, name: str = "data", **kwargs) -> Snapshot:
    return ingest(str(draft.write(tmp_path / name)), TASK, tmp_path / f"{name}-snapshot", **kwargs)


def labels(snapshot: Snapshot, split: str) -> pa.Table:
    return pq.read_table(snapshot.record.file(f"labels/{split}.parquet"))


def seconds_of(draft: Draft) -> np.ndarray:
    return draft.tables["events"].column("time").cast(pa.int64()).to_numpy() // 10**6


def test_snapshot_as_the_contract_says(tmp_path: Path):
    snapshot = taken(good_draft(), tmp_path)
    assert (snapshot.val_time, snapshot.test_time, snapshot.as_of) == (VAL, TEST, None)
    events = snapshot.table("events")
    assert events.schema.field("time").type == pa.timestamp("us")
    assert events.schema.field("user_id").type == pa.int64()
    assert snapshot.tables["events"].columns == {
        "user_id": "fkey", "item_id": "fkey", "price": "number", "time": "time"}
    assert snapshot.has_labels()
    assert labels(snapshot, "val").column_names == ["time", "entity", "items"]
    assert (snapshot.min_time, snapshot.max_time) == (
        seconds_of(good_draft()).min(), seconds_of(good_draft()).max())
    page = snapshot.record.file("profile.html").read_text()
    assert "<h2>events" in page
    assert "http" not in page


def test_keys_that_point_nowhere_are_missing_and_counted(tmp_path: Path):
    draft = good_draft()
    keys = draft.tables["events"].column("user_id").to_numpy().astype(float)
    keys[:6] = [np.nan, -1, -7, 12, 1e9, np.inf]
    draft.set_column("events", "user_id", keys)
    snapshot = taken(draft, tmp_path)
    assert snapshot.counts == {"events.user_id": {"negative": 2, "out_of_range": 3, "missing": 1}}
    assert (snapshot.fkey("events", "user_id")[:6] == -1).all()
    assert (snapshot.fkey("events", "user_id")[6:] == keys[6:]).all()


@settings(max_examples=6, deadline=None)
@given(units=st.lists(st.sampled_from(["s", "ms", "us", "ns"]), min_size=2, max_size=2),
       seed=st.integers(0, 99))
def test_units_and_row_order_of_labels_do_not_matter(units, seed, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("units")
    rng = np.random.default_rng(seed)
    draft = good_draft()
    draft.set_column("events", "time", stamps(seconds_of(draft), units[0]))
    for split, table in draft.labels.items():
        table = table.take(rng.permutation(table.num_rows))
        shuffled = [rng.permutation(row).tolist() for row in table.column("item_id").to_pylist()]
        table = table.set_column(2, "item_id", pa.array(shuffled, pa.list_(pa.int64())))
        draft.labels[split] = table.set_column(
            0, "timestamp", table.column("timestamp").cast(pa.timestamp(units[1])))
    expected = taken(good_draft(), tmp_path, "good")
    assert taken(draft, tmp_path, "other").record.digest == expected.record.digest


def test_zones_are_converted_to_utc(tmp_path: Path):
    draft, zone = good_draft(), "Europe/Brussels"
    draft.set_column("events", "time", stamps(seconds_of(draft)).cast(pa.timestamp("us", zone)))
    snapshot = taken(draft, tmp_path)
    assert (snapshot.times("events") == seconds_of(good_draft())).all()
    assert snapshot.counts == {"events.time": {"converted_to_utc": NUM_EVENTS}}


def test_a_nanosecond_after_a_cutoff_stays_after_it(tmp_path: Path):
    draft = good_draft()
    nanos = seconds_of(draft) * 10**9
    nanos[10] = VAL * 10**9 + 1
    draft.set_column("events", "time", pa.array(nanos).cast(pa.timestamp("ns")))
    assert taken(draft, tmp_path).times("events")[10] == VAL + 1


def test_old_history_is_accepted(tmp_path: Path):
    draft = good_draft()
    times = seconds_of(draft)
    times[0] = int(np.datetime64("1950-05-13", "s").astype(np.int64))
    draft.set_column("events", "time", stamps(times))
    assert taken(draft, tmp_path).min_time == times[0]


def test_duplicate_truth_is_merged_and_counted(tmp_path: Path):
    draft = good_draft()
    val = draft.labels["val"]
    doubled = pa.array([[*row, row[0]] for row in val.column("item_id").to_pylist()])
    draft.labels["val"] = pa.concat_tables([val.set_column(2, "item_id", doubled), val.slice(0, 1)])
    snapshot = taken(draft, tmp_path)
    assert labels(snapshot, "val") == labels(taken(good_draft(), tmp_path, "good"), "val")
    assert snapshot.counts["labels.val"]["duplicate_rows"] == 1
    assert snapshot.counts["labels.val"]["duplicate_items"] == val.num_rows + len(val["item_id"][0])


def test_k_beyond_the_catalogue_is_a_warning(tmp_path: Path):
    draft = good_draft()
    draft.task["eval_k"] = 50
    report = validate_dataset(str(draft.write(tmp_path / "data")), TASK)
    assert any("eval_k 50" in sentence for sentence in report.warnings)


def test_infinite_numbers_become_missing(tmp_path: Path):
    draft = good_draft()
    draft.set_column("users", "age", [np.inf, np.nan, *range(10)])
    snapshot = taken(draft, tmp_path)
    assert snapshot.counts == {"users.age": {"infinite": 1}}
    assert snapshot.table("users").column("age").null_count == 2


@pytest.mark.parametrize("values", [
    pa.array(["be", "nl", None] * 4).dictionary_encode(), pa.array([True, None, False] * 4),
    pa.nulls(12), pa.array(range(12), pa.uint64()), pa.array(range(12), pa.time32("s")),
    pa.array([Decimal("1.50"), None] * 6), pa.array(range(12), pa.duration("ns")),
    pa.array(range(12), pa.date32()), pa.array(range(12), pa.float16()),
])
def test_plain_types_are_read(tmp_path: Path, values: pa.Array):
    draft = good_draft()
    draft.set_column("users", "country", values)
    snapshot = taken(draft, tmp_path)
    kinds = {pa.large_string(): "string", pa.bool_(): "boolean", pa.int64(): "number",
             pa.float64(): "number", pa.timestamp("us"): "datetime"}
    stored = snapshot.table("users").column("country")
    assert snapshot.tables["users"].columns["country"] == kinds[stored.type]
    assert stored.null_count == values.null_count


def test_hidden_columns_serve_the_sql_alone(tmp_path: Path):
    from model_core.tables.sql import run_task_sql

    draft = good_draft()
    draft.task["remove_columns"] = [["events", "price"], ["users", "nothing"]]
    draft.task["sql"] = SQL.replace("GROUP BY", "WHERE e.price < 0.9 GROUP BY")
    draft.labels.clear()
    snapshot = taken(draft, tmp_path)
    assert "price" not in snapshot.tables["events"].columns
    assert "price" not in snapshot.table("events").column_names
    made = run_task_sql(snapshot, snapshot.task, [VAL])
    cheap = draft.tables["events"].column("price").to_numpy() < 0.9
    time = seconds_of(draft)
    inside = cheap & (time > VAL) & (time <= VAL + snapshot.task.window_s)
    events = draft.tables["events"]
    pairs = sorted(set(zip(events["user_id"].to_numpy()[inside].tolist(),
                           events["item_id"].to_numpy()[inside].tolist(), strict=True)))
    found = [(user, item) for user, items in zip(made["entity"].to_pylist(), made["items"].to_pylist(),
                                                 strict=True) for item in items]
    assert found == pairs
    assert any("users.nothing" in sentence for sentence in snapshot.record.meta["warnings"])


def test_fingerprint_follows_content(tmp_path: Path):
    folder = good_draft().write(tmp_path / "a")
    same = good_draft().write(tmp_path / "b")
    assert source_fingerprint(str(folder), TASK) == source_fingerprint(str(same), TASK)
    draft = good_draft()
    draft.edit_column("events", "price", 0, 0.5)
    other = draft.write(tmp_path / "c")
    assert source_fingerprint(str(other), TASK) != source_fingerprint(str(folder), TASK)


def test_source_is_not_touched_and_snapshot_is_replaced(tmp_path: Path):
    folder = good_draft().write(tmp_path / "data")
    before = source_fingerprint(str(folder), TASK)
    first = ingest(str(folder), TASK, tmp_path / "snapshot").record.digest
    assert ingest(str(folder), TASK, tmp_path / "snapshot").record.digest == first
    assert source_fingerprint(str(folder), TASK) == before
