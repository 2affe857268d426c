"""The scoring path of a trained model as one ONNX file.

The network is exported: table encoders, message passing, scores. The sampler stays
outside (it is data-dependent control flow; ``model_core.serving.sampler`` is its numpy
form), and so do the item vectors, which are an input: the file then depends on the
weights alone, and vectors can be stored, compared and memory-mapped as what they are.

Four things go wrong silently here and are therefore checked on the finished graph:
``ScatterND`` with a reduction (what ``index_add`` becomes) races in onnxruntime's CPU
provider when it has more than one thread; its ``Sigmoid`` is coarse far from 0 (0 at -40, and
a hundredth off at -18), so that no logarithm may follow it; operators outside the standard
opset need an onnxruntime that has them; an axis that the exporter took for a constant
breaks on the first batch of another size.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from model_core.errors import ExportError
from model_core.graph.schema import GraphSchema
from model_core.priors.features import feature_names
from model_core.sampling.batches import Batch
from model_core.serving.inputs import (
    ITEM,
    ITEM_VECTORS,
    PRIOR_FEATURE,
    PRIOR_ITEM,
    PRIOR_SEED,
    SCORES,
    SEEDS,
    batch_axes,
    flat_inputs,
)

OPSET = 20


class FlatScorer(nn.Module):
    """A model whose inputs are one flat mapping of tensors instead of a Batch.

    Args:
        model: Called with ``(batch, item_vectors)``, returns float32 [B, num_items].
        schema: Tables and relations of the batches.
    """

    def __init__(self, model: nn.Module, schema: GraphSchema) -> None:
        super().__init__()
        self.model, self.schema = model, schema

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        schema = self.schema

        def per_table(part: str) -> dict[str, Tensor]:
            return {table: inputs[f"{part}/{table}"] for table in schema.tables}

        edge = {relation: (inputs[f"src/{relation.key}"], inputs[f"dst/{relation.key}"])
                for relation in schema.relations}
        batch = Batch(
            num_seeds=inputs[SEEDS].shape[0],
            number=per_table("number"), category=per_table("category"), text=per_table("text"),
            row_of=per_table("row_of"), age_days=per_table("age_days"), seed=per_table("seed"),
            edge=edge, item=inputs[ITEM], prior_seed=inputs[PRIOR_SEED],
            prior_item=inputs[PRIOR_ITEM], prior_feature=inputs[PRIOR_FEATURE],
            # Hop counts only let a model skip nodes that reach no readout; without them it
            # computes all, and the graph has no slices that depend on the data.
            num_nodes_per_hop={}, num_edges_per_hop={},
        )
        return self.model(batch, inputs[ITEM_VECTORS])


def export_onnx(
    model: nn.Module, schema: GraphSchema, vector_dim: int, path: Path
) -> dict[str, Any]:
    """Write a model's scoring path to one ONNX file, weights inside.

    Args:
        model: In evaluation mode, on the CPU, float32.
        schema: The graph it was trained on.
        vector_dim: Width of the item vectors.
        path: The file to write.

    Returns:
        What wrote it: opset, IR version, version of torch.

    Raises:
        ExportError: The exporter failed, or the graph holds what must not be in it.
    """
    axes = batch_axes(schema)
    example = example_inputs(schema, vector_dim)
    dims = {axis: Dim(axis) for axis in axes.values()}
    flat = FlatScorer(model, schema).eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                flat, kwargs={"inputs": example}, dynamo=True, opset_version=OPSET,
                input_names=list(example), output_names=[SCORES],
                dynamic_shapes={"inputs": {name: {0: dims[axes[name]]} for name in example}},
                external_data=False, verbose=False,
            )
    except Exception as error:
        raise ExportError(
            type(model).__name__, f"operators that export to ONNX opset {OPSET}",
            _first_cause(error),
            "use scatter_add and index_select in the scoring path; see docs/models",
        ) from error
    assert program is not None
    graph = program.model_proto
    strip(graph)
    check_graph(graph, axes)
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return {"opset": OPSET, "ir_version": graph.ir_version, "torch": str(torch.__version__)}


def example_inputs(schema: GraphSchema, vector_dim: int) -> dict[str, Tensor]:
    """Inputs to trace with: valid, small, and every axis of another length ≥ 2.

    An axis of length 0 or 1 would be taken for a constant, and two axes of equal length
    for one; a real batch of a small dataset has both.
    """
    axes = batch_axes(schema)
    # Seeds come first: a batch has at least as many entity nodes as seeds.
    order = sorted(set(axes.values()), key=lambda axis: axis != axes[SEEDS])
    size = {axis: 3 + 2 * i for i, axis in enumerate(order)}
    length = {name: size[axis] for name, axis in axes.items()}
    generator = torch.Generator().manual_seed(0)

    def index(name: str, below: int) -> Tensor:
        return torch.randint(below, (length[name],), generator=generator)

    def real(name: str, *width: int) -> Tensor:
        return torch.randn(length[name], *width, generator=generator)

    number, category, text, row_of, age_days, seed, edge = {}, {}, {}, {}, {}, {}, {}
    for table, features in schema.tables.items():
        number[table] = real(f"number/{table}", features.num_number)
        category[table] = torch.zeros(
            length[f"category/{table}"], len(features.category_sizes), dtype=torch.int64)
        text[table] = real(f"text/{table}", features.num_text)
        row_of[table] = index(f"row_of/{table}", length[f"number/{table}"])
        age_days[table] = real(f"age_days/{table}").abs()
        seed[table] = index(f"seed/{table}", length[SEEDS])
    for relation in schema.relations:
        edge[relation] = (index(f"src/{relation.key}", length[f"seed/{relation.src}"]),
                          index(f"dst/{relation.key}", length[f"seed/{relation.dst}"]))
    batch = Batch(
        num_seeds=length[SEEDS], number=number, category=category, text=text, row_of=row_of,
        age_days=age_days, seed=seed, edge=edge, item=index(ITEM, length[ITEM_VECTORS]),
        prior_seed=index(PRIOR_SEED, length[SEEDS]),
        prior_item=index(PRIOR_ITEM, length[ITEM_VECTORS]),
        prior_feature=real(PRIOR_FEATURE, len(feature_names(schema.target_events))),
        num_nodes_per_hop={}, num_edges_per_hop={},
    )
    return flat_inputs(schema, batch, torch.arange(length[SEEDS]), real(ITEM_VECTORS, vector_dim))


def strip(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes: source paths and stack traces, different on every machine."""
    del graph.metadata_props[:]
    graph.doc_string = graph.graph.doc_string = ""
    del graph.graph.metadata_props[:]
    for part in (*graph.graph.node, *graph.graph.initializer, *graph.graph.input,
                 *graph.graph.output, *graph.graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]


