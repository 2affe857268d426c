"""``relrec dataset``: make datasets. What a command does is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

dataset_app = typer.Typer(no_args_is_help=True, help="Make datasets.")


@dataset_app.command("demo")
def dataset_demo(
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generator.")] = 0,
    scale: Annotated[float, typer.Option(min=0.05, help="Size; 1.0 is about 1,500 customers.")] = 1.0,
) -> None:
    """Write the demo shop: a made-up, realistic dataset in RelBench-v3 format.

    Example: relrec dataset demo runs/shop
    """
    from model_core.tables.demo import DEMO_TASK, write_demo_dataset

    path = write_demo_dataset(out, seed=seed, scale=scale)
    typer.echo(f"wrote {path}, task {DEMO_TASK}")


@dataset_app.command("init")
def dataset_init(
    folder: Annotated[Path, typer.Argument(
        help="Folder of CSV or parquet files: one file per table, or a sub-folder of parts.",
        show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write the dataset to.", show_default=False)],
    name: Annotated[str | None, typer.Option(
        help="Name of the dataset. [default: the folder's]", show_default=False)] = None,
    user_table: Annotated[str | None, typer.Option(
        help="Table of those who act.", show_default=False)] = None,
    item_table: Annotated[str | None, typer.Option(
        help="Table of what is recommended.", show_default=False)] = None,
    event_table: Annotated[str | None, typer.Option(
        help="Table whose rows are to be predicted.", show_default=False)] = None,
    keys: Annotated[list[str] | None, typer.Option(
        "--key", metavar="TABLE=COLUMN", show_default=False,
        help="Primary key of a table, or TABLE=none. Repeatable.")] = None,
    fkeys: Annotated[list[str] | None, typer.Option(
        "--fkey", metavar="TABLE.COLUMN=TARGET", show_default=False,
        help="Table that a column points into, or none; a target that no file holds is made of the "
             "column's values. Repeatable.")] = None,
    times: Annotated[list[str] | None, typer.Option(
        "--time", metavar="TABLE=COLUMN", show_default=False,
        help="Time column of a table, or TABLE=none. Repeatable.")] = None,
    time_formats: Annotated[list[str] | None, typer.Option(
        "--time-format", metavar="TABLE.COLUMN=FORMAT", show_default=False,
        help="How a time is written, such as orders.day=%d/%m/%Y. Repeatable.")] = None,
    timezone: Annotated[str, typer.Option(help="Zone of times that carry none.")] = "UTC",
    dangling: Annotated[str, typer.Option(
        help="A row whose foreign key leads nowhere: keep (with an empty key) or drop.")] = "keep",
    window: Annotated[str | None, typer.Option(
        help="How far ahead to predict, such as 7d or '14 days'.", show_default=False)] = None,
    val: Annotated[str | None, typer.Option(
        help="Start of the validation window (UTC).", show_default=False)] = None,
    test: Annotated[str | None, typer.Option(
        help="Start of the test window (UTC).", show_default=False)] = None,
    task_name: Annotated[str | None, typer.Option(help="Name of the task.", show_default=False)] = None,
    eval_k: Annotated[int, typer.Option(min=1, help="Length of a recommendation list.")] = 10,
    encoding: Annotated[str | None, typer.Option(
        help="Of the CSV files. [default: found out]", show_default=False)] = None,
    delimiter: Annotated[str | None, typer.Option(
        help="Of the CSV files. [default: found out]", show_default=False)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the proposal without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the proposal and write nothing.")] = False,
    output: Annotated[str, typer.Option(
        "--output", metavar="text|json", help="For people, or one JSON document for scripts.")] = "text",
) -> None:
    """Make a dataset of a folder of CSV or parquet files: propose keys, times and a task; ask; write.

    Without a terminal it needs --yes. Without that, too, it writes nothing and prints the command that
    accepts the proposal.

    Example: relrec dataset init exports --out shop --window 14d --dry-run
    """
    from model_core.tables.init.options import InitOptions, parse_columns, parse_pairs
    from pipelines.cli.dataset_init import init_dataset

    options = InitOptions(
        name=name, user_table=user_table, item_table=item_table, event_table=event_table,
        keys=parse_pairs("--key", keys), fkeys=parse_columns("--fkey", fkeys),
        times=parse_pairs("--time", times), time_formats=parse_columns("--time-format", time_formats),
        timezone=timezone, dangling=dangling, window=window, val=val, test=test, task_name=task_name,  # type: ignore[arg-type]
        eval_k=eval_k, encoding=encoding, delimiter=delimiter,
    )
    raise typer.Exit(init_dataset(folder, out, options, yes=yes, dry_run=dry_run, output=output))
