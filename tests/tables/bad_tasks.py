"""Tasks, SQL and stored labels that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.tables.shop import DAY, SQL, TASK, TEST, VAL, WEEK, Draft, stamps
from tests.tables.spoiling import case

# Tasks


@case("no-such-task", "one of ['user-item']")
def unknown_task(folder: Path):
    """Nothing to spoil: the test asks for a task that is not there."""


@case("manifest.yaml", "valid YAML")
def broken_task_yaml(folder: Path):
    (folder / "tasks" / TASK / "manifest.yaml").write_text("name: 'x\n")


@case("task_type", "binary_classification")
def not_a_recommendation_task(draft: Draft):
    draft.task["task_type"] = "binary_classification"


@case("src_entity_table", "'people'")
def unknown_entity_table(draft: Draft):
    draft.task["src_entity_table"] = "people"


@case("dst_entity_table", "without one")
def item_table_without_pkey(draft: Draft):
    draft.task["dst_entity_table"] = "events"


@case("manifest.yaml", "no 'dst_entity_col'")
def no_item_column(draft: Draft):
    del draft.task["dst_entity_col"]


@case("manifest.yaml", "kind must be one of")
def unknown_kind(draft: Draft):
    draft.task["kind"] = "guess"


@case("eval_k", "found 0")
def eval_k_zero(draft: Draft):
    draft.task["eval_k"] = 0


@case("eval_k", "'ten'")
def eval_k_is_text(draft: Draft):
    draft.task["eval_k"] = "ten"


@case("timedelta", "'a while'")
def unreadable_window(draft: Draft):
    draft.task["timedelta"] = "a while"


@case("timedelta", "positive")
def negative_window(draft: Draft):
    draft.task["timedelta"] = "-7 days"


@case("num_eval_timestamps", "found 3")
def several_evaluation_windows(draft: Draft):
    draft.task["num_eval_timestamps"] = 3


@case("remove_columns", "pairs")
def remove_columns_without_table(draft: Draft):
    draft.task["remove_columns"] = ["price"]


@case("remove_columns", "events.time")
def remove_columns_takes_the_time(draft: Draft):
    draft.task["remove_columns"] = [["events", "time"]]


# SQL


@case("sql", "valid DuckDB SQL")
def sql_syntax_error(draft: Draft):
    draft.task["sql"] = "SELEKT 1"


@case("sql", "no ['item_id']")
def sql_with_wrong_columns(draft: Draft):
    draft.task["sql"] = SQL.replace("AS item_id", "AS product")


@case("sql", "list of item ids")
def sql_without_lists(draft: Draft):
    draft.task["sql"] = "SELECT t.timestamp, e.user_id, e.item_id FROM timestamps t, events e"


@case("sql", "nope")
def sql_with_unknown_table(draft: Draft):
    draft.task["sql"] = "SELECT * FROM nope"


@case("sql", "tables alone")
def sql_reads_a_file(draft: Draft):
    draft.task["sql"] = "SELECT * FROM read_csv('/etc/passwd')"


@case("sql", "tables alone")
def sql_lists_files(draft: Draft):
    draft.task["sql"] = "SELECT * FROM glob('/*')"


@case("sql", "tables alone")
def sql_reads_the_network(draft: Draft):
    draft.task["sql"] = "SELECT * FROM 'https://example.com/labels.parquet'"


@case("sql", "one SELECT statement")
def sql_writes_a_file(draft: Draft):
    draft.task["sql"] = "COPY events TO '/tmp/relrec-test-leak.csv'"


@case("sql", "one SELECT statement")
def sql_unlocks_itself(draft: Draft):
    draft.task["sql"] = "SET enable_external_access = true; " + SQL


@case("sql", "one SELECT statement")
def sql_installs_an_extension(draft: Draft):
    draft.task["sql"] = "INSTALL httpfs"


@case("sql", "whole numbers")
def sql_returns_text_ids(draft: Draft):
    draft.task["sql"] = SQL.replace("e.user_id,", "'u' || e.user_id AS user_id,")


@case("'item_id'", "outside")
def sql_returns_negative_ids(draft: Draft):
    draft.labels.clear()
    draft.task["sql"] = SQL.replace("DISTINCT e.item_id", "-1 - e.item_id")


@case("'timestamp'", "seed time")
def sql_returns_other_times(draft: Draft):
    draft.labels.clear()
    later = "SELECT t.timestamp + INTERVAL '1 day' AS timestamp"
    draft.task["sql"] = SQL.replace("SELECT t.timestamp", later)


@case("'timestamp'", "date or timestamp")
def sql_returns_numbers_for_times(draft: Draft):
    draft.task["sql"] = SQL.replace("SELECT t.timestamp", "SELECT epoch(t.timestamp) AS timestamp")


@case("'timestamps'", "another name")
def table_named_like_the_seed_times(draft: Draft):
    draft.tables["timestamps"] = draft.tables["users"]
    draft.manifest["tables"]["timestamps"] = {"pkey": "user_id"}


@case("tasks", "no sql")
def neither_labels_nor_sql(draft: Draft):
    draft.labels.clear()
    draft.task |= {"kind": "external"}
    del draft.task["sql"]


# Stored labels


@case("val.parquet", "no ['item_id']")
def labels_with_wrong_columns(draft: Draft):
    draft.labels["val"] = draft.labels["val"].rename_columns(["timestamp", "user_id", "product"])


@case("val.parquet", "list of item ids")
def labels_without_lists(draft: Draft):
    draft.labels["val"] = draft.labels["val"].set_column(2, "item_id", pa.array(
        [0] * draft.labels["val"].num_rows))


@case("test.parquet", "1 outside, such as 99")
def label_user_out_of_range(draft: Draft):
    users = draft.labels["test"].column("user_id").to_pylist()
    draft.labels["test"] = draft.labels["test"].set_column(1, "user_id", pa.array([99, *users[1:]]))


@case("test.parquet", "outside, such as -3")
def label_item_negative(draft: Draft):
    items = draft.labels["test"].column("item_id").to_pylist()
    draft.labels["test"] = draft.labels["test"].set_column(2, "item_id", pa.array([[-3], *items[1:]]))


@case("test.parquet", "the seed time 2020-03-09")
def labels_at_another_time(draft: Draft):
    num = draft.labels["test"].num_rows
    draft.labels["test"] = draft.labels["test"].set_column(0, "timestamp", stamps(np.full(num, TEST + DAY)))


@case("train.parquet", "overlap with validation")
def training_labels_overlap_validation(draft: Draft):
    num = draft.labels["train"].num_rows
    draft.labels["train"] = draft.labels["train"].set_column(
        0, "timestamp", stamps(np.full(num, VAL - WEEK + DAY)))


@case("val.parquet", "at least one label row")
def empty_labels(draft: Draft):
    draft.labels["val"] = draft.labels["val"].slice(0, 0)


@case("test.parquet", "whole, readable parquet")
def truncated_labels(folder: Path):
    path = folder / "tasks" / TASK / "test.parquet"
    path.write_bytes(path.read_bytes()[:-50])
