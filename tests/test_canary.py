"""From tables to trained weights: what happens after the training cutoff changes no bit of them."""

import numpy as np
import torch

from model_core.config import GraphConfig, ModelConfig, QueueConfig, SplitConfig, TrainConfig
from model_core.graph.build import build_graph
from model_core.negatives.build import build_negative_queue
from model_core.split.temporal import temporal_split
from model_core.tables.snapshot import Snapshot
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train
from tests.canary import shuffle_after

MODEL = ModelConfig(channels=16, embedding_dim=8, encoder_blocks=1, num_neighbors=8)


def learn(snapshot: Snapshot, folder, loss: str):
    """Queue and final weights; without validation, because its labels come after the cutoff."""
    split = temporal_split(snapshot, SplitConfig(num_train_windows=6), folder / "split")
    graph = build_graph(snapshot, split, GraphConfig(), folder / "graph")
    queue = build_negative_queue(split, graph, QueueConfig(size=128), 0, folder / "queue")
    settings = TrainConfig(epochs=1, max_steps_per_epoch=3, batch_size=64, loss=loss, num_classes=64,
                           device="cpu")
    checkpoint = train(graph, split, queue, MODEL, settings, folder / "checkpoint",
                       validate=lambda scorer: float("nan"), progress=SilentProgress())
    return queue, checkpoint.load_model().state_dict(), split


def test_shuffling_the_future_changes_no_weight(demo_snapshot, tmp_path):
    cutoff = demo_snapshot.val_time
    shuffle_after(demo_snapshot.record.path, cutoff, tmp_path / "shuffled", seed=3)
    other_snapshot = Snapshot.open(tmp_path / "shuffled")
    for loss in ("full", "sampled"):
        queue, weights, split = learn(demo_snapshot, tmp_path / f"true-{loss}", loss)
        other_queue, other_weights, other_split = learn(other_snapshot, tmp_path / f"other-{loss}", loss)
        assert not np.array_equal(split.test.item, other_split.test.item)  # the shuffle did shuffle
        for name in queue.ARRAYS:
            assert np.array_equal(getattr(queue, name), getattr(other_queue, name)), name
        assert weights.keys() == other_weights.keys()
        for name, tensor in weights.items():
            assert torch.equal(tensor, other_weights[name]), name


def test_the_canary_can_die(demo_snapshot, tmp_path):
    """Shuffling what training may know does change weights."""
    early = demo_snapshot.val_time - 3 * demo_snapshot.task.window_s
    shuffle_after(demo_snapshot.record.path, early, tmp_path / "shuffled", seed=3)
    _, weights, _ = learn(demo_snapshot, tmp_path / "true", "full")
    _, other, _ = learn(Snapshot.open(tmp_path / "shuffled"), tmp_path / "other", "full")
    assert any(not torch.equal(tensor, other[name]) for name, tensor in weights.items())
