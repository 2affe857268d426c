"""Folders as they are found: what other programs write, and what goes wrong on the way."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import shlex
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from model_core.errors import ConfigError, DataError
from model_core.tables.init.options import InitOptions, parse_columns
from model_core.tables.snapshot import to_seconds
from pipelines.cli.dataset_init import init_dataset, with_flags
from tests.tables.init.exports import (
    NUM_EVENTS,
    NUM_ITEMS,
    NUM_USERS,
    chosen,
    event_rows,
    made,
    proposal_of,
    write_csv,
    write_shop,
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "in")


def table(out: Path, name: str) -> pa.Table:
    return pq.read_table(out / "db" / f"{name}.parquet")


def edit(file: Path, change: Callable[[str], str]) -> None:
    file.write_text(change(file.read_text()), newline="")


def as_parquet(file: Path, **more: pa.Array) -> Path:
    """The rows of a CSV file as a parquet file in its place, with more columns."""
    rows = pyarrow.csv.read_csv(file)
    file.unlink()
    for name, values in more.items():
        rows = rows.append_column(name, values)
    pq.write_table(rows, file.with_suffix(".parquet"))
    return file.with_suffix(".parquet")


def write_events(folder: Path, times: pa.Array) -> None:
    (folder / "purchases.csv").unlink()
    users, items, _ = zip(*event_rows(), strict=True)
    pq.write_table(pa.table({"customer_id": users, "sku": items, "bought_at": times}),
                   folder / "purchases.parquet")


def seconds() -> list[int]:
    return [int(time.timestamp()) for _, _, time in event_rows()]


# CSV files

def test_empty_lines_before_the_header_are_passed_over(shop, tmp_path):
    edit(shop / "products.csv", lambda text: "\n\n" + text)
    _, written = made(shop, tmp_path / "out")
    assert table(written.path, "products")["sku_source"].to_pylist()[0] == "sku-0"
    assert written.rows["products"] == NUM_ITEMS


def test_made_column_names_are_no_others(shop, tmp_path):
    rows = list(csv.reader((shop / "products.csv").open()))
    more = [["a", "a_2", "a", "A", "file_row_number", ""], *([list("123456")] * NUM_ITEMS)]
    write_csv(shop / "products.csv", rows[0] + more[0],
              [row + extra for row, extra in zip(rows[1:], more[1:], strict=True)])
    _, written = made(shop, tmp_path / "out")
    assert table(written.path, "products").column_names[-6:] == [
        "a", "a_2", "a_3", "A_4", "file_row_number_2", "column_9"]


def test_a_long_value_ends_no_reading(shop, tmp_path):
    text = "x" * 200_000
    edit(shop / "products.csv", lambda rows: rows.replace(",", ";").replace("thing 4", text).replace(
        "thing 7", '12" thing'))
    _, written = made(shop, tmp_path / "out")
    titles = table(written.path, "products")["title"].to_pylist()
    assert (titles[4], titles[7]) == (text, '12" thing')


def test_the_mark_of_utf8_is_no_part_of_a_name_whatever_the_encoding_is_called(shop, tmp_path):
    file = shop / "customers.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    for name in ("utf-8", "UTF8", None):
        customers = proposal_of(shop, tmp_path, encoding=name).tables["customers"]
        assert next(iter(customers.columns)) == "customer_id"


def test_a_tab_can_be_told(shop, tmp_path):
    for file in shop.glob("*.csv"):
        edit(file, lambda text: text.replace(",", "\t"))
    proposal = proposal_of(shop, tmp_path, delimiter="\\t")
    assert proposal.tables["products"].num_rows == NUM_ITEMS
    assert proposal.flags()[-2:] == ["--delimiter", "\\t"]


@pytest.mark.parametrize("delimiter", ["", ";;", "€", '"', "\n"])
def test_no_delimiter(delimiter):
    with pytest.raises(ConfigError, match="one ASCII character"):
        InitOptions(delimiter=delimiter)


@pytest.mark.parametrize("encoding", ["hex", "rot13", "klingon"])
def test_no_encoding(encoding, shop, tmp_path):
    with pytest.raises(DataError, match="--encoding"):
        proposal_of(shop, tmp_path, encoding=encoding)


@pytest.mark.parametrize("spoil", ["no gzip", "cut short", "damaged"])
def test_a_gzipped_file_that_cannot_be_unpacked(spoil, shop, tmp_path):
    file = shop / "purchases.csv"
    packed = bytearray(gzip.compress(file.read_bytes()))
    packed[200:260] = b"\xff" * 60 if spoil == "damaged" else packed[200:260]
    (shop / "purchases.csv.gz").write_bytes({
        "no gzip": file.read_bytes(), "cut short": bytes(packed[:3000]), "damaged": bytes(packed)}[spoil])
    file.unlink()
    with pytest.raises(DataError, match=r"purchases\.csv\.gz: expected a readable file"):
        proposal_of(shop, tmp_path)


def test_what_is_told_of_the_tables_is_no_table(shop, tmp_path):
    (shop / "README.txt").write_text("The data\n========\n\nItems, users, and what they did.\n")
    assert list(proposal_of(shop, tmp_path).tables) == ["customers", "products", "purchases"]


# Parquet files and folders of part files

def test_columns_of_every_type(shop, tmp_path):
    n = NUM_ITEMS
    as_parquet(
        shop / "products.csv", price_list=pa.array([[decimal.Decimal("1.5")]] * n),
        moments=pa.array([[datetime.datetime(2024, 1, 1)]] * n), struct=pa.array([{"a": 1}] * n),
        words=pa.array([["a", "b"]] * n), tax=pa.array([decimal.Decimal("1.50")] * n),
        colour=pa.array((["x", "y"] * n)[:n]).dictionary_encode(),
        weight=pa.array([float("inf")] + [2.0] * (n - 1)))
    proposal, written = made(shop, tmp_path / "out")
    products = table(written.path, "products")
    assert products["tax"].to_pylist() == [1.5] * n
    assert products["words"].to_pylist() == ["a b"] * n
    assert products["colour"].to_pylist()[:2] == ["x", "y"]
    assert products["weight"].to_pylist()[:2] == [None, 2.0]
    for column in ("price_list", "moments", "struct"):
        assert column not in products.column_names
        assert any(f"products.{column} is left out" in warning for warning in proposal.warnings)


@pytest.mark.parametrize(("factor", "type_"), [
    (1, pa.int32()), (1, pa.uint32()), (1_000, pa.float64()), (10**6, pa.int64()), (10**9, pa.uint64())])
def test_epoch_numbers_of_every_width(factor, type_, shop, tmp_path):
    write_events(shop, pa.array([second * factor for second in seconds()], type_))
    _, written = made(shop, tmp_path / "out")
    assert to_seconds(table(written.path, "purchases")["bought_at"]).tolist() == seconds()


def test_zero_is_no_time_and_hides_none(shop, tmp_path):
    write_events(shop, pa.array([second * (row % 100 > 0) for row, second in enumerate(seconds())]))
    proposal, written = made(shop, tmp_path / "out")
    assert proposal.times["purchases"].num_missing == NUM_EVENTS // 100 == written.dropped["purchases"]


def test_a_format_holds_for_days_that_are_stored_as_numbers(shop, tmp_path):
    write_events(shop, pa.array([int(f"{time:1%d%m%Y}") for _, _, time in event_rows()]))
    proposal = proposal_of(shop, tmp_path, time_formats={("purchases", "bought_at"): "1%d%m%Y"})
    assert proposal.times["purchases"].first == seconds()[0] // 86_400 * 86_400
    with pytest.raises(DataError, match="reads none"):
        proposal_of(shop, tmp_path, time_formats={("purchases", "bought_at"): "%H:%M"})


def test_a_parquet_file_without_rows(shop, tmp_path):
    file = as_parquet(shop / "products.csv")
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(DataError, match=r"products\.parquet: expected at least one row"):
        proposal_of(shop, tmp_path)


def test_a_parquet_column_that_is_called_as_the_number_of_a_row(shop, tmp_path):
    as_parquet(shop / "products.csv", file_row_number=pa.array(range(NUM_ITEMS)))
    with pytest.raises(DataError, match=r"products\.parquet.*file_row_number.*rename"):
        proposal_of(shop, tmp_path)


def test_part_files_whose_columns_do_not_agree(shop, tmp_path):
    file = as_parquet(shop / "products.csv")
    rows = pq.read_table(file)
    file.unlink()
    (shop / "products").mkdir()
    pq.write_table(rows, shop / "products" / "0.parquet")
    nested = rows.set_column(2, "price", pa.array([{"x": 1}] * NUM_ITEMS))
    pq.write_table(nested, shop / "products" / "1.parquet")
    with pytest.raises(DataError, match=r"in/products: expected part files with columns of one type"):
        proposal_of(shop, tmp_path)


def test_folders_of_part_files_are_called_like_files(shop, tmp_path):
    (shop / "parts").mkdir()
    (shop / "purchases.csv").rename(shop / "parts" / "part-00000.csv")
    (shop / "parts").rename(shop / "purchases.csv")
    (shop / "purchases.csv" / "_SUCCESS").write_text("")
    assert list(proposal_of(shop, tmp_path).tables) == ["customers", "products", "purchases"]


def test_only_folders_of_part_files_name_columns(tmp_path):
    folder = write_shop(tmp_path / "day=3" / "in")
    as_parquet(folder / "customers.csv")
    rows = pq.read_table(as_parquet(folder / "products.csv"))
    (folder / "products.parquet").unlink()
    for shelf in ("high", "low"):
        (folder / "products" / f"shelf={shelf}").mkdir(parents=True)
        part = rows.slice(0, 10) if shelf == "high" else rows.slice(10)
        pq.write_table(part, folder / "products" / f"shelf={shelf}" / "0.parquet")
    proposal = proposal_of(folder, tmp_path / "day=3")
    assert list(proposal.tables["customers"].columns) == ["customer_id", "country", "age"]
    assert list(proposal.tables["purchases"].columns) == ["customer_id", "sku", "amount", "bought_at"]
    assert "shelf" in proposal.tables["products"].columns


# Times

@pytest.mark.parametrize("zone", [" +0200", "+0200", " +02:00", "+02"])
def test_zones_in_every_spelling(zone, tmp_path):
    rows = [(user, item, f"{time:%Y-%m-%d %H:%M:%S}{zone}") for user, item, time in event_rows()]
    write_csv(tmp_path / "in" / "plays.csv", ["user_id", "track_id", "played_at"], rows)
    assert proposal_of(tmp_path / "in", tmp_path).times["plays"].first == seconds()[0] - 7_200


def test_three_windows_are_enough_whatever_the_hour(shop, tmp_path):
    days = (seconds()[-1] - seconds()[0]) // 86_400 // 3
    proposal = proposal_of(shop, tmp_path, window=f"{days}d")
    assert seconds()[0] + 2 * days * 86_400 <= proposal.windows.test_time <= seconds()[-1] - days * 86_400


def test_no_window(shop, tmp_path):
    with pytest.raises(DataError, match="--window"):
        proposal_of(shop, tmp_path, window="²d")


# Names and keys

def test_a_table_may_be_called_as_the_seed_times(shop, tmp_path):
    (shop / "purchases.csv").rename(shop / "Timestamps.csv")
    _, written = made(shop, tmp_path / "out")
    assert written.rows["timestamps_table"] == NUM_EVENTS


def test_names_that_sql_keeps_for_itself(shop, tmp_path):
    edit(shop / "purchases.csv", lambda text: text.replace("customer_id,sku", "from,select", 1))
    (shop / "purchases.csv").rename(shop / "order.csv")
    _, written = made(shop, tmp_path / "out", fkeys=parse_columns(
        "--fkey", ["order.from=customers", "order.select=products"]))
    assert written.rows["order"] == NUM_EVENTS


@pytest.mark.parametrize("name", ["../../evil", "a b", "Timestamps"])
def test_a_table_to_be_made_has_a_plain_name(name, shop, tmp_path):
    with pytest.raises(DataError, match="plain name"):
        made(shop, tmp_path / "out", fkeys={("purchases", "amount"): name})
    (shop / "customers.csv").unlink()
    with pytest.raises(DataError, match=r"--user-table: expected a plain name"):
        made(shop, tmp_path / "out", user_table=name)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_no_table_is_made_that_differs_from_another_in_capitals_alone(shop, tmp_path):
    (shop / "customers.csv").unlink()
    write_csv(shop / "Users.csv", ["email", "age"], [(f"a{row}@b.c", row) for row in range(NUM_USERS)])
    edit(shop / "purchases.csv", lambda text: text.replace("customer_id", "user_id", 1))
    with pytest.raises(DataError, match="--key TABLE=COLUMN"):
        proposal_of(shop, tmp_path)
    with pytest.raises(DataError, match="found 'Users' without one"):
        proposal_of(shop, tmp_path, fkeys={("purchases", "user_id"): "users"})


def test_keys_that_are_found_nowhere_are_named_in_the_error(shop, tmp_path):
    write_csv(shop / "customers.csv", ["customer_id", "age"],
              [(f"{row:05}", row) for row in range(NUM_USERS)])
    with pytest.raises(DataError, match=r"customer_id looks like a key into customers, but only 0%"):
        proposal_of(shop, tmp_path)


@pytest.mark.parametrize("number", ["{}", "{}.0", " {}"])
def test_one_number_is_one_key_however_it_is_written(number, shop, tmp_path):
    write_csv(shop / "customers.csv", ["customer_id", "age"], [(row, 30) for row in range(NUM_USERS)])
    header, *lines = (shop / "purchases.csv").read_text().splitlines()
    (shop / "purchases.csv").write_text("\n".join(
        [header, *(number.format(int(line[1:4])) + line[4:] for line in lines)]))
    (fkey,) = (fkey for fkey in proposal_of(shop, tmp_path).fkeys if fkey.target == "customers")
    assert (fkey.num_known, fkey.num_dangling) == (NUM_EVENTS, 0)


def test_what_leads_to_a_row_that_is_left_out_is_left_out_too(shop, tmp_path):
    events = event_rows()
    (shop / "purchases.csv").unlink()
    write_csv(shop / "orders.csv", ["order_id", "customer_id", "time", "parent_order_id"],
              [(f"o{row}", "nobody" if row == 7 else user, f"{time:%Y-%m-%d %H:%M:%S}",
                {8: "o7", 9: "o8"}.get(row, "")) for row, (user, _, time) in enumerate(events)])
    write_csv(shop / "order_lines.csv", ["order_id", "sku"],
              [(f"o{row}", item) for row, (_, item, _) in enumerate(events)])
    told = {("orders", "parent_order_id"): "orders"}
    _, written = made(shop, tmp_path / "dropped", dangling="drop", fkeys=told)
    assert (written.dropped["orders"], written.dropped["order_lines"]) == (3, 3)
    names = table(written.path, "orders")["order_id_source"].to_pylist()
    assert [names[row] for row in table(written.path, "order_lines")["order_id"].to_pylist()] == names
    _, written = made(shop, tmp_path / "kept", fkeys=told)
    assert (written.dropped["orders"], written.dropped["order_lines"]) == (0, 0)


def test_every_flag_of_a_proposal_is_among_those_that_repeat_it(shop, tmp_path):
    write_csv(shop / "visits.csv", ["visit_id", "sku", "day"],
              [(row, f"sku-{row % NUM_ITEMS}", "2024-02-03") for row in range(40)])
    told = with_flags(InitOptions(), "--key visits=none --time visits=none")
    proposal = proposal_of(shop, tmp_path, keys=told.keys, times=told.times)
    again = with_flags(InitOptions(), shlex.join(proposal.flags()))
    assert (again.keys["visits"], again.times["visits"]) == ("none", "none")


# Where to

def test_a_look_leaves_nothing_behind(shop, tmp_path):
    out = tmp_path / "new" / "deeper" / "out"
    assert init_dataset(shop, out, InitOptions(), yes=False, dry_run=True, output="json") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    _, written = made(shop, out)
    assert written.path == out
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_no_folder_below_a_file(shop, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file"):
        init_dataset(shop, tmp_path / "file" / "out", InitOptions(), yes=True, dry_run=False, output="text")


def test_a_short_table_has_its_key(shop, tmp_path):
    """Distinct values are counted roughly at first, which must not hide a key."""
    rows = [(row * 7919 + 580_001_740, "x") for row in range(60)]  # 53, says the rough count
    write_csv(shop / "stores.csv", ["store_id", "town"], rows)
    assert chosen(proposal_of(shop, tmp_path))["primary key of stores"] == "store_id"
