"""Lazy updates: only the rows of a step move, by the same amount, and their state survives."""

from __future__ import annotations

import time

import pytest
import torch

from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.item_vectors import ItemTable
from model_core.training import state
from model_core.training.checkpoint import build_model
from model_core.training.optimizer import SplitAdam
from model_core.training.state import StateStore
from model_core.training.step import StepRunner
from tests.training.runs import MODEL, NUM_ITEMS, TRAIN, run
from tests.training.test_resume import Interrupted, StopAfter, assert_same_bits, weights
from tests.training.test_trainer import maker

#: Every class has a gradient in every row, whatever is near.
PLAIN = {"dropout": 0.0, "fusion": "add"}
SAMPLED = TRAIN.model_copy(update={"loss": "sampled", "num_classes": 8, "weight_decay": 0.0})


def prepared(inputs, config, **model):
    graph, _, queue = inputs
    torch.manual_seed(0)
    built = build_model(GraphSchema.of(graph), MODEL.model_copy(update=PLAIN | model)).train()
    optimizer = SplitAdam(built, config)
    runner = StepRunner(built, optimizer, graph.to_torch(), torch.tensor(queue.item_birth), config,
                        torch.device("cpu"))
    steps = maker(inputs, loss=config.loss, num_classes=config.num_classes, batch_size=2)
    return built, optimizer, runner, steps


@pytest.mark.parametrize("model", [{}, {"use_tower": False}])
def test_only_the_rows_of_the_classes_move(inputs, model):
    built, _, runner, steps = prepared(inputs, SAMPLED, **model)
    table = built.items.lookup.weight if not model else built.items.bias.weight
    for number in range(3):
        before, step = table.detach().clone(), steps(number)
        runner(step)
        moved = (table.detach() != before).any(dim=1).nonzero().squeeze(1)
        assert 0 < len(moved) < NUM_ITEMS
        assert set(moved.tolist()) <= set(step.classes.item.tolist())
        assert table.grad.is_sparse


def test_first_step_is_that_of_dense_adam(inputs):
    """Lazy and dense differ only in rows that rest, and none has rested yet."""
    built, _, runner, steps = prepared(inputs, SAMPLED)
    step = steps(0)
    runner(step)
    other, _, dense_runner, _ = prepared(inputs, SAMPLED)
    for module in other.modules():
        if isinstance(module, ItemTable):
            module.sparse = False
    dense_runner.optimizer = torch.optim.Adam(other.parameters(), lr=SAMPLED.learning_rate)
    dense_runner(step)
    for (name, one), two in zip(built.named_parameters(), other.parameters(), strict=True):
        # Lazy Adam adds epsilon before its bias correction: a difference where gradients are tiny.
        torch.testing.assert_close(one, two, rtol=0, atol=0.03 * SAMPLED.learning_rate, msg=name)


def test_the_full_loss_keeps_one_dense_adam(inputs):
    built, optimizer, runner, steps = prepared(inputs, TRAIN)
    assert len(optimizer.parts) == 1
    before = built.items.lookup.weight.detach().clone()
    runner(steps(0))
    assert (built.items.lookup.weight.detach() != before).any(dim=1).all()


def test_learning_rate_reaches_both_parts(inputs):
    built, optimizer, runner, steps = prepared(inputs, SAMPLED)
    optimizer.set_learning_rate(0.0)
    before = {name: p.detach().clone() for name, p in built.named_parameters()}
    runner(steps(0))
    assert all(torch.equal(p, before[name]) for name, p in built.named_parameters())


@pytest.mark.parametrize("model", [{}, {"item_vectors": "lookup"}, {"use_tower": False}])
def test_interrupted_runs_end_with_the_same_bits(inputs, tmp_path, model):
    model = MODEL.model_copy(update=model)
    plain = run(None, tmp_path / "p", model=model, config=SAMPLED, inputs=inputs)
    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", model=model, config=SAMPLED, inputs=inputs,
            state_dir=tmp_path / "s", progress=StopAfter(7))
    resumed = run(None, tmp_path / "c", model=model, config=SAMPLED, inputs=inputs,
                  state_dir=tmp_path / "s")
    assert_same_bits(weights(plain), weights(resumed))


def test_states_are_spaced_out_where_writing_is_slow(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LONG_SAVE_S", 1.0)
    store = StateStore(tmp_path, "guard")
    assert store.is_due
    store._save_s, store._saved_at = 5.0, time.perf_counter()
    assert not store.is_due
    store._saved_at -= 46
    assert store.is_due
