"""The demo shop: reproducible, sound for relbench, and worth learning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model_core.errors import DataError
from model_core.tables.demo import DEMO_TASK, write_demo_dataset
from model_core.tables.fingerprint import source_fingerprint
from model_core.tables.routes import shortest_routes
from model_core.tables.snapshot import Snapshot


def labels(snapshot: Snapshot, split: str):
    table = pq.read_table(snapshot.record.file(f"labels/{split}.parquet"))
    return table["time"].to_numpy(), table["entity"].to_numpy(), table["items"].to_pylist()


def purchases(snapshot: Snapshot, upto: int) -> tuple[np.ndarray, np.ndarray]:
    """(customer, product) of all lines up to a time."""
    known = snapshot.times("order_lines") <= upto
    customer = snapshot.fkey("orders", "customer_id")[snapshot.fkey("order_lines", "order_id")]
    return customer[known], snapshot.fkey("order_lines", "product_id")[known]


def test_same_seed_same_files(demo_dataset: Path, tmp_path: Path):
    again = write_demo_dataset(tmp_path / "again", scale=0.1)
    other = write_demo_dataset(tmp_path / "other", scale=0.1, seed=1)
    prints = [source_fingerprint(str(path), DEMO_TASK) for path in (demo_dataset, again, other)]
    assert prints[0] == prints[1] != prints[2]


def test_small_shop_is_large_enough(demo_snapshot: Snapshot):
    times, _, _ = labels(demo_snapshot, "train")
    assert len(np.unique(times)) >= 4
    assert min(len(labels(demo_snapshot, split)[0]) for split in ("val", "test")) > 30


def test_customer_and_product_are_three_keys_apart_on_two_routes(demo_snapshot: Snapshot):
    routes = shortest_routes({name: table.fkeys for name, table in demo_snapshot.tables.items()},
                             "customers", "products")
    assert sorted([hop.dst for hop in route] for route in routes) == [
        ["orders", "order_lines", "products"], ["sessions", "views", "products"]]


def test_every_kind_of_value_occurs(demo_snapshot: Snapshot):
    kinds = {kind for table in demo_snapshot.tables.values() for kind in table.columns.values()}
    assert kinds == {"pkey", "fkey", "time", "number", "boolean", "string", "datetime"}
    missing = {f"{name}.{column}" for name, schema in demo_snapshot.tables.items()
               for column in schema.columns if demo_snapshot.table(name, [column]).column(0).null_count}
    assert {"customers.age", "products.price", "products.description", "sessions.customer_id"} <= missing


def test_cold_users_cold_items_repeats(demo_snapshot: Snapshot):
    _, entity, items = labels(demo_snapshot, "test")
    customer, product = purchases(demo_snapshot, demo_snapshot.test_time)
    assert 0 < np.mean(~np.isin(entity, customer)) < 0.5
    sold = set(product.tolist())
    assert any(item not in sold for row in items for item in row)
    bought = set(zip(customer.tolist(), product.tolist(), strict=True))
    repeats = [(user, item) in bought
               for user, row in zip(entity.tolist(), items, strict=True) for item in row]
    assert 0.1 < np.mean(repeats) < 0.6


def test_nothing_is_bought_before_it_exists(demo_snapshot: Snapshot):
    born = demo_snapshot.times("products")
    for table in ("order_lines", "views"):
        assert (demo_snapshot.times(table) >= born[demo_snapshot.fkey(table, "product_id")]).all()


def test_popularity_is_skewed(demo_snapshot: Snapshot):
    _, product = purchases(demo_snapshot, 2**40)
    sales = np.sort(np.bincount(product, minlength=demo_snapshot.tables["products"].num_rows))[::-1]
    assert sales[: len(sales) // 10].sum() > 0.2 * sales.sum()  # twice an even share, or more


def test_truth_is_written(demo_dataset: Path):
    truth = json.loads((demo_dataset / "demo_truth.json").read_text())
    shares = truth["line_shares"]
    kinds = [shares[kind] for kind in ("replenished", "viewed", "taste", "any")]
    assert sum(kinds) == pytest.approx(1)
    assert shares["taste"] / (shares["taste"] + shares["any"]) == pytest.approx(
        truth["parameters"]["taste_fraction"], abs=0.06)


def test_foreign_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "precious.txt").write_text("keep")
    with pytest.raises(DataError, match="new or empty folder"):
        write_demo_dataset(tmp_path / "shop", scale=0.1)
    assert (tmp_path / "shop" / "precious.txt").read_text() == "keep"


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_scale_must_be_positive(tmp_path: Path, scale: float):
    with pytest.raises(DataError, match="positive"):
        write_demo_dataset(tmp_path / "shop", scale=scale)
