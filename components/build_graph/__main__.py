"""What the build_graph step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def build_graph(snapshot: Input, split: Input, graph: Output, config: str = "{}") -> Metadata:
    """Turn tables into a typed graph with time-sorted edges and column tensors.

    Args:
        snapshot: Validated tables (record: snapshot).
        split: Its cutoff bounds what statistics may know (record: split).
        graph: Memory-mapped temporal graph (record: graph).
        config: JSON of GraphConfig.
    """
    from model_core.config import GraphConfig, parse_section
    from model_core.graph.build import build_graph as build
    from model_core.split.seeds import Split
    from model_core.tables.snapshot import Snapshot

    opened = build(
        Snapshot.open(snapshot, verify="digest"), Split.open(split, verify="digest"),
        parse_section(GraphConfig, config), Path(graph),
    )
    nodes = sum(opened.num_nodes.values())
    edges = sum(len(adjacency.neighbor) for adjacency in opened.adjacency.values())
    print(f"{nodes:,} nodes, {edges:,} edges, {opened.hops} hops from "
          f"{opened.entity_table} to {opened.item_table}")
    assert opened.record is not None
    return {"graph": {"digest": opened.record.digest, "nodes": nodes, "edges": edges}}


if __name__ == "__main__":
    sys.exit(run_step(build_graph))
