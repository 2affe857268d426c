"""The refit: the best number of epochs once more, on validation labels too."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model_core.split.seeds import SeedTable
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train
from tests.factories import make_seeds
from tests.training.runs import MODEL, TRAIN, first_hit, run

REFIT = TRAIN.model_copy(update={"refit": True})


pytestmark = pytest.mark.usefixtures("one_thread")


def best_at(epoch):
    """A metric that is highest after one epoch."""
    seen = []

    def validate(scorer):
        seen.append(None)
        return 1.0 if -(-len(seen) // 3) == epoch else 0.5  # three far shifts per epoch

    return validate


def files(checkpoint):
    return [load_file(checkpoint.record.file(f"{name}.safetensors")) for name in ("selected", "weights")]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_it_is_a_training_from_the_start_on_both_kinds_of_rows(inputs, tmp_path):
    graph, split, queue = inputs
    refitted = run(None, tmp_path / "r", inputs=inputs, config=REFIT, validate=best_at(2))
    selected, final = files(refitted)
    assert refitted.meta["best_epoch"] == 2
    assert refitted.meta["refit"]["labels_until"] == split.val_time + split.window_s

    plain = run(None, tmp_path / "p", inputs=inputs, validate=best_at(2))
    assert_same(selected, load_file(plain.record.file("weights.safetensors")))
    assert plain.meta["refit"] is None
    assert not (plain.record.path / "selected.safetensors").exists()

    both = replace(split, train=SeedTable.joined(split.train, split.val))
    by_hand = train(graph, both, queue, MODEL, TRAIN.model_copy(update={"epochs": 2}), tmp_path / "h",
                    validate=lambda scorer: math.nan, progress=SilentProgress())
    expected = load_file(by_hand.record.file("weights.safetensors"))
    assert_same(final | {"far_shift": expected["far_shift"]}, expected)
    assert not torch.equal(final["seed_vector"], selected["seed_vector"])


def test_the_far_shift_is_the_one_chosen_before(inputs, tmp_path):
    """Which the metric, that looks at nothing else, gives the middle of the three."""
    calls = []

    def validate(scorer):
        calls.append(None)
        return 1.0 if len(calls) % 3 == 2 else 0.0

    selected, final = files(run(None, tmp_path / "c", inputs=inputs, config=REFIT, validate=validate))
    assert selected["far_shift"] == final["far_shift"] > 0


def test_loaded_models_are_those(inputs, tmp_path):
    checkpoint = run(None, tmp_path / "c", inputs=inputs, config=REFIT)
    selected, final = files(checkpoint)
    assert_same(dict(checkpoint.load_model(weights="selected").state_dict()), selected)
    assert_same(dict(checkpoint.load_model().state_dict()), final)
    graph, split, _ = inputs
    seeds = torch.from_numpy(split.val.entity), torch.from_numpy(split.val.time)
    assert not torch.equal(checkpoint.scorer(graph)(*seeds),
                           checkpoint.scorer(graph, weights="selected")(*seeds))
    assert first_hit(split)(checkpoint.scorer(graph, weights="selected")) == checkpoint.meta["best_val_map"]


class StopAt(SilentProgress):
    def __init__(self, last):
        self.left = last

    def step(self, event):
        self.left -= 1
        if self.left == 0:
            raise InterruptedError


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    torch.set_num_threads(1)
    return run(None, tmp_path_factory.mktemp("whole") / "c", inputs=inputs, config=REFIT)


@pytest.mark.parametrize("last", [5, 18, 19, 25])
def test_interrupted_anywhere_it_ends_with_the_same_bits(inputs, whole, tmp_path, last):
    """18 steps in three epochs, then 8 a epoch once more."""
    options = {"inputs": inputs, "config": REFIT, "state_dir": tmp_path / "s"}
    with pytest.raises(InterruptedError):
        run(None, tmp_path / "c", progress=StopAt(last), **options)
    resumed = run(None, tmp_path / "c", **options)
    for one, other in zip(files(whole), files(resumed), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("change", ["no rows", "no items", "labels that end after the test time"])
def test_no_refit_without_labels_from_before_the_test(inputs, tmp_path, change):
    graph, split, queue = inputs
    split = replace(split, **{
        "no rows": {"val": make_seeds([])},
        "no items": {"val": make_seeds([(0, split.val_time, [])])},
        "labels that end after the test time": {"test_time": split.test_time - 1},
    }[change])
    checkpoint = run(None, tmp_path / "c", inputs=(graph, split, queue), config=REFIT,
                     validate=lambda scorer: math.nan)
    assert checkpoint.meta["refit"] is None
    assert not (checkpoint.record.path / "selected.safetensors").exists()


def test_joined_tables_keep_rows_and_items(inputs):
    _, split, _ = inputs
    both = SeedTable.joined(split.train, split.val)
    assert len(both) == len(split.train) + len(split.val)
    assert np.array_equal(both.items_of(len(split.train) + 3), split.val.items_of(3))
    assert np.array_equal(both.items_of(3), split.train.items_of(3))
    with pytest.raises(AssertionError):
        SeedTable.joined(split.val, split.train)
