"""Routes through the schema: how users reach items along foreign keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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


#: A walk from one table to another.
Route = tuple[Hop, ...]


def shortest_routes(
    fkeys: Mapping[str, Mapping[str, str]], start: str, end: str
) -> list[Route]:
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
    outgoing = _hops(fkeys)
    frontier: list[Route] = [()]
    reached = {start}
    while frontier:
        found, longer = [], []
        for route in frontier:
            for hop in _onwards(outgoing, route, start):
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
        "declare the missing fkeys in the dataset's manifest.yaml (a key there and back is the same row)"
        if start == end else "declare the missing fkeys in the dataset's manifest.yaml",
    )


def simple_routes(
    fkeys: Mapping[str, Mapping[str, str]], start: str, end: str, max_hops: int
) -> list[Route]:
    """All walks of at most ``max_hops`` that pass no table twice, the shortest first.

    Start and end may be one table; otherwise as in ``shortest_routes``.
    """
    outgoing = _hops(fkeys)
    found: list[Route] = []
    frontier: list[Route] = [()]
    for _ in range(max_hops):
        longer = []
        for route in frontier:
            passed = {start, *(hop.dst for hop in route)}
            for hop in _onwards(outgoing, route, start):
                if hop.dst == end:
                    found.append((*route, hop))
                elif hop.dst not in passed:
                    longer.append((*route, hop))
        frontier = longer
    return found


def described(route: Route) -> str:
    """A route for people, with its keys.

    Example:
        >>> described((Hop("users", "user_id", "likes", False), Hop("likes", "post_id", "posts", True)))
        'users <-user_id- likes -post_id-> posts'
    """
    return route[0].src + "".join(
        f" {f'-{hop.fkey}->' if hop.forward else f'<-{hop.fkey}-'} {hop.dst}" for hop in route)


def routes_to_json(routes: Sequence[Route], target: Sequence[Route]) -> list[dict[str, Any]]:
    """Routes, and which of them are targets, as JSON values."""
    return [{"hops": [list(hop) for hop in route], "target": route in target} for route in routes]


def routes_from_json(value: Sequence[Mapping[str, Any]]) -> tuple[tuple[Route, ...], tuple[Route, ...]]:
    """What ``routes_to_json`` was given."""
    routes = [(tuple(Hop(*hop) for hop in entry["hops"]), entry["target"]) for entry in value]
    return tuple(route for route, _ in routes), tuple(route for route, is_target in routes if is_target)


def _hops(fkeys: Mapping[str, Mapping[str, str]]) -> dict[str, list[Hop]]:
    """Table to the hops that lead away from it."""
    outgoing: dict[str, list[Hop]] = {}
    for table, keys in fkeys.items():
        for column, target in keys.items():
            outgoing.setdefault(table, []).append(Hop(table, column, target, True))
            outgoing.setdefault(target, []).append(Hop(target, column, table, False))
    return outgoing


def _onwards(outgoing: Mapping[str, Sequence[Hop]], route: Route, start: str) -> Iterator[Hop]:
    """Hops that go on from the end of a route.

    None goes back to the one parent of the rows that were just reached as its children.
    """
    last = route[-1] if route else None
    for hop in outgoing.get(last.dst if last else start, ()):
        if last is None or last.forward or not hop.forward or hop.fkey != last.fkey:
            yield hop
