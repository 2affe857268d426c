"""Ranking: exact ties, masks, padding, and nothing but scores and ids decides."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import EvaluationError
from model_core.evaluation.masks import NoMask, SeenMask
from model_core.evaluation.predictions import align, hit_matrix
from model_core.evaluation.ranking import from_numpy_scorer, rank, rank_masks, top_k
from tests.factories import make_seeds, make_shop

INF = float("inf")


def slow_top_k(row: list[float], k: int) -> list[int]:
    order = sorted((i for i in range(len(row)) if row[i] > -INF), key=lambda i: (-row[i], i))[:k]
    return order + [-1] * (k - len(order))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9).flatmap(lambda n: st.lists(
    st.lists(st.sampled_from([-INF, -1.0, 0.0, 0.5, 2.0]), min_size=n, max_size=n),
    min_size=1, max_size=5)), st.integers(1, 12))
def test_top_k_equals_a_sort_by_score_then_id(rows, k):
    assert top_k(torch.tensor(rows), k).tolist() == [slow_top_k(row, k) for row in rows]


def test_top_k_of_many_equal_scores_takes_the_smallest_ids():
    scores = torch.zeros(3, 5_000)
    scores[1, 4_321] = 1.0
    found = top_k(scores, 4).tolist()
    assert found == [[0, 1, 2, 3], [4_321, 0, 1, 2], [0, 1, 2, 3]]


def test_long_lists_keep_ties_in_order():
    scores = torch.randint(0, 4, (3, 4_000), generator=torch.Generator().manual_seed(0)).float()
    assert top_k(scores, 3_000).tolist() == [slow_top_k(row, 3_000) for row in scores.tolist()]


def test_top_k_of_nothing():
    assert top_k(torch.zeros(0, 5), 3).shape == (0, 3)
    assert top_k(torch.zeros(2, 0), 3).tolist() == [[-1] * 3] * 2


class Hashed:
    """Scores that depend on the row alone, with many ties, as a fair scorer's do."""

    def __init__(self, num_items: int, levels: int) -> None:
        self.num_items, self.levels = num_items, levels

    def __call__(self, entity: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        item = torch.arange(self.num_items)
        mixed = (entity[:, None] * 7_919 + time[:, None] * 104_729 + item * 31 + item**2 * 17) % 10_007
        return (mixed % self.levels).float() - 1.0


NUM_USERS, NUM_ITEMS = 12, 15
EVENTS = [(u, (u * 5 + j * 3) % NUM_ITEMS, j) for u in range(NUM_USERS) for j in range(5)]
SHOP = make_shop(EVENTS, NUM_USERS, NUM_ITEMS)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 30), st.randoms(use_true_random=False))
def test_batch_size_and_row_order_change_nothing(batch_size, k, levels, random):
    seeds = make_seeds([(u, t, [0]) for u in range(NUM_USERS) for t in (1, 3)])
    scorer, mask = Hashed(NUM_ITEMS, levels), SeenMask(SHOP)
    whole = rank(scorer, seeds, k, mask=mask, batch_size=1_000)
    assert np.array_equal(rank(scorer, seeds, k, mask=mask, batch_size=batch_size), whole)
    order = list(range(len(seeds)))
    random.shuffle(order)
    shuffled = seeds.take(np.array(order))
    found = rank(scorer, shuffled, k, mask=mask, batch_size=batch_size)
    assert np.array_equal(found, whole[order])
    assert np.array_equal(align(shuffled.entity, shuffled.time, found, seeds), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_changes_nothing():
    scores = torch.randint(-3, 3, (200, 3_000), generator=torch.Generator().manual_seed(0)) / 2
    scores[:50, :2_995] = -INF
    assert torch.equal(top_k(scores.cuda(), 20).cpu(), top_k(scores, 20))


def test_one_pass_serves_all_masks_and_leaves_scores_alone():
    seeds = make_seeds([(u, 4, [0]) for u in range(NUM_USERS)])
    calls, kept = [], torch.linspace(1, 0, NUM_ITEMS).repeat(NUM_USERS, 1)
    before = kept.clone()

    def scorer(entity, time):
        calls.append(len(entity))
        return kept[entity]  # indexing copies; the next scorer hands out its own tensor

    both = rank_masks(scorer, seeds, 5, {"seen": SeenMask(SHOP), "none": NoMask()}, batch_size=12)
    assert calls == [12]
    assert np.array_equal(both["none"], np.tile(np.arange(5), (NUM_USERS, 1)))
    for user, row in enumerate(both["seen"]):
        seen = {item for who, item, _ in EVENTS if who == user}
        assert row.tolist() == [i for i in range(NUM_ITEMS) if i not in seen][:5]
    rank(lambda entity, time: kept, seeds, 5, mask=SeenMask(SHOP))
    shared = rank(lambda entity, time: kept[:1].expand(NUM_USERS, -1), seeds, 5, mask=SeenMask(SHOP))
    assert np.array_equal(shared, both["seen"])  # rows that share memory are masked apart
    assert torch.equal(kept, before)


class Staged(Hashed):
    """The same in two stages. Remembers which blocks it was asked for, and in which order."""

    def __init__(self, num_items: int, levels: int, fails_at: int | None = None) -> None:
        super().__init__(num_items, levels)
        self.log, self.threads, self.fails_at = [], set(), fails_at

    def prepare(self, entity, time):
        self.threads.add(threading.current_thread())
        self.log.append(("prepare", int(entity[0])))
        if self.fails_at in entity.tolist():
            raise ValueError("no such row")
        return entity, time

    def score(self, prepared):
        self.log.append(("score", int(prepared[0][0])))
        return super().__call__(*prepared)

    def __call__(self, entity, time):
        raise AssertionError("the stages are to be used")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 20), st.integers(1, 30))
