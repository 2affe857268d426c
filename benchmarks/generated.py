"""A made-up shop of any size, straight as a graph and a split, in seconds.

users <- events -> items. What there is to learn is known: every user has one of
``NUM_TASTES`` tastes and buys mostly from the items of that taste, by a power law, and
buys some things again. So a ranking that finds repeats and tastes scores well above one
that knows popularity alone, at any size of catalogue.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from model_core.graph.temporal_graph import (
    UNTIMED,
    Adjacency,
    Interactions,
    Relation,
    TableColumns,
    TemporalGraph,
)
from model_core.records import json_bytes, write_record
from model_core.split.seeds import KIND, SCHEMA_VERSION, SeedTable, Split

DAY = 86_400
START, WINDOW = 1_600_000_000, 7 * DAY
NUM_WINDOWS, NUM_LABELLED = 12, 4
NUM_TASTES = 64
#: Shares of events: bought before by the same user; else of the user's own taste.
REPEATED, OWN_TASTE = 0.4, 0.8
#: Rank of an item ~ uniform ** SKEW: the larger, the more the first items take.
SKEW = 4.0
#: Numeric columns of an item: its taste, noisy, on a few axes.
NUM_COLUMNS = 8


def generate(
    folder: Path, *, num_items: int, num_events: int, num_users: int, num_rows: int = 20_000,
    num_val_rows: int = 500, seed: int = 0,
) -> tuple[TemporalGraph[np.ndarray], Split]:
    """A graph in memory and a split record (which is small) under ``folder``.

    Args:
        folder: Where the split goes.
        num_items, num_events, num_users: Sizes.
        num_rows: Training rows, about, spread over the last windows before validation.
        num_val_rows: Validation rows, at most.
        seed: The same sizes and seed give the same shop.
    """
    rng = np.random.default_rng(seed)
    taste_of_user = rng.integers(0, NUM_TASTES, num_users)
    time = np.sort(rng.integers(1, NUM_WINDOWS * WINDOW + 1, num_events)) + START
    user = (num_users * rng.random(num_events) ** 1.5).astype(np.int64)
    item = _choose_items(user, taste_of_user, num_items, rng)
    val_time = START + (NUM_WINDOWS - 1) * WINDOW
    known = int(np.searchsorted(time, val_time, side="right"))

    window = (time - START - 1) // WINDOW
    labelled = window >= NUM_WINDOWS - 1 - NUM_LABELLED
    rows_per_window = np.full(NUM_WINDOWS, num_rows // NUM_LABELLED)
    rows_per_window[-1] = num_val_rows
    # A part of the users is enough for the rows wanted, and far less to sort.
    share = 10 * (num_rows + NUM_LABELLED * num_val_rows) / NUM_LABELLED / num_users
    labelled &= (rng.random(num_users) < share)[user]
    train, val = _seed_tables(user[labelled], item[labelled], window[labelled], num_items,
                              rows_per_window, rng)
    graph = _graph(user[:known], item[:known], time[:known], num_users, num_items, val_time, rng)
    empty = SeedTable(*(np.zeros(n, dtype=np.int64) for n in (0, 0, 1, 0)))
    with write_record(folder / "split", KIND, SCHEMA_VERSION) as (out, meta):
        for name, seeds in (("train", train), ("val", val), ("test", empty)):
            seeds.write(out / "seeds" / f"{name}.parquet")
        (out / "certificate.json").write_bytes(json_bytes({}))
        meta.update(
            dataset="generated", task="buys-again", entity_table="users", item_table="items",
            num_entities=num_users, num_items=num_items, window_s=WINDOW, eval_k=10,
            val_time=val_time, test_time=val_time + WINDOW, train_cutoff=val_time, as_of=None,
            label_source="stored", locality={}, counts={},
            routes=[{"hops": [["users", "user", "events", False], ["events", "item", "items", True]],
                     "target": True}],
        )
    return graph, Split.open(folder / "split")


def _choose_items(
    user: np.ndarray, taste_of_user: np.ndarray, num_items: int, rng: np.random.Generator
) -> np.ndarray:
    """int64 [num_events]; item i is of taste i % NUM_TASTES and lower ones sell better."""
    rank = (num_items * rng.random(len(user)) ** SKEW).astype(np.int64)
    own = rng.random(len(user)) < OWN_TASTE
    of_taste = rank - rank % NUM_TASTES + taste_of_user[user]
    item = np.where(own & (of_taste < num_items), of_taste, rank)
    # A repeat points to an earlier event of the same user, which may itself be a repeat.
    order = _grouped(user, len(taste_of_user))
    start = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(taste_of_user)))])
    place = np.arange(len(user)) - start[user[order]]
    source = np.arange(len(user))
    again = (rng.random(len(user)) < REPEATED) & (place > 0)
    source[again] -= 1 + (place[again] * rng.random(int(again.sum()))).astype(np.int64)
    while not np.array_equal(further := source[source], source):
        source = further
    item[order] = item[order][source]
    return item


def _seed_tables(
    user: np.ndarray, item: np.ndarray, window: np.ndarray, num_items: int,
    rows_per_window: np.ndarray, rng: np.random.Generator,
) -> tuple[SeedTable, SeedTable]:
    """Training and validation rows: some of the users who buy in each window, with all they buy."""
    key = np.unique((window * (int(user.max()) + 1) + user) * num_items + item)
    row, item = np.divmod(key, num_items)
    row, item_ptr = np.unique(row, return_index=True)
    window, entity = np.divmod(row, int(user.max()) + 1)
    whole = SeedTable(entity, START + window * WINDOW, np.append(item_ptr, len(item)), item)
    chosen = [
        rng.permutation(np.flatnonzero(window == w))[: rows_per_window[w]]
        for w in np.unique(window)
    ]
    train, val = np.sort(np.concatenate(chosen[:-1])), np.sort(chosen[-1])
    return whole.take(train), whole.take(val)


def _graph(
    user: np.ndarray, item: np.ndarray, time: np.ndarray, num_users: int, num_items: int,
    cutoff: int, rng: np.random.Generator,
) -> TemporalGraph[np.ndarray]:
    num_events = len(time)
    untimed = np.full(num_events, UNTIMED)
    event_ptr = np.arange(num_events + 1)
    adjacency = {}
    for table, key, num_rows in (("users", user, num_users), ("items", item, num_items)):
        order = _grouped(key, num_rows)
        ptr = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=num_rows))])
        name = f"events.{table}"
        adjacency[Relation("events", name, table)] = Adjacency(ptr, order, time[order])
        adjacency[Relation(table, f"rev_{name}", "events")] = Adjacency(event_ptr, key, untimed)
    axes = rng.standard_normal((NUM_TASTES, NUM_COLUMNS)).astype(np.float32)
    number = rng.standard_normal((num_items, NUM_COLUMNS), dtype=np.float32)
    number += axes[np.arange(num_items) % NUM_TASTES]
    return TemporalGraph(
        num_nodes={"users": num_users, "items": num_items, "events": num_events},
        node_time={"users": np.full(num_users, UNTIMED), "items": np.full(num_items, UNTIMED),
                   "events": time},
        adjacency=adjacency,
        columns={"users": _columns(np.zeros((num_users, 0), np.float32)),
                 "items": _columns(number),
                 "events": _columns(np.zeros((num_events, 0), np.float32))},
        interactions=Interactions(user, item, time),
        entity_table="users", item_table="items", hops=2, cutoff=cutoff, last_time=cutoff,
    )


def _columns(number: np.ndarray) -> TableColumns[np.ndarray]:
    rows = len(number)
    return TableColumns(number, np.zeros((rows, 0), np.int64), np.zeros((rows, 0), np.float32), (),
                        tuple(f"number_{i}" for i in range(number.shape[1])), (), ())


def _grouped(key: np.ndarray, num_keys: int) -> np.ndarray:
    """Stable order by key, int64 [n]: a counting sort, linear where argsort is not."""
    matrix = sparse.csr_array(
        (np.zeros(len(key), np.int8), key, np.arange(len(key) + 1)), shape=(len(key), num_keys))
    return matrix.tocsc().indices.astype(np.int64)
