"""The small shop as graph and split, and one whole evaluation of it."""

from __future__ import annotations

import numpy as np
import pytest

from model_core.evaluation.evaluate import evaluate
from tests.evaluation.shop import (
    CONFIG,
    NUM_ITEMS,
    NUM_USERS,
    TEST,
    VAL,
    WINDOW,
    checkpoint,
    knows_all,
    truth_of,
)
from tests.factories import DAY, Rows, make_graph, make_seeds, make_split


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    """Users met item ``u % 10``; item 19 is born after the test time; the last user is new."""
    events = [(u, u % 10, (1 + u) * DAY) for u in range(NUM_USERS - 1)]
    events += [(u, (u + 1) % 10, (40 + u) * DAY) for u in range(NUM_USERS - 1)]
    user, item, time = (np.array([e[i] for e in events]) for i in range(3))
    born = np.zeros(NUM_ITEMS, dtype=np.int64)
    born[19] = TEST + 1
    graph = make_graph(
        {"users": Rows(NUM_USERS), "items": Rows(NUM_ITEMS, born),
         "events": Rows(len(events), time, {"user_id": ("users", user), "item_id": ("items", item)})},
        "users", "items", events, last_time=TEST,
    )
    split = make_split(
        tmp_path_factory.mktemp("evaluate") / "split",
        make_seeds([(u, 60 * DAY, [u % 10]) for u in range(NUM_USERS)]),
        make_seeds([(u, VAL, truth_of(u, VAL)) for u in range(NUM_USERS)]),
        make_seeds([(u, TEST, truth_of(u, TEST)) for u in range(NUM_USERS)]),
        num_entities=NUM_USERS, num_items=NUM_ITEMS, window_s=WINDOW, val_time=VAL, test_time=TEST,
        eval_k=4,
    )
    return graph, split


@pytest.fixture(scope="package")
def made(world, tmp_path_factory):
    graph, split = world
    folder, lines = tmp_path_factory.mktemp("report"), []
    report = evaluate(checkpoint(knows_all), graph, split, None, CONFIG, folder / "report",
                      html=folder / "report.html", seed=3, device="cpu",
                      context={"dataset": "a <b> shop", "task": "buy"}, progress=lines.append)
    return report, folder, lines
