"""What a compiled pipeline is given: its parameters, made from what a user asked for.

A local run, a submission, a schedule and a backfill all take them from here, so that a
setting cannot reach one of them and be forgotten in another.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from model_core.config import RunConfig
from model_core.logical_date import date_name, date_text, parse_as_of
from model_core.records import json_bytes
from model_core.storage.pointer import caller


def pipeline_arguments(
    *,
    dataset: str,
    task: str,
    registry: str,
    config: RunConfig,
    as_of: str = "",
    as_of_required: bool = False,
    source_fingerprint: str = "",
    checkpoint_root: str = "",
    run_name: str = "",
    who: str = "",
    pipeline: str = "retrain",
) -> dict[str, Any]:
    """The parameters of a pipeline, by name.

    Args:
        dataset: RelBench-v3 folder, URI or Hub spec, as the steps can reach it.
        task: Recommendation task of the dataset.
        registry: Directory or URI of the model registry, as the steps can reach it.
        config: All settings.
        as_of: Logical date as text; handed on in one spelling, so that the same date is the
            same run. Empty for the dataset's own windows, or where a schedule supplies it.
        as_of_required: Let ``ingest`` refuse to run without a logical date: for schedules,
            whose date is known only when they fire.
        source_fingerprint: Digest of the source files, or empty.
        checkpoint_root: Directory or URI for resume states, or empty.
        run_name: What the registry's log calls the run; by default ``run_name_of``.
        who: Who runs it, for the registry's log; by default user and host of this process.
        pipeline: Name of the pipeline.

    Returns:
        Parameter name to value.

    Raises:
        ConfigError: ``as_of`` is no logical date.

    Example:
        >>> pipeline_arguments(dataset="shop", task="buy", registry="r", config=RunConfig(),
        ...                    as_of="2011-11-25")["as_of"]
        '2011-11-25T00:00:00Z'
    """
    seconds = parse_as_of(as_of)
    return {
        "dataset": dataset,
        "task": task,
        "registry": registry,
        "as_of": "" if seconds is None else date_text(seconds),
        "as_of_required": as_of_required,
        "source_fingerprint": source_fingerprint,
        "checkpoint_root": checkpoint_root,
        "run_name": run_name or run_name_of(pipeline, task, as_of),
        "who": who or caller(),
        "settings_digest": settings_digest_of(config),
        "seed": config.train.seed,
        "split_config": config.split.model_dump_json(),
        "watch_config": config.watch.model_dump_json(),
        "graph_config": config.graph.model_dump_json(),
        "queue_config": config.queue.model_dump_json(),
        "model_config": config.model.model_dump_json(),
        "train_config": config.train.model_dump_json(),
        "evaluate_config": config.evaluate.model_dump_json(),
        "gate_config": config.gate.model_dump_json(),
        "export_config": config.export.model_dump_json(),
    }


def settings_digest_of(config: RunConfig) -> str:
    """Digest of the settings that a trained model depends on.

    How it is watched, judged and exported is left out: a run that is repeated with another gate
    is still the same attempt.
    """
    sections = {name: getattr(config, name).model_dump(mode="json")
                for name in ("split", "graph", "queue", "model", "train")}
    return hashlib.sha256(json_bytes(sections)).hexdigest()


def run_name_of(pipeline: str, task: str, as_of: str = "") -> str:
    """The name of a run: pipeline, task and, where it is known, the logical date.

    Kubernetes takes lower-case letters, digits and hyphens only, so other characters of the
    task's name become hyphens.

    Example:
        >>> run_name_of("retrain", "user-item", "2011-11-25"), run_name_of("retrain", "User_Item")
        ('retrain-user-item-20111125', 'retrain-user-item')
    """
    seconds = parse_as_of(as_of)
    date = "" if seconds is None else f"-{date_name(seconds)}"
    return re.sub(r"[^a-z0-9-]+", "-", f"{pipeline}-{task}{date}".lower())
