"""What lets a bundle's model be carried over to the graph of another date."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from model_core.graph.encodings import GraphEncodings
from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.features import feature_names
from model_core.records import json_bytes
from model_core.split.seeds import Split
from model_core.training.checkpoint import Checkpoint


def write_portable(
    checkpoint: Checkpoint, graph: TemporalGraph[np.ndarray], split: Split, folder: Path
) -> dict[str, Any]:
    """Write the weights and what the columns of their graph mean into a bundle.

    Args:
        checkpoint: The trained model.
        graph: The graph it was trained on.
        split: Its windows.
        folder: Of the bundle.

    Returns:
        For the bundle's meta: ``nodes_per_seed`` (mean size of a subgraph) and ``times``,
        what the weights know of time: they may be measured on later labels only.
    """
    for name in ("weights.safetensors", "selected.safetensors"):
        if name in checkpoint.record.files:
            shutil.copyfile(checkpoint.record.file(name), folder / name)
    (folder / "encodings.json").write_bytes(json_bytes({
        "tables": GraphEncodings.of(graph).to_json(),
        "pair_features": [] if checkpoint.meta["priors"] is None else list(
            feature_names(checkpoint.schema.target_events)),
    }))
    refit = checkpoint.meta["refit"]
    return {
        "nodes_per_seed": checkpoint.meta["nodes_per_seed"],
        "times": {
            "as_of": split.as_of, "val_time": split.val_time, "test_time": split.test_time,
            "window_s": split.window_s, "chosen_until": split.val_time + split.window_s,
            "labels_until": {"selected": split.val_time,
                             "final": split.val_time if refit is None else refit["labels_until"]},
        },
    }
