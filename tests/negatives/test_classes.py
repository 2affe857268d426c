"""Sampled classes: nothing is lost, the priorities hold, and the estimate is the full softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.temporal_graph import UNTIMED
from model_core.losses.softmax import unborn
from model_core.negatives.classes import hard_classes, log_inclusion, sample_classes
from tests.negatives.proposals import make_proposals

NUM_ITEMS = 40
BIRTH = np.where(np.arange(NUM_ITEMS) >= NUM_ITEMS - 5, 15, UNTIMED)


def make_queue(seed=0):
    """Skewed popularity, 30 % uniform; in bucket 0 (time 10) the last five items are unborn."""
    rng = np.random.default_rng(seed)
    return make_proposals([rng.pareto(1.0, NUM_ITEMS) for _ in range(2)], 0.3, BIRTH)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


ITEMS = st.lists(st.integers(0, NUM_ITEMS - 1), max_size=25)


@settings(max_examples=150, deadline=None)
@given(positive=ITEMS, local=ITEMS, hard=st.none() | ITEMS, num_classes=st.integers(1, 50),
       buckets=st.lists(st.integers(0, 1), max_size=6), seed=st.integers(0, 99))
def test_priorities(positive, local, hard, num_classes, buckets, seed):
    found = sample_classes(
        make_queue(), positive=torch.tensor(positive, dtype=torch.int64),
        local=torch.tensor(local, dtype=torch.int64), bucket=torch.tensor(buckets, dtype=torch.int64),
        num_classes=num_classes, generator=generator(seed),
        hard=None if hard is None else torch.tensor(hard, dtype=torch.int64))
    item = found.item.tolist()
    assert len(item) == len(set(item)) == len(found.log_q)
    assert item[: found.num_positive] == sorted(set(positive))  # never dropped
    assert len(item) <= max(num_classes, found.num_positive)
    free = max(num_classes - found.num_positive, 0)
    room = free - free // 2  # the other half is left to chance
    fixed = item[found.num_positive : found.num_fixed]
    more_local = set(local) - set(positive)
    more_hard = set(hard or []) - set(positive) - more_local
    assert set(fixed[: len(more_local)]) <= more_local
    assert len(fixed) == min(room, len(more_local) + len(more_hard))
    if len(more_local) >= room and fixed:  # the more frequent ones were kept
        left = more_local - set(fixed)
        assert min(map(local.count, fixed)) >= max(map(local.count, left), default=0)
    assert (found.log_q[: found.num_fixed] == 0).all()
    drawn = found.item[found.num_fixed :]
    assert torch.isfinite(found.log_q).all()
    assert (found.log_q <= 0).all()
    if set(buckets) == {0}:
        assert (drawn < NUM_ITEMS - 5).all()  # unborn in bucket 0
    if positive:
        where = found.position_of(torch.tensor(positive))
        assert found.item[where].tolist() == positive


def test_many_local_items_leave_room_for_draws():
    found = sample_classes(
        make_queue(), positive=torch.tensor([0]), local=torch.arange(1, 12),
        bucket=torch.zeros(4, dtype=torch.int64), num_classes=9, generator=generator(0))
    assert found.num_fixed == 5
    assert len(found.item) > found.num_fixed


def competing(found, setting):
    """bool [B, C]: born, and not the row's own positive."""
    allowed = ~unborn(setting["birth"][found.item], setting["time"])
    allowed[setting["row"], found.position_of(setting["positive"])] = False
    return allowed


def draw(setting, num_classes, seed):
    return sample_classes(
        make_queue(), positive=setting["positive"], local=setting["local"],
        bucket=setting["buckets"], num_classes=num_classes, generator=generator(seed))


def sampled_sum(score, num_classes, seed, setting, corrected=True):
    """Sum of exponentials over each row's competitors among the sampled classes, [B]."""
    found = draw(setting, num_classes, seed)
    logits = score[:, found.item] - (found.log_q if corrected else 0)
    return logits.masked_fill(~competing(found, setting), -torch.inf).exp().sum(1)


def world(seed=0, num_rows=6):
    rng = torch.Generator().manual_seed(seed)
    buckets = torch.tensor([0, 0, 1, 1, 1, 1])[:num_rows]
    birth = torch.full((NUM_ITEMS,), UNTIMED)
    birth[-5:] = 15
    row = torch.arange(num_rows)
    setting = {
        "buckets": buckets, "row": row, "positive": row * 5, "local": torch.tensor([1, 2, 3]),
        "time": torch.where(buckets == 0, 10, 20), "birth": birth,
    }
    return setting, torch.randn(num_rows, NUM_ITEMS, generator=rng, dtype=torch.float64)


