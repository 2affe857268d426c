"""The queue record: no look-ahead, exact probabilities, a truthful report."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from model_core.config import QueueConfig
from model_core.errors import DataError
from model_core.graph.temporal_graph import UNTIMED
from model_core.negatives import build, hard
from model_core.negatives.build import build_negative_queue
from model_core.negatives.hard import co_interaction_neighbors
from model_core.negatives.queue import TIERS
from tests.factories import DAY, Rows, make_graph, make_seeds, make_split

NUM_USERS, NUM_ITEMS = 12, 30


def make_world(folder, *, item_time=None, rng_seed=0, num_times=4):
    """Users buy skewed items over 100 days; four monthly training windows."""
    rng = np.random.default_rng(rng_seed)
    n = 600
    user, time = rng.integers(0, NUM_USERS, n), np.sort(rng.integers(0, 100 * DAY, n))
    item = np.minimum(rng.geometric(0.12, n) - 1, NUM_ITEMS - 1)
    graph = make_graph(
        {"users": Rows(NUM_USERS), "items": Rows(NUM_ITEMS, item_time),
         "events": Rows(n, time, {"u": ("users", user), "i": ("items", item)})},
        "users", "items", list(zip(user.tolist(), item.tolist(), time.tolist(), strict=True)))
    rows = []
    for window in range(num_times):
        start = 10 * DAY + window * 10 * DAY
        for u in range(NUM_USERS):
            bought = item[(user == u) & (time > start) & (time <= start + 10 * DAY)]
            if len(bought):
                rows.append((u, start, bought.tolist()))
    cutoff = 10 * DAY * (num_times + 1)
    empty = make_seeds([])
    split = make_split(folder / "split", make_seeds(rows), empty, empty, num_entities=NUM_USERS,
                       num_items=NUM_ITEMS, window_s=10 * DAY, val_time=cutoff, test_time=100 * DAY)
    return split, graph


def test_record_holds_what_the_contract_says(tmp_path):
    split, graph = make_world(tmp_path)
    config = QueueConfig(size=500, num_hard=5)
    queue = build_negative_queue(split, graph, config, 0, tmp_path / "queue")
    assert queue.bucket_time.tolist() == [10 * DAY, 20 * DAY, 30 * DAY, 40 * DAY]
    assert queue.candidate.shape == queue.tier.shape == (4, 500)
    assert queue.candidate.dtype == np.int64
    assert queue.tier.dtype == np.int8
    assert queue.log_proposal.shape == (4, NUM_ITEMS)
    assert queue.log_proposal.dtype == np.float32
    assert np.allclose(np.exp(queue.log_proposal.astype(float)).sum(1), 1, atol=1e-6)
    assert (queue.item_birth == UNTIMED).all()
    seen = graph.interactions.time <= split.train_cutoff
    for item in range(NUM_ITEMS):
        times = graph.interactions.time[seen & (graph.interactions.item == item)]
        assert queue.item_first_seen[item] == (times.min() if len(times) else np.iinfo(np.int64).max)
    assert queue.hard_neighbor.shape == (NUM_ITEMS, 5)
    assert {TIERS[t] for t in np.unique(queue.tier)} == {"uniform", "popular"}
    json.dumps(queue.report, allow_nan=False)


def test_same_seed_same_digest_other_seed_other_candidates(tmp_path):
    split, graph = make_world(tmp_path)
    config = QueueConfig(size=50)
    first, again, other = (
        build_negative_queue(split, graph, config, seed, tmp_path / f"q{at}")
        for at, seed in enumerate((0, 0, 1)))
    assert first.record.digest == again.record.digest
    assert (first.candidate != other.candidate).any()
    assert (first.log_proposal == other.log_proposal).all()


def test_a_bucket_knows_nothing_later_than_its_time(tmp_path):
    """Reshuffling what happens after the last bucket, or after any bucket, leaves it as it was."""
    split, graph = make_world(tmp_path)
    config = QueueConfig(size=200)
    before = build_negative_queue(split, graph, config, 0, tmp_path / "before")
    for bucket, time in enumerate(before.bucket_time):
        events = graph.interactions
        item = events.item.copy()
        later = events.time > time
        item[later] = (item[later] * 7 + 3) % NUM_ITEMS
        shuffled = replace(graph, interactions=replace(events, item=item))
        after = build_negative_queue(split, shuffled, config, 0, tmp_path / f"after{bucket}")
        assert (after.log_proposal[: bucket + 1] == before.log_proposal[: bucket + 1]).all()
        assert (after.candidate[: bucket + 1] == before.candidate[: bucket + 1]).all()
        if bucket < 3:
            assert (after.log_proposal[bucket + 1] != before.log_proposal[bucket + 1]).any()


def test_rows_after_the_train_cutoff_change_nothing(tmp_path):
    split, graph = make_world(tmp_path)
    assert split.train_cutoff < graph.interactions.time[-1] < graph.last_time
    config = QueueConfig(size=200)
    events, late = graph.interactions, graph.interactions.time > split.train_cutoff
    item = events.item.copy()
    item[late] = np.where(item[late] < 15, 29, item[late] - 15)
    other = replace(graph, interactions=replace(events, item=item))
    assert (build_negative_queue(split, graph, config, 0, tmp_path / "a").record.digest
            == build_negative_queue(split, other, config, 0, tmp_path / "b").record.digest)


def test_unborn_items_have_probability_zero(tmp_path):
    birth = np.arange(NUM_ITEMS) * 2 * DAY  # item 5 is born at day 10
    split, graph = make_world(tmp_path, item_time=birth)
    queue = build_negative_queue(split, graph, QueueConfig(size=2_000), 0, tmp_path / "queue")
    for bucket, time in enumerate(queue.bucket_time):
        assert (np.isneginf(queue.log_proposal[bucket]) == (birth > time)).all()
        assert (birth[queue.candidate[bucket]] <= time).all()
        assert queue.report["buckets"][bucket]["num_unborn_excluded"] == (birth > time).sum()
    assert queue.report["buckets"][0]["num_born"] == 6


def test_report_measures_false_negatives_and_mix(tmp_path):
    split, graph = make_world(tmp_path)
    queue = build_negative_queue(split, graph, QueueConfig(size=4_000), 0, tmp_path / "queue")
    train, bucket = split.train, queue.bucket_of(split.train.time)
    expected, measured = [], []
    for row in range(len(train)):
        positives = train.items_of(row)
        expected.append(np.exp(queue.log_proposal[bucket[row], positives].astype(float)).sum())
        measured.append(np.isin(queue.candidate[bucket[row]], positives).mean())
    report = queue.report
    assert report["false_negative_rate_expected"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert report["false_negative_rate_measured"] == pytest.approx(np.mean(measured), rel=1e-9)
    assert np.mean(measured) == pytest.approx(np.mean(expected), rel=0.1)
    assert np.mean(expected) > 0.05
    assert sum(report["popularity_decile_share"]) == pytest.approx(1)
    assert report["popularity_decile_share"][0] == max(report["popularity_decile_share"])
    assert report["tier_share"]["uniform"] == pytest.approx(0.2, abs=0.02)
    assert report["tier_share"]["uniform"] == pytest.approx((queue.tier == 0).mean())
    assert report["coverage"] == len(np.unique(queue.candidate)) / NUM_ITEMS
    hits = [np.isin(near[near >= 0], train.items_of(row)).sum()
            for row in range(len(train)) for near in queue.hard_neighbor[train.items_of(row)]]
    pairs = [(near >= 0).sum()
             for row in range(len(train)) for near in queue.hard_neighbor[train.items_of(row)]]
    assert report["hard_false_negative_rate"] == pytest.approx(sum(hits) / sum(pairs))


def test_older_seed_times_share_the_oldest_bucket(tmp_path, monkeypatch):
    split, graph = make_world(tmp_path)
    monkeypatch.setattr(build, "MAX_BUCKETS", 2)
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert queue.bucket_time.tolist() == [30 * DAY, 40 * DAY]
    assert queue.bucket_of(np.array([0, 10, 30, 35, 40, 99]) * DAY).tolist() == [0, 0, 0, 0, 1, 1]
    assert queue.report["num_seed_times_before_first_bucket"] == 2
    monkeypatch.setattr(build, "MAX_BUCKETS", 64)
    monkeypatch.setattr(build, "MAX_TABLE_BYTES", 4 * NUM_ITEMS * 3 + 1)
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert len(queue.bucket_time) == 3


def test_impossible_inputs_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    split, graph = make_world(tmp_path)
    config, out = QueueConfig(size=50), tmp_path / "queue"
    with pytest.raises(DataError, match="training rows"):
        build_negative_queue(replace(split, train=make_seeds([])), graph, config, 0, out)
    _, late = make_world(tmp_path / "late", item_time=np.full(NUM_ITEMS, 99 * DAY))
    with pytest.raises(DataError, match="born before"):
        build_negative_queue(split, late, config, 0, out)
    monkeypatch.setattr(build, "MAX_TABLE_BYTES", 4 * NUM_ITEMS - 1)
    with pytest.raises(DataError, match="log-probability table"):
        build_negative_queue(split, graph, config, 0, out)
    assert not out.exists()


def test_seed_times_without_a_born_item_get_no_bucket(tmp_path):
    split, graph = make_world(tmp_path, item_time=np.full(NUM_ITEMS, 25 * DAY))
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert queue.bucket_time.tolist() == [30 * DAY, 40 * DAY]
    assert queue.report["num_seed_times_without_items"] == 2


@pytest.mark.parametrize("block", [1, 40, 10**9])
def test_hard_neighbors_equal_dense_cosine(block, monkeypatch, tmp_path):
    monkeypatch.setattr(hard, "MAX_BLOCK_PRODUCTS", block)
    _, graph = make_world(tmp_path)
    upto = 8 * DAY
    found = co_interaction_neighbors(graph.interactions, NUM_USERS, NUM_ITEMS, upto, 6)
    taken = np.zeros((NUM_USERS, NUM_ITEMS))
    for user, item, time in zip(*(getattr(graph.interactions, f) for f in ("entity", "item", "time")),
                                strict=True):
        if time <= upto:
            taken[user, item] = 1
    count = taken.T @ taken
    size = np.diag(count)
    assert (size == 0).any()  # some items are new, and have no neighbours
    for item in range(NUM_ITEMS):
        near = [(-(count[item, j] / np.sqrt(size[item] * size[j])), j)
                for j in range(NUM_ITEMS) if j != item and count[item, j] > 0]
        expected = [j for _, j in sorted(near)][:6]
        assert found[item].tolist() == expected + [-1] * (6 - len(expected))
    assert co_interaction_neighbors(graph.interactions, NUM_USERS, NUM_ITEMS, upto, 0).shape == (30, 0)


def test_hard_neighbors_keep_the_newest_items_of_an_entity(monkeypatch):
    from tests.factories import make_shop

    monkeypatch.setattr(hard, "MAX_ITEMS_PER_ENTITY", 2)
    graph = make_shop([(0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 0, 4)], 1, 3)  # 0 comes again
    found = co_interaction_neighbors(graph.interactions, 1, 3, 9, 1)
    assert found.tolist() == [[2], [-1], [0]]
