"""Routes through a schema."""

import pytest

from model_core.errors import DataError
from model_core.tables.routes import Hop, shortest_routes

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
