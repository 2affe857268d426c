"""The generated shop is a valid graph without look-ahead, and has the structure it promises."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

from benchmarks.charts import grid
from benchmarks.generated import NUM_TASTES, REPEATED, WINDOW, generate
from benchmarks.scale import Point, growth, plot, points_of, table
from model_core.evaluation.ranking import rows_per_block
from model_core.sampling.neighbors import sample

NUM_ITEMS, NUM_USERS = 5_000, 800


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("shop"), num_items=NUM_ITEMS, num_events=30_000,
                    num_users=NUM_USERS, num_rows=400, num_val_rows=50)


def test_adjacency_is_sorted_and_complete(shop):
    graph, split = shop
    assert graph.interactions.time.max() <= split.val_time == graph.last_time
    assert (np.diff(graph.interactions.time) >= 0).all()
    for relation, adjacency in graph.adjacency.items():
        assert len(adjacency.indptr) == graph.num_nodes[relation.dst] + 1
        assert adjacency.indptr[-1] == len(adjacency.neighbor) == graph.num_nodes["events"]
        assert adjacency.neighbor.max() < graph.num_nodes[relation.src]
        inside = np.ones(len(adjacency.time), bool)
        inside[adjacency.indptr[:-1][np.diff(adjacency.indptr) > 0]] = False
        assert (np.diff(adjacency.time, prepend=0)[inside] >= 0).all()
    batch = sample(graph.to_torch(), torch.tensor(split.val.entity), torch.tensor(split.val.time), (8, 4))
    assert len(batch.node["items"]) > len(split.val)


def test_labels_are_what_was_bought_in_the_window(shop):
    graph, split = shop
    events, train = graph.interactions, split.train
    assert 0 < len(train) <= 400
    assert 0 < len(split.val) <= 50
    assert (np.diff(train.time) >= 0).all()
    assert set(split.val.time.tolist()) == {split.val_time}
    for row in range(0, len(train), 17):
        own = ((events.entity == train.entity[row]) & (events.time > train.time[row])
               & (events.time <= train.time[row] + WINDOW))
        assert train.items_of(row).tolist() == np.unique(events.item[own]).tolist()


def test_tastes_and_repeats_are_there_to_be_learned(shop):
    graph, _ = shop
    user, item = graph.interactions.entity, graph.interactions.item
    taste = np.zeros((NUM_USERS, NUM_TASTES))
    np.add.at(taste, (user, item % NUM_TASTES), 1)
    busy = taste.sum(1) > 20
    assert (taste.max(1) / taste.sum(1))[busy].mean() > 0.6  # chance: 1 / 64
    key = user * NUM_ITEMS + item
    again = 1 - len(np.unique(key)) / len(key)
    assert again > 0.8 * REPEATED
    sold = np.sort(np.bincount(item, minlength=NUM_ITEMS))[::-1]
    assert sold[: NUM_ITEMS // 100].sum() > 0.2 * sold.sum()


def test_same_seed_same_shop(tmp_path):
    size = {"num_items": 300, "num_events": 2_000, "num_users": 60, "num_rows": 40}
    (one, split), (two, again), (other, _) = (
        generate(tmp_path / str(at), seed=seed, **size) for at, seed in enumerate((1, 1, 2)))
    assert np.array_equal(one.interactions.item, two.interactions.item)
    assert split.record.digest == again.record.digest
    assert not np.array_equal(one.interactions.item, other.interactions.item)


def test_scale_report_is_a_table_and_a_plot():
    rows = [{"series": "classes", "num_items": 10, "num_events": 20, "num_classes": c, "step_ms": ms,
             "cpu_ms": ms, "peak_mb": 1024.0, "table_mb": 1.0, "val_map": 0.1, "queue_s": 1.0,
             "queue_mb": 1.0} for c, ms in ((4_096, 10.0), (1_000_000, 30.0))]
    assert len(table(rows).splitlines()) == 4
    assert growth(rows).startswith("classes × 244.141: time per step × 3.00")
    root = ET.fromstring(plot(rows))
    assert len(root.findall("{*}g")) == 3
    assert len(ET.fromstring(grid([[("one", "x", [(5.0, 0.0)])]]))) == 2  # style and panel
    assert points_of("items", 10**5) == [Point("items", num_items=10**4), Point("items", num_items=10**5)]
    assert points_of("together", 10**6) == []


def test_blocks_of_scores_stay_small():
    assert rows_per_block(256, 4_000) == 256
    assert rows_per_block(256, 10_000_000) * 10_000_000 * 4 <= 2**28
    assert rows_per_block(256, 10**12) == 1
