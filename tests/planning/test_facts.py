"""What a plan reads: footers, first rows, and bounded parts of key columns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_core.config import GraphConfig, RunConfig, SplitConfig
from model_core.errors import DataError
from model_core.graph.build import build_graph
from model_core.planning import facts as facts_module
from model_core.planning import skeleton as skeleton_module
from model_core.planning.facts import look_at
from model_core.planning.skeleton import SubgraphFacts, build_skeleton, subgraph_facts
from model_core.split.temporal import temporal_split
from model_core.tables.demo import DEMO_TASK
from model_core.tables.relbench import SourceTable


@pytest.fixture(scope="module")
def facts(demo_dataset):
    return look_at(str(demo_dataset), DEMO_TASK, GraphConfig())


@pytest.fixture(scope="module")
def built(demo_snapshot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    split = temporal_split(demo_snapshot, SplitConfig(), folder / "split")
    return split, build_graph(demo_snapshot, split, GraphConfig(), folder / "graph")


def test_counts_are_those_of_the_files(facts, demo_dataset, demo_snapshot):
    assert {name: table.num_rows for name, table in facts.tables.items()} == {
        name: table.num_rows for name, table in demo_snapshot.tables.items()}
    for name, table in facts.tables.items():
        arrow = pq.read_table(demo_dataset / "db" / f"{name}.parquet").nbytes
        assert arrow / 1.5 < table.memory_bytes < 1.5 * arrow, name


def test_columns_are_sorted_into_the_kinds_of_the_graph(facts, built):
    _, graph = built
    for name, table in facts.tables.items():
        columns = graph.columns[name]
        assert table.num_category == len(columns.category_names), name
        assert table.num_text == len(columns.text_names), name
        # A missing flag more or less is all that the first rows cannot tell.
        flags = sum(column.endswith(":missing") for column in columns.number_names)
        assert len(columns.number_names) - flags <= table.num_number, name


def test_equal_rows_are_counted_by_their_growth(tmp_path, facts, built):
    """12 combinations and no more; rows that all differ; half as many new ones in the second half."""
    rows = np.arange(5_000)
    columns = {"few": rows % 12, "all": rows, "slow": np.sqrt(rows).astype(np.int64)}
    for name, expected in (("few", 12), ("all", 40_000), ("slow", 200)):
        pq.write_table(pa.table({"id": rows, "value": columns[name]}), tmp_path / "t.parquet")
        table = facts_module._table(tmp_path / "t.parquet", SourceTable("id", None, {}), facts.task, "t",
                                    GraphConfig())
        assert table.distinct_features(40_000) == pytest.approx(expected, rel=0.02), name
        assert table.distinct_features(1) == 1
    # What the graph itself finds: rows that are their own twin.
    _, graph = built
    for name, table in facts.tables.items():
        if (twin := graph.columns[name].twin) is not None and len(twin) > 100:
            distinct = int((twin == np.arange(len(twin))).sum())
            assert distinct / 2.5 <= table.distinct_features(len(twin)) <= 2.5 * distinct, name


def test_label_rows_are_read_or_estimated(facts, built, demo_dataset):
    split, _ = built
    stored = build_skeleton(facts, facts.source.val_time, None)
    assert (stored.num_train, stored.num_val) == (len(split.train), len(split.val))
    unlabelled = look_at(str(demo_dataset), DEMO_TASK, GraphConfig(), stored_labels=False)
    estimated = build_skeleton(unlabelled, facts.source.val_time, None)
    # Whoever looked at something counts as a row: an upper bound of those who bought.
    assert len(split.train) <= estimated.num_train < 3 * len(split.train)
    assert len(split.val) <= estimated.num_val < 3 * len(split.val)


def test_fewer_windows_are_fewer_rows(facts):
    every, few = (build_skeleton(facts, facts.source.val_time, n).num_train for n in (None, 2))
    assert 0 < few < every / 2


def test_skeleton_is_the_graph(facts, built):
    _, graph = built
    skeleton = build_skeleton(facts, facts.source.val_time, None)
    assert skeleton.share == 1.0
    assert skeleton.graph.hops == graph.hops
    assert set(skeleton.graph.relations) == set(graph.relations)
    for relation, adjacency in graph.adjacency.items():
        # The skeleton also holds what comes after the test time.
        assert len(skeleton.graph.adjacency[relation].neighbor) >= len(adjacency.neighbor)


def test_subgraphs_are_those_that_training_will_see(facts, built):
    import torch

    from model_core.sampling.neighbors import fan_out_for

    split, graph = built
    config = RunConfig().model
    for most in (16, config.max_nodes_per_seed):
        fan_out, nodes = fan_out_for(
            graph.to_torch(), graph.hops, config.num_neighbors, most,
            torch.from_numpy(split.train.entity.copy()), torch.from_numpy(split.train.time.copy()))
        found = subgraph_facts(build_skeleton(facts, facts.source.val_time, None), graph.hops,
                               config.num_neighbors, most)
        assert found.nodes == pytest.approx(nodes, rel=0.25)
        assert found.fan_out == fan_out


def test_a_part_of_the_rows_gives_about_the_same_subgraphs(facts, monkeypatch):
    whole = subgraph_facts(build_skeleton(facts, facts.source.val_time, None), 3, 8, 1_000)
    largest = max(table.num_rows for table in facts.tables.values())
    monkeypatch.setattr(skeleton_module, "MAX_ROWS", largest // 3)
    part = build_skeleton(facts, facts.source.val_time, None)
    assert part.share == pytest.approx(1 / 3, abs=0.01)
    assert max(map(len, part.graph.node_time.values())) <= largest // 3 + 1
    assert part.num_train == facts.label_rows["train"]
    found = subgraph_facts(part, 3, 8, 1_000)
    assert whole.nodes / 2 < found.nodes < whole.nodes * 2


def test_distinct_rows_follow_the_pool():
    rng = np.random.default_rng(0)
    pool, drawn = 1_000, 700
    distinct = len(np.unique(rng.integers(0, pool, drawn)))
    facts = SubgraphFacts((1,), 1.0, 0.0, 0.0, 0.0, {"t": (distinct, drawn)}, 70, 0.0)
    assert facts.distinct_rows("t", 70, pool) == pytest.approx(distinct, rel=1e-6)
    more = np.mean([len(np.unique(rng.integers(0, pool, 10 * drawn))) for _ in range(5)])
    assert facts.distinct_rows("t", 700, pool) == pytest.approx(more, rel=0.1)


def test_a_missing_table_is_told(demo_dataset, tmp_path):
    import shutil

    broken = tmp_path / "shop"
    shutil.copytree(demo_dataset, broken)
    (broken / "db" / "views.parquet").unlink()
    with pytest.raises(DataError, match=r"views\.parquet"):
        look_at(str(broken), DEMO_TASK, GraphConfig())
    pq.write_table(pa.table({"x": [1]}), broken / "db" / "views.parquet")
    with pytest.raises(DataError, match=r"session_id|product_id|time"):
        look_at(str(broken), DEMO_TASK, GraphConfig())
