"""GraphSchema: all that a model must know of a graph to be built."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph


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
        hops: Fewest relations between entity and item table.
        target_events: Whether some interactions are of another kind than the labels speak of, so
            that those of their kind are told apart.
    """

    tables: dict[str, TableFeatures]
    relations: tuple[Relation, ...]
    entity_table: str
    item_table: str
    num_items: int
    hops: int
    target_events: bool = False

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
            target_events=graph.interactions.target is not None,
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
        return cls(**(value | {"tables": tables, "relations": relations}))
