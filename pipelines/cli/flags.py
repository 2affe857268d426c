"""Options that several commands have, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from model_core.config import RunConfig

Dataset = Annotated[str, typer.Option(
    help="RelBench-v3 folder, URI of one (gs://, s3://) or Hub spec.", show_default=False)]
RemoteDataset = Annotated[str, typer.Option(
    help="URI (gs://, s3://) or Hub spec of a RelBench-v3 dataset.", show_default=False)]
Task = Annotated[str, typer.Option(help="Recommendation task of it.", show_default=False)]
RemoteRegistry = Annotated[str, typer.Option(
    "--registry", help="URI (gs://, s3://) of the model registry.", show_default=False)]
Model = Annotated[str, typer.Option(help="Model to train.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="A setting, such as train.epochs=3. Repeatable.", show_default=False)]
WarmStart = Annotated[str | None, typer.Option(
    "--warm-start", metavar="none|champion", show_default=False,
    help="What training begins with: none (initial weights) or champion (its weights, carried over). "
         "The same as --set train.warm_start.")]
PinsFile = Annotated[Path | None, typer.Option(
    "--images", metavar="FILE", show_default=False,
    help="Pin the images that make push wrote to this file.")]
AllowUnpinned = Annotated[bool, typer.Option("--allow-unpinned", help="Accept images without a digest.")]
Resources = Annotated[str, typer.Option(
    help="Processors, memory, GPUs and nodes of steps: laptop, cpu, small_gpu, large_gpu or a YAML file.")]
Experiment = Annotated[str, typer.Option(
    help="Experiment of the run. [default: retrain-TASK]", show_default=False)]
CheckpointRoot = Annotated[str, typer.Option(
    help="URI for resume states; without one a lost node starts training over.", show_default=False)]
PipelineRoot = Annotated[str, typer.Option(
    help="URI for artifacts. [default: the cluster's own place]", show_default=False)]
ServiceAccount = Annotated[str, typer.Option(
    help="Service account of the steps: a Kubernetes name, or an e-mail address on Vertex AI. "
         "[default: the cluster's]", show_default=False)]
Poll = Annotated[float, typer.Option("--poll", min=0.05, help="Seconds between looks of --wait.")]


def run_config(model: str, warm_start: str | None, settings: Sequence[str] | None) -> RunConfig:
    """All settings of a run: of ``--model`` and ``--warm-start``, then of ``--set``, which has the last word.

    Raises:
        ConfigError: A setting that does not exist, or a bad value.
    """
    from model_core.config import parse_overrides

    begins = [] if warm_start is None else [f"train.warm_start={warm_start}"]
    return parse_overrides([f"model.name={model}", *begins, *(settings or [])])
