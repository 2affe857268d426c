"""Which rows are events and what their columns say, against loops over raw rows."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.adjacency import time_sorted_adjacency
from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph
from model_core.priors.build import make_priors
from model_core.priors.event_values import MAX_VALUES, event_values, value_columns
from model_core.priors.features import FEATURES
from model_core.tables.routes import shortest_routes
from tests.factories import Rows, make_graph

NUM_USERS, NUM_ITEMS, NUM_INVOICES = 3, 4, 6
VALUES = [place for place, name in enumerate(FEATURES) if name.startswith("value_")]


def named(graph: TemporalGraph, **names: tuple[str, ...]) -> TemporalGraph:
    """The graph with names for the number columns of some tables."""
    columns = {table: replace(columns, number_names=names.get(table, columns.number_names))
               for table, columns in graph.columns.items()}
    return replace(graph, columns=columns)


def invoices_graph(invoices, lines) -> TemporalGraph:
    """users <- invoices <- lines -> items, from (user, time) and (invoice, item, time, value); -1: no key."""
    buyer, when = (np.array([row[n] for row in invoices], dtype=np.int64) for n in range(2))
    invoice, item, time = (np.array([row[n] for row in lines], dtype=np.int64) for n in range(3))
    triples = [(user, at, moment) for user, at, moment, _ in events_of(invoices, lines)]
    return named(make_graph({
        "users": Rows(NUM_USERS, number=np.ones((NUM_USERS, 1))),
        "items": Rows(NUM_ITEMS, number=np.ones((NUM_ITEMS, 1))),
        "invoices": Rows(len(invoices), when, {"user_id": ("users", buyer)}, np.ones((len(invoices), 1))),
        "lines": Rows(len(lines), time, {"invoice_id": ("invoices", invoice), "item_id": ("items", item)},
                      np.array([row[3] for row in lines], dtype=np.float64).reshape(-1, 1)),
    }, "users", "items", triples), lines=("quantity",))


def events_of(invoices, lines):
    """(user, item, time, value) of every line that has both: it happens when its last row appears."""
    for invoice, item, time, value in lines:
        if invoice >= 0 and item >= 0 and invoices[invoice][0] >= 0:
            user, when = invoices[invoice]
            yield user, item, max(time, when), value


TIMES = st.integers(0, 5)
INVOICES = st.lists(st.tuples(st.integers(-1, NUM_USERS - 1), TIMES), min_size=NUM_INVOICES,
                    max_size=NUM_INVOICES)
LINES = st.lists(st.tuples(st.integers(-1, NUM_INVOICES - 1), st.integers(-1, NUM_ITEMS - 1), TIMES,
                           st.floats(-10, 10, width=32)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(INVOICES, LINES, st.randoms(use_true_random=False))
def test_the_mean_over_the_rows_of_an_interaction(invoices, lines, random):
    graph = invoices_graph(invoices, lines)
    found = event_values(graph, ["lines.quantity"])
    expected = defaultdict(list)
    for user, item, time, value in events_of(invoices, lines):
        expected[user, item, time].append(value)
    rows = zip(*(getattr(graph.interactions, part).tolist() for part in ("entity", "item", "time")),
               strict=True)
    for row, value in zip(rows, found[:, 0].tolist(), strict=True):
        assert math.isclose(value, np.mean(expected.pop(row)), rel_tol=1e-5, abs_tol=1e-5)
    assert not expected
    random.shuffle(lines)
    again = event_values(invoices_graph(invoices, lines).to_torch(), ["lines.quantity"])
    assert again.tobytes() == found.tobytes(), "the order of rows must not matter"


def several_tables() -> TemporalGraph:
    """drivers <- results -> races -> circuits, and sprints alike; pit stops have no race."""
    def rows(count: int, **keys):
        return Rows(count, np.arange(count), {
            f"{name}_id": (f"{name}s", np.array(values)) for name, values in keys.items()})

    result, sprint, stop = (rows(3, driver=[0, 1, 0], race=[0, 0, 1]), rows(2, driver=[0, 2], race=[1, 1]),
                            rows(2, driver=[0, 1]))
    result.number, sprint.number, stop.number = (
        np.array([[1, 4, 0], [2, 5, 0], [3, 6, 1]]) / 8, np.array([[7, 9], [8, 10]]) / 8, np.ones((2, 1)))
    race = Rows(2, None, {"circuit_id": ("circuits", np.array([1, 0]))}, np.ones((2, 1)))
    return named(make_graph(
        {"drivers": Rows(3, number=np.ones((3, 1))), "circuits": Rows(2), "races": race, "results": result,
         "sprints": sprint, "stops": stop},
        "drivers", "circuits", [(0, 1, 0), (1, 1, 1), (0, 0, 2), (0, 0, 0), (2, 0, 1)]),
        results=("grid", "points", "points:missing"), sprints=("laps", "gap"))


def test_event_tables_lead_to_both_ends():
    """Races belong to many drivers, stops to no circuit; a missing value is none, and its flag no value."""
    graph = several_tables()
    names = value_columns(graph)
    assert names == ("results.grid", "results.points", "sprints.laps", "sprints.gap")
    nan = math.nan
    rows = list(zip(graph.interactions.entity.tolist(), graph.interactions.item.tolist(),
                    graph.interactions.time.tolist(), strict=True))
    values = dict(zip(rows, (8 * event_values(graph, names)).tolist(), strict=True))
    expected = {(0, 1, 0): [1, 4, nan, nan], (1, 1, 1): [2, 5, nan, nan], (0, 0, 2): [3, nan, nan, nan],
                (0, 0, 0): [nan, nan, 7, 9], (2, 0, 1): [nan, nan, 8, 10]}
    for row, wanted in expected.items():
        np.testing.assert_array_equal(values[row], wanted)


def test_only_tables_by_which_users_meet_items_have_values():
    """Of a graph that knows its routes; a table with both keys that is on none is no event."""
    graph = several_tables()
    routes = shortest_routes({"results": {"driver_id": "drivers", "race_id": "races"},
                              "sprints": {"driver_id": "drivers", "race_id": "races"},
                              "races": {"circuit_id": "circuits"}, "drivers": {}, "circuits": {}},
                             "drivers", "circuits")
    assert value_columns(replace(graph, routes=tuple(routes))) == value_columns(graph)
    assert value_columns(replace(graph, routes=(routes[1],))) == ("sprints.laps", "sprints.gap")


def test_columns_are_found_by_name():
    """Another graph may have them in another order, or not at all."""
    graph = several_tables()
    whole = event_values(graph, value_columns(graph))
    some = event_values(graph, ["sprints.gap", None, "results.gone", "results.grid", "nowhere.x"])
    assert np.isnan(some[:, [1, 2, 4]]).all()
    np.testing.assert_array_equal(some[:, [0, 3]], whole[:, [3, 0]])


def test_in_the_scale_of_another_graph():
    graph = several_tables()
    names = value_columns(graph)
    whole = event_values(graph, names)
    found = event_values(graph, names, {"results.points": (2.0, -0.5), "other.x": (9.0, 9.0)})
    np.testing.assert_allclose(found[:, 1], 2 * whole[:, 1] - 0.5)
    np.testing.assert_array_equal(found[:, [0, 2, 3]], whole[:, [0, 2, 3]])


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e30, 1.7e9, 2e5])
def test_numbers_of_any_size_stay_theirs(odd):
    """Of a graph that was not built from tables: raw prices, timestamps, rubbish."""
    invoices = [(0, 1), (0, 2), (0, 3), (1, 3), (1, 4), (2, 9)]
    usual = [(0, 0, 1, 4.0), (1, 0, 2, 6.0), (3, 2, 3, 2.0)]
    graph = invoices_graph(invoices, [*usual, (2, 1, 3, odd), (2, 0, 3, 5.0), (2, 0, 3, odd)])
    found = make_priors(graph, 10, 0, 0, values=value_columns(graph))(np.array([0, 1]), np.array([5, 5]))
    assert np.isfinite(found.feature).all()
    plain = make_priors(invoices_graph(invoices, usual), 10, 0, 0, values=["lines.quantity"])(
        np.array([1]), np.array([5]))
    np.testing.assert_array_equal(found.feature[found.seed == 1][:, VALUES], plain.feature[:, VALUES])
    scaled = event_values(graph, ["lines.quantity"], {"lines.quantity": (9_000.0, 0.0)})
    assert np.nanmax(np.abs(scaled)) <= 10


def test_dates_are_no_values():
    graph = several_tables()
    statistics = {"results": [{"column": "grid", "origin": 0}, {"column": "points"}]}
    graph = replace(graph, record=SimpleNamespace(meta={"statistics": statistics}))
    assert value_columns(graph) == ("results.points", "sprints.laps", "sprints.gap")


def test_keys_that_refer_to_their_own_table_and_in_circles():
    """Replies to ratings, and films with sequels: the shortest way stays the only one, and is soon found."""
    loops = {f"like_{n}": ("ratings", np.array([1, 0, 0])) for n in range(6)}
    sequels = {f"after_{n}": ("films", np.array([1, 0])) for n in range(6)}
    graph = make_graph({
        "users": Rows(2, None, {"friend": ("users", np.array([1, 0]))}), "films": Rows(2, None, sequels),
        "ratings": Rows(3, np.arange(3), {"user_id": ("users", np.array([0, 1, 1])),
                                          "film_id": ("films", np.array([0, 0, 1])), **loops},
                        np.array([[1.0], [2.0], [3.0]])),
    }, "users", "films", [(0, 0, 0), (1, 0, 1), (1, 1, 2)])
    assert value_columns(graph) == ("ratings.number_0",)
    assert event_values(graph, ["ratings.number_0"])[:, 0].tolist() == [1, 2, 3]


def test_no_more_than_the_first_columns():
    graph = several_tables()
    wide = replace(graph.columns["results"], number=np.zeros((3, 9), np.float32),
                   number_names=tuple("abcdefghi"))
    graph = replace(graph, columns={**graph.columns, "results": wide})
    assert value_columns(graph) == tuple(f"results.{c}" for c in "abcdefghi"[:MAX_VALUES])


def test_rows_with_several_parents_are_no_events():
    """A graph from elsewhere may relate a row to many users: then its values are nobody's."""
    graph = invoices_graph([(0, 1)] * NUM_INVOICES, [(0, 0, 2, 5.0)])
    users = Relation("users", "rev_invoices.user_id", "invoices")
    both = time_sorted_adjacency(
        np.array([0, 1]), np.array([0, 0]), np.full(NUM_USERS, UNTIMED), NUM_INVOICES)
    other = replace(graph, adjacency={**graph.adjacency, users: both})
    assert value_columns(graph) == ("lines.quantity",)
    assert value_columns(other) == ()
    assert np.isnan(event_values(other, ["lines.quantity"])).all()


