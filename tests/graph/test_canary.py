"""Shuffling everything after a moment changes nothing that was known until then."""

import numpy as np
import pyarrow as pa
import pytest

from model_core.config import GraphConfig, SplitConfig
from model_core.graph.build import build_graph
from model_core.split.temporal import temporal_split
from model_core.tables.demo import DEMO_TASK, write_demo_dataset
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import Snapshot
from tests.canary import shuffle_after
from tests.graph.worlds import TEST_TIME, VAL_TIME, shop_snapshot


def run(folder):
    snapshot = Snapshot.open(folder)
    split = temporal_split(snapshot, SplitConfig(), folder.with_name(f"{folder.name}_split"))
    graph = build_graph(snapshot, split, GraphConfig(), folder.with_name(f"{folder.name}_graph"))
    return snapshot, split, graph


@pytest.fixture(scope="module", params=[True, False], ids=["stored labels", "labels from SQL"])
def worlds(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("canary")
    shop_snapshot(folder / "true", stored=request.param)
    shuffle_after(folder / "true", VAL_TIME, folder / "shuffled", seed=1)
    return run(folder / "true"), run(folder / "shuffled")


def known_edges(graph, upto):
    """Relation to (dst, neighbor, time) of edges between rows with time <= upto."""
    known = {}
    for relation, edges in graph.adjacency.items():
        dst = np.repeat(np.arange(graph.num_nodes[relation.dst]), np.diff(edges.indptr))
        kept = (edges.time <= upto) & (graph.node_time[relation.dst][dst] <= upto)
        known[relation] = np.stack([dst[kept], edges.neighbor[kept], edges.time[kept]])
    return known


def test_the_shuffle_does_shuffle(worlds):
    (true, true_split, _), (other, other_split, _) = worlds
    for table, schema in true.tables.items():
        for column in schema.columns:
            a, b = (s.table(table, [column]).column(0) for s in (true, other))
            changes = schema.time_col is not None and column != schema.pkey
            later = pa.array(true.times(table) > VAL_TIME) if changes else None
            if not changes:
                assert a.equals(b)
            elif later.true_count > 10:
                assert not a.filter(later).equals(b.filter(later))
                assert sorted(map(str, a.to_pylist())) == sorted(map(str, b.to_pylist()))
    assert not np.array_equal(true_split.test.item, other_split.test.item)


def test_training_seeds_do_not_notice(worlds):
    (_, true, _), (_, other, _) = worlds
    assert len(true.train) > 50
    for part in ("entity", "time", "item_ptr", "item"):
        assert np.array_equal(getattr(true.train, part), getattr(other.train, part))
    assert true.counts["train"] == other.counts["train"]
    assert true.locality["train"] == other.locality["train"]


def test_statistics_and_vocabularies_do_not_notice(worlds):
    true, other = (world[2].record for world in worlds)
    for key in ("columns", "statistics"):
        assert true.meta[key] == other.meta[key]
    assert true.files["vocabularies.json"] == other.files["vocabularies.json"]


def test_features_of_known_rows_do_not_notice(worlds):
    true, other = (world[2] for world in worlds)
    for table, time in true.node_time.items():
        known = time <= VAL_TIME
        assert np.array_equal(known, other.node_time[table] <= VAL_TIME)
        assert np.array_equal(time[known], other.node_time[table][known])
        for part in ("number", "category", "text"):
            a, b = (getattr(graph.columns[table], part)[known] for graph in (true, other))
            assert a.tobytes() == b.tobytes()


def test_known_edges_do_not_notice(worlds):
    true, other = (known_edges(world[2], VAL_TIME) for world in worlds)
    for relation, edges in true.items():
        assert edges.size
        assert np.array_equal(edges, other[relation])


def test_known_interactions_do_not_notice(worlds):
    true, other = (world[2].interactions for world in worlds)
    for part in ("entity", "item", "time"):
        a, b = (getattr(events, part)[events.time <= VAL_TIME] for events in (true, other))
        assert len(a)
        assert np.array_equal(a, b)


def test_nothing_after_the_test_time_is_in_the_graph(tmp_path):
    """Byte for byte the same graph, whatever later rows hold; only their times are kept."""
    shop_snapshot(tmp_path / "true")
    shuffle_after(tmp_path / "true", TEST_TIME, tmp_path / "shuffled", shuffle_times=False)
    true, other = run(tmp_path / "true"), run(tmp_path / "shuffled")
    assert true[0].record.digest != other[0].record.digest
    assert true[2].record.digest == other[2].record.digest


def test_a_dataset_folder_can_be_shuffled_before_ingest(tmp_path):
    shop = write_demo_dataset(tmp_path / "shop", scale=0.05)
    cutoff = ingest(str(shop), DEMO_TASK, tmp_path / "true").val_time
    shuffle_after(shop, cutoff, tmp_path / "other_shop")
    ingest(str(tmp_path / "other_shop"), DEMO_TASK, tmp_path / "other")
    (_, split, graph), (_, other_split, other_graph) = run(tmp_path / "true"), run(tmp_path / "other")
    assert np.array_equal(split.train.item, other_split.train.item)
    assert graph.record.meta["statistics"] == other_graph.record.meta["statistics"]
    # The shop has views beside its purchases: which route is which is decided before the cutoff, too.
    assert split.routes == other_split.routes
    assert split.target_routes == other_split.target_routes == split.routes[1:]
    for part in ("entity", "item", "time", "target"):
        a, b = (getattr(g.interactions, part)[g.interactions.time <= cutoff] for g in (graph, other_graph))
        assert np.array_equal(a, b)
    edges, other_edges = known_edges(graph, cutoff), known_edges(other_graph, cutoff)
    assert all(np.array_equal(edges[relation], other_edges[relation]) for relation in edges)
    assert graph.record.digest != other_graph.record.digest
