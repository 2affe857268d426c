import dataclasses
import io
import json
import math

import numpy as np
import pytest
import torch

from model_core.config import sections
from model_core.errors import ArtifactError, ConfigError, DataError, TrainingError
from model_core.models.scorer import ModelScorer
from model_core.negatives.classes import SampledClasses
from model_core.priors.build import make_priors
from model_core.training.batching import StepMaker, prepared_ahead
from model_core.training.checkpoint import Checkpoint, build_model
from model_core.training.far_shift import SHIFTS
from model_core.training.progress import ProgressPrinter, StepEvent, noted
from model_core.training.randomness import derived_seed, epoch_order
from model_core.training.step import StepRunner
from model_core.training.trainer import train
from tests.factories import make_seeds
from tests.training.runs import MODEL, NUM_ITEMS, TRAIN, first_hit, run


@pytest.fixture(scope="module")
def checkpoint(inputs, tmp_path_factory):
    return run(None, tmp_path_factory.mktemp("run") / "c", inputs=inputs)


def maker(inputs, rows_per_micro_batch=None, nodes_per_seed=10.0, priors=True, **config):
    graph, split, queue = inputs
    settings = TRAIN.model_copy(update=config)
    found = make_priors(graph, split.window_s, MODEL.num_similar, MODEL.num_popular) if priors else None
    steps = StepMaker(graph.to_torch(), split.train, queue, MODEL, settings, (8, 4), nodes_per_seed,
                      torch.device("cpu"), window_s=split.window_s, priors=found)
    if rows_per_micro_batch:
        steps.rows_per_micro_batch = rows_per_micro_batch
    return steps


def test_learns(inputs, checkpoint):
    losses = [entry["loss"] for entry in checkpoint.curves]
    assert losses == sorted(losses, reverse=True)
    # Two items a row out of the own ten: 2 ln 20 is chance, 2 ln 10 as good as it gets.
    assert losses[-1] < 2 * math.log(NUM_ITEMS) - 0.4


def test_checkpoint_says_what_was_done(inputs, checkpoint):
    graph, split, queue = inputs
    again = Checkpoint.open(checkpoint.record.path, verify="digest")
    assert again.model_config.num_layers == graph.hops == 2
    assert again.fan_out == (8, 4)
    assert again.train_config == TRAIN.model_copy(update={"loss": "full"}), "as it was decided"
    assert [entry["epoch"] for entry in again.curves] == [1, 2, 3]
    assert set(again.curves[0]) == {"epoch", "step", "loss", "learning_rate", "val_map",
                                    "seeds_per_s", "wall_s", "peak_mb"}
    assert again.meta["split"] == split.record.digest
    assert again.meta["queue"] == queue.record.digest
    assert again.meta["best_val_map"] == max(entry["val_map"] for entry in again.curves)
    best = first_hit(split)(again.scorer(graph))
    assert best == again.meta["best_val_map"]


def test_micro_batches_add_up_to_the_whole_batch(inputs):
    graph, _split, queue = inputs
    gradients = []
    for rows in (16, 5):
        torch.manual_seed(0)
        model = build_model(_schema(graph), MODEL.model_copy(update={"dropout": 0.0})).train()
        steps = maker(inputs, rows)
        step = steps(0)
        assert len(step.micro_batches) == math.ceil(16 / rows)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        loss = StepRunner(model, optimizer, graph.to_torch(), torch.tensor(queue.item_birth), TRAIN,
                          torch.device("cpu"))(step)
        gradients.append((loss, {n: p.grad for n, p in model.named_parameters()}))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    for name, gradient in gradients[0][1].items():
        torch.testing.assert_close(gradient, gradients[1][1][name], rtol=1e-3, atol=1e-5)


def _schema(graph):
    from model_core.graph.schema import GraphSchema
    return GraphSchema.of(graph)


def test_an_epoch_sees_every_row_once_and_epochs_differ(inputs):
    steps = maker(inputs)
    assert steps.num_rows == 90
    assert steps.steps_per_epoch == 6
    seen = torch.cat([epoch_order(0, 1, 90)[at : at + 16] for at in range(0, 90, 16)])
    assert sorted(seen.tolist()) == list(range(90))
    assert not torch.equal(epoch_order(0, 0, 90), epoch_order(0, 1, 90))
    assert [steps(number).num_rows for number in (0, 5, 6)] == [16, 10, 16]
    assert maker(inputs, max_steps_per_epoch=2).steps_per_epoch == 2


