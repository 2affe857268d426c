import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from model_core.errors import ExportError
from model_core.export.onnx import check_graph, example_inputs, export_onnx
from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.fusion import PairScores, two_level
from model_core.sampling.batches import make_batch
from model_core.sampling.neighbors import sample
from model_core.serving.inputs import batch_axes, flat_inputs
from model_core.serving.session import ScoringSession
from tests.export.toy import WIDTH, FixedModel, RacingModel, ToyModel
from tests.export.untrained import shop


@pytest.fixture(scope="module")
def graph():
    return shop()


@pytest.fixture(scope="module")
def schema(graph):
    return GraphSchema.of(graph)


@pytest.fixture(scope="module")
def exported(schema, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(ToyModel(schema).eval(), schema, WIDTH, path)
    return path


def both(graph, schema, exported, entity, time, fan_out, num_threads=2):
    """Scores of torch and onnxruntime for one batch, and its number of edges."""
    tensors = graph.to_torch()
    entity, time = torch.as_tensor(entity), torch.as_tensor(time)
    batch = make_batch(tensors, sample(tensors, entity, time, fan_out))
    vectors = torch.randn(graph.num_items, WIDTH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = ToyModel(schema).eval()(batch, vectors).numpy()
    session = ScoringSession(exported, num_threads=num_threads)
    inputs = {k: v.numpy() for k, v in flat_inputs(schema, batch, entity, vectors).items()}
    runs = [session.run(inputs) for _ in range(3)]
    assert all(np.array_equal(run, runs[0]) for run in runs)
    return expected, runs[0], sum(len(src) for src, _ in batch.edge.values())


def test_many_edges_several_threads_same_scores(graph, schema, exported):
    expected, got, num_edges = both(
        graph, schema, exported, np.arange(320) % 40, np.full(320, 10**8), (100, 50))
    assert num_edges >= 50_000
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert np.abs(expected - got).max() / scale.max() < 1e-5
    assert np.abs(expected).std() > 0.1


@pytest.mark.parametrize(
    ("entity", "time", "fan_out"),
    [
        ([3], [10**8], (5, 5)),  # one seed
        ([0], [10**8], (5, 5)),  # a user without history
        ([3], [-1], (5, 5)),  # no history yet: no event, no item, no edge
        ([3, 3], [-1, 50 * 86_400], (5, 5)),
        ([0, 1, 2], [86_400 * 50] * 3, (4, 0)),
        ([7], [86_400 * 50], (1, 1)),
    ],
)
def test_small_and_empty_batches(graph, schema, exported, entity, time, fan_out):
    expected, got, _ = both(graph, schema, exported, entity, time, fan_out)
    assert got.shape == (len(entity), graph.num_items)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_one_plain_file_without_source_paths(schema, exported):
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]
    text = exported.read_bytes()
    assert b"stack_trace" not in text
    assert b".py" not in text
    session = ScoringSession(exported)
    assert set(session.input_names) <= set(batch_axes(schema))


def test_a_sum_that_races_is_refused(schema, tmp_path):
    with pytest.raises(ExportError, match="ScatterND with reduction 'add'"):
        export_onnx(RacingModel(schema).eval(), schema, WIDTH, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_constant_batch_size_is_refused(schema, tmp_path):
    with pytest.raises(ExportError):
        export_onnx(FixedModel(schema).eval(), schema, WIDTH, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_other_domains_are_refused():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    node = helper.make_node("FusedGelu", ["x"], ["y"], domain="com.microsoft")
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_model(
        helper.make_graph([node], "g", [value], [out]),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])
    with pytest.raises(ExportError, match="microsoft::FusedGelu"):
        check_graph(graph, {"x": "n"})


def test_a_logarithm_of_a_sigmoid_is_refused():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Log", ["s"], ["y"])]
    graph = helper.make_model(helper.make_graph(nodes, "g", [value], [out]),
                              opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(ExportError, match="Log of Sigmoid"):
        check_graph(graph, {"x": "n"})


class Fusion(torch.nn.Module):
    """Fusion alone: each row has two near items."""

    def forward(self, tower, gate):
        rows = torch.arange(tower.shape[0])
        seed, item = rows.repeat(2), torch.cat([rows * 0, rows * 0 + 3])
        pairs = PairScores(seed, item, 0.1 * seed.float() + item.float())
        return two_level(tower, (pairs,), torch.zeros(5), gate, has_near=gate == gate).scores


def test_a_gate_that_is_sure_scores_as_in_torch():
    """Users who only explore drive the gate far from 0; near items must keep their order and scores."""
    gate = torch.tensor([[-200.0], [-60.0], [-18.0], [-1.0], [0.0], [3.0], [25.0], [90.0]])
    tower = torch.randn(len(gate), 5, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(Fusion().eval(), (tower, gate), dynamo=True, opset_version=20, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [entry.name for entry in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (tower.numpy(), gate.numpy()), strict=True)))
    expected = Fusion()(tower.double(), gate.double()).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


def test_a_fixed_first_axis_is_refused(exported, schema):
    graph = onnx.load(exported)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    with pytest.raises(ExportError, match="variable first axis"):
        check_graph(graph, batch_axes(schema))


def test_example_axes_differ_and_are_longer_than_one(schema):
    axes = batch_axes(schema)
    lengths = {}
    for name, tensor in example_inputs(schema, WIDTH).items():
        assert lengths.setdefault(axes[name], tensor.shape[0]) == tensor.shape[0] >= 2
    assert len(set(lengths.values())) == len(lengths)


def test_logging_levels_are_put_back_after_a_failure(schema, tmp_path, monkeypatch):
    import torch.onnx._internal.exporter._registration

    before = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}

    def fail(*args, **kwargs):
        assert logging.getLogger("torch.onnx._internal.exporter._registration").level == logging.ERROR
        raise RuntimeError("outer") from ValueError("the cause\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ExportError, match=r"found ValueError: the cause\. Fix"):
        export_onnx(ToyModel(schema).eval(), schema, WIDTH, tmp_path / "x.onnx")
    for name, level in before.items():
        assert logging.getLogger(name).level == level