def full(score, setting):
    allowed = setting["birth"][None, :] <= setting["time"][:, None]
    allowed[setting["row"], setting["positive"]] = False
    return score.masked_fill(~allowed, -torch.inf), allowed


@pytest.mark.parametrize("num_classes", [12, 30])
def test_partition_estimate_is_unbiased(num_classes):
    """The mean over steps is the full sum of exponentials, within its own error."""
    setting, score = world()
    exact = full(score, setting)[0].exp().sum(1)
    values = torch.stack([sampled_sum(score, num_classes, seed, setting) for seed in range(1_500)])
    error = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - exact).abs() < 4 * error).all()
    assert (error / exact < 0.05).all()  # tight enough to notice a wrong weight
    plain = torch.stack([
        sampled_sum(score, num_classes, seed, setting, corrected=False) for seed in range(300)])
    assert (plain.mean(0) < 0.9 * exact).any()


def test_inclusion_probability_by_hand():
    """1 - (1 - 1/2)² = 3/4; three draws of a rare item are three chances."""
    found = log_inclusion(torch.tensor([0.5, 1.0], dtype=torch.float64), 2).exp()
    assert found.tolist() == pytest.approx([0.75, 1.0])
    rare = log_inclusion(torch.tensor([1e-12], dtype=torch.float64), 3).item()
    assert rare == pytest.approx(np.log(3e-12), abs=1e-6)


def loss_of(score, setting, competitors):
    """Cross-entropy of each row's positive against its competitors."""
    target = score[setting["row"], setting["positive"]]
    return (torch.logsumexp(torch.cat([target[:, None], competitors], 1), 1) - target).mean()


def test_loss_and_gradient_approach_the_full_softmax():
    setting, score = world()
    score.requires_grad_()
    masked, _ = full(score, setting)
    exact = loss_of(score, setting, masked)
    (exact_gradient,) = torch.autograd.grad(exact, score)
    distance = []
    for num_classes in (15, 60, 500, 50_000):
        gaps, gradients = [], []
        for seed in range(40):
            found = draw(setting, num_classes, seed)
            allowed = competing(found, setting)
            logits = (score[:, found.item] - found.log_q).masked_fill(~allowed, -torch.inf)
            loss = loss_of(score, setting, logits)
            gaps.append(float((loss - exact).abs().detach()))
            gradients.append(torch.autograd.grad(loss, score)[0])
        distance.append((np.mean(gaps), float((torch.stack(gradients).mean(0) - exact_gradient).norm())))
    for closer, further in zip(distance[1:], distance[:-1], strict=True):
        assert closer[0] < further[0]
        assert closer[1] < further[1]
    assert distance[-1][0] < 1e-5
    assert distance[-1][1] < 1e-5


def test_more_positives_than_classes_are_all_kept():
    found = sample_classes(make_queue(), positive=torch.arange(20), local=torch.arange(25),
                           bucket=torch.tensor([0]), num_classes=5, generator=generator())
    assert found.item.tolist() == list(range(20))
    assert found.num_fixed == 20


def test_every_step_draws_anew_and_can_be_repeated():
    setting, _ = world()
    assert torch.equal(draw(setting, 15, 3).item, draw(setting, 15, 3).item)
    drawn = {tuple(draw(setting, 15, seed).item.tolist()) for seed in range(9)}
    assert len(drawn) > 5
    born = set(range(NUM_ITEMS))  # nothing is out of reach, as it would be with a fixed list
    assert set().union(*({*draw(setting, 15, seed).item.tolist()} for seed in range(300))) == born


def test_hard_classes_go_rank_by_rank():
    item = torch.tensor([0, 1, 2, 4, 5])  # 3 and 6 have no neighbours
    near = torch.tensor([[1, 2, -1], [0, 3, 4], [5, 1, -1], [0, 5, 6], [2, 6, 0]], dtype=torch.int32)
    positive = torch.tensor([4, 0, 2, 2])
    assert hard_classes(item, near, positive, 9).tolist() == [1, 5, 6]
    assert hard_classes(item, near, positive, 2).tolist() == [1, 5]
    assert hard_classes(item, near, torch.tensor([3]), 5).tolist() == []
    assert hard_classes(item, near, torch.tensor([6, 0]), 5).tolist() == [1, 2]
    assert hard_classes(item[:0], near[:0], positive, 5).tolist() == []


def test_a_single_item_catalogue_is_finite():
    found = sample_classes(make_proposals([np.ones(1)]),
                           positive=torch.tensor([], dtype=torch.int64),
                           local=torch.tensor([], dtype=torch.int64), bucket=torch.tensor([0]),
                           num_classes=3, generator=generator())
    assert found.item.tolist() == [0]
    assert found.log_q.tolist() == [0.0]