def test_steps_are_the_same_in_any_order_and_in_a_thread(inputs):
    one = maker(inputs, loss="sampled")
    direct = [one(number) for number in (3, 1, 2)]
    ahead = {step.number: step for step in prepared_ahead(maker(inputs, loss="sampled"), range(1, 4))}
    for step in direct:
        other = ahead[step.number]
        assert torch.equal(step.classes.item, other.classes.item)
        assert torch.equal(step.micro_batches[0].positive, other.micro_batches[0].positive)
        assert torch.equal(step.micro_batches[0].batch.item, other.micro_batches[0].batch.item)


def test_error_while_preparing_is_raised_at_its_step():
    def make(number):
        if number == 2:
            raise ValueError("broken")
        return number

    steps = prepared_ahead(make, range(5))
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(steps)


def loss_of_a_step(inputs, config, step, **model_settings):
    """What a step says, and the model that said it."""
    graph, _split, queue = inputs
    torch.manual_seed(0)
    settings = MODEL.model_copy(update={"dropout": 0.0, **model_settings})
    model = build_model(_schema(graph), settings).train()
    runner = StepRunner(model, torch.optim.SGD(model.parameters(), lr=0.0), graph.to_torch(),
                        torch.tensor(queue.item_birth), config, torch.device("cpu"))
    return runner(step), model, runner


def with_all_classes(step):
    """The same step, for certain over the whole catalogue; positives first, as always."""
    positive = step.micro_batches[0].positive.unique()
    others = torch.tensor(sorted(set(range(NUM_ITEMS)) - set(positive.tolist()), reverse=True))
    item = torch.cat([positive, others])
    return dataclasses.replace(step, classes=SampledClasses(
        item, torch.zeros(NUM_ITEMS), len(positive), NUM_ITEMS))


@pytest.mark.parametrize("mask_known", [True, False])
def test_sampled_with_room_for_everything_equals_full(inputs, mask_known):
    config = TRAIN.model_copy(update={"mask_known_positives": mask_known})
    full = maker(inputs)(0)
    assert loss_of_a_step(inputs, config, full)[0] == pytest.approx(
        loss_of_a_step(inputs, config, with_all_classes(full))[0], rel=1e-5)


def test_known_positives_are_masked_with_the_sampled_loss_unless_told_otherwise(inputs):
    full = maker(inputs)(0)
    found = {(mask, sampled): loss_of_a_step(
        inputs, TRAIN.model_copy(update={"mask_known_positives": mask}),
        with_all_classes(full) if sampled else full)[0]
        for mask in (None, True, False) for sampled in (False, True)}
    assert found[None, True] == pytest.approx(found[True, True])
    assert found[None, False] == pytest.approx(found[False, False])
    assert found[True, True] < found[False, True] - 0.01


@pytest.mark.parametrize("mask_known", [True, False])
@pytest.mark.parametrize("sampled", [True, False])
def test_a_step_with_several_networks_is_the_mean_of_steps_with_one(inputs, mask_known, sampled):
    config = TRAIN.model_copy(update={"mask_known_positives": mask_known})
    step = maker(inputs)(0)
    step = with_all_classes(step) if sampled else step
    together, model, _ = loss_of_a_step(inputs, config, step, prior_networks=3)
    alone = []
    for number in range(3):
        _, other, runner = loss_of_a_step(inputs, config, step, prior_networks=1)
        own = {name: value for name, value in model.state_dict().items() if "prior.networks" not in name}
        own |= {f"prior.networks.0.{name}": value
                for name, value in model.prior.networks[number].state_dict().items()}
        other.load_state_dict(own)
        alone.append(runner(step))
    assert len({round(value, 4) for value in alone}) == 3
    assert together == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_infinite_loss_stops_at_once_with_the_step(inputs, tmp_path):
    class Poison:
        def __init__(self):
            self.steps, self.notes = [], []

        def step(self, event):
            self.steps.append(event.step)

        def note(self, text):
            self.notes.append(text)

    graph, split, queue = inputs
    progress = Poison()
    with pytest.raises(TrainingError, match=r"training step \d+: expected a finite loss, found (nan|inf)"):
        train(graph, split, queue, MODEL, TRAIN.model_copy(update={"learning_rate": 1e30}),
              tmp_path / "c", validate=lambda scorer: 0.0, progress=progress)
    assert len(progress.steps) < 5
    assert progress.notes[-1] == f"ended in step {len(progress.steps) + 1}"
    assert not (tmp_path / "c").exists()


