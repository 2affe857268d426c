"""Manifests and tables that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.tables.shop import NUM_EVENTS, SQL, START, Draft
from tests.tables.spoiling import case

# Manifests


@case("dataset", "no manifest.yaml")
def missing_manifest(folder: Path):
    (folder / "manifest.yaml").unlink()


@case("manifest.yaml", "valid YAML")
def broken_yaml(folder: Path):
    (folder / "manifest.yaml").write_text("name: [unclosed\ntables: {")


@case("manifest.yaml", "found a list")
def manifest_is_a_list(folder: Path):
    (folder / "manifest.yaml").write_text("- a\n- b\n")


@case("manifest.yaml", "readable")
def manifest_is_a_directory(folder: Path):
    (folder / "manifest.yaml").unlink()
    (folder / "manifest.yaml").mkdir()


@case("manifest.yaml", "readable")
def manifest_is_binary(folder: Path):
    (folder / "manifest.yaml").write_bytes(b"\xff\xfe\x00\x81")


@case("manifest.yaml", "no 'val_timestamp'")
def no_val_timestamp(draft: Draft):
    del draft.manifest["val_timestamp"]


@case("tables", "declare at least")
def tables_are_a_list(draft: Draft):
    draft.manifest["tables"] = ["users"]


@case("plain table name", "../users")
def table_name_leaves_the_folder(draft: Draft):
    draft.manifest["tables"]["../users"] = {}


@case("fkeys.user_id", "'people'")
def unknown_fkey_target(draft: Draft):
    draft.manifest["tables"]["events"]["fkeys"]["user_id"] = "people"


@case("fkeys.user_id", "without one")
def fkey_target_without_pkey(draft: Draft):
    draft.manifest["tables"]["users"]["pkey"] = None


@case("fkeys", "target table pairs")
def fkeys_are_a_list(draft: Draft):
    draft.manifest["tables"]["events"]["fkeys"] = ["user_id"]


@case("time_col", "column name")
def time_col_is_a_number(draft: Draft):
    draft.manifest["tables"]["events"]["time_col"] = 3


# Timestamps of the manifest


@case("val_timestamp", "'soon'")
def unreadable_timestamp(draft: Draft):
    draft.manifest["val_timestamp"] = "soon"


@case("test_timestamp", "20200316")
def timestamp_is_a_number(draft: Draft):
    draft.manifest["test_timestamp"] = 20200316


@case("val_timestamp", "plausible")
def timestamp_is_the_epoch(draft: Draft):
    draft.manifest["val_timestamp"] = "1970-01-01"


@case("test_timestamp", "a time after val_timestamp")
def val_after_test(draft: Draft):
    draft.manifest["val_timestamp"], draft.manifest["test_timestamp"] = (
        draft.manifest["test_timestamp"], draft.manifest["val_timestamp"])


@case("timedelta", "at most the time between")
def window_longer_than_val_to_test(draft: Draft):
    draft.task["timedelta"] = "8 days"


@case("test_timestamp", "events in the window after it")
def windows_after_the_data(draft: Draft):
    draft.labels.clear()
    draft.manifest |= {"val_timestamp": "2021-01-01", "test_timestamp": "2021-01-08"}


@case("val_timestamp", "one whole training window")
def windows_before_the_data(draft: Draft):
    draft.labels.clear()
    draft.manifest |= {"val_timestamp": "2020-01-07", "test_timestamp": "2020-01-14"}


@case("test_timestamp", "up to the end of the window")
def half_empty_test_window(draft: Draft):
    draft.labels.clear()
    draft.manifest["test_timestamp"] = "2020-03-13"


@case("val window", "none in")
def empty_window(draft: Draft):
    draft.labels.clear()
    draft.task["sql"] = SQL.replace("GROUP BY", "WHERE e.time > '2020-03-09' GROUP BY")


# Tables


@case("events.parquet", "no such file")
def missing_table_file(folder: Path):
    (folder / "db" / "events.parquet").unlink()


@case("events.parquet", "a directory")
def table_is_a_directory(folder: Path):
    (folder / "db" / "events.parquet").unlink()
    (folder / "db" / "events.parquet").mkdir()


@case("events.parquet", "whole, readable parquet")
def truncated_parquet(folder: Path):
    path = folder / "db" / "events.parquet"
    path.write_bytes(path.read_bytes()[:-200])


@case("events.parquet", "whole, readable parquet")
def parquet_with_damaged_pages(folder: Path):
    path = folder / "db" / "events.parquet"
    data = bytearray(path.read_bytes())
    data[4:300] = bytes(296)
    path.write_bytes(bytes(data))


@case("users.parquet", "whole, readable parquet")
def not_a_parquet_file(folder: Path):
    (folder / "db" / "users.parquet").write_text("user_id,country\n0,be\n")


@case("fkey 'item_id'", "no such column")
def missing_column(draft: Draft):
    draft.tables["events"] = draft.tables["events"].drop_columns(["item_id"])


@case("events.parquet", "more than once")
def duplicate_column(draft: Draft):
    draft.tables["events"] = draft.tables["events"].append_column("price", pa.array([0.0] * NUM_EVENTS))


@case("events.parquet", "timed table without rows")
def timed_table_without_rows(draft: Draft):
    draft.tables["events"] = draft.tables["events"].slice(0, 0)


@case("items.parquet", "a table without rows")
def table_without_rows(draft: Draft):
    draft.tables["items"] = draft.tables["items"].slice(0, 0)


@case("dataset", "time column")
def nothing_has_a_time(draft: Draft):
    draft.manifest["tables"]["events"]["time_col"] = None


# Keys


@case("'user_id'", "12 in row 11")
def pkey_with_a_gap(draft: Draft):
    draft.edit_column("users", "user_id", 11, 12)


@case("'user_id'", "1 in row 0")
def pkey_in_another_order(draft: Draft):
    draft.edit_column("users", "user_id", 0, 1)
    draft.edit_column("users", "user_id", 1, 0)


@case("'user_id'", "duplicate keys")
def pkey_duplicate(draft: Draft):
    draft.edit_column("users", "user_id", 5, 4)


@case("'user_id'", "1 missing")
def pkey_missing(draft: Draft):
    draft.edit_column("users", "user_id", 5, None)


@case("'user_id'", "type string")
def pkey_is_text(draft: Draft):
    draft.set_column("users", "user_id", [f"u{i}" for i in range(12)])


@case("'user_id'", "type double")
def pkey_is_float(draft: Draft):
    draft.set_column("users", "user_id", np.arange(12.0))


@case("'item_id'", "integer foreign key")
def text_where_numbers_are_declared(draft: Draft):
    draft.set_column("events", "item_id", ["three"] * NUM_EVENTS)


@case("'item_id'", "1.5 in row 7")
def fkey_is_a_fraction(draft: Draft):
    values = draft.tables["events"].column("item_id").to_numpy().astype(float)
    values[7] = 1.5
    draft.set_column("events", "item_id", values)


@case("schema", "chain of foreign keys")
def no_route_from_users_to_items(draft: Draft):
    del draft.manifest["tables"]["events"]["fkeys"]["item_id"]


# Times


@case("'time'", "date or timestamp")
def time_is_text(draft: Draft):
    draft.set_column("events", "time", ["2020-01-07"] * NUM_EVENTS)


@case("'time'", "date or timestamp")
def time_is_a_number(draft: Draft):
    draft.set_column("events", "time", np.full(NUM_EVENTS, START))


@case("'time'", "1 rows without one")
def time_is_missing(draft: Draft):
    draft.edit_column("events", "time", 3, None)


def _with_first_time(draft: Draft, date: str) -> None:
    times = draft.tables["events"].column("time").cast(pa.int64()).to_numpy().copy()
    times[0] = np.datetime64(date, "us").astype(np.int64)
    draft.set_column("events", "time", pa.array(times).cast(pa.timestamp("us")))


@case("'time'", "1970-01-01")
def time_is_the_epoch(draft: Draft):
    _with_first_time(draft, "1970-01-01")


@case("'time'", "2262")
def time_in_2262(draft: Draft):
    _with_first_time(draft, "2262-04-11")


@case("'time'", "1677")
def time_in_1677(draft: Draft):
    _with_first_time(draft, "1677-09-21")


@case("'time'", "implausible")
def seconds_stored_as_milliseconds(draft: Draft):
    seconds = draft.tables["events"].column("time").cast(pa.int64()).to_numpy() // 10**6
    draft.set_column("events", "time", pa.array(seconds).cast(pa.timestamp("ms")))


@case("'time'", "plausible dates")
def microseconds_stored_as_seconds(draft: Draft):
    micros = draft.tables["events"].column("time").cast(pa.int64()).to_numpy()
    draft.set_column("events", "time", pa.array(micros).cast(pa.timestamp("s")))


# Other columns


@case("'country'", "type list")
def vector_column(draft: Draft):
    draft.set_column("users", "country", [[0.5, 1.5]] * 12)


@case("'country'", "type binary")
def binary_column(draft: Draft):
    draft.set_column("users", "country", [b"be"] * 12)


@case("'country'", "type struct")
def nested_column(draft: Draft):
    draft.set_column("users", "country", [{"code": "be"}] * 12)
