"""A small shop with known answers, and models made by hand that know all or nothing of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from model_core.config import EvaluateConfig, ModelConfig, TrainConfig
from model_core.evaluation.ranking import from_numpy_scorer
from tests.factories import DAY

NUM_USERS, NUM_ITEMS = 30, 20
VAL, TEST, WINDOW = 100 * DAY, 120 * DAY, 10 * DAY
CONFIG = EvaluateConfig(ks=(3, 5), num_bootstrap=200, batch_size=7)


def truth_of(user, time):
    """A repeat, something new, and for some users an item that does not exist yet."""
    return [user % 10, 10 + user % 7, *([19] if user % 3 == 0 else [])]


def knows_all(entity, time):
    scores = np.zeros((len(entity), NUM_ITEMS), dtype=np.float32)
    for row, user in enumerate(entity):
        scores[row, truth_of(int(user), 0)] = 1.0
    return scores


def knows_nothing(entity, time):
    return np.tile(-np.arange(NUM_ITEMS, dtype=np.float32)[::-1], (len(entity), 1))


def checkpoint(score):
    return SimpleNamespace(
        model_config=ModelConfig(), train_config=TrainConfig(), fan_out=(16, 8),
        meta={"num_parameters": 10, "best_epoch": 2},
        curves=({"epoch": 1, "loss": 2.0, "val_map": 0.1, "seeds_per_s": 900.0},
                {"epoch": 2, "loss": 1.5, "val_map": 0.2, "seeds_per_s": 1_000.0}),
        scorer=lambda graph, device, weights: from_numpy_scorer(score),
    )
