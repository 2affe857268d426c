"""Routes through a schema."""

import pytest

from model_core.errors import DataError
from model_core.tables.routes import Hop, shortest_routes, simple_routes

RETAIL = {
    "customers": {}, "products": {},
    "invoices": {"customer_id": "customers"},
    "lines": {"invoice_id": "invoices", "product_id": "products"},
}


def test_a_route_is_walked_against_and_along_foreign_keys():
    assert shortest_routes(RETAIL, "customers", "products") == [(
        Hop("customers", "customer_id", "invoices", False),
        Hop("invoices", "invoice_id", "lines", False),
        Hop("lines", "product_id", "products", True),
    )]


def test_every_shortest_route_is_found_and_no_longer_one():
    keys = RETAIL | {
        "views": {"customer_id": "customers", "product_id": "products"},
        "baskets": {"customer_id": "customers", "product_id": "products"},
    }
    routes = shortest_routes(keys, "customers", "products")
    assert [[hop.dst for hop in route] for route in routes] == [
        ["views", "products"], ["baskets", "products"],
    ]


def test_two_keys_into_the_same_table_are_two_routes():
    keys = {"trips": {"from_id": "places", "to_id": "places", "user_id": "users"}}
    routes = shortest_routes(keys, "users", "places")
    assert sorted(route[-1].fkey for route in routes) == ["from_id", "to_id"]


def test_a_table_that_points_at_itself_can_be_both_ends():
    keys = {"posts": {"parent_id": "posts"}}
    assert shortest_routes(keys, "posts", "posts") == [
        (Hop("posts", "parent_id", "posts", True),),
        (Hop("posts", "parent_id", "posts", False),),
    ]


def test_unconnected_tables_are_an_error_that_names_both():
    with pytest.raises(DataError, match=r"'users'.*'items'"):
        shortest_routes({"users": {}, "items": {}}, "users", "items")


FORUM = {
    "users": {}, "badges": {"user_id": "users"},
    "posts": {"owner_id": "users", "parent_id": "posts"},
    "comments": {"user_id": "users", "post_id": "posts"},
    "links": {"post_id": "posts", "related_id": "posts"},
}


def _tables(routes):
    return [[hop.dst for hop in route] for route in routes]


def test_simple_routes_come_shortest_first_and_pass_no_table_twice():
    assert _tables(simple_routes(FORUM, "users", "posts", 1)) == [["posts"]]
    assert _tables(simple_routes(FORUM, "users", "posts", 5)) == [["posts"], ["comments", "posts"]]
    assert simple_routes(FORUM, "users", "posts", 0) == []
    assert simple_routes({"users": {}, "posts": {}}, "users", "posts", 4) == []


def test_no_route_goes_back_to_the_row_it_came_from():
    """posts <- links.post_id, then links.post_id -> posts, is the post itself."""
    routes = simple_routes(FORUM, "posts", "posts", 2)
    assert [tuple(hop.fkey for hop in route) for route in routes] == [
        ("parent_id",), ("parent_id",),  # its parent, its children
        ("owner_id", "owner_id"),  # posts of the same user
        ("post_id", "related_id"), ("related_id", "post_id"),
    ]
    without_parents = FORUM | {"posts": {"owner_id": "users"}}
    assert shortest_routes(without_parents, "posts", "posts") == [
        route for route in routes if len(route) == 2]


def test_the_shortest_of_the_simple_routes_are_the_shortest_routes():
    for keys, start, end in ((RETAIL, "customers", "products"), (FORUM, "badges", "links"),
                             (FORUM, "comments", "badges")):
        shortest = shortest_routes(keys, start, end)
        hops = len(shortest[0])
        assert simple_routes(keys, start, end, hops) == shortest
        assert simple_routes(keys, start, end, hops + 2)[: len(shortest)] == shortest
