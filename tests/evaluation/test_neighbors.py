"""Nearest items: the same whatever the way they are found, and found once for all who ask."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import BASELINES, neighbors
from tests.factories import make_seeds, make_shop


@pytest.mark.parametrize("full_block", [0, 10**9])  # never dense, always dense
def test_nearest_items_whatever_the_chunks_and_the_way(monkeypatch, full_block):
    dense = (np.random.default_rng(1).random((40, 25)) < 0.2).astype(np.float32)
    norm = np.sqrt(dense.sum(axis=0))
    cosine = (dense / norm).T @ (dense / norm)
    np.fill_diagonal(cosine, 0)
    expected = np.zeros_like(cosine)
    for item, row in enumerate(cosine.round(6)):
        near = sorted(np.flatnonzero(row), key=lambda j: (-row[j], j))[:4]
        expected[item, near] = cosine[item, near]
    monkeypatch.setattr(neighbors, "_FULL_BLOCK", full_block)
    for products in (10**9, 200):
        monkeypatch.setattr(neighbors, "_CHUNK_PRODUCTS", products)
        found = neighbors.nearest_items(sparse.csr_array(dense), 4).toarray()
        np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-6)
        clear = np.sort(cosine)[:, -4] - np.sort(cosine)[:, -5] > 1e-5  # no tie at the cut
        assert clear.sum() > 5
        np.testing.assert_allclose(found[clear], expected[clear], atol=1e-6)


def test_similarity_is_built_once_per_time_for_all_baselines(monkeypatch):
    built = []
    nearest = neighbors.nearest_items
    monkeypatch.setattr(neighbors, "nearest_items", lambda *args: built.append(args) or nearest(*args))
    graph = make_shop([(0, 0, 1), (0, 1, 2), (1, 1, 5), (1, 2, 6)], 2, 3)
    split = SimpleNamespace(window_s=4, eval_k=2, val=make_seeds([(0, 4, [2])]))
    scorers = [BASELINES[name](graph, split, EvaluateConfig()) for name in ("item_knn", "blend")]
    for scorer in scorers:
        scorer(torch.tensor([0, 1, 1]), torch.tensor([4, 8, 4]))
    assert len(built) == 2


def test_sharing_ends_with_the_last_scorer_and_keeps_graphs_apart():
    first, second = (make_shop([(0, item, 1)], 1, 3) for item in (0, 1))
    shared = neighbors.shared_neighbors(first, 2)
    assert neighbors.shared_neighbors(first, 2) is shared
    assert neighbors.shared_neighbors(first, 3) is not shared
    other = neighbors.shared_neighbors(second, 2)
    assert other.at(1)[0].toarray().tolist() == [[0, 1, 0]]
    assert shared.at(1)[0].toarray().tolist() == [[1, 0, 0]]
    gc.collect()  # what earlier tests left, too
    before = len(neighbors._SHARED)
    del shared, other
    gc.collect()
    assert len(neighbors._SHARED) == before - 2


def test_only_the_last_few_times_are_kept():
    graph = make_shop([(0, 0, 1), (0, 1, 9)], 1, 2)
    shared = neighbors.shared_neighbors(graph, 2)
    for time in range(20):
        met, _ = shared.at(time)
        assert met.sum() == (time >= 1) + (time >= 9)
    assert len(shared._known) == neighbors._KEPT_TIMES
