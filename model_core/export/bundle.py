"""From a checkpoint to a bundle that is proven to rank as the checkpoint does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_core.config import ExportConfig
from model_core.errors import ExportError
from model_core.export.card import CardFacts, model_card
from model_core.export.onnx import export_onnx
from model_core.export.parity import NUM_THREADS, prove_parity
from model_core.export.portable import write_portable
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.scorer import ModelScorer
from model_core.priors.neighbors import ItemNeighbors
from model_core.records import file_sha256, json_bytes, write_record
from model_core.serving.bundle import KIND, SCHEMA_VERSION, Bundle
from model_core.serving.recommend import Recommender
from model_core.serving.session import ScoringSession
from model_core.split.seeds import Split
from model_core.training.checkpoint import Checkpoint

__all__ = ["Bundle", "export_bundle"]


def export_bundle(
    checkpoint: Checkpoint,
    graph: TemporalGraph[np.ndarray],
    split: Split,
    config: ExportConfig,
    out: Path,
    *,
    metrics: Sequence[Mapping[str, Any]] = (),
) -> Bundle:
    """Export a trained model and prove the export; only then does the bundle appear.

    Equal inputs give an equal bundle, digest included, so that publishing twice is
    recognised as one.

    Args:
        checkpoint: The trained model.
        graph: The graph it was trained on; also where the proof's users live.
        split: Its val and test rows give the proof's users.
        config: Size and tolerance of the proof.
        out: Directory of the new record.
        metrics: Rows of the evaluation report, for the model card.

    Returns:
        The bundle, opened.

    Raises:
        ExportError: The model does not export, or onnxruntime ranks differently; nothing
            is written then.
    """
    schema = checkpoint.schema
    if GraphSchema.of(graph) != schema:
        raise ExportError("graph", "the schema the model was trained on", "another one",
                          "pass the graph that the train step read")
    model = checkpoint.load_model("cpu").eval()
    tensors = graph.to_torch()
    with torch.no_grad():
        vectors = model.item_vectors(tensors.columns[graph.item_table]).float().numpy()
    # Not the checkpoint's own digest: it covers seconds, and the same run would be another version.
    digests = {"weights": checkpoint.weights_digest} | {
        name: record.digest
        for name, record in (("graph", graph.record), ("split", split.record)) if record is not None
    }
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        written_by = export_onnx(model, schema, vectors.shape[1], folder / "model.onnx")
        meta.update(write_portable(checkpoint, graph, split, folder))
        item_id = graph.source_keys(graph.item_table)
        np.save(folder / "item_vectors.npy", vectors)
        np.save(folder / "item_id.npy", item_id)
        session = ScoringSession(folder / "model.onnx", num_threads=NUM_THREADS,
                                 providers=["CPUExecutionProvider"])
        priors = checkpoint.priors(graph)
        if priors is not None:
            times = np.unique([split.val_time, split.test_time])
            for kind, source in (("neighbors", priors.neighbors), ("followers", priors.followers)):
                near = source(times)
                (folder / kind).mkdir()
                for name in ItemNeighbors.ARRAYS:
                    np.save(folder / f"{kind}/{name}.npy", getattr(near, name))
        recommender = Recommender(session, schema, checkpoint.fan_out, vectors, item_id, graph,
                                  priors=priors)
        # Serving draws the newest neighbours, also for a model trained with uniform ones.
        scorer = ModelScorer(model, tensors, checkpoint.fan_out, strategy="last", priors=priors)
        parity = prove_parity(scorer, recommender, split, config)
        (folder / "schema.json").write_bytes(json_bytes({
            "graph": schema.to_json(), "fan_out": list(checkpoint.fan_out), "strategy": "last",
            "num_entities": graph.num_entities, "inputs": list(session.input_names),
            "priors": checkpoint.meta["priors"] or {},
        }))
        (folder / "config.json").write_bytes(json_bytes({
            "model": checkpoint.model_config.model_dump(mode="json"),
            "train": checkpoint.train_config.model_dump(mode="json"),
            "export": config.model_dump(mode="json"),
        }))
        (folder / "MODEL_CARD.md").write_text(model_card(CardFacts(
            checkpoint.model_config, checkpoint.train_config, schema, split,
            sum(parameter.numel() for parameter in model.parameters()), checkpoint.fan_out,
            parity, metrics,
            digests | {name: file_sha256(folder / name)
                       for name in ("model.onnx", "item_vectors.npy", "item_id.npy")},
            checkpoint.meta["refit"], checkpoint.meta.get("start"),
        )))
        meta.update(
            model=checkpoint.model_config.name, parity=asdict(parity), digests=digests,
            logical_time=split.logical_time, onnx=written_by,
        )
    return Bundle.open(out)
