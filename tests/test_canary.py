"""From tables to trained weights: what happens after the training cutoff changes no bit of them."""

import numpy as np
import torch

from model_core.config import GraphConfig, ModelConfig, QueueConfig, SplitConfig, TrainConfig
from model_core.graph.build import build_graph
from model_core.negatives.build import build_negative_queue
from model_core.priors.build import make_priors
from model_core.priors.event_values import value_columns
from model_core.split.temporal import temporal_split
from model_core.tables.snapshot import Snapshot
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train
from tests.canary import shuffle_after

MODEL = ModelConfig(channels=16, embedding_dim=8, encoder_blocks=1, num_neighbors=8)


def learn(snapshot: Snapshot, folder, loss: str):
    """Queue, weights before and after the refit, split and graph; without a validation metric."""
    split = temporal_split(snapshot, SplitConfig(num_train_windows=6), folder / "split")
    graph = build_graph(snapshot, split, GraphConfig(), folder / "graph")
    queue = build_negative_queue(split, graph, QueueConfig(size=128), 0, folder / "queue")
    settings = TrainConfig(epochs=1, max_steps_per_epoch=3, batch_size=64, loss=loss, num_classes=64,
                           device="cpu")
    checkpoint = train(graph, split, queue, MODEL, settings, folder / "checkpoint",
                       validate=lambda scorer: float("nan"), progress=SilentProgress())
    weights, final = (checkpoint.load_model(weights=which).state_dict()
                      for which in ("selected", "final"))
    return queue, weights, final, split, graph


def differ(one, other) -> bool:
    assert one.keys() == other.keys()
    return any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def candidates(graph, split, time: int, columns: bool = True):
    """Pair priors of every entity at a time, as in evaluation and serving."""
    priors = make_priors(graph, split.window_s, MODEL.num_similar, MODEL.num_popular, columns=columns,
                         values=value_columns(graph) if columns else ())
    entity = np.arange(graph.num_entities)
    return priors(entity, np.full(len(entity), time))


def same(one, other) -> bool:
    return all(np.array_equal(getattr(one, part), getattr(other, part))
               for part in ("seed", "item", "feature"))


def test_shuffling_the_future_changes_no_weight(demo_snapshot, tmp_path):
    cutoff = demo_snapshot.val_time
    shuffle_after(demo_snapshot.record.path, cutoff, tmp_path / "shuffled", seed=3)
    other_snapshot = Snapshot.open(tmp_path / "shuffled")
    for loss in ("full", "sampled"):
        queue, weights, final, split, graph = learn(demo_snapshot, tmp_path / f"true-{loss}", loss)
        other_queue, other_weights, other_final, other_split, other_graph = learn(
            other_snapshot, tmp_path / f"other-{loss}", loss)
        assert not np.array_equal(split.test.item, other_split.test.item)  # the shuffle did shuffle
        for name in queue.ARRAYS:
            assert np.array_equal(getattr(queue, name), getattr(other_queue, name)), name
        assert not differ(weights, other_weights)
        assert differ(final, other_final)  # the refit does know the labels of validation
        assert weights["prior.mean"].any()
    # At the cutoff the candidates of validation are the same too; a window later they are not.
    assert same(candidates(graph, split, cutoff), candidates(other_graph, split, cutoff))
    later = cutoff + split.window_s
    assert not same(candidates(graph, split, later), candidates(other_graph, split, later))


def test_shuffling_the_test_window_changes_no_weight_of_the_refit(demo_snapshot, tmp_path):
    shuffle_after(demo_snapshot.record.path, demo_snapshot.test_time, tmp_path / "shuffled", seed=3,
                  labels=("test",))
    _, _, final, split, _ = learn(demo_snapshot, tmp_path / "true", "full")
    _, _, other, other_split, _ = learn(Snapshot.open(tmp_path / "shuffled"), tmp_path / "other", "full")
    assert not np.array_equal(split.test.item, other_split.test.item)
    assert not differ(final, other)


def test_the_canary_can_die(demo_snapshot, tmp_path):
    """Shuffling what training may know does change weights."""
    early = demo_snapshot.val_time - 3 * demo_snapshot.task.window_s
    shuffle_after(demo_snapshot.record.path, early, tmp_path / "shuffled", seed=3)
    _, weights, _, split, graph = learn(demo_snapshot, tmp_path / "true", "full")
    _, other, _, _, other_graph = learn(Snapshot.open(tmp_path / "shuffled"), tmp_path / "other", "full")
    assert differ(weights, other)
    assert not torch.equal(weights["prior.mean"], other["prior.mean"])
    # Ranges and scales of columns know all rows of the training period, counts only those before the seed.
    assert same(*(candidates(g, split, early, columns=False) for g in (graph, other_graph)))
    assert not same(*(candidates(g, split, demo_snapshot.val_time) for g in (graph, other_graph)))
