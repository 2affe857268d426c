"""Nearest items: the same whatever the way they are found, and found once for all who ask."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import torch

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import BASELINES, neighbors
from tests.factories import make_seeds, make_shop


def test_similar_items_by_hand_in_floats():
    met = np.random.default_rng(1).random((40, 25)) < 0.2
    entity, item = met.nonzero()
    graph = make_shop([(int(e), int(i), 1) for e, i in zip(entity, item, strict=True)], 40, 25)
    cosine = (met / np.sqrt(met.sum(axis=0))).T @ (met / np.sqrt(met.sum(axis=0)))
    np.fill_diagonal(cosine, 0)
    found = neighbors.similar_items(graph.interactions, 40, 25, 1, 4).toarray()
    assert ((found > 0).sum(axis=1) == np.minimum((cosine > 0).sum(axis=1), 4)).all()
    np.testing.assert_allclose(np.sort(found)[:, -4:], np.sort(cosine)[:, -4:], atol=1e-6)
    np.testing.assert_allclose(found[found > 0], cosine[found > 0], atol=1e-6)
    assert neighbors.similar_items(graph.interactions, 40, 25, 0, 4).nnz == 0


def test_similarity_is_built_once_per_time_for_all_baselines(monkeypatch):
    built = []
    similar = neighbors.similar_items
    monkeypatch.setattr(neighbors, "similar_items", lambda *args: built.append(args) or similar(*args))
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
