"""The demo shop on two days, and ways in which its second day goes wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from model_core.config import SplitConfig
from model_core.split.seeds import Split
from model_core.split.temporal import temporal_split
from model_core.tables.demo import DEMO_TASK
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import Snapshot

DAY = 86_400
WINDOW = 14 * DAY


@dataclass(frozen=True)
class Shop:
    """A dataset's folder, whose tables can be edited."""

    folder: Path

    @property
    def last_day(self) -> int:
        """A moment from which on every table has its whole last window."""
        manifest = yaml.safe_load((self.folder / "manifest.yaml").read_text())
        return int(np.datetime64(manifest["test_timestamp"], "s").astype(np.int64)) + WINDOW

    def copy(self, to: Path) -> Shop:
        shutil.copytree(self.folder, to)
        return Shop(to)

    def read(self, table: str) -> pa.Table:
        return pq.read_table(self.folder / "db" / f"{table}.parquet")

    def write(self, table: str, rows: pa.Table) -> None:
        pq.write_table(rows, self.folder / "db" / f"{table}.parquet")

    def edit(self, table: str, column: str, change: Callable[[pa.ChunkedArray], object]) -> None:
        rows = self.read(table)
        place = rows.schema.get_field_index(column)
        self.write(table, rows.set_column(place, column, change(rows.column(column))))

    def freeze(self, out: Path, as_of: int | None) -> tuple[Snapshot, Split]:
        """Snapshot and split of a day."""
        snapshot = ingest(str(self.folder), DEMO_TASK, out / "snapshot", as_of=as_of)
        return snapshot, temporal_split(snapshot, SplitConfig(max_locality_rows=1), out / "split")


def drop_column(shop: Shop) -> None:
    shop.write("sessions", shop.read("sessions").drop_columns(["device"]))


def shrink_table(shop: Shop) -> None:
    views = shop.read("views")
    shop.write("views", views.filter(pa.array(np.arange(len(views)) % 10 == 0)))


def lose_values(shop: Shop) -> None:
    shop.edit("customers", "age", lambda ages: pc.if_else(
        pa.array(np.arange(len(ages)) % 3 > 0), None, ages))


def rename_category(shop: Shop) -> None:
    shop.edit("sessions", "device", lambda names: pc.replace_substring(names, "phone", "mobile"))


def rename_in_catalogue(shop: Shop) -> None:
    """In a catalogue every row counts, although few are new."""
    shop.edit("products", "category", lambda names: pc.replace_substring(names, "coffee", "coffee & tea"))


def scale_numbers(shop: Shop) -> None:
    shop.edit("order_lines", "price", lambda prices: pc.multiply(prices, 100.0))


def stop_events(shop: Shop) -> None:
    """Nothing arrives in the last ten days."""
    last = shop.last_day + DAY - 10 * DAY
    for table, column in (("sessions", "time"), ("views", "time"), ("orders", "time"),
                          ("order_lines", "time"), ("products", "created")):
        rows = shop.read(table)
        seconds = pc.divide(rows.column(column).cast(pa.int64()), 10**9)
        shop.write(table, rows.filter(pc.less_equal(seconds, last)))


def change_all_users(shop: Shop) -> None:
    """Whoever orders in the last window was never seen before."""
    customers, orders = shop.read("customers"), shop.read("orders")
    buyer = orders.column("customer_id").to_numpy().copy()
    time = orders.column("time").cast(pa.int64()).to_numpy() // 10**9
    late = time > shop.last_day + DAY - WINDOW
    former, buyer[late] = np.unique(buyer[late], return_inverse=True)
    buyer[late] += len(customers)
    # Alike in every column, but with a key of their own.
    copies = customers.take(pa.array(former))
    keys = pa.array(np.arange(len(customers), len(customers) + len(former)))
    copies = copies.set_column(0, "customer_id", keys)
    shop.write("customers", pa.concat_tables([customers, copies.cast(customers.schema)]))
    shop.write("orders", orders.set_column(1, "customer_id", pa.array(buyer)))


#: What goes wrong, and the one finding that it must give: rule, table, column, level.
MISHAPS: dict[Callable[[Shop], None], tuple[str, str, str, str]] = {
    drop_column: ("column_removed", "sessions", "device", "fail"),
    shrink_table: ("row_change", "views", "", "fail"),
    lose_values: ("missing_change", "customers", "age", "fail"),
    rename_category: ("category_drift", "sessions", "device", "fail"),
    rename_in_catalogue: ("category_drift", "products", "category", "warn"),
    scale_numbers: ("number_drift", "order_lines", "price", "fail"),
    stop_events: ("freshness", "", "", "fail"),
    change_all_users: ("cold_users", "", "", "fail"),
}