def test_early_stopping_by_a_fall_and_by_patience(inputs, tmp_path):
    def follow(values):
        left = iter(values)
        return lambda scorer: next(left)

    config = TRAIN.model_copy(update={"epochs": 6, "early_stopping_delta": 0.1, "patience": 2})
    model = MODEL.model_copy(update={"fusion": "add"})  # validated once per epoch
    fall = run(None, tmp_path / "a", model=model, config=config, inputs=inputs,
               validate=follow([0.5, 0.39]))
    assert [entry["val_map"] for entry in fall.curves] == [0.5, 0.39]
    assert fall.meta["best_epoch"] == 1
    patience = run(None, tmp_path / "b", model=model, config=config, inputs=inputs,
                   validate=follow([0.3, 0.5, 0.45, 0.49]))
    assert len(patience.curves) == 4
    assert patience.meta["best_epoch"] == 2
    unknown = run(None, tmp_path / "c", config=config, inputs=inputs,
                  validate=lambda scorer: float("nan"))
    assert len(unknown.curves) == 6
    assert unknown.meta["best_epoch"] == 6
    assert unknown.curves[0]["val_map"] is None


def test_learning_rate_falls_per_epoch(inputs, tmp_path):
    config = TRAIN.model_copy(update={"lr_gamma": 0.5})
    curves = run(None, tmp_path / "c", config=config, inputs=inputs).curves
    assert [entry["learning_rate"] for entry in curves] == [0.01, 0.005, 0.0025]


def test_rows_without_items_are_skipped_and_none_left_is_an_error(inputs, tmp_path):
    graph, split, queue = inputs
    half = dataclasses.replace(split, train=make_seeds([(0, 1_700_000_000, [3]), (1, 1_700_000_000, [])]))
    assert maker((graph, half, queue)).num_rows == 1
    empty = dataclasses.replace(split, train=make_seeds([(1, 1_700_000_000, [])]))
    with pytest.raises(DataError, match="training rows"):
        run(None, tmp_path / "c", inputs=(graph, empty, queue))


def test_item_vectors_are_fresh_for_every_evaluation(inputs, tmp_path):
    """Vectors kept across epochs would rank later epochs with the first one's."""
    seen = []

    def validate(scorer):
        seen.append(scorer.item_vectors)
        return 0.0

    run(None, tmp_path / "c", inputs=inputs, validate=validate)
    assert len(seen) == 3 * len(SHIFTS)
    for epoch in (1, 2):
        assert not torch.equal(seen[0], seen[epoch * len(SHIFTS)])


def test_scorer_blocks_do_not_matter_and_mode_is_restored(inputs, checkpoint):
    graph, split, _ = inputs
    tensors = graph.to_torch()
    model = checkpoint.load_model().train()
    entity, time = torch.from_numpy(split.test.entity), torch.from_numpy(split.test.time)
    priors = checkpoint.priors(graph)
    whole = ModelScorer(model, tensors, checkpoint.fan_out, priors=priors)(entity, time)
    small = ModelScorer(model, tensors, checkpoint.fan_out, nodes_per_seed=10, max_batch_nodes=30,
                        priors=priors)
    assert small.rows_per_block == 3
    assert model.training
    torch.testing.assert_close(small(entity, time), whole, rtol=1e-4, atol=1e-5)
    assert small(entity[:0], time[:0]).shape == (0, NUM_ITEMS)
    assert whole.dtype == torch.float32
    assert not whole.requires_grad


def test_graph_of_another_shape_is_refused(inputs, checkpoint):
    from tests.factories import make_shop
    with pytest.raises(ArtifactError, match="num_items"):
        checkpoint.scorer(make_shop([(0, 0, 1)], 30, 3))


