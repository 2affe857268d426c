"""ModelScorer: what is remembered equals what is computed, and never outlives the weights."""

from __future__ import annotations

import random
from time import sleep

import pytest
import torch

from model_core.models import scorer as scorer_module
from model_core.models.scorer import ModelScorer
from model_core.workers import Workers
from tests.models.graphs import NOW, priors_of, retail_graph, small_model

GRAPH = retail_graph()
TENSORS = GRAPH.to_torch()
SEEDS = torch.arange(12), torch.tensor([NOW, NOW // 2] * 6)
LOTS = 2**24


def scorer_of(model, workers=None, **options):
    return ModelScorer(model, TENSORS, (4, 3, 2), nodes_per_seed=10.0, max_batch_nodes=50,
                       priors=priors_of(GRAPH), workers=workers or Workers(1), **options)


class Counted:
    """A model's ``read_out``, counting its calls."""

    def __init__(self, model):
        self.read_out, self.calls = model.read_out, 0
        model.read_out = self

    def __call__(self, *args):
        self.calls += 1
        return self.read_out(*args)


@pytest.mark.parametrize("config", [{}, {"fusion": "replace"}, {"use_tower": False}, {"item_bias": False}])
def test_remembered_readouts_give_the_scores_of_a_new_scorer(config):
    model, expected = small_model(GRAPH, **config), {}
    for shift in (0.0, 3.0, 30.0):
        model.far_shift.fill_(shift)
        expected[shift] = scorer_of(model)(*SEEDS)
    for max_readout_bytes in (LOTS, 3_000, 1, 0):
        current = scorer_of(model, kept_bytes=LOTS).renewed(max_readout_bytes=max_readout_bytes)
        for shift in (0.0, 3.0, 30.0, 0.0):
            model.far_shift.fill_(shift)
            assert torch.equal(current(*SEEDS), expected[shift]), (max_readout_bytes, shift)


def test_one_forward_pass_for_all_shifts():
    model = small_model(GRAPH)
    counted = Counted(model)
    current = scorer_of(model).renewed(max_readout_bytes=LOTS)
    found = []
    for shift in (0.0, 3.0, 30.0):
        model.far_shift.fill_(shift)
        found.append(current(*SEEDS))
    assert counted.calls == 3  # twelve seeds, five to a block
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_memory_for_readouts_is_bounded():
    model = small_model(GRAPH)
    counted = Counted(model)
    whole = scorer_of(model).renewed(max_readout_bytes=LOTS)
    whole(*SEEDS)
    used = LOTS - whole._room
    for allowed, again in ((used, 0), (used - 1, 1), (1, 3), (0, 3)):
        current = scorer_of(model).renewed(max_readout_bytes=allowed)
        current(*SEEDS)
        assert 0 <= current._room <= allowed
        counted.calls = 0
        current(*SEEDS)
        assert counted.calls == again


@pytest.mark.parametrize("item_vectors", ["lookup", "feature", "fusion"])
def test_a_renewed_scorer_has_the_weights_of_now(item_vectors):
    """Kept batches go on to it, nothing that was computed with the old weights does."""
    model = small_model(GRAPH, item_vectors=item_vectors)
    first = scorer_of(model, kept_bytes=LOTS)
    current = first.renewed(max_readout_bytes=LOTS)
    before = current(*SEEDS)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.sign(weight))
    after = first.renewed(max_readout_bytes=LOTS)(*SEEDS)
    assert torch.equal(after, scorer_of(model)(*SEEDS))
    assert not torch.equal(after, before)
    assert len(first.batches._kept) == 3


def test_a_renewed_scorer_may_be_of_another_model():
    one, other = small_model(GRAPH), small_model(GRAPH, seed=1)
    first = scorer_of(one, kept_bytes=LOTS)
    before = first(*SEEDS)
    assert torch.equal(first.renewed(other)(*SEEDS), scorer_of(other)(*SEEDS))
    assert torch.equal(first(*SEEDS), before)
    with pytest.raises(AssertionError):
        first.renewed(small_model(GRAPH, num_layers=2))


def test_kept_batches_are_not_made_again():
    model = small_model(GRAPH)
    first = scorer_of(model, kept_bytes=LOTS)
    before = first.renewed()(*SEEDS)
    first.batches.priors = lambda entity, time: pytest.fail("counted again")
    first.batches.graph = None  # nor can anything be sampled
    assert torch.equal(first.renewed()(*SEEDS), before)


def test_stages_make_the_whole():
    model = small_model(GRAPH).train()
    scorer = scorer_of(model)
    prepared = scorer.prepare(*SEEDS)
    assert [block.batch.num_seeds for block in prepared] == [5, 5, 2]
    scores = scorer.score(prepared)
    assert torch.equal(scores, scorer(*SEEDS))
    assert model.training
    scores.zero_()  # the caller's own
    assert torch.equal(scorer.score(prepared), scorer_of(model)(*SEEDS))


def test_no_seeds():
    nobody = torch.zeros(0, dtype=torch.int64)
    assert scorer_of(small_model(GRAPH))(nobody, nobody).shape == (0, GRAPH.num_items)


@pytest.mark.parametrize("config", [{}, {"item_vectors": "lookup"}, {"fusion": "replace"}])
def test_two_workers_give_the_same_bits_whichever_comes_first(config):
    """Wide enough that the shape of a product changes its last bits."""
    model = small_model(GRAPH, channels=64, **config)
    entity, time = (torch.cat([part] * 3) for part in SEEDS)
    read_out, delay = model.read_out, random.Random(0)

    def late(*args):
        sleep(delay.random() / 200)
        return read_out(*args)

    model.read_out = late
    expected = scorer_of(model, workers=Workers(2))(entity, time)
    torch.testing.assert_close(expected, scorer_of(model, workers=Workers(1))(entity, time))
    for memory in ({}, {"kept_bytes": LOTS}, {"kept_bytes": 2_000}):
        for max_readout_bytes in (0, LOTS, 3_000):
            current = scorer_of(model, workers=Workers(2), **memory).renewed(
                max_readout_bytes=max_readout_bytes)
            for _ in range(3):
                assert torch.equal(current(entity, time), expected)
            assert 0 <= current._room <= max_readout_bytes


def test_uniform_draws_are_those_of_the_whole_block():
    model = small_model(GRAPH)
    one, two = (scorer_of(model, strategy="uniform", workers=Workers(count)) for count in (1, 2))
    assert torch.equal(one(*SEEDS), two(*SEEDS))


def test_a_large_catalogue_is_not_cut(monkeypatch):
    monkeypatch.setattr(scorer_module, "MAX_CUT_SCORES", 11 * GRAPH.num_items)
    scorer = ModelScorer(small_model(GRAPH), TENSORS, (4, 3, 2), nodes_per_seed=1.0,
                         priors=priors_of(GRAPH), workers=Workers(2))
    assert [[block.batch.num_seeds for block in scorer.prepare(*(part[:n] for part in SEEDS))]
            for n in (12, 11)] == [[12], [6, 5]]


def test_a_block_is_cut_for_the_workers():
    model = small_model(GRAPH)
    whole, halves = (ModelScorer(model, TENSORS, (4, 3, 2), nodes_per_seed=1.0, priors=priors_of(GRAPH),
                                 workers=Workers(count)) for count in (1, 2))
    for scorer, sizes in ((whole, [12]), (halves, [6, 6])):
        assert [block.batch.num_seeds for block in scorer.prepare(*SEEDS)] == sizes
    torch.testing.assert_close(halves(*SEEDS), whole(*SEEDS))
    assert [len(halves.prepare(*(part[:n] for part in SEEDS))) for n in (0, 1, 2, 3)] == [0, 1, 2, 2]
