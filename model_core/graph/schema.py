"""GraphSchema: all that a model must know of a graph to be built."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph
from model_core.tables.routes import described


@dataclass(frozen=True)
class TableFeatures:
    """Widths of one table's features (see TableColumns)."""

    num_number: int
    category_sizes: tuple[int, ...]
    num_text: int
    timed: bool


@dataclass(frozen=True)
class GraphSchema:
    """Shape of a graph without its rows; stored beside model weights.

    Attributes:
        tables: Table name to feature widths.
        relations: All relations, in a fixed order.
        entity_table, item_table: Seeds and ranked rows.
        num_items: Size of the catalogue.
        hops: Relations along the longest route between entity and item table.
        target_routes: Routes that the labels speak of, where users also meet items along others, so
            that events of the labels' kind are told apart; else empty.
    """

    tables: dict[str, TableFeatures]
    relations: tuple[Relation, ...]
    entity_table: str
    item_table: str
    num_items: int
    hops: int
    target_routes: tuple[str, ...] = ()

    @property
    def target_events(self) -> bool:
        """Whether events of the labels' kind are told apart."""
        return bool(self.target_routes)

    @classmethod
    def of(cls, graph: TemporalGraph) -> GraphSchema:
        return cls(
            tables={
                name: TableFeatures(
                    num_number=columns.number.shape[1],
                    category_sizes=tuple(columns.category_sizes),
                    num_text=columns.text.shape[1],
                    timed=bool(len(graph.node_time[name]))
                    and int(graph.node_time[name][0]) != UNTIMED,
                )
                for name, columns in graph.columns.items()
            },
            relations=graph.relations,
            entity_table=graph.entity_table,
            item_table=graph.item_table,
            num_items=graph.num_items,
            hops=graph.hops,
            target_routes=() if graph.interactions.target is None else (
                tuple(map(described, graph.target_routes)) or ("unnamed",)),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"relations": [list(relation) for relation in self.relations]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GraphSchema:
        tables = {
            name: TableFeatures(**(entry | {"category_sizes": tuple(entry["category_sizes"])}))
            for name, entry in value["tables"].items()
        }
        relations = tuple(Relation(*entry) for entry in value["relations"])
        target_routes = tuple(value.get("target_routes", ()))
        return cls(**(value | {"tables": tables, "relations": relations, "target_routes": target_routes}))