def check_graph(graph: onnx.ModelProto, axes: dict[str, str]) -> None:
    """Refuse a graph that would be wrong, or wrong on other batches, in onnxruntime.

    Args:
        graph: The exported model.
        axes: Input name to the name of its variable first axis.

    Raises:
        ExportError: With the first fault found.
    """
    fix = "report this with the model's name: its scoring path is not exportable"
    onnx.checker.check_model(graph, full_check=True)
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    if opsets.get("") != OPSET:
        raise ExportError("ONNX graph", f"opset {OPSET}", str(opsets), fix)
    for node in _nodes(graph):
        if node.domain not in ("", "ai.onnx"):
            raise ExportError("ONNX graph", "standard operators only",
                              f"{node.domain}::{node.op_type}", fix)
        reduction = next((a.s.decode() for a in node.attribute if a.name == "reduction"), "none")
        if node.op_type == "ScatterND" and reduction != "none":
            raise ExportError(
                "ONNX graph", "sums by scatter_add (ScatterElements)",
                f"ScatterND with reduction {reduction!r}, which gives other numbers at every run",
                "replace index_add and accumulating index_put in the scoring path by scatter_add",
            )
    sigmoids = {name for node in _nodes(graph) if node.op_type == "Sigmoid" for name in node.output}
    if any(node.op_type == "Log" and node.input[0] in sigmoids for node in _nodes(graph)):
        raise ExportError(
            "ONNX graph", "min(x, 0) - log(1 + exp(-|x|)) for the logarithm of a sigmoid",
            "Log of Sigmoid, which is minus infinity where x is small",
            "write logsigmoid so in the scoring path while it is exported (models/contextgnn/fusion.py)")
    for entry in graph.graph.input:
        first, *others = entry.type.tensor_type.shape.dim
        if not first.dim_param or any(dim.dim_param for dim in others):
            raise ExportError(f"ONNX graph, input {entry.name!r}",
                              f"a variable first axis ({axes[entry.name]})",
                              f"{[dim.dim_param or dim.dim_value for dim in (first, *others)]}", fix)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _nodes(graph: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches, loops and functions included."""

    def walk(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        for node in nodes:
            yield node
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    yield from walk(inner.node)

    yield from walk(graph.graph.node)
    for function in graph.functions:
        yield from walk(function.node)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about itself off the screen."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("torch.onnx")]
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", *names)}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
