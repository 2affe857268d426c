"""What the export_onnx step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def export_onnx(
    checkpoint: Input, graph: Input, split: Input, report: Input, bundle: Output, config: str = "{}"
) -> Metadata:
    """Export the scoring path to ONNX and prove that it ranks as torch does.

    Args:
        checkpoint: Trained model (record: checkpoint).
        graph: Temporal graph of the parity users (record: graph).
        split: Seed rows the parity users are taken from (record: split).
        report: Metrics for the model card (record: report).
        bundle: ONNX model, item vectors, id map, config, model card (record: bundle).
        config: JSON of ExportConfig.
    """
    from model_core.config import ExportConfig, parse_section
    from model_core.evaluation.gate import CHAMPION
    from model_core.evaluation.record import Report
    from model_core.export.bundle import export_bundle
    from model_core.graph.temporal_graph import TemporalGraph
    from model_core.split.seeds import Split
    from model_core.training.checkpoint import Checkpoint

    exported = export_bundle(
        Checkpoint.open(checkpoint, verify="digest"), TemporalGraph.open(graph, verify="digest"),
        Split.open(split, verify="digest"), parse_section(ExportConfig, config), Path(bundle),
        # The card is part of the bundle, whose digest must not depend on what it was compared with.
        metrics=[row for row in Report.open(report, verify="digest").metrics if row["model"] != CHAMPION],
    )
    return {"bundle": {"digest": exported.record.digest}}


if __name__ == "__main__":
    sys.exit(run_step(export_onnx))