def test_unknown_model_names_the_known_ones(inputs, tmp_path):
    with pytest.raises(ConfigError, match="contextgnn"):
        run(None, tmp_path / "c", inputs=inputs, model=MODEL.model_copy(update={"name": "gpt"}))


def test_seeds_of_purposes_and_steps_differ():
    seeds = {derived_seed(seed, purpose, index) for seed in (0, 1) for purpose in ("a", "b")
             for index in range(50)}
    assert len(seeds) == 200
    assert max(seeds) < 2**63


def test_tensorboard_scalars(inputs, tmp_path):
    pytest.importorskip("tensorboard")
    run(None, tmp_path / "c", inputs=inputs, tensorboard_dir=tmp_path / "tb")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert len(events.Scalars("train/loss")) == 18
    assert len(events.Scalars("val/map")) == 3


def test_large_catalogues_train_with_the_sampled_loss(inputs, tmp_path, monkeypatch):
    short = TRAIN.model_copy(update={"epochs": 1, "num_classes": 12})
    sampled = run(None, tmp_path / "s", inputs=inputs, config=short.model_copy(update={"loss": "sampled"}))
    monkeypatch.setattr(sections, "MAX_FULL_SOFTMAX_ITEMS", NUM_ITEMS - 1)
    log = io.StringIO()
    auto = run(None, tmp_path / "a", inputs=inputs, config=short, progress=ProgressPrinter(log))
    assert "softmax over 12 of 20 items a step" in log.getvalue()
    assert auto.curves[0]["loss"] == sampled.curves[0]["loss"]
    monkeypatch.setattr(sections, "MAX_FULL_SOFTMAX_ITEMS", NUM_ITEMS)
    assert run(None, tmp_path / "f", inputs=inputs, config=short).curves[0]["loss"] != auto.curves[0]["loss"]


def test_epochs_without_room_for_all_rows_say_so(inputs, tmp_path):
    log = io.StringIO()
    config = TRAIN.model_copy(update={"epochs": 1, "max_steps_per_epoch": 2})
    made = run(None, tmp_path / "c", inputs=inputs, config=config, progress=ProgressPrinter(log))
    assert "32 rows an epoch, drawn by what they count" in log.getvalue()
    assert made.curves[0]["step"] == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_every_ten_seconds_and_one_live_line_on_a_terminal():
    now = [0.0]
    log, terminal = io.StringIO(), Terminal()
    plain = ProgressPrinter(log, clock=lambda: now[0])
    live = ProgressPrinter(terminal, clock=lambda: now[0])
    for step in range(1, 31):
        now[0] += 1.0
        event = StepEvent(step, 30, 1, 1, 1.5, 100.0, 30.0 - step)
        plain.step(event)
        live.step(event)
    plain.note("done")
    live.note("done")
    assert [line.split()[1] for line in log.getvalue().splitlines()[:-1]] == [
        "1/30", "11/30", "21/30", "30/30"]
    assert terminal.getvalue().count("\r") >= 30
    assert terminal.getvalue().count("\n") == 1
    assert "ETA 0:15" in terminal.getvalue()


def test_long_counting_is_noted_now_and_then():
    now, log = [0.0], io.StringIO()
    for item in noted(range(5), "windows counted", ProgressPrinter(log), clock=lambda: now[0]):
        now[0] += [1.0, 9.0, 1.0, 30.0, 1.0][item]
    assert log.getvalue().splitlines() == [
        "2 of 5 windows counted, ETA 0:15", "4 of 5 windows counted, ETA 0:10"]


def test_curves_are_json_without_nan(checkpoint):
    text = checkpoint.record.file("curves.json").read_text()
    assert "NaN" not in text
    assert len(json.loads(text)) == 3


def test_memory_of_a_batch_follows_the_node_budget(inputs):
    assert maker(inputs, max_batch_nodes=1_000).rows_per_micro_batch == 16
    steps = maker(inputs, max_batch_nodes=1_000, nodes_per_seed=300.0)
    assert steps.rows_per_micro_batch == 3
    assert len(steps(0).micro_batches) == 6
    assert np.concatenate([m.time.numpy() for m in steps(0).micro_batches]).shape == (16,)
