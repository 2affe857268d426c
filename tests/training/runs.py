"""A small world to train on, and a way to start a run in another process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from model_core.config import ModelConfig, QueueConfig, TrainConfig
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.build import build_negative_queue
from model_core.negatives.queue import NegativeQueue
from model_core.split.seeds import Split
from model_core.training.checkpoint import Checkpoint
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train
from tests.factories import DAY, make_seeds, make_shop, make_split

START, WINDOW = 1_600_000_000, 10 * DAY
NUM_USERS, NUM_ITEMS = 30, 20
MODEL = ModelConfig(channels=16, embedding_dim=8, encoder_blocks=1, num_neighbors=8)
TRAIN = TrainConfig(batch_size=16, epochs=3, learning_rate=0.01, checkpoint_every_steps=2,
                    device="cpu", patience=9, early_stopping_delta=1.0, refit=False)


def make_inputs(folder: Path) -> tuple[TemporalGraph, Split, NegativeQueue]:
    """Users buy from their own half of the catalogue over six windows."""
    rng = np.random.default_rng(0)
    events = [
        (user, int(rng.integers(10)) + 10 * (user % 2),
         START + window * WINDOW + int(rng.integers(1, WINDOW)))
        for window in range(6) for user in range(NUM_USERS) for _ in range(2)
    ]
    known = [event for event in events if event[2] <= START + 5 * WINDOW]
    graph = make_shop(known, NUM_USERS, NUM_ITEMS, cutoff=START + 4 * WINDOW,
                      last_time=START + 5 * WINDOW)

    def labels(windows):
        return make_seeds([
            (user, START + w * WINDOW,
             [i for u, i, t in events if u == user and w == (t - START - 1) // WINDOW])
            for w in windows for user in range(NUM_USERS)])

    split = make_split(
        folder / "split", labels([1, 2, 3]), labels([4]), labels([5]), num_entities=NUM_USERS,
        num_items=NUM_ITEMS, window_s=WINDOW, val_time=START + 4 * WINDOW,
        test_time=START + 5 * WINDOW)
    queue = build_negative_queue(split, graph, QueueConfig(size=64), 0, folder / "queue")
    return graph, split, queue


def first_hit(split: Split):
    """Share of validation rows whose best item is right; cheap and deterministic."""

    def validate(scorer) -> float:
        scores = scorer(torch.from_numpy(split.val.entity), torch.from_numpy(split.val.time))
        best = scores.argmax(1).tolist()
        return float(np.mean([item in split.val.items_of(row) for row, item in enumerate(best)]))

    return validate


def run(folder: Path, out: Path, model: ModelConfig = MODEL, config: TrainConfig = TRAIN,
        inputs=None, **kwargs) -> Checkpoint:
    graph, split, queue = inputs or make_inputs(folder)
    kwargs = {"progress": SilentProgress(), "validate": first_hit(split)} | kwargs
    return train(graph, split, queue, model, config, out, **kwargs)


class Announcer(SilentProgress):
    """Prints every step, so that another process knows when to strike; it has until stdin is closed."""

    def step(self, event) -> None:
        print(f"step {event.step}", flush=True)
        if event.step == event.total_steps:
            sys.stdin.read()


if __name__ == "__main__":
    folder, out, state_dir = map(Path, sys.argv[1:4])
    torch.set_num_threads(1)
    run(folder, out, state_dir=state_dir, progress=Announcer())
