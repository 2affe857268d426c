import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from model_core.config import ExportConfig
from model_core.errors import ArtifactError, ExportError
from model_core.export import bundle as bundle_module
from model_core.export import parity as parity_module
from model_core.export.bundle import export_bundle
from model_core.export.parity import parity_seeds, prove_parity
from model_core.sampling.neighbors import sample
from model_core.serving.bundle import KIND, SCHEMA_VERSION, Bundle
from model_core.serving.recommend import Recommender
from model_core.serving.session import ScoringSession
from model_core.storage.registry import Registry
from model_core.training.transfer import champion_scorer
from tests.export.untrained import seeds_of, shop, untrained
from tests.factories import DAY, with_targets

CONFIG = ExportConfig()
METRICS = [
    {"split": "test", "mask": "none", "model": model, "metric": metric, "k": 10, "mean": 0.1234,
     "ci_low": 0.1, "ci_high": 0.2, "num_users": 40}
    for model in ("contextgnn", "popularity") for metric in ("map", "recall")
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    graph = shop()
    return graph, seeds_of(graph, tmp_path_factory.mktemp("split") / "split")


@pytest.fixture(scope="module")
def checkpoint(world, tmp_path_factory):
    return untrained(world[0], tmp_path_factory.mktemp("checkpoint") / "checkpoint")


@pytest.fixture(scope="module")
def bundle(world, checkpoint, tmp_path_factory):
    return export_bundle(checkpoint, *world, CONFIG, tmp_path_factory.mktemp("out") / "bundle",
                         metrics=METRICS)


def served(bundle, graph, **kwargs):
    return Recommender(ScoringSession(bundle.model_path, num_threads=2), bundle.schema, bundle.fan_out,
                       np.asarray(bundle.item_vectors), np.asarray(bundle.item_id), graph,
                       priors=bundle.priors(graph), **kwargs)


def test_bundle_holds_what_serving_needs(world, bundle):
    graph, _ = world
    assert set(bundle.record.files) == {
        "model.onnx", "item_vectors.npy", "item_id.npy", "schema.json", "config.json", "MODEL_CARD.md",
        "weights.safetensors", "encodings.json",
        *(f"{kind}/{name}.npy" for kind in ("neighbors", "followers")
          for name in ("time", "key", "ptr", "neighbor", "cosine"))}
    assert bundle.item_vectors.shape == (graph.num_items, 8 + 2)  # with the item biases
    assert bundle.item_vectors.dtype == np.float32
    assert bundle.item_id.tolist() == list(range(graph.num_items))
    assert bundle.num_entities == graph.num_entities
    assert bundle.fan_out == (64, 32)
    assert bundle.parity["num_users"] == 80
    assert bundle.parity["largest_difference"] <= 1e-5
    assert bundle.record.meta["onnx"]["opset"] == 20
    card = (bundle.record.path / "MODEL_CARD.md").read_text()
    for fact in ("users → items", "| contextgnn | 0.1234 (0.1000 to 0.2000) |", "| test |",
                 "model.item_vectors", bundle.record.files["model.onnx"]["sha256"]):
        assert fact in card, fact


def test_the_graph_sums_by_scatter_elements(bundle):
    nodes = onnx.load(bundle.model_path).graph.node
    reductions = {(n.op_type, a.s) for n in nodes for a in n.attribute if a.name == "reduction"}
    assert ("ScatterElements", b"add") in reductions
    assert not any(op == "ScatterND" for op, _ in reductions - {("ScatterND", b"none")})


def test_ranking_agrees_over_many_edges_with_threads_repeatedly(world, checkpoint, bundle):
    graph, _ = world
    tensors = graph.to_torch()
    # A time of the bundle's own item-item similarity; at others the checkpoint computes anew.
    entity, time = np.arange(400) % 40, np.full(400, 90 * 86_400)
    drawn = sample(tensors, torch.from_numpy(entity), torch.from_numpy(time), bundle.fan_out)
    assert sum(len(src) for src, _ in drawn.edge.values()) >= 50_000
    with torch.no_grad():
        expected = checkpoint.scorer(tensors, "cpu")(
            torch.from_numpy(entity), torch.from_numpy(time)).numpy()
    recommender = served(bundle, graph, batch_size=400)
    for _ in range(3):
        got = recommender.scores(entity, time)
        assert np.abs(got - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
        # One user asked twice in a batch gets one answer.
        np.testing.assert_allclose(got[:40], got[40:80], atol=1e-5)
    assert expected.std(axis=1).min() > 1e-3, "a model that tells items apart"


def test_equal_inputs_give_an_equal_bundle_in_silence(world, checkpoint, bundle, tmp_path, capfd):
    again = export_bundle(checkpoint, *world, CONFIG, tmp_path / "bundle", metrics=METRICS)
    assert again.record.digest == bundle.record.digest
    assert capfd.readouterr() == ("", ""), "the exporter's chatter stays off the screen"


def test_one_changed_byte_is_detected(bundle, tmp_path):
    for name in bundle.record.files:
        copy = tmp_path / name.replace(".", "_")
        shutil.copytree(bundle.record.path, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(ArtifactError, match="SHA-256"):
            Bundle.open(copy)


def test_carried_over_to_its_own_graph_it_scores_as_before(world, checkpoint, bundle):
    graph, split = world
    seeds = torch.from_numpy(split.test.entity), torch.from_numpy(split.test.time)
    assert torch.equal(champion_scorer(bundle.record.path, graph)(*seeds), checkpoint.scorer(graph)(*seeds))


def test_registry_takes_it(bundle, tmp_path):
    registry = Registry(tmp_path / "registry", kind=KIND, schema_version=SCHEMA_VERSION)
    assert Registry(tmp_path).kind == KIND
    assert Registry(tmp_path).schema_version == SCHEMA_VERSION
    done = registry.publish(bundle.record.path, verdict={"promote": True, "reason": "first"},
                            logical_date="20111125", run_info={}, now=0)
    assert Bundle.open(registry.fetch(done.version, tmp_path / "copy")).record.digest == (
        bundle.record.digest)


def nudge_largest_weight(path):
    graph = onnx.load(path)
    weight = max(graph.graph.initializer, key=lambda entry: np.prod(entry.dims))
    values = numpy_helper.to_array(weight).copy()
    values += 0.05
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(graph, path)


@pytest.mark.parametrize("change", [nudge_largest_weight, lambda path: None])
def test_perturbed_weights_are_refused_and_nothing_is_written(
    world, checkpoint, bundle, tmp_path, monkeypatch, change
):
    def write(model, schema, vector_dim, path):
        shutil.copyfile(bundle.model_path, path)
        change(path)
        return {}

    monkeypatch.setattr(bundle_module, "export_onnx", write)
    if change is nudge_largest_weight:
        with pytest.raises(ExportError, match=r"within 0\.0001"):
            export_bundle(checkpoint, *world, CONFIG, tmp_path / "bundle")
        assert list(tmp_path.iterdir()) == []
    else:
        export_bundle(checkpoint, *world, CONFIG, tmp_path / "bundle")


def test_too_small_a_tolerance_and_no_users_are_refused(world, checkpoint, bundle):
    graph, split = world
    scorer = checkpoint.scorer(graph.to_torch(), "cpu")
    recommender = served(bundle, graph)
    with pytest.raises(ExportError, match="within 1e-12"):
        prove_parity(scorer, recommender, split, ExportConfig(tolerance=1e-12))
    nobody = split.val.take(np.zeros(0, dtype=np.int64))
    with pytest.raises(ExportError, match="none"):
        prove_parity(scorer, recommender, replace(split, val=nobody, test=nobody), CONFIG)


def test_scores_that_change_between_runs_are_refused(world, checkpoint, bundle):
    graph, split = world

    class Racing(ScoringSession):
        runs = 0

        def run(self, inputs):
            Racing.runs += 1
            return super().run(inputs) + np.float32(1e-6 * Racing.runs)

    recommender = served(bundle, graph)
    object.__setattr__(recommender, "session", Racing(bundle.model_path))
    with pytest.raises(ExportError, match="the same scores at every run"):
        prove_parity(checkpoint.scorer(graph.to_torch(), "cpu"), recommender, split, CONFIG)


def test_a_wrong_id_map_is_refused(world, checkpoint, bundle):
    """Scores agree, lists do not: the second half of the proof."""
    graph, split = world

    class Reversed(Recommender):
        def rank(self, scores, k, exclude=None):
            ids, scores = super().rank(scores, k, exclude)
            return ids[:, ::-1], scores

    base = served(bundle, graph)
    recommender = Reversed(base.session, base.schema, base.fan_out, base.item_vectors, base.item_id, graph,
                           priors=base.priors)
    with pytest.raises(ExportError, match="place 1"):
        prove_parity(checkpoint.scorer(graph.to_torch(), "cpu"), recommender, split, CONFIG)


def test_ties_may_fall_either_way():
    expected = np.array([[1.0, 1.0 + 1e-6, 0.0]], dtype=np.float32)

    class Listing:
        item_id = np.array([7, 8, 9])

        def __init__(self, ids):
            self.ids = np.array([ids])

        def rank(self, scores, k):
            return self.ids, None

    who, allowed = (np.array([0]), np.array([0])), np.array([[1e-4]])
    compare = parity_module._compare_lists
    assert compare(expected, Listing([8, 7]), expected, who, 2, allowed) == 0
    assert compare(expected, Listing([7, 8]), expected, who, 2, allowed) == 2
    for wrong in ([8, 9], [9, 8], [8, 8]):
        with pytest.raises(ExportError):
            compare(expected, Listing(wrong), expected, who, 2, allowed)


def test_parity_users_are_spread_over_val_and_test(world):
    _, split = world
    entity, time = parity_seeds(split, 10)
    assert len(entity) == 10
    assert set(time.tolist()) == {split.val_time, split.test_time}
    entity, time = parity_seeds(split, 10_000)
    assert len(entity) == len(split.val) + len(split.test)


@pytest.mark.parametrize(
    "settings",
    [{"item_vectors": "lookup", "use_pair": False, "use_priors": False},
     {"fan_out": (6, 4, 2), "use_tower": False, "encoder_blocks": 0, "strategy": "uniform",
      "fusion": "replace", "num_similar": 0}],
)
def test_every_variant_exports(tmp_path, settings):
    graph = shop(num_users=12, num_items=4, num_events=80)
    split = seeds_of(graph, tmp_path / "split")
    made = export_bundle(untrained(graph, tmp_path / "checkpoint", **settings), graph, split,
                         CONFIG, tmp_path / "bundle")
    assert made.parity["k"] == 4, "a catalogue smaller than K"
    assert made.parity["largest_difference"] <= 1e-5
    with_priors = settings.get("use_priors", True)
    assert (made.record.path / "neighbors").is_dir() == with_priors
    assert (Bundle.open(made.record.path).priors(graph) is not None) == with_priors


def test_events_of_another_kind_are_told_apart_in_serving_too(tmp_path):
    plain = shop(num_users=12, num_items=8, num_events=200)
    graph = with_targets(plain, np.arange(len(plain.interactions.time)) % 3 == 0)
    split = seeds_of(graph, tmp_path / "split")
    checkpoint = untrained(graph, tmp_path / "checkpoint")
    made = export_bundle(checkpoint, graph, split, CONFIG, tmp_path / "bundle")
    assert made.parity["largest_difference"] <= 1e-5
    assert made.schema.target_events
    who = np.arange(1, 6), np.full(5, 90 * DAY)
    found = served(made, graph).scores(*who)
    others = with_targets(plain, np.arange(len(plain.interactions.time)) % 3 == 1)
    assert np.abs(served(made, others).scores(*who) - found).max() > 1e-3, "targets have a say"
    with pytest.raises(ArtifactError, match="target_routes"):
        served(made, plain)


def test_another_graph_is_refused(world, checkpoint, tmp_path):
    with pytest.raises(ExportError, match="another one"):
        export_bundle(checkpoint, shop(num_items=31), world[1], CONFIG, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
