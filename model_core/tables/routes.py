"""Routes through the schema: how users reach items along foreign keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from model_core.errors import DataError


class Hop(NamedTuple):
    """One foreign key, walked from ``src`` to ``dst``.

    ``forward`` means that ``src`` holds the key ``fkey`` (many rows to one); otherwise
    ``dst`` holds it (one row to many).
    """

    src: str
    fkey: str
    dst: str
    forward: bool


def shortest_routes(
    fkeys: Mapping[str, Mapping[str, str]], start: str, end: str
) -> list[tuple[Hop, ...]]:
    """All shortest walks from one table to another along foreign keys.

    Args:
        fkeys: Table to its foreign keys (column to target table).
        start: Where the walk begins (the entity table).
        end: Where it ends (the item table).

    Returns:
        Routes of equal length, in a stable order. Its length is the default depth of
        a graph model: with fewer layers no item is ever inside a user's subgraph.

    Raises:
        DataError: No foreign keys connect the two tables.

    Example:
        >>> keys = {"orders": {"user_id": "users", "item_id": "items"}}
        >>> [[hop.dst for hop in route] for route in shortest_routes(keys, "users", "items")]
        [['orders', 'items']]
    """
    outgoing: dict[str, list[Hop]] = {}
    for table, keys in fkeys.items():
        for column, target in keys.items():
            outgoing.setdefault(table, []).append(Hop(table, column, target, True))
            outgoing.setdefault(target, []).append(Hop(target, column, table, False))
    frontier: list[tuple[Hop, ...]] = [()]
    reached = {start}
    while frontier:
        found, longer = [], []
        for route in frontier:
            last = route[-1].dst if route else start
            for hop in outgoing.get(last, ()):
                if hop.dst == end:
                    found.append((*route, hop))
                elif hop.dst not in reached:
                    longer.append((*route, hop))
        if found:
            return found
        reached |= {route[-1].dst for route in longer}
        frontier = longer
    raise DataError(
        f"schema, tables {start!r} and {end!r}", "a chain of foreign keys between them", "none",
        "declare the missing fkeys in the dataset's manifest.yaml",
    )
