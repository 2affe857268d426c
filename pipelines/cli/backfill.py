"""``relrec backfill``: one run for every logical date of a range."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli import flags
from pipelines.cli.connected import Access, Output, check_output, connected

backfill_app = typer.Typer(no_args_is_help=True, help="Run a pipeline for many logical dates.")


@backfill_app.command("retrain")
@connected
def backfill_retrain(
    access: Access,
    dataset: flags.Dataset,
    task: flags.Task,
    start: Annotated[str, typer.Option(
        "--from", metavar="DATE", help="First logical date (UTC).", show_default=False)],
    end: Annotated[str, typer.Option(
        "--to", metavar="DATE", help="Last logical date, included.", show_default=False)],
    every: Annotated[str, typer.Option(
        metavar="STEP", help="Distance of the dates: hours, days or weeks, such as 6h, 1d or 2w.")] = "1d",
    model: flags.Model = "contextgnn",
    root: Annotated[str | None, typer.Option(
        help="Directory of state and results; each date has a folder in it. "
             "[default: runs/DATASET/TASK/backfill]", show_default=False)] = None,
    registry: Annotated[str | None, typer.Option(
        help="Model registry that all dates share, directory or URI. [default: ROOT/registry]",
        show_default=False)] = None,
    settings: flags.Settings = None,
    warm_start: flags.WarmStart = None,
    no_promote: Annotated[bool, typer.Option(
        "--no-promote", help="Store every version, promote none; as --set gate.promote=false.")] = False,
    parallel: Annotated[int, typer.Option(
        min=1, max=64, help="Runs at once; each needs the memory of a run. More than 1 needs --no-promote or "
                            "--any-order.")] = 1,
    any_order: Annotated[bool, typer.Option(
        "--any-order", help="With --parallel: let a date meet whichever champion is there by then.")] = False,
    keep_going: Annotated[bool, typer.Option(
        "--keep-going", help="Go on with later dates after one has failed.")] = False,
    discard_artifacts: Annotated[bool, typer.Option(
        "--discard-artifacts", help="Of a date that is done keep summary, report and log only; its model is "
                                    "in the registry.")] = False,
    runner: Annotated[str, typer.Option(
        help="Where: process or docker on this machine, or kubeflow (with --host).")] = "process",
    containers: Annotated[list[str] | None, typer.Option(
        "--docker", metavar="KEY=VALUE", help="For --runner docker, as for relrec run. Repeatable.",
        show_default=False)] = None,
    images: flags.PinsFile = None,
    allow_unpinned: flags.AllowUnpinned = False,
    resources: flags.Resources = "cpu",
    experiment: flags.Experiment = "",
    checkpoint_root: flags.CheckpointRoot = "",
    pipeline_root: flags.PipelineRoot = "",
    service_account: flags.ServiceAccount = "",
    poll_s: Annotated[float, typer.Option(
        "--poll", min=0.05, help="For --runner kubeflow: seconds between looks.")] = 5.0,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="List the dates and what would become of each; run nothing.")] = False,
    output: Output = "text",
) -> None:
    """Retrain for every date of a range; a repeated call goes on where the last one ended.

    Example: relrec backfill retrain --dataset shop --task customer-purchase --from 2023-05-12 --to 2023-05-25
    --every 1d --warm-start champion

    Example: relrec backfill retrain --runner kubeflow --host https://kubeflow.example.org/pipeline
    --dataset gs://bucket/shop --task customer-purchase --registry gs://bucket/registry
    --images build/pins.json --from 2023-05-12 --to 2023-05-25
    """
    as_json = check_output(output)
    from pipelines.cli.backfill_run import Asked, backfill

    raise typer.Exit(backfill(Asked(
        access=access, dataset=dataset, task=task, start=start, end=end, every=every, model=model, root=root,
        registry=registry,
        settings=(*(settings or ()), *([] if warm_start is None else [f"train.warm_start={warm_start}"]),
                  *(["gate.promote=false"] if no_promote else [])),
        parallel=parallel, any_order=any_order, keep_going=keep_going, discard_artifacts=discard_artifacts,
        runner=runner, containers=tuple(containers or ()), images=images, allow_unpinned=allow_unpinned,
        resources=resources, experiment=experiment, checkpoint_root=checkpoint_root,
        pipeline_root=pipeline_root, service_account=service_account, poll_s=poll_s, dry_run=dry_run,
        as_json=as_json)))
