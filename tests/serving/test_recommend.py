import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_core.config import ExportConfig
from model_core.errors import ArtifactError, ConfigError, DataError
from model_core.export.bundle import export_bundle
from model_core.graph.temporal_graph import TemporalGraph
from model_core.serving.bundle import Bundle
from model_core.serving.recommend import Recommender
from model_core.serving.session import ScoringSession
from model_core.training.checkpoint import Checkpoint
from tests.export.untrained import DAY, seeds_of, shop, untrained, write_graph

NOW = 95 * DAY


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    graph = write_graph(shop(num_users=30, num_items=20, num_events=500), folder / "graph")
    export_bundle(untrained(graph, folder / "checkpoint", (8, 4), encoder_blocks=0), graph,
                  seeds_of(graph, folder / "split"), ExportConfig(num_parity_users=10), folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def recommender(places):
    return Recommender.open(places / "bundle", places / "graph", num_threads=1)


def test_lists_are_the_sorted_scores(recommender):
    entity = np.arange(30)
    scores = recommender.scores(entity, NOW)
    item, score = recommender.recommend(entity, NOW, k=5)
    assert scores.dtype == score.dtype == np.float32
    assert item.dtype == np.int64
    for row in range(30):
        order = sorted(range(20), key=lambda i: (-scores[row, i], i))[:5]
        assert item[row].tolist() == order
        assert score[row].tolist() == scores[row, order].tolist()


def test_opened_from_files_it_scores_as_the_checkpoint(places, recommender):
    """The item-item similarity of the bundle is that of its two times, the checkpoint's any."""
    scorer = Checkpoint.open(places / "checkpoint").scorer(TemporalGraph.open(places / "graph"))
    entity = np.arange(30)
    for day, similar in ((80, True), (90, True), (85, False), (95, False), (40, False)):
        time = np.full(30, day * DAY)
        expected = scorer(torch.from_numpy(entity), torch.from_numpy(time)).numpy()
        found = recommender.scores(entity, day * DAY)
        assert np.abs(found - expected).max() < 1e-4 or not similar
        if day == 40:  # earlier than the bundle's similarity
            assert np.abs(found - expected).max() > 1e-3
    bundle = Bundle.open(places / "bundle")
    assert bundle.neighbors.time.tolist() == [80 * DAY, 90 * DAY]
    assert bundle.prior_settings == {"window_s": 10 * DAY, "num_similar": 80, "num_popular": 60,
                                     "num_following": 40, "columns": True, "targets": True,
                                     "values": ["events.number_0"]}


def test_candidates_are_counted_in_the_graph_that_is_served(recommender):
    """Without them the scores are others; with the ones of PairPriors they are these."""
    entity = np.array([3, 4])
    scores = recommender.scores(entity, NOW)
    assert np.abs(scores - replace(recommender, priors=None).scores(entity, NOW)).max() > 1e-2
    seen = []

    def watched(entity, time):
        seen.append(recommender.priors(entity, time))
        return seen[-1]

    assert np.array_equal(replace(recommender, priors=watched).scores(entity, NOW), scores)
    (candidates,) = seen
    events = recommender.graph.interactions
    own = {(row, int(item)) for row, user in enumerate(entity)
           for item in events.item[(events.entity == user) & (events.time <= NOW)]}
    assert own <= set(zip(candidates.seed.tolist(), candidates.item.tolist(), strict=True))


def test_batch_size_changes_no_list(recommender):
    entity, time = np.arange(30), np.arange(30) * DAY * 3
    item, score = recommender.recommend(entity, time, k=20)
    for batch_size in (1, 7, 100):
        other_item, other_score = replace(recommender, batch_size=batch_size).recommend(
            entity, time, k=20)
        np.testing.assert_allclose(other_score, score, atol=1e-5)
        assert (other_item == item).mean() > 0.99  # near ties may swap by rounding


def test_one_user_and_a_user_without_history(recommender):
    item, score = recommender.recommend(np.array([0]), NOW, k=3)
    assert item.shape == (1, 3)
    assert np.isfinite(score).all()
    again, _ = recommender.recommend(np.array([5]), -1, k=3)
    assert np.unique(again).size == 3
    nobody, _ = recommender.recommend(np.zeros(0, dtype=np.int64), NOW, k=3)
    assert nobody.shape == (0, 3)
    assert recommender.scores(np.zeros(0, dtype=np.int64), NOW).shape == (0, 20)


def test_a_later_event_counts_only_from_its_time(recommender):
    early, late = (recommender.scores(np.array([5]), day * DAY) for day in (1, 95))
    assert np.abs(early - late).max() > 1e-3


def test_catalogue_smaller_than_k_and_exclusions(recommender):
    item, score = recommender.recommend(np.array([3, 4]), NOW, k=25)
    assert (item[:, 20:] == -1).all()
    assert (score[:, 20:] == -np.inf).all()
    assert sorted(item[0, :20].tolist()) == list(range(20))
    exclude = [item[0, :4], np.array([999, -5])]
    rest, _ = recommender.recommend(np.array([3, 4]), NOW, k=25, exclude=exclude)
    assert rest[0, :16].tolist() == item[0, 4:20].tolist()
    assert (rest[0, 16:] == -1).all()
    assert rest[1].tolist() == item[1].tolist()
    none_left, _ = recommender.recommend(np.array([3]), NOW, k=2, exclude=[np.arange(20)])
    assert none_left.tolist() == [[-1, -1]]


class Constant(ScoringSession):
    """A model that says the same of every item."""

    def __init__(self, value):
        self.value = value

    def run(self, inputs):
        return np.full((len(inputs["seeds"]), len(inputs["item_vectors"])), self.value, np.float32)


def test_ties_fall_by_id_and_ids_come_from_the_map(recommender):
    ids = np.arange(20)[::-1] * 10 + 7
    tied = replace(recommender, session=Constant(1.0), item_id=ids)
    item, _ = tied.recommend(np.array([1, 2]), NOW, k=3, exclude=[np.array([17]), np.array([1])])
    assert item.tolist() == [[7, 27, 37], [7, 17, 27]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(recommender, value):
    with pytest.raises(ArtifactError, match="finite"):
        replace(recommender, session=Constant(value)).recommend(np.array([1]), NOW, k=3)


def test_bad_arguments(recommender, places, tmp_path):
    for entity in (30, -1):
        with pytest.raises(DataError, match=rf"entity {entity}: expected a row 0\.\.29"):
            recommender.scores(np.array([2, entity]), NOW)
    with pytest.raises(DataError, match="at least 1"):
        recommender.recommend(np.array([1]), NOW, k=0)
    with pytest.raises(DataError, match="one per entity"):
        recommender.recommend(np.array([1]), NOW, k=1, exclude=[])
    with pytest.raises(ConfigError, match="NoSuchProvider"):
        ScoringSession(places / "bundle" / "model.onnx", providers=["NoSuchProvider"])
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="onnxruntime loads"):
        ScoringSession(tmp_path / "model.onnx")
    write_graph(shop(num_users=30, num_items=21, num_events=500), tmp_path / "graph")
    with pytest.raises(ArtifactError, match="num_items"):
        Recommender.open(places / "bundle", tmp_path / "graph")


def test_a_newer_graph_serves_new_users_and_events(recommender, places, tmp_path):
    write_graph(shop(num_users=35, num_items=20, num_events=600, seed=1), tmp_path / "graph")
    newer = Recommender.open(places / "bundle", tmp_path / "graph")
    item, _ = newer.recommend(np.array([34]), NOW, k=3)
    assert (item >= 0).all()


def test_serving_needs_no_torch(places):
    program = """
import json, sys
import numpy as np
from model_core.serving.recommend import Recommender
recommender = Recommender.open(sys.argv[1], sys.argv[2], num_threads=1)
item, _ = recommender.recommend(np.array([3, 0]), 95 * 86400, 4)
heavy = [m for m in ("torch", "torch_geometric", "pandas", "scipy", "kfp", "onnx") if m in sys.modules]
print(json.dumps([item.tolist(), heavy]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(places / "bundle"), str(places / "graph")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=60)
    item, heavy = json.loads(done.stdout)
    assert heavy == []
    assert np.array(item).shape == (2, 4)


def test_graph_stays_on_disk(places):
    graph = TemporalGraph.open(places / "graph")
    assert isinstance(graph.columns["events"].number, np.memmap)
