"""Labels from SQL: equal to relbench's, and locked down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_core.errors import DataError
from model_core.tables.demo import DEMO_TASK
from model_core.tables.findings import Findings
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import SPLITS, Snapshot
from model_core.tables.sql import run_task_sql

REAL = {"rel-f1": "driver-circuit-compete", "rel-retail": "customer-product-purchase",
        "rel-movielens1m": "user-movie-rate"}


@pytest.mark.parametrize("name", REAL)
def test_made_labels_equal_stored_ones(name: str, real_data: Callable[[str], Path], tmp_path: Path):
    """relbench wrote the stored labels with its own runner of the same SQL."""
    snapshot = ingest(str(real_data(name)), REAL[name], tmp_path / "snapshot")
    for split in SPLITS:
        stored = pq.read_table(snapshot.record.file(f"labels/{split}.parquet"))
        times = np.unique(stored["time"].to_numpy()).tolist()
        assert run_task_sql(snapshot, snapshot.task, times).equals(stored)


def test_relbench_makes_the_same_labels_of_the_demo(demo_dataset: Path, demo_snapshot: Snapshot):
    import relbench

    task = relbench.load_dataset(str(demo_dataset)).load_task(DEMO_TASK, regenerate=True)
    for split in SPLITS:
        frame = task.get_table(split, mask_input_cols=False).df
        stored = pq.read_table(demo_snapshot.record.file(f"labels/{split}.parquet"))
        assert frame["timestamp"].astype("datetime64[s]").astype(np.int64).tolist() == (
            stored["time"].to_pylist())
        assert frame["customer_id"].tolist() == stored["entity"].to_pylist()
        assert [sorted(row) for row in frame["product_id"]] == stored["items"].to_pylist()


def test_result_is_sorted_and_distinct(demo_snapshot: Snapshot):
    repeated = demo_snapshot.task.sql.replace("LIST(DISTINCT l.product_id)", "LIST(l.product_id)")
    times = [demo_snapshot.test_time, demo_snapshot.val_time]
    findings = Findings()
    made = run_task_sql(demo_snapshot, replace(demo_snapshot.task, sql=repeated + "\nORDER BY 2 DESC"),
                        times, findings=findings)
    assert made.equals(run_task_sql(demo_snapshot, demo_snapshot.task, times))
    order = list(zip(made["time"].to_pylist(), made["entity"].to_pylist(), strict=True))
    assert order == sorted(set(order))
    assert findings.counts["labels.sql"]["duplicate_items"] > 0


def test_missing_and_dangling_ids_are_dropped_and_counted(demo_snapshot: Snapshot):
    sql = """SELECT t.timestamp, unnest([0, 1, NULL, 99999]) AS customer_id,
             [3, NULL, 99999, 3] AS product_id FROM timestamps t"""
    findings = Findings()
    made = run_task_sql(demo_snapshot, replace(demo_snapshot.task, sql=sql), [demo_snapshot.val_time],
                        findings=findings)
    assert made["entity"].to_pylist() == [0, 1]
    assert made["items"].to_pylist() == [[3], [3]]
    counts = findings.counts["labels.sql"]
    assert (counts["missing_entities"], counts["dangling_entities"]) == (1, 1)
    assert (counts["missing_items"], counts["dangling_items"], counts["duplicate_items"]) == (4, 4, 2)


def test_query_sees_nothing_after_the_last_window(demo_snapshot: Snapshot):
    sql = """SELECT t.timestamp, 0 AS customer_id, [(SELECT count(*) FROM orders) % 7] AS product_id
             FROM timestamps t"""
    task, seed = replace(demo_snapshot.task, sql=sql), demo_snapshot.val_time
    visible = int((demo_snapshot.times("orders") <= seed + task.window_s).sum())
    assert visible < demo_snapshot.tables["orders"].num_rows
    assert run_task_sql(demo_snapshot, task, [seed])["items"].to_pylist() == [[visible % 7]]


@pytest.mark.parametrize(("sql", "message"), [
    ("SELECT list(range) FROM range(100000000)", "at most 50MB"),
    ("SELECT t.timestamp, range AS customer_id, [0] AS product_id FROM timestamps t, range(5000)",
     "at most 1,000 label rows"),
    ("SELECT * FROM snapshot", "a query that runs"),
    ("SELECT getenv('HOME')", "a query that runs"),
    ("SELECT * FROM read_text('/etc/hostname')", "tables alone"),
    ("ATTACH '/tmp/relrec-test.db'", "one SELECT statement"),
    ("", "one SELECT statement"),
])
def test_greedy_or_prying_queries_are_stopped(demo_snapshot: Snapshot, sql: str, message: str):
    snapshot = demo_snapshot
    with pytest.raises(DataError, match=message):
        run_task_sql(snapshot, replace(snapshot.task, sql=sql), [snapshot.val_time],
                     timeout_s=60, memory_limit="50MB", max_rows=1_000, num_threads=1)


def test_endless_query_is_stopped(demo_snapshot: Snapshot):
    endless = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000) b"
    with pytest.raises(DataError, match=r"at most 0\.3 s"):
        run_task_sql(demo_snapshot, replace(demo_snapshot.task, sql=endless), [demo_snapshot.val_time],
                     timeout_s=0.3, num_threads=1)


def test_task_without_sql(demo_snapshot: Snapshot):
    with pytest.raises(DataError, match="SQL that makes its labels"):
        run_task_sql(demo_snapshot, replace(demo_snapshot.task, sql=None), [demo_snapshot.val_time])


def test_no_seed_times_no_labels(demo_snapshot: Snapshot):
    made = run_task_sql(demo_snapshot, demo_snapshot.task, [])
    assert made.num_rows == 0
    assert made.schema.field("items").type == pa.large_list(pa.int64())
