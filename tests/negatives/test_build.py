"""The queue record: no look-ahead, exact probabilities, a truthful report."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model_core.config import QueueConfig
from model_core.errors import DataError
from model_core.graph.temporal_graph import UNTIMED
from model_core.negatives import build
from model_core.negatives.build import build_negative_queue
from model_core.negatives.drawing import Proposals
from model_core.negatives.hard import co_interaction_neighbors
from model_core.negatives.queue import TIERS
from model_core.priors import co_counts
from tests.factories import DAY, Rows, make_graph, make_seeds, make_split
from tests.negatives.proposals import dense

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


def probabilities(queue):
    """q of every item under every bucket, float64 [T, num_items]."""
    proposals = Proposals.of(queue)
    return np.stack([proposals.probability(bucket, torch.arange(NUM_ITEMS)).numpy()
                     for bucket in range(len(queue.bucket_time))])


def test_record_holds_what_the_contract_says(tmp_path):
    split, graph = make_world(tmp_path)
    config = QueueConfig(size=500, num_hard=5)
    queue = build_negative_queue(split, graph, config, 0, tmp_path / "queue")
    assert queue.bucket_time.tolist() == [10 * DAY, 20 * DAY, 30 * DAY, 40 * DAY]
    assert queue.candidate.shape == queue.tier.shape == (4, 500)
    assert queue.candidate.dtype == np.int32
    assert queue.tier.dtype == np.int8
    assert np.allclose(probabilities(queue).sum(1), 1)
    assert (queue.item_birth == UNTIMED).all()
    seen = graph.interactions.time <= split.train_cutoff
    for item in range(NUM_ITEMS):
        times = graph.interactions.time[seen & (graph.interactions.item == item)]
        assert queue.item_first_seen[item] == (times.min() if len(times) else np.iinfo(np.int64).max)
    assert queue.hard_neighbor.shape == (len(queue.hard_item), 5)
    assert (np.diff(queue.hard_item) > 0).all()
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
    assert (probabilities(first) == probabilities(other)).all()


def test_proposal_is_the_documented_mixture(tmp_path):
    """Recomputed item by item: decayed counts to the power α, and uniform over what is born."""
    birth = np.arange(NUM_ITEMS) * 2 * DAY
    split, graph = make_world(tmp_path, item_time=birth)
    config = QueueConfig(size=10, half_life_days=7.0, popularity_exponent=0.6, uniform_fraction=0.25)
    queue = build_negative_queue(split, graph, config, 0, tmp_path / "queue")
    events = graph.interactions
    for time, found in zip(queue.bucket_time, probabilities(queue), strict=True):
        popular = np.zeros(NUM_ITEMS)
        for item, at in zip(events.item, events.time, strict=True):
            if at <= time:
                popular[item] += 0.5 ** ((time - at) / (7 * DAY))
        born = birth <= time
        assert found == pytest.approx(dense(popular**0.6, born, 0.25), abs=1e-12)


def test_events_too_old_to_count_leave_a_uniform_proposal(tmp_path):
    split, graph = make_world(tmp_path)
    events = graph.interactions
    old = replace(graph, interactions=replace(events, time=events.time - 3_000 * DAY))
    queue = build_negative_queue(split, old, QueueConfig(size=10, half_life_days=1.0), 0, tmp_path / "q")
    assert queue.uniform_fraction.tolist() == [1.0] * 4
    assert np.allclose(probabilities(queue), 1 / NUM_ITEMS)
    assert (queue.tier == TIERS.index("uniform")).all()


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
        new, old = probabilities(after), probabilities(before)
        assert (new[: bucket + 1] == old[: bucket + 1]).all()
        assert (after.candidate[: bucket + 1] == before.candidate[: bucket + 1]).all()
        if bucket < 3:
            assert (new[bucket + 1] != old[bucket + 1]).any()


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
        assert ((probabilities(queue)[bucket] == 0) == (birth > time)).all()
        assert (birth[queue.candidate[bucket]] <= time).all()
        assert queue.report["buckets"][bucket]["num_unborn_excluded"] == (birth > time).sum()
    assert queue.report["buckets"][0]["num_born"] == 6


def test_report_measures_false_negatives_and_mix(tmp_path):
    split, graph = make_world(tmp_path)
    queue = build_negative_queue(split, graph, QueueConfig(size=4_000), 0, tmp_path / "queue")
    train, bucket = split.train, queue.bucket_of(split.train.time)
    expected, measured, q = [], [], probabilities(queue)
    for row in range(len(train)):
        positives = train.items_of(row)
        expected.append(q[bucket[row], positives].sum())
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
    neighbors = {item: near[near >= 0] for item, near in
                 zip(queue.hard_item.tolist(), queue.hard_neighbor, strict=True)}
    met = [(train.items_of(row), neighbors.get(item, np.zeros(0)))
           for row in range(len(train)) for item in train.items_of(row).tolist()]
    hits = [np.isin(near, own).sum() for own, near in met]
    pairs = [len(near) for _, near in met]
    assert report["hard_false_negative_rate"] == pytest.approx(sum(hits) / sum(pairs))


def test_few_buckets_stand_for_many_seed_times(tmp_path, monkeypatch):
    """Every k-th from the newest, and the oldest: no row uses a bucket later than itself."""
    split, graph = make_world(tmp_path, num_times=8)
    monkeypatch.setattr(build, "MAX_BUCKETS", 4)
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert (queue.bucket_time // DAY).tolist() == [10, 20, 50, 80]
    assert queue.bucket_of(np.array([0, 10, 40, 50, 79, 99]) * DAY).tolist() == [0, 0, 1, 2, 2, 3]
    assert queue.report["num_seed_times_without_own_bucket"] == 4
    monkeypatch.setattr(build, "MAX_BUCKETS", 64)
    monkeypatch.setattr(build, "MAX_POPULAR_ENTRIES", 5 * NUM_ITEMS)
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert (queue.bucket_time // DAY).tolist() == [10, 20, 40, 60, 80]
    assert len(queue.popular_item) <= 5 * NUM_ITEMS
    monkeypatch.setattr(build, "MAX_POPULAR_ENTRIES", 1)  # too small a bound stops at two
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert (queue.bucket_time // DAY).tolist() == [10, 80]


def test_impossible_inputs_are_refused_and_nothing_is_written(tmp_path):
    split, graph = make_world(tmp_path)
    config, out = QueueConfig(size=50), tmp_path / "queue"
    with pytest.raises(DataError, match="training rows"):
        build_negative_queue(replace(split, train=make_seeds([])), graph, config, 0, out)
    _, late = make_world(tmp_path / "late", item_time=np.full(NUM_ITEMS, 99 * DAY))
    with pytest.raises(DataError, match="born before"):
        build_negative_queue(split, late, config, 0, out)
    assert not out.exists()


def test_seed_times_without_a_born_item_get_no_bucket(tmp_path):
    split, graph = make_world(tmp_path, item_time=np.full(NUM_ITEMS, 25 * DAY))
    queue = build_negative_queue(split, graph, QueueConfig(size=50), 0, tmp_path / "queue")
    assert queue.bucket_time.tolist() == [30 * DAY, 40 * DAY]
    assert queue.report["num_seed_times_without_items"] == 2


@pytest.mark.parametrize("block", [1, 40, 10**9])
def test_hard_neighbors_equal_dense_cosine(block, monkeypatch, tmp_path):
    monkeypatch.setattr(co_counts, "MAX_BLOCK_PRODUCTS", block)
    _, graph = make_world(tmp_path)
    upto = 8 * DAY
    have, near = co_interaction_neighbors(graph.interactions, NUM_USERS, upto, 6)
    found = np.full((NUM_ITEMS, 6), -1)
    found[have] = near
    assert len(have) < NUM_ITEMS
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
    have, near = co_interaction_neighbors(graph.interactions, NUM_USERS, upto, 0)
    assert have.shape == (0,)
    assert near.shape == (0, 0)


def test_hard_neighbors_keep_the_newest_items_of_an_entity(monkeypatch):
    from tests.factories import make_shop

    monkeypatch.setattr(co_counts, "MAX_ITEMS_PER_ENTITY", 2)
    graph = make_shop([(0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 0, 4)], 1, 3)  # 0 comes again
    have, near = co_interaction_neighbors(graph.interactions, 1, 9, 1)
    assert have.tolist() == [0, 2]
    assert near.tolist() == [[2], [0]]
