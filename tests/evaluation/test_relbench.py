"""The same predictions get the same MAP from relbench's own task."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from relbench.base import RecommendationTask, Table
from relbench.metrics import map as relbench_map

from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.predictions import hit_matrix
from tests.factories import make_seeds


@pytest.mark.parametrize("seed", range(5))
def test_map_equals_task_evaluate(seed):
    rng = np.random.default_rng(seed)
    num_items, k = 40, 10
    truth = make_seeds([(u, 1, rng.choice(num_items, rng.integers(0 if u else 1, 16), replace=False))
                        for u in range(50)])
    items = np.stack([rng.permutation(num_items)[:k] for _ in range(50)])
    items[rng.random(50) < 0.2, 6:] = -1  # some lists are short
    task = object.__new__(RecommendationTask)  # evaluate needs no database
    task.eval_k, task.dst_entity_col, task.metrics = k, "items", [relbench_map]
    table = Table(
        df=pd.DataFrame({"items": [truth.items_of(row) for row in range(50)]}),
        fkey_col_to_pkey_table={}, pkey_col=None, time_col=None,
    )
    ours = np.nanmean(map_at_k(hit_matrix(items, truth, num_items), np.diff(truth.item_ptr)))
    assert ours == pytest.approx(task.evaluate(items, table)["map"], abs=1e-12)
    assert 0.0 < ours < 1.0