@pytest.mark.parametrize("values", [("lines.quantity",), ()])
def test_without_events(values):
    graph = invoices_graph([(0, 1)] * NUM_INVOICES, [])
    found = make_priors(graph, 10, 3, 2, values=values)(np.array([0]), np.array([5]))
    assert len(found.item) == 0


def test_a_larger_order_than_usual_shows():
    """User 0 took 4 of item 0 twice and then 6, 1 of item 1; user 1 took 2 of item 0."""
    graph = invoices_graph(
        [(0, 1), (0, 2), (0, 3), (1, 3), (1, 9), (2, 9)],
        [(0, 0, 1, 4.0), (1, 0, 2, 4.0), (2, 0, 3, 6.0), (2, 1, 3, 1.0), (3, 0, 3, 2.0), (4, 0, 9, 9.0)])
    found = make_priors(graph, 10, 0, 0, values=value_columns(graph))(np.array([0]), np.array([5]))
    values = [dict(zip(FEATURES, row.tolist(), strict=True)) for row in found.feature]
    assert found.item.tolist() == [0, 1]
    expected = [
        {"value_1_last": 6, "value_1_above_user": 14 / 3 - 15 / 6, "value_1_above_item": 14 / 3 - 16 / 9},
        {"value_1_last": 1, "value_1_above_user": 1 - 15 / 6, "value_1_above_item": 1 - 1 / 6}]
    for value, wanted in zip(values, expected, strict=True):
        assert {name: value[name] for name in wanted} == pytest.approx(wanted, rel=1e-3)
        others = tuple(f"value_{slot}" for slot in (2, 3, 4))
        assert all(value[name] == 0 for name in FEATURES if name.startswith(others))
