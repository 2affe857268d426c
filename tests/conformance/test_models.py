"""What every registered model must do, whatever its architecture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from model_core.config import ModelConfig, QueueConfig, TrainConfig
from model_core.graph.schema import GraphSchema
from model_core.losses.softmax import softmax_loss
from model_core.models import MODELS
from model_core.models.scorer import ModelScorer
from model_core.negatives.build import build_negative_queue
from model_core.priors.build import make_priors
from model_core.priors.event_values import value_columns
from model_core.training.checkpoint import Checkpoint, build_model, write_checkpoint
from model_core.training.progress import SilentProgress
from model_core.training.state import weights_of
from model_core.training.trainer import train
from tests.conformance.making import K, mean_average_precision, top_k
from tests.conformance.worlds import WORLDS
from tests.models.graphs import NOW, batch_of, catalogue, retail_graph

MODEL = ModelConfig(channels=32, embedding_dim=16, encoder_blocks=1, dropout=0.0, num_neighbors=32)
TRAIN = TrainConfig(batch_size=64, min_steps_per_epoch=12, learning_rate=0.01, epochs=12, patience=4,
                    early_stopping_delta=1.0, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The worlds are so small that threads only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    made = {}
    for name, make in WORLDS.items():
        world = make(folder / name)
        queue = build_negative_queue(
            world.split, world.graph, QueueConfig(size=128, num_hard=4), 0, folder / f"{name}-queue")
        made[name] = world, queue
    return made


def value_of(scorer, seeds) -> float:
    scores = scorer(torch.from_numpy(seeds.entity), torch.from_numpy(seeds.time))
    return mean_average_precision(top_k(scores.numpy()), seeds)


@pytest.mark.parametrize("world_name", WORLDS)
@pytest.mark.parametrize("name", MODELS)
def test_learns_the_world(worlds, tmp_path, name, world_name):
    """Bounds and the reasons for the low ones stand in ``worlds.py``."""
    world, queue = worlds[world_name]
    checkpoint = train(
        world.graph, world.split, queue, MODEL.model_copy(update={"name": name}), TRAIN,
        tmp_path / "checkpoint", validate=lambda scorer: value_of(scorer, world.split.val),
        progress=SilentProgress())
    least, most = world.expected[name]
    value = value_of(checkpoint.scorer(world.graph), world.split.test)
    assert least <= value <= most, (
        f"{name} has test MAP@{K} {value:.3f} in {world_name}; chance is {world.chance:.3f}, "
        f"the oracle {world.oracle:.3f}")


@pytest.mark.parametrize("world_name", ["never_again", "fashion"])
def test_what_only_counting_can_know(worlds, tmp_path, world_name):
    """The two worlds tell a model with pair priors from one without."""
    world, queue = worlds[world_name]
    checkpoint = train(
        world.graph, world.split, queue, MODEL.model_copy(update={"use_priors": False}), TRAIN,
        tmp_path / "checkpoint", validate=lambda scorer: value_of(scorer, world.split.val),
        progress=SilentProgress())
    least, most = world.expected["contextgnn without priors"]
    value = value_of(checkpoint.scorer(world.graph), world.split.test)
    assert least <= value <= most < world.expected["contextgnn"][0]


def test_sampled_softmax_learns_as_well(worlds, tmp_path):
    world, queue = worlds["rebuy"]
    config = TRAIN.model_copy(update={"loss": "sampled", "num_classes": 100})
    checkpoint = train(
        world.graph, world.split, queue, MODEL, config, tmp_path / "checkpoint",
        validate=lambda scorer: value_of(scorer, world.split.val), progress=SilentProgress())
    assert value_of(checkpoint.scorer(world.graph), world.split.test) >= 0.6


@pytest.mark.parametrize("world_name", WORLDS)
def test_worlds_tell_rankers_apart(worlds, world_name):
    """A world is worth something only if chance and the trivial answer are far from right."""
    world, _ = worlds[world_name]
    seeds, events = world.split.test, world.graph.interactions
    count = np.zeros((world.graph.num_entities, world.graph.num_items))
    np.add.at(count, (events.entity, events.item), 1.0)
    assert events.time.max() <= world.split.test_time
    popular = count.sum(0)
    answers = {
        "popularity": np.tile(popular, (len(seeds), 1)),
        "past_then_popular": count[seeds.entity] * 1e6 + popular,
    }
    for name, scores in answers.items():
        least, most = world.expected[name]
        assert least <= mean_average_precision(top_k(scores), seeds) <= most, name
    least_learned = world.expected["contextgnn"][0]
    assert least_learned > 3 * world.chance
    assert least_learned <= world.oracle
    trivial = {"rebuy": "popularity", "checkerboard": "past_then_popular",
               "popularity": "past_then_popular", "never_again": "popularity",
               "fashion": "popularity"}[world_name]
    assert world.expected[trivial][1] < least_learned


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    """A small graph with many kinds of tables, and an untrained model for it."""
    graph = retail_graph()
    torch.manual_seed(0)
    config = MODEL.model_copy(update={"name": request.param, "channels": 12, "num_layers": 3})
    return graph, config, build_model(GraphSchema.of(graph), config).eval()


def scores_of(case, users, times, fan_out=8):
    graph, _, model = case
    with torch.no_grad():
        return model(batch_of(graph, users, times, fan_out=fan_out), catalogue(model, graph))


def test_user_without_history_and_empty_subgraph(case):
    graph = case[0]
    batch = batch_of(graph, [0, 5], [-1, -1], fan_out=0)
    assert len(batch.item) == 0
    assert all(len(src) == 0 for src, _ in batch.edge.values())
    for scores in (scores_of(case, [0, 5], [-1, -1]), scores_of(case, [0, 5], [NOW, NOW], 0)):
        assert scores.shape == (2, graph.num_items)
        assert scores.isfinite().all()


def test_empty_batch(case):
    assert scores_of(case, [], []).shape == (0, case[0].num_items)


def test_scores_do_not_depend_on_the_batch(case):
    users, times = [4, 1, 9, 4, 7], [NOW, NOW, NOW // 2, NOW // 3, NOW]
    together = scores_of(case, users, times)
    for row in range(5):
        alone = scores_of(case, users[row : row + 1], times[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    turned = scores_of(case, users[::-1], times[::-1])
    torch.testing.assert_close(turned.flip(0), together, rtol=1e-4, atol=1e-5)


def test_users_and_times_matter(case):
    scores = scores_of(case, [4, 1, 4], [NOW, NOW, NOW // 2])
    assert not torch.isclose(scores[0], scores[1]).all()
    assert not torch.isclose(scores[0], scores[2]).all()


def test_rows_after_the_seed_time_change_nothing(case):
    graph, _, model = case
    bound = NOW // 2
    changed = dict(graph.columns)
    rng = np.random.default_rng(9)
    for table in ("lines", "invoices", "views"):
        columns, late = changed[table], graph.node_time[table] > bound
        assert late.any()
        assert not late.all()
        number = columns.number.copy()
        number[late] = rng.normal(size=number[late].shape) * 100
        changed[table] = dataclasses.replace(columns, number=number)
    events = graph.interactions
    late = events.time > bound
    item = np.where(late, rng.permutation(events.item), events.item)
    other = dataclasses.replace(
        graph, columns=changed, interactions=dataclasses.replace(events, item=item))
    assert not np.array_equal(item, events.item)
    users, times = list(range(12)), [bound] * 12
    assert torch.equal(scores_of(case, users, times), scores_of((other, None, model), users, times))
    now = [NOW] * 12
    assert not torch.equal(scores_of(case, users, now), scores_of((other, None, model), users, now))


def test_gradients_reach_every_parameter(case):
    graph, config, _ = case
    model = build_model(GraphSchema.of(graph), config).train()
    if model.has_pair:  # beside a prior it starts at zero, and nothing would reach the states
        torch.nn.init.ones_(model.pair_gain)
    users = list(range(12))
    scores = model(batch_of(graph, users, [NOW] * 12), catalogue(model, graph),
                   torch.Generator().manual_seed(0))
    softmax_loss(scores, torch.arange(12), torch.arange(12)).backward()
    missing = [name for name, p in model.named_parameters()
               if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert missing == []


def test_checkpoint_round_trip(case, tmp_path):
    graph, config, model = case
    settings = None if model.prior is None else {
        "window_s": NOW // 5, "num_similar": config.num_similar, "num_popular": config.num_popular,
        "num_following": config.num_following,
        "columns": config.prior_columns, "values": list(value_columns(graph))}
    write_checkpoint(
        tmp_path / "c", weights=weights_of(model), model_config=config, train_config=TRAIN,
        schema=GraphSchema.of(graph), fan_out=[8, 4, 2], curves=[],
        training={"nodes_per_seed": 9.0, "refit": None, "priors": settings})
    loaded = Checkpoint.open(tmp_path / "c", verify="digest")
    assert loaded.model_config == config
    assert loaded.schema == GraphSchema.of(graph)
    again = loaded.load_model()
    assert type(again) is MODELS[config.name]
    assert not again.training
    entity, time = torch.arange(12), torch.full((12,), NOW)
    priors = None if settings is None else make_priors(graph, **settings)
    assert (loaded.priors(graph) is None) == (priors is None)
    assert torch.equal(
        loaded.scorer(graph)(entity, time),
        ModelScorer(model, graph.to_torch(), [8, 4, 2], nodes_per_seed=9.0, priors=priors)(entity, time))