def test_blocks_prepared_ahead_give_the_same_lists(batch_size, k, levels):
    seeds = make_seeds([(u, t, [0]) for u in range(NUM_USERS) for t in (1, 3)])
    staged, masks = Staged(NUM_ITEMS, levels), {"seen": SeenMask(SHOP), "none": NoMask()}
    found = rank_masks(staged, seeds, k, masks, batch_size=batch_size)
    plain = rank_masks(Hashed(NUM_ITEMS, levels), seeds, k, masks, batch_size=batch_size)
    for name in masks:
        assert np.array_equal(found[name], plain[name])
    assert threading.current_thread() not in staged.threads
    prepared = scored = 0
    for stage, _ in staged.log:
        prepared, scored = prepared + (stage == "prepare"), scored + (stage == "score")
        assert scored <= prepared <= scored + 2  # one is being scored, one is ahead
    assert prepared == scored == -(-len(seeds) // batch_size)


def test_an_error_while_preparing_is_raised():
    seeds = make_seeds([(u, 1, [0]) for u in range(NUM_USERS)])
    staged = Staged(NUM_ITEMS, 3, fails_at=7)
    with pytest.raises(ValueError, match="no such row"):
        rank(staged, seeds, 3, batch_size=2)
    assert [number for stage, number in staged.log if stage == "score"][-1] <= 4
    assert not [thread for thread in staged.threads if thread.is_alive()]


def test_nobody_to_rank_for():
    nobody = make_seeds([(0, 1, [0])]).take(np.zeros(0, dtype=np.int64))
    assert rank(Staged(NUM_ITEMS, 3), nobody, 4).shape == (0, 4)


def test_masked_items_are_never_listed_even_if_places_stay_empty():
    seeds = make_seeds([(0, 4, [0])])
    found = rank(Hashed(NUM_ITEMS, 3), seeds, NUM_ITEMS + 3, mask=SeenMask(SHOP))[0]
    seen = {item for who, item, _ in EVENTS if who == 0}
    assert set(found[found >= 0]) == set(range(NUM_ITEMS)) - seen
    assert (found[NUM_ITEMS - len(seen):] == -1).all()


@pytest.mark.parametrize("bad", [float("nan"), INF])
def test_scores_that_are_not_finite_stop_the_ranking(bad):
    def scorer(entity, time):
        scores = torch.zeros(len(entity), 4)
        scores[entity == 7, 2] = bad
        return scores

    with pytest.raises(EvaluationError, match="entity 7 at time 3, item 2"):
        rank(scorer, make_seeds([(u, 3, [0]) for u in range(9)]), 2, batch_size=4)


def test_a_wrong_shape_stops_the_ranking():
    with pytest.raises(EvaluationError, match=r"scores of shape \[3, num_items\]"):
        rank(lambda entity, time: torch.zeros(2, 4), make_seeds([(u, 3, [0]) for u in range(3)]), 2)


def test_negative_zero_ties_with_zero_and_never_is_allowed():
    scorer = from_numpy_scorer(lambda entity, time: np.array([[-np.inf, -0.0, 0.0, -0.0]], np.float32))
    assert rank(scorer, make_seeds([(0, 1, [0])]), 4).tolist() == [[1, 2, 3, -1]]


def test_hits_are_the_listed_targets():
    truth = make_seeds([(0, 1, [2, 5]), (1, 1, []), (2, 1, [0])])
    items = np.array([[5, 0, -1], [0, 1, 2], [2, -1, -1]])
    assert hit_matrix(items, truth, 6).tolist() == [[True, False, False], [False] * 3, [False] * 3]
    assert not hit_matrix(items[1:2], truth.take(np.array([1])), 6).any()


def test_align_refuses_what_would_be_guessed():
    seeds = make_seeds([(0, 1, [2]), (1, 1, [3])])
    entity, time, items = np.array([1, 0]), np.array([1, 1]), np.array([[3, 1], [2, -1]])
    assert align(entity, time, items, seeds).tolist() == [[2, -1], [3, 1]]
    with pytest.raises(EvaluationError, match="none for entity 1 at time 1"):
        align(entity[1:], time[1:], items[1:], seeds)
    with pytest.raises(EvaluationError, match="two for entity 1"):
        align(np.array([1, 1, 0]), np.array([1, 1, 1]), items[[0, 0, 1]], seeds)
    with pytest.raises(EvaluationError, match="an item twice"):
        align(entity, time, np.array([[3, 3], [2, -1]]), seeds)
