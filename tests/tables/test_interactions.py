"""find_interactions against a slow reference that walks row by row."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.tables.interactions import NO_TIME, find_interactions, num_walks
from model_core.tables.routes import Route, shortest_routes
from model_core.tables.snapshot import Snapshot
from tests.graph.snapshots import Frame, seconds, write_snapshot


def routes_of(snapshot: Snapshot) -> list[Route]:
    return shortest_routes({name: table.fkeys for name, table in snapshot.tables.items()},
                           snapshot.task.entity_table, snapshot.task.item_table)


def slow_walks(snapshot: Snapshot, upto: int, routes=None) -> list[tuple[int, int, int]]:
    """(time, entity, item) of every chain of rows, by a recursive walk over single rows."""
    tables, task = snapshot.tables, snapshot.task
    times = {name: snapshot.times(name) for name in tables}
    found = []

    def time_of(table, row):
        return NO_TIME if times[table] is None else int(times[table][row])

    def walk(entity, row, time, route):
        if not route:
            found.append((time, entity, row))
            return
        hop = route[0]
        if hop.forward:
            nexts = [int(snapshot.fkey(hop.src, hop.fkey)[row])]
        else:
            nexts = [r for r, key in enumerate(snapshot.fkey(hop.dst, hop.fkey)) if key == row]
        for there in nexts:
            if there >= 0 and time_of(hop.dst, there) <= upto:
                walk(entity, there, max(time, time_of(hop.dst, there)), route[1:])

    for route in routes_of(snapshot) if routes is None else routes:
        for entity in range(tables[task.entity_table].num_rows):
            if time_of(task.entity_table, entity) <= upto:
                walk(entity, entity, time_of(task.entity_table, entity), route)
    return sorted(found)


def slow_interactions(snapshot: Snapshot, upto: int, routes=None) -> list[tuple[int, int, int]]:
    return sorted(set(slow_walks(snapshot, upto, routes)))


@st.composite
def worlds(draw):
    """users <- orders <- lines -> items, and users <- carts <- picks -> items."""
    size = st.integers(1, 4)
    num_users, num_items, num_orders, num_carts = (draw(size) for _ in range(4))
    moment = st.integers(0, 6)

    def column(values, count):
        return draw(st.lists(values, min_size=count, max_size=count))

    def table(count, timed, keys):
        frame = pd.DataFrame({k: pd.array(column(st.integers(-1, n - 1), count), "Int64")
                              for k, (_, n) in keys.items()})
        frame["row"] = np.arange(count)
        if timed:
            frame["at"] = seconds(column(moment, count))
        return Frame(frame, "row", "at" if timed else None, {k: t for k, (t, _) in keys.items()})

    timed = {name: draw(st.booleans()) for name in ("users", "items", "orders", "carts", "picks")}
    return {
        "users": table(num_users, timed["users"], {}),
        "items": table(num_items, timed["items"], {}),
        "orders": table(num_orders, timed["orders"], {"user_id": ("users", num_users)}),
        "lines": table(draw(st.integers(1, 8)), True,
                       {"order_id": ("orders", num_orders), "item_id": ("items", num_items)}),
        "carts": table(num_carts, timed["carts"], {"user_id": ("users", num_users)}),
        "picks": table(draw(st.integers(1, 6)), timed["picks"],
                       {"cart_id": ("carts", num_carts), "item_id": ("items", num_items)}),
    }


@settings(max_examples=25, deadline=None)
@given(worlds(), st.integers(-1, 7), st.sampled_from([1, 3, 10**6]))
def test_equals_the_slow_walk(world, upto, max_walks):
    with TemporaryDirectory() as folder:
        snapshot = write_snapshot(Path(folder) / "s", world, val_time=3, test_time=5, window_s=1)
        entity, item, time = find_interactions(snapshot, upto, max_walks=max_walks)
        expected = slow_interactions(snapshot, upto)
        for route in routes_of(snapshot):
            alone = find_interactions(snapshot, upto, [route], max_walks=max_walks)
            assert (list(zip(*(part.tolist() for part in (alone[2], *alone[:2])), strict=True))
                    == slow_interactions(snapshot, upto, [route]))
            assert num_walks(snapshot, route, upto) == len(slow_walks(snapshot, upto, [route]))
        first = np.zeros(1, dtype=np.int64)
        of_first = find_interactions(snapshot, upto, entities=first, max_walks=max_walks)
        assert (list(zip(of_first[2].tolist(), of_first[0].tolist(), of_first[1].tolist(), strict=True))
                == [row for row in expected if row[1] == 0])
    assert list(zip(time.tolist(), entity.tolist(), item.tolist(), strict=True)) == expected
    assert entity.dtype == item.dtype == time.dtype == np.int64


def _follows(tmp_path, users, upto):
    tables = {
        "users": Frame(pd.DataFrame({"user_id": [0, 1]}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": [0, 1, 2]}), "item_id"),
        "follows": Frame(pd.DataFrame({"user_id": users, "item_id": [2, 1, 2, 0],
                                       "at": seconds([5, 1, 5, 9.5])}),
                         None, "at", {"user_id": "users", "item_id": "items"}),
    }
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=6, test_time=8, window_s=1)
    return [a.tolist() for a in find_interactions(snapshot, upto)]


def test_repeats_at_one_moment_are_one_and_missing_keys_none(tmp_path):
    assert _follows(tmp_path, [1, 0, 1, 0], 9) == [[0, 1], [1, 2], [1, 5]]
    assert _follows(tmp_path, [1, -1, 1, 0], 9) == [[1], [2], [5]]


@pytest.mark.parametrize(("upto", "last"), [(9, 5), (10, 10)])
def test_half_a_second_after_the_bound_is_after_it(tmp_path, upto, last):
    assert _follows(tmp_path, [1, 0, 1, 0], upto)[2][-1] == last


def test_nothing_visible_gives_three_empty_arrays(tmp_path):
    assert _follows(tmp_path, [1, 0, 1, 0], 0) == [[], [], []]
