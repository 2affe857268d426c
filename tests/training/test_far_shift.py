"""The shift of far items: the best of a few on validation, kept with the weights."""

from __future__ import annotations

import math

import pytest
import torch

from model_core.evaluation.validation import map_validator
from model_core.graph.schema import GraphSchema
from model_core.models.scorer import ModelScorer
from model_core.priors.build import make_priors
from model_core.training.checkpoint import build_model
from model_core.training.far_shift import SHIFTS, best_far_shift
from tests.training.runs import MODEL, TRAIN, run


def model_of(inputs, **config):
    return build_model(GraphSchema.of(inputs[0]), MODEL.model_copy(update=config)).eval()


@pytest.mark.parametrize(("values", "shift", "best"), [
    ((0.1, 0.3, 0.2), 3.0, 0.3),
    ((0.1, 0.3, 0.4), 30.0, 0.4),
    ((0.3, 0.3, 0.3), 0.0, 0.3),  # the least of equal ones
    ((-0.5, -0.7, -0.6), 0.0, -0.5),
])
def test_the_best_of_all(inputs, values, shift, best):
    model, seen = model_of(inputs), []

    def validate():
        seen.append(float(model.far_shift))
        return values[len(seen) - 1]

    assert best_far_shift(model, validate) == best
    assert seen == list(SHIFTS)
    assert float(model.far_shift) == shift


@pytest.mark.parametrize("seed", [2, 5, 7])
def test_one_scorer_for_all_shifts_chooses_like_a_new_one_for_each(inputs, seed):
    """Values and choice are those of a whole pass per shift. With these seeds a shift changes something."""
    graph, split, _ = inputs
    tensors, priors = graph.to_torch(), make_priors(graph, split.window_s, 4, 3, num_following=2)
    torch.manual_seed(seed)
    model = model_of(inputs)
    for weight in (model.gate.weight, *(network.leave.weight for network in model.prior.networks)):
        torch.nn.init.normal_(weight)

    def scorer():
        return ModelScorer(model, tensors, (8, 4), priors=priors)

    validate = map_validator(split, TRAIN, batch_size=7)
    slow, fast = [], []
    current = scorer().renewed(max_readout_bytes=2**20)
    for values, get in ((slow, scorer), (fast, lambda: current)):
        def value(values=values, get=get):
            values.append(validate(get()))
            return values[-1]

        best = best_far_shift(model, value)
        assert best == max(values)
        values.append(float(model.far_shift))
    assert len(slow) == len(SHIFTS) + 1
    assert slow == fast
    assert len(set(slow[:-1])) > 1  # the shift did something


@pytest.mark.parametrize("values", [(math.nan,), (0.3, math.nan)])
def test_nothing_where_validation_says_nothing(inputs, values):
    model, left = model_of(inputs), iter(values)
    model.far_shift.fill_(3.0)
    assert math.isnan(best_far_shift(model, lambda: next(left)))
    assert float(model.far_shift) == 0.0


@pytest.mark.parametrize("config", [{"fusion": "add"}, {"fusion": "replace"}, {"name": "two_tower"}])
def test_models_of_one_group_are_validated_once(inputs, config):
    model, left = model_of(inputs, **config), iter([0.3])
    assert best_far_shift(model, lambda: next(left)) == 0.3
    assert float(model.far_shift) == 0.0


def test_the_chosen_shift_is_the_best_epochs_own(inputs, tmp_path):
    """Epoch 1 is best with 3, later ones with 30: what is stored belongs to epoch 1."""
    left = iter([0.1, 0.9, 0.2, 0.1, 0.2, 0.8, 0.1, 0.2, 0.7])
    checkpoint = run(None, tmp_path / "c", inputs=inputs, validate=lambda scorer: next(left))
    assert [entry["val_map"] for entry in checkpoint.curves] == [0.9, 0.8, 0.7]
    model = checkpoint.load_model()
    assert float(model.far_shift) == 3.0
    graph, split, _ = inputs
    seeds = torch.from_numpy(split.test.entity), torch.from_numpy(split.test.time)
    scorer = checkpoint.scorer(graph)
    shifted = scorer(*seeds)
    scorer.model.far_shift.zero_()
    assert not torch.equal(shifted, scorer(*seeds))


def test_it_plays_no_part_in_training(inputs, tmp_path):
    """Whatever is chosen between epochs, the weights end the same."""
    ends = []
    for name, order in (("up", (0.1, 0.2, 0.3)), ("down", (0.3, 0.2, 0.1))):
        values = iter([v + epoch for epoch in range(3) for v in order])
        checkpoint = run(None, tmp_path / name, inputs=inputs, config=TRAIN,
                         validate=lambda scorer, values=values: next(values))
        ends.append(dict(checkpoint.load_model().state_dict()))
    assert [float(end.pop("far_shift")) for end in ends] == [30.0, 0.0]
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
