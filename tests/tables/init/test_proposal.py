"""What is proposed of clean and unclean files."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from model_core.errors import DataError
from model_core.tables.init.options import InitOptions
from model_core.tables.init.proposal import propose
from model_core.tables.init.reading import read_folder
from model_core.tables.init.workspace import open_workspace
from model_core.tables.init.writing import RECORD_FILE
from model_core.tables.snapshot import to_seconds
from model_core.tables.validate import validate_dataset
from pipelines.cli.dataset_init import with_flags
from tests.tables.init.exports import (
    NUM_EVENTS,
    NUM_ITEMS,
    NUM_USERS,
    chosen,
    event_rows,
    made,
    proposal_of,
    sureness,
    write_csv,
    write_shop,
)


def test_string_keys_become_row_numbers_and_stay_as_a_hidden_column(tmp_path: Path):
    proposal, written = made(write_shop(tmp_path / "in"), tmp_path / "out")
    customers = pq.read_table(written.path / "db" / "customers.parquet")
    products = pq.read_table(written.path / "db" / "products.parquet")
    purchases = pq.read_table(written.path / "db" / "purchases.parquet")
    assert customers["customer_id"].to_pylist() == list(range(NUM_USERS))
    assert customers["customer_id_source"].to_pylist() == [f"u{i:03}" for i in range(NUM_USERS)]
    assert products["sku_source"].to_pylist() == [f"sku-{i}" for i in range(NUM_ITEMS)]
    user = [customers["customer_id_source"][row].as_py() for row in purchases["customer_id"].to_pylist()]
    item = [products["sku_source"][row].as_py() for row in purchases["sku"].to_pylist()]
    assert list(zip(user, item, strict=True)) == [event[:2] for event in event_rows()]
    times = [int(event[2].timestamp()) for event in event_rows()]
    assert to_seconds(purchases["bought_at"]).tolist() == times
    task = yaml.safe_load((written.path / "tasks" / proposal.task_name / "manifest.yaml").read_text())
    assert ["customers", "customer_id_source"] in task["remove_columns"]
    assert ["products", "sku_source"] in task["remove_columns"]


def test_the_flags_of_a_proposal_give_the_same_proposal(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    first = proposal_of(folder, tmp_path)
    words = first.flags()
    options = with_flags(InitOptions(), shlex.join(words))
    fixed = {key: getattr(options, key) for key in options.__dataclass_fields__}
    again = proposal_of(folder, tmp_path, **fixed)
    for part in ("sql", "windows", "keys", "fkeys", "times", "roles"):
        assert getattr(again, part) == getattr(first, part)
    assert again.flags() == words


def test_a_lone_event_file_gets_tables_of_users_and_items(tmp_path: Path):
    rows = [(user, item, int(time.timestamp())) for user, item, time in event_rows()]
    write_csv(tmp_path / "in" / "ratings.csv", ["userId", "movieId", "timestamp"], rows)
    proposal, written = made(tmp_path / "in", tmp_path / "out")
    assert chosen(proposal)["table users"] == chosen(proposal)["table movies"] == "made"
    assert written.rows == {"ratings": NUM_EVENTS, "users": NUM_USERS, "movies": NUM_ITEMS}
    users = pq.read_table(written.path / "db" / "users.parquet")
    ratings = pq.read_table(written.path / "db" / "ratings.parquet")
    names = users["userId_source"].to_pylist()
    assert [names[row] for row in ratings["userId"].to_pylist()] == [row[0] for row in rows]
    assert to_seconds(ratings["timestamp"]).tolist() == [row[2] for row in rows]


@pytest.mark.parametrize(("factor", "unit"), [
    (1, "seconds"), (1_000, "milliseconds"), (10**9, "nanoseconds")])
def test_epoch_numbers_are_times(factor: int, unit: str, tmp_path: Path):
    rows = [(user, item, int(time.timestamp()) * factor) for user, item, time in event_rows()]
    write_csv(tmp_path / "in" / "ratings.csv", ["user_id", "item_id", "created_at"], rows)
    proposal = proposal_of(tmp_path / "in", tmp_path)
    assert chosen(proposal)["time of ratings"] == "created_at"
    assert any(unit in choice.reason for choice in proposal.choices)
    assert proposal.times["ratings"].first == rows[0][2] // factor


@pytest.mark.parametrize(("text", "expected"), [
    ("{:%Y-%m-%dT%H:%M:%S+02:00}", -7_200), ("{:%Y-%m-%d %H:%M:%SZ}", 0), ("{:%d.%m.%Y %H:%M:%S}", 0)])
def test_times_with_and_without_zone_become_utc(text: str, expected: int, tmp_path: Path):
    rows = [(user, item, text.format(time)) for user, item, time in event_rows()]
    write_csv(tmp_path / "in" / "plays.csv", ["user_id", "track_id", "played_at"], rows)
    _, written = made(tmp_path / "in", tmp_path / "out")
    plays = pq.read_table(written.path / "db" / "plays.parquet")
    assert to_seconds(plays["played_at"])[0] == int(event_rows()[0][2].timestamp()) + expected


def test_local_times_follow_the_zone_across_summer_time(tmp_path: Path):
    _, written = made(write_shop(tmp_path / "in"), tmp_path / "out", timezone="Europe/Brussels")
    seconds = to_seconds(pq.read_table(written.path / "db" / "purchases.parquet")["bought_at"])
    local = [int(event[2].timestamp()) for event in event_rows()]
    assert seconds[0] == local[0] - 3_600  # winter
    assert seconds[-1] == local[-1] - 7_200  # April: summer time


def test_days_and_months_that_both_fit_are_not_guessed(tmp_path: Path):
    rows = [(user, item, f"{1 + i % 12:02}/{1 + i % 11:02}/{2023 + i % 2}")
            for i, (user, item, _) in enumerate(event_rows())]
    write_csv(tmp_path / "in" / "orders.csv", ["user_id", "item_id", "day"], rows)
    assert sureness(proposal_of(tmp_path / "in", tmp_path))["time of orders"] == "low"
    proposal = proposal_of(tmp_path / "in", tmp_path, time_formats={("orders", "day"): "%m/%d/%Y"})
    assert sureness(proposal)["time of orders"] != "low"


def test_dangling_references_are_counted_and_kept_or_dropped(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    lines = (folder / "purchases.csv").read_text().splitlines()
    lines[1:1] = ["nobody,sku-1,1,2024-02-01"] * 30
    (folder / "purchases.csv").write_text("\n".join(lines))
    proposal, written = made(folder, tmp_path / "kept")
    (fkey,) = (fkey for fkey in proposal.fkeys if fkey.column == "customer_id")
    assert (fkey.num_known, fkey.num_dangling) == (NUM_EVENTS + 30, 30)
    purchases = pq.read_table(written.path / "db" / "purchases.parquet")
    assert purchases["customer_id"].null_count == 30
    assert purchases.num_rows == NUM_EVENTS + 30
    _, written = made(folder, tmp_path / "dropped", dangling="drop")
    assert (written.rows["purchases"], written.dropped["purchases"]) == (NUM_EVENTS, 30)


def test_repeated_keys_keep_the_first_row_and_lower_the_confidence(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    with (folder / "customers.csv").open("a") as file:
        file.write("u001,xx,99\n")
    proposal, written = made(folder, tmp_path / "out")
    assert proposal.keys["customers"].num_repeated == 1
    assert sureness(proposal)["primary key of customers"] == "low"
    customers = pq.read_table(written.path / "db" / "customers.parquet")
    assert (customers.num_rows, written.dropped["customers"]) == (NUM_USERS, 1)
    assert "xx" not in customers["country"].to_pylist()


def test_two_event_tables_are_told_apart_by_name_or_by_flag(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    write_csv(folder / "views.csv", ["customer_id", "sku", "seen"],
              [(user, item, time.isoformat()) for user, item, time in event_rows(3)] * 3)
    proposal = proposal_of(folder, tmp_path)
    assert chosen(proposal)["events"] == "purchases"
    assert "views" in next(choice.reason for choice in proposal.choices if choice.subject == "events")
    proposal = proposal_of(folder, tmp_path, event_table="views")
    assert "JOIN views" in proposal.sql
    assert "purchases" not in proposal.sql


def test_mixed_values_are_left_empty_and_told_by_line(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    lines = (folder / "customers.csv").read_text().splitlines()
    assert lines[20].startswith("u019")
    lines[20] = '"u019","two\nlines",unborn'  # and a quoted line break before the fault below
    lines[31] = "u030,be,n/a"
    rows = "\n".join(lines * 1 + [f"u{i},be,30" for i in range(100, 160)])
    (folder / "customers.csv").write_text(rows + "\n")
    proposal, written = made(folder, tmp_path / "out")
    age = proposal.tables["customers"].columns["age"]
    assert (age.kind, age.num_odd) == ("integer", 1)  # n/a is a known word for missing
    (bad,) = proposal.tables["customers"].bad_rows
    assert (bad.line, bad.text) == (21, "unborn")
    customers = pq.read_table(written.path / "db" / "customers.parquet")
    assert customers["age"].null_count == 2
    assert customers["country"][19].as_py() == "two\nlines"


def test_rows_of_another_width_are_left_out_and_told_by_line(tmp_path: Path):
    folder = write_shop(tmp_path / "in", delimiter=";")
    text = (folder / "purchases.csv").read_text().splitlines()
    text[3:3] = ["", 'u001;"sku-1";1;2024-01-01;surplus', "u001"]
    (folder / "purchases.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(text).encode())
    proposal, written = made(folder, tmp_path / "out")
    table = proposal.tables["purchases"]
    assert (table.num_bad, [bad.line for bad in table.bad_rows]) == (2, [5, 6])
    assert next(iter(table.columns)) == "customer_id"  # the byte-order mark is no part of the name
    assert written.rows["purchases"] == NUM_EVENTS
    assert written.dropped["purchases"] == 2


def test_windows_text_and_decimal_commas(tmp_path: Path):
    folder = write_shop(tmp_path / "in", delimiter=";")
    text = (folder / "products.csv").read_text().replace(".", ",").replace("thing 1", "Zoë’s thing 1")
    (folder / "products.csv").write_bytes(text.encode("cp1252"))
    proposal, written = made(folder, tmp_path / "out")
    products = pq.read_table(written.path / "db" / "products.parquet")
    assert pa.types.is_floating(products.schema.field("price").type)
    assert products["title"][1].as_py() == "Zoë’s thing 1"
    assert any("cp1252" in warning for warning in proposal.warnings)


def test_text_stays_text(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    write_csv(folder / "customers.csv", ["customer_id", "shelf", "zip", "region"],
              [(f"u{i:03}", 1000 + i if i else "01000", 2000 + i, "NA" if i % 2 else "EU")
               for i in range(NUM_USERS)])
    _, written = made(folder, tmp_path / "out")
    customers = pq.read_table(written.path / "db" / "customers.parquet")
    assert customers["shelf"][0].as_py() == "01000"  # one leading zero makes a code of the column
    assert customers["zip"][0].as_py() == "2000"
    assert customers["region"].null_count == 0


def test_part_files_in_a_folder_are_one_table(tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    header, *lines = (folder / "purchases.csv").read_text().splitlines()
    (folder / "purchases.csv").unlink()
    (folder / "purchases").mkdir()
    for number, part in enumerate((lines[:400], lines[400:])):
        (folder / "purchases" / f"part-{number}.csv").write_text("\n".join([header, *part]) + "\n")
    _, written = made(folder, tmp_path / "out")
    assert written.rows["purchases"] == NUM_EVENTS


def test_the_record_says_how_the_dataset_came_to_be(tmp_path: Path):
    proposal, written = made(write_shop(tmp_path / "in"), tmp_path / "out")
    record = json.loads((written.path / RECORD_FILE).read_text())
    assert record["flags"] == proposal.flags()
    assert record["rows_written"]["purchases"] == NUM_EVENTS
    assert validate_dataset(str(written.path), proposal.task_name).tables["purchases"].num_rows == NUM_EVENTS


def _no_time(folder: Path) -> None:
    write_csv(folder / "purchases.csv", ["customer_id", "sku"], [event[:2] for event in event_rows()])


def _no_events(folder: Path) -> None:
    (folder / "purchases.csv").unlink()


def _empty(folder: Path) -> None:
    (folder / "products.csv").write_text("")


def _header_alone(folder: Path) -> None:
    (folder / "products.csv").write_text("sku,title,price\n")


def _no_header(folder: Path) -> None:
    (folder / "products.csv").write_text("1,2,3\n4,5,6\n")


def _open_quote(folder: Path) -> None:
    with (folder / "products.csv").open("a") as file:
        file.write('sku-99,"never closed,1\n' * 5)


def _no_parquet(folder: Path) -> None:
    (folder / "products.csv").rename(folder / "products.parquet")


def _two_of_a_name(folder: Path) -> None:
    (folder / "Products.tsv").write_text("a\tb\n1\t2\n")


def _short(folder: Path) -> None:
    write_csv(folder / "purchases.csv", ["customer_id", "sku", "bought_at"],
              [(user, item, "2024-01-01 10:00:00") for user, item, _ in event_rows()])


@pytest.mark.parametrize(("spoil", "message"), [
    (_no_time, "--time TABLE=COLUMN"), (_no_events, "time"), (_empty, "empty file"),
    (_header_alone, "header line alone"), (_no_header, "header line"),
    (_open_quote, "products.csv:27.*closed quotes"),
    (_no_parquet, "whole parquet file"), (_two_of_a_name, "several for 'products'"), (_short, "three hours"),
])
def test_what_cannot_be_used_is_one_clear_error(spoil, message: str, tmp_path: Path):
    folder = write_shop(tmp_path / "in")
    spoil(folder)
    with pytest.raises(DataError, match=message):
        made(folder, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory):
    folder = write_shop(tmp_path_factory.mktemp("clean") / "in")
    with open_workspace(folder.parent) as workspace:
        yield workspace, folder, read_folder(workspace, folder, InitOptions())


@pytest.mark.parametrize(("options", "message"), [
    ({"keys": {"nowhere": "id"}}, "--key"), ({"keys": {"customers": "idd"}}, "'idd'"),
    ({"keys": {"customers": "country"}}, "different value in every row"),
    ({"fkeys": {("purchases", "nope"): "products"}}, "'nope'"),
    ({"times": {"purchases": "sku"}}, "times from"),
    ({"event_table": "customers"}, "--event-table customers"), ({"user_table": "nobody"}, "--user-table"),
    ({"window": "90d"}, "at most a third"), ({"window": "soon"}, "--window"),
    ({"test": "2030-01-01"}, "--test"), ({"val": "2024-04-01"}, "--val"),
])
def test_flags_that_do_not_fit_are_one_clear_error(options, message: str, clean):
    workspace, folder, tables = clean
    with pytest.raises(DataError, match=message):
        propose(workspace, folder, tables, InitOptions(**options))


def test_a_format_that_reads_nothing_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="reads none"):
        proposal_of(write_shop(tmp_path / "in"), tmp_path, time_formats={("purchases", "bought_at"): "%d!%m"})


def test_a_taken_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("keep")
    with pytest.raises(DataError, match="new or empty folder"):
        made(write_shop(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out" / "precious.txt").read_text() == "keep"


@pytest.mark.parametrize(("name", "roles"), [
    ("rel-retail", ("customers", "products", "invoice_items")),
    ("rel-movielens1m", ("users", "movies", "ratings")),
    ("rel-f1", ("drivers", "circuits", "results")),
])
def test_known_datasets_are_understood(name: str, roles, real_data, tmp_path: Path):
    """Keys, foreign keys and times are what the datasets' own manifests say."""
    source = real_data(name)
    proposal = proposal_of(source / "db", tmp_path)
    expected = yaml.safe_load((source / "manifest.yaml").read_text())["tables"]
    assert (proposal.roles.user_table, proposal.roles.item_table, proposal.roles.event_table) == roles
    for table, entry in expected.items():
        found = {fkey.column: fkey.target for fkey in proposal.fkeys if fkey.table == table}
        assert found == (entry["fkeys"] or {}), table
        time = proposal.times.get(table)
        assert (time.column if time else None) == entry["time_col"], table
