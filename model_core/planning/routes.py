"""The routes that a split will probably find, before there are labels to find them by."""

from __future__ import annotations

import re

from model_core.planning.facts import DatasetFacts
from model_core.split.label_routes import most_hops
from model_core.tables.routes import Route, shortest_routes, simple_routes

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
#: A table after FROM, JOIN or a comma, quoted or not.
_FROM = re.compile(r'(?:\bfrom|\bjoin|,)\s+"?(\w+)', re.IGNORECASE)


def likely_routes(facts: DatasetFacts) -> list[Route]:
    """The schema's shortest routes, and the shortest through every other table that the task's SQL names.

    ``split.label_routes`` asks the labels. A plan must not read so much; but the query that
    makes the labels names the tables that they speak of.
    """
    fkeys = {name: table.source.fkeys for name, table in facts.tables.items()}
    ends = facts.task.entity_table, facts.task.item_table
    routes = shortest_routes(fkeys, *ends)
    asked = {name.casefold() for name in _FROM.findall(_COMMENT.sub(" ", facts.task.sql or ""))}
    named = {name for name in fkeys if name.casefold() in asked} - set(ends)
    for route in simple_routes(fkeys, *ends, most_hops(routes)):
        passed = {hop.dst for hop in route}
        if passed & named and len(route) > len(routes[0]):
            routes.append(route)
        named -= passed
    return routes
