"""The demo dataset: a seeded, realistic small shop in RelBench-v3 form.

It is the default of the quick start and of most tests. ``demo_world`` says how
customers behave; here the shop becomes tables, manifests and labels.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_core.errors import DataError
from model_core.records import json_bytes
from model_core.tables.demo_shop import CATEGORIES, DAY, REGIONS, Shop, ShopParameters
from model_core.tables.demo_text import describe_products
from model_core.tables.demo_world import draw_shop

DEMO_TASK = "customer-purchase"
START = int(np.datetime64("2023-02-01", "s").astype(np.int64))

_SQL = """\
SELECT t.timestamp, o.customer_id, LIST(DISTINCT l.product_id) AS product_id
FROM timestamps t
JOIN orders o ON o.time > t.timestamp AND o.time <= t.timestamp + INTERVAL '{timedelta}'
JOIN customers c ON c.customer_id = o.customer_id AND c.signup_date <= t.timestamp
JOIN order_lines l ON l.order_id = o.order_id
GROUP BY t.timestamp, o.customer_id"""

_KEYS: Mapping[str, tuple[str | None, str | None, Mapping[str, str]]] = {
    "customers": ("customer_id", None, {}),
    "products": ("product_id", "created", {}),
    "sessions": ("session_id", "time", {"customer_id": "customers"}),
    "views": (None, "time", {"session_id": "sessions", "product_id": "products"}),
    "orders": ("order_id", "time", {"customer_id": "customers"}),
    "order_lines": (None, "time", {"order_id": "orders", "product_id": "products"}),
}


def demo_parameters(scale: float = 1.0) -> ShopParameters:
    """Size of the shop: 1.0 is a year with 1,500 customers, 0.1 about four months with 250."""
    return ShopParameters(
        num_customers=max(round(1_500 * scale), 250),
        num_products=max(round(600 * scale), 60),
        num_windows=int(np.clip(round(26 * scale**0.5), 8, 52)),
    )


def write_demo_dataset(out: Path, *, seed: int = 0, scale: float = 1.0) -> Path:
    """Write the demo shop.

    Tables: customers, products (which appear over time), sessions (some of unknown
    customers) with views, orders with order lines. Customer and product are three
    foreign keys apart, both through orders and through sessions. The truth behind the
    data goes to ``demo_truth.json``.

    Args:
        out: Folder to write; must not exist yet, or be empty, or hold an earlier demo.
        seed: The same seed and scale give the same files.
        scale: Size; 1.0 gives about 70,000 rows in a few seconds.

    Returns:
        ``out``.

    Raises:
        DataError: ``out`` holds something else, or ``scale`` is not positive.
    """
    out = Path(out)
    if not scale > 0:
        raise DataError("scale", "a positive number", repr(scale), "pass for example 1.0")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "demo_truth.json").exists())):
        raise DataError(str(out), "a new or empty folder", "something else in its place",
                        "choose another folder")
    shop = draw_shop(demo_parameters(scale), seed)
    tables = _tables(shop, np.random.default_rng([seed, 1]))
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        _write(folder, shop, tables)
        (folder / "demo_truth.json").write_bytes(json_bytes({"seed": seed, "scale": scale} | shop.truth()))
        os.chmod(folder, 0o755)
        if out.exists():
            shutil.rmtree(out)
        os.replace(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return out


def _tables(shop: Shop, rng: np.random.Generator) -> dict[str, pa.Table]:
    num_customers, num_products = len(shop.region), len(shop.created)
    titles, descriptions = describe_products([CATEGORIES[i] for i in shop.category], rng)
    order_time, order_customer = (np.asarray(column) for column in zip(*shop.orders, strict=True))
    line_order, line_product = (np.asarray(column) for column in list(zip(*shop.lines, strict=True))[:2])
    session_time, session_customer = (np.asarray(column) for column in zip(*shop.sessions, strict=True))
    view_time, view_session, view_product = (np.asarray(column) for column in zip(*shop.views, strict=True))
    by_time = np.lexsort((np.arange(len(view_time)), view_time))
    line_price = np.round(shop.price[line_product] * rng.choice([1.0, 0.9, 0.8], len(line_product),
                                                               p=[0.8, 0.15, 0.05]), 2)
    return {
        "customers": pa.table({
            "customer_id": np.arange(num_customers),
            "region": pa.array(np.asarray(REGIONS)[shop.region]),
            "age": _with_missing(shop.age, 0.12, rng),
            "newsletter": rng.random(num_customers) < 0.4,
            "signup_date": _times(shop.signup // DAY * DAY),
        }),
        "products": pa.table({
            "product_id": np.arange(num_products),
            "title": titles,
            "description": _with_missing(np.asarray(descriptions), 0.1, rng),
            "category": pa.array(np.asarray(CATEGORIES)[shop.category]),
            "price": _with_missing(shop.price, 0.08, rng),
            "created": _times(shop.created),
        }),
        "sessions": pa.table({
            "session_id": np.arange(len(session_time)),
            "customer_id": pa.array(session_customer, mask=session_customer < 0),
            "device": pa.array(rng.choice(["phone", "desktop", "tablet"], len(session_time),
                                         p=[0.6, 0.3, 0.1])),
            "time": _times(session_time),
        }),
        "views": pa.table({
            "session_id": view_session[by_time],
            "product_id": view_product[by_time],
            "seconds": _with_missing(np.round(rng.gamma(2, 20, len(view_time))), 0.05, rng),
            "time": _times(view_time[by_time]),
        }),
        "orders": pa.table({
            "order_id": np.arange(len(order_time)),
            "customer_id": order_customer,
            "channel": pa.array(rng.choice(["web", "app", "shop"], len(order_time), p=[0.5, 0.4, 0.1])),
            "time": _times(order_time),
        }),
        "order_lines": pa.table({
            "order_id": line_order,
            "product_id": line_product,
            "quantity": 1 + rng.poisson(0.4, len(line_order)),
            "price": line_price,
            "time": _times(order_time[line_order]),
        }),
    }


def _write(folder: Path, shop: Shop, tables: Mapping[str, pa.Table]) -> None:
    from relbench.manifest import DatasetManifest, TableSpec, TaskManifest

    from model_core.tables.relbench import open_source, read_task
    from model_core.tables.sql import LabelSource, run_task_sql

    p = shop.parameters
    window = p.window_days * DAY
    val_time = START + (p.num_windows - 2) * window
    # A day more than a window: relbench makes labels anew only if an event before test_time
    # lies after the end of the validation window.
    test_time = val_time + window + DAY
    (folder / "db").mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / "db" / f"{name}.parquet")
    DatasetManifest(
        name="demo-shop", val_timestamp=_iso(val_time), test_timestamp=_iso(test_time),
        description="A made-up small shop: replenishment on personal cycles, exploration within tastes, "
                    "new products, drift, seasons. The truth behind it is in demo_truth.json.",
        tables={name: TableSpec(*keys) for name, keys in _KEYS.items()},
    ).save(folder / "manifest.yaml")
    TaskManifest(
        name=DEMO_TASK, kind="forecast", task_type="recommendation",
        description=f"Products a customer buys in the next {p.window_days} days.",
        src_entity_table="customers", src_entity_col="customer_id", dst_entity_table="products",
        dst_entity_col="product_id", target_col="product_id", time_col="timestamp", eval_k=10,
        timedelta=f"{p.window_days} days", sql=_SQL,
    ).save(folder / "tasks" / DEMO_TASK / "manifest.yaml")

    task = read_task(open_source(str(folder)), DEMO_TASK)
    micros = {name: _in_micros(table) for name, table in tables.items()}
    source = LabelSource(micros, {name: keys[1] for name, keys in _KEYS.items()}, test_time)
    seeds = {"train": list(range(val_time - window, START - 1, -window)),
             "val": [val_time], "test": [test_time]}
    for split, times in seeds.items():
        labels = run_task_sql(source, task, times)
        pq.write_table(pa.table({
            task.time_col: pc.multiply(labels.column("time"), 10**9).cast(pa.timestamp("ns")),
            task.entity_col: labels.column("entity"),
            task.item_col: labels.column("items").cast(pa.list_(pa.int64())),
        }), folder / "tasks" / DEMO_TASK / f"{split}.parquet")


def _times(seconds: np.ndarray) -> pa.Array:
    """Seconds after the start as timestamp[ns], the unit that relbench expects."""
    return pa.array((seconds.astype(np.int64) + START) * 10**9).cast(pa.timestamp("ns"))


def _in_micros(table: pa.Table) -> pa.Table:
    return pa.table({
        field.name: table.column(field.name).cast(pa.timestamp("us"))
        if pa.types.is_timestamp(field.type) else table.column(field.name)
        for field in table.schema
    })


def _with_missing(values: np.ndarray, fraction: float, rng: np.random.Generator) -> pa.Array:
    return pa.array(values, mask=rng.random(len(values)) < fraction)


def _iso(seconds: int) -> str:
    return str(np.datetime64(seconds, "s").astype("datetime64[D]"))
