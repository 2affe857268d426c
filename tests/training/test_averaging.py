"""The moving average of the weights: by hand, lent and given back, without lazily updated rows."""

from __future__ import annotations

import pytest
import torch

from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.item_vectors import ItemTable
from model_core.training.averaging import WeightAverage
from model_core.training.checkpoint import build_model
from model_core.training.optimizer import SplitAdam
from tests.training.runs import MODEL, TRAIN, run

SAMPLED = TRAIN.model_copy(update={"loss": "sampled", "num_classes": 8})


def averaged(inputs, decay, config=TRAIN):
    model = build_model(GraphSchema.of(inputs[0]), MODEL)
    return model, WeightAverage(model, SplitAdam(model, config), decay)


def set_to(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_by_hand(inputs):
    """Decay 2/11 and 3/12 in the first steps, the asked one as soon as it is smaller."""
    model, average = averaged(inputs, 0.24)
    set_to(model, 0.0)
    average.load({name: torch.zeros_like(p) for name, p in model.named_parameters()})
    expected = 0.0
    for step, (value, decay) in enumerate([(1.0, 2 / 11), (5.0, 0.24), (-2.0, 0.24)], start=1):
        set_to(model, value)
        average.update(step)
        expected = decay * expected + (1 - decay) * value
        assert all((tensor - expected).abs().max() < 1e-6 for tensor in average.tensors().values())
        assert all((p == value).all() for p in model.parameters())
    assert set(average.tensors()) == {name for name, _ in model.named_parameters()}


def test_lent_inside_and_given_back_also_after_an_error(inputs):
    model, average = averaged(inputs, 0.9)
    set_to(model, 3.0)
    average.load({name: torch.full_like(p, 7.0) for name, p in model.named_parameters()})
    objects = list(model.parameters())
    with average.applied():
        assert all((p == 7.0).all() for p in model.parameters())
    assert all((p == 3.0).all() for p in model.parameters())
    with pytest.raises(ValueError, match="halfway"), average.applied():
        raise ValueError("halfway")
    assert all((p == 3.0).all() for p in model.parameters())
    assert all(one is other for one, other in zip(objects, model.parameters(), strict=True))
    average.update(100)  # still the average that is updated, by the weights
    assert all(torch.allclose(tensor, torch.tensor(0.9 * 7 + 0.1 * 3))
               for tensor in average.tensors().values())


def test_tables_with_lazy_rows_are_left_out(inputs):
    model, average = averaged(inputs, 0.9, SAMPLED)
    lazy = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, ItemTable)}
    assert lazy
    assert set(average.tensors()) == {name for name, _ in model.named_parameters()} - lazy


def test_switched_off(inputs):
    model, average = averaged(inputs, None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    average.update(1)
    with average.applied():
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert average.tensors() == {}


def test_the_average_is_what_is_validated_and_shipped(inputs, tmp_path):
    """The run without it takes the same steps, so its weights at each epoch are known."""
    config = TRAIN.model_copy(update={"epochs": 1, "min_steps_per_epoch": 1})
    scored, shipped = {}, {}
    for decay in (None, 0.5):
        seen = []

        def validate(scorer, seen=seen):
            seen.append({name: p.detach().clone() for name, p in scorer.model.named_parameters()})
            return 0.0

        checkpoint = run(None, tmp_path / str(decay), inputs=inputs, validate=validate,
                         config=config.model_copy(update={"average_decay": decay}))
        scored[decay] = seen[0]
        shipped[decay] = dict(checkpoint.load_model().named_parameters())
        for name, tensor in shipped[decay].items():
            assert torch.equal(tensor, scored[decay][name]), name
    assert any(not torch.equal(shipped[None][name], shipped[0.5][name]) for name in shipped[None])
