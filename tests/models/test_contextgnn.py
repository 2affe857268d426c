import dataclasses

import numpy as np
import pytest
import torch

from model_core.config import ModelConfig
from model_core.errors import ConfigError
from model_core.graph.schema import GraphSchema
from model_core.models import MODELS
from tests.factories import make_shop
from tests.models.graphs import NOW, batch_of, catalogue, retail_graph, small_model
from tests.models.naive import naive_scores

USERS, TIMES = [0, 3, 3, 7, 11], [NOW, NOW // 2, NOW, NOW, 10]


def untrimmed(batch):
    return dataclasses.replace(batch, num_nodes_per_hop={}, num_edges_per_hop={})


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_equal_the_slow_reference(num_layers, seed):
    graph = retail_graph(seed)
    model = small_model(graph, num_layers=num_layers, seed=seed)
    batch = batch_of(graph, USERS, TIMES, num_layers)
    with torch.no_grad():
        vectors = catalogue(model, graph)
        scores = model(batch, vectors)
        assert scores.shape == (5, graph.num_items)
        torch.testing.assert_close(scores, naive_scores(model, batch, vectors), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scores, model(untrimmed(batch), vectors), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [
    {"use_pair": False}, {"use_tower": False}, {"item_vectors": "lookup"},
    {"item_vectors": "feature"}, {"encoder_blocks": 0}, {"item_bias": False}, {"use_priors": False},
    {"use_pair": False, "use_priors": False},
    {"fusion": "add"}, {"fusion": "add", "use_pair": False}, {"fusion": "replace"},
    {"fusion": "replace", "use_priors": False, "item_bias": False},
    {"fusion": "replace", "use_tower": False},
])
def test_variants_equal_the_slow_reference(config):
    graph = retail_graph()
    model = small_model(graph, **config)
    batch = batch_of(graph, USERS, TIMES)
    with torch.no_grad():
        vectors = catalogue(model, graph)
        torch.testing.assert_close(
            model(batch, vectors), naive_scores(model, batch, vectors), rtol=1e-4, atol=1e-5)


def test_a_model_without_priors_reads_no_candidates():
    """Neither does the two-tower model, whatever its configuration asks for."""
    graph = retail_graph()
    batch = batch_of(graph, USERS, TIMES)
    assert len(batch.prior_item) > 0
    bare = dataclasses.replace(batch, prior_seed=batch.prior_seed[:0], prior_item=batch.prior_item[:0],
                               prior_feature=batch.prior_feature[:0])
    for model in (small_model(graph, use_priors=False), small_model(graph, "two_tower")):
        assert model.prior is None
        with torch.no_grad():
            vectors = catalogue(model, graph)
            assert torch.equal(model(batch, vectors), model(bare, vectors))
    with torch.no_grad():
        model = small_model(graph)
        vectors = catalogue(model, graph)
        assert not torch.equal(model(batch, vectors), model(bare, vectors))
        torch.testing.assert_close(model(bare, vectors), naive_scores(model, bare, vectors),
                                   rtol=1e-4, atol=1e-5)


def test_item_bias_needs_a_tower_and_starts_at_zero():
    graph = retail_graph()
    schema = GraphSchema.of(graph)
    fresh = MODELS["contextgnn"](schema, ModelConfig(channels=12, embedding_dim=6), 3)
    assert not fresh.item_bias.bias.weight.any()
    assert catalogue(fresh, graph).shape == (15, 6 + 2)  # among all items, and among near ones
    assert catalogue(small_model(graph, fusion="add"), graph).shape == (15, 6 + 1)
    assert small_model(graph, use_tower=False).item_bias is None
    assert catalogue(small_model(graph, item_bias=False), graph).shape == (15, 6)


def test_distinct_rows_are_encoded_once(monkeypatch):
    graph = retail_graph()
    model = small_model(graph)
    batch = batch_of(graph, [1] * 6, [NOW] * 6)
    seen = {}
    for name, encoder in model.encoder.items():
        encoder.register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, len(inputs[0])))
    with torch.no_grad():
        model(batch, catalogue(model, graph))
    assert len(batch.item) == 6 * seen["table_items"] > 0


def test_no_parameter_exists_that_no_score_depends_on():
    graph = retail_graph()
    model = small_model(graph).train()
    generator = torch.Generator().manual_seed(0)
    users = list(range(12))
    scores = model(batch_of(graph, users, [NOW] * 12), catalogue(model, graph), generator)
    torch.logsumexp(scores, dim=1).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_items_out_of_reach_need_a_tower():
    graph = retail_graph()
    schema = GraphSchema.of(graph)
    assert schema.hops == 2  # by the views
    assert not small_model(graph, num_layers=1).has_pair
    with pytest.raises(ConfigError, match="items within reach"):
        small_model(graph, num_layers=1, use_tower=False)
    with pytest.raises(ConfigError, match="use_tower"):
        small_model(graph, use_pair=False, use_tower=False)


def test_feature_vectors_need_columns():
    shop = make_shop([(0, 1, 5)], 2, 3)
    with pytest.raises(ConfigError, match="no feature columns"):
        small_model(shop, num_layers=2, item_vectors="feature")
    assert catalogue(small_model(shop, num_layers=2), shop).shape == (3, 8)  # and two biases


def test_chunked_feature_vectors_equal_whole_ones(monkeypatch):
    graph = retail_graph()
    model = small_model(graph, item_vectors="feature")
    whole = catalogue(model, graph)
    monkeypatch.setattr("model_core.models.contextgnn.item_vectors.CHUNK", 4)
    with torch.no_grad():
        torch.testing.assert_close(catalogue(model, graph), whole)


def test_unequal_widths_and_odd_channels():
    graph = retail_graph()
    model = small_model(graph, channels=7, embedding_dim=3)
    assert model(batch_of(graph, USERS, TIMES), catalogue(model, graph)).isfinite().all()


def test_weights_do_not_follow_the_batch():
    """A model with dropout gives the same scores in evaluation, others in training."""
    graph = retail_graph()
    model = small_model(graph, dropout=0.5)
    batch, vectors = batch_of(graph, USERS, TIMES), catalogue(model, graph).detach()
    with torch.no_grad():
        assert torch.equal(model(batch, vectors), model(batch, vectors))
        model.train()
        draws = [model(batch, vectors, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_bfloat16_autocast_runs_and_stays_close():
    graph = retail_graph()
    model = small_model(graph, dropout=0.2).train()
    batch = batch_of(graph, USERS, TIMES)
    with torch.autocast("cpu", torch.bfloat16):
        scores = model(batch, catalogue(model, graph), torch.Generator().manual_seed(0))
    scores.float().sum().backward()
    exact = model(batch, catalogue(model, graph), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(scores.detach().float(), exact.detach(), atol=0.15)


def test_default_widths_are_the_authors():
    config = ModelConfig()
    assert (config.channels, config.embedding_dim, config.encoder_blocks, config.dropout) == (
        128, 64, 4, 0.2)
