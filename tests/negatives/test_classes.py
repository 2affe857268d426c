"""Sampled classes: nothing is lost, the priorities hold, and the estimate is the full softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.temporal_graph import UNTIMED
from model_core.negatives.classes import hard_classes, may_compete, sample_classes

NUM_ITEMS = 40


def make_queue(size, seed=0, num_items=NUM_ITEMS, num_buckets=2):
    """Skewed popularity, 30 % uniform; in bucket 0 the last five items are unborn."""
    rng = np.random.default_rng(seed)
    born = np.ones((num_buckets, num_items))
    born[0, -5:] = 0
    popular = rng.pareto(1.0, (num_buckets, num_items)) * born
    q = 0.7 * popular / popular.sum(1, keepdims=True) + 0.3 * born / born.sum(1, keepdims=True)
    candidate = np.stack([rng.choice(num_items, size, p=row) for row in q])
    with np.errstate(divide="ignore"):
        log_proposal = np.log(q).astype(np.float32)
    return torch.from_numpy(candidate), torch.from_numpy(log_proposal)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


ITEMS = st.lists(st.integers(0, NUM_ITEMS - 1), max_size=25)


@settings(max_examples=150, deadline=None)
@given(positive=ITEMS, local=ITEMS, hard=st.none() | ITEMS, num_classes=st.integers(1, 50),
       buckets=st.lists(st.integers(0, 1), max_size=6), seed=st.integers(0, 99))
def test_priorities(positive, local, hard, num_classes, buckets, seed):
    candidate, log_proposal = make_queue(30)
    found = sample_classes(
        candidate, log_proposal, positive=torch.tensor(positive, dtype=torch.int64),
        local=torch.tensor(local, dtype=torch.int64), bucket=torch.tensor(buckets, dtype=torch.int64),
        num_classes=num_classes, generator=generator(seed),
        hard=None if hard is None else torch.tensor(hard, dtype=torch.int64))
    item = found.item.tolist()
    assert len(item) == len(set(item)) == len(found.log_q)
    assert item[: found.num_positive] == sorted(set(positive))  # never dropped
    assert len(item) <= max(num_classes, found.num_positive)
    room = max(num_classes - found.num_positive, 0)
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


def estimate(score, num_classes, seed, *, queue, buckets, row, positive, local, time, birth):
    """Sampled sum of exponentials over each row's competitors, [B]."""
    found = sample_classes(*queue, positive=positive, local=local, bucket=buckets,
                           num_classes=num_classes, generator=generator(seed))
    allowed = may_compete(found, time, birth, row, positive)
    logits = score[:, found.item] - found.log_q
    return logits.masked_fill(~allowed, -torch.inf).exp().sum(1), found


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
    """The mean over fresh queues is the full sum of exponentials, within its own error."""
    setting, score = world()
    exact = full(score, setting)[0].exp().sum(1)
    values = torch.stack([
        estimate(score, num_classes, seed, queue=fresh(seed), **setting)[0]
        for seed in range(1_500)])
    error = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - exact).abs() < 4 * error).all()
    assert (error / exact < 0.05).all()  # tight enough to notice a wrong weight
    uncorrected = torch.stack([uncorrected_sum(score, num_classes, seed, setting) for seed in range(300)])
    assert (uncorrected.mean(0) < 0.9 * exact).any()


def fresh(seed):
    """New candidates from the same proposals: what a bucket's draws are samples of."""
    _, log_proposal = make_queue(1)
    candidate = torch.multinomial(log_proposal.double().exp(), 40, replacement=True,
                                  generator=generator(seed + 10**6))
    return candidate, log_proposal


def uncorrected_sum(score, num_classes, seed, setting):
    found = sample_classes(*fresh(seed), positive=setting["positive"], local=setting["local"],
                           bucket=setting["buckets"], num_classes=num_classes, generator=generator(seed))
    allowed = may_compete(found, setting["time"], setting["birth"], setting["row"], setting["positive"])
    return score[:, found.item].masked_fill(~allowed, -torch.inf).exp().sum(1)


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
    size = 100_000
    _, log_proposal = make_queue(1)
    queue = (torch.multinomial(log_proposal.double().exp(), size, replacement=True,
                               generator=generator()), log_proposal)
    distance = []
    for num_classes in (15, 60, 500, 50_000):
        gaps, gradients = [], []
        for seed in range(40):
            found = sample_classes(*queue, positive=setting["positive"], local=setting["local"],
                                   bucket=setting["buckets"], num_classes=num_classes,
                                   generator=generator(seed))
            allowed = may_compete(found, setting["time"], setting["birth"], setting["row"],
                                  setting["positive"])
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


def test_unborn_items_and_known_positives_do_not_compete():
    setting, score = world()
    _, found = estimate(score, 40, 0, queue=fresh(0), **setting)
    allowed = may_compete(found, setting["time"], setting["birth"], setting["row"], setting["positive"])
    for row in range(6):
        for at, item in enumerate(found.item.tolist()):
            own = item == setting["positive"][row]
            unborn = item >= NUM_ITEMS - 5 and setting["time"][row] < 15
            assert bool(allowed[row, at]) == (not own and not unborn)
    assert (~allowed).sum() > 6  # an unborn class was among them


def test_more_positives_than_classes_are_all_kept():
    candidate, log_proposal = make_queue(30)
    found = sample_classes(candidate, log_proposal, positive=torch.arange(20), local=torch.arange(25),
                           bucket=torch.tensor([0]), num_classes=5, generator=generator())
    assert found.item.tolist() == list(range(20))
    assert found.num_fixed == 20


def test_same_generator_state_same_classes():
    queue = make_queue(500)
    def draw(seed):
        return sample_classes(*queue, positive=torch.tensor([1]), local=torch.tensor([2]),
                              bucket=torch.tensor([0, 1]), num_classes=9,
                              generator=generator(seed)).item.tolist()
    assert draw(3) == draw(3)
    assert len({tuple(draw(seed)) for seed in range(9)}) > 1


def test_hard_classes_go_rank_by_rank():
    near = torch.tensor([[1, 2, -1], [0, 3, 4], [5, 1, -1], [-1, -1, -1], [0, 5, 6], [2, 6, 0], [-1, -1, -1]])
    positive = torch.tensor([4, 0, 2, 2])
    assert hard_classes(near, positive, 9).tolist() == [1, 5, 6]
    assert hard_classes(near, positive, 2).tolist() == [1, 5]
    assert hard_classes(near, torch.tensor([3]), 5).tolist() == []


def test_a_single_item_catalogue_is_finite():
    found = sample_classes(torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 1),
                           positive=torch.tensor([], dtype=torch.int64),
                           local=torch.tensor([], dtype=torch.int64), bucket=torch.tensor([0]),
                           num_classes=3, generator=generator())
    assert found.item.tolist() == [0]
    assert found.log_q.tolist() == [0.0]
