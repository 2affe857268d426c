"""One local run of a pipeline, from its settings to its summary."""

from __future__ import annotations

import contextlib
import fcntl
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from model_core.config import RunConfig
from model_core.errors import ConfigError
from model_core.logical_date import date_text, parse_as_of
from model_core.records import MANIFEST, json_bytes, write_atomically
from model_core.storage.uri import is_remote
from model_core.version import __version__
from pipelines.parameters import pipeline_arguments, run_name_of

if TYPE_CHECKING:
    from pipelines.staging import RootStaging
    from pipelines.targets.session import StepRun

#: Version of the summary's layout; docs/reference/summary.md describes it.
SUMMARY_VERSION = 1

#: What a summary reads of the artifacts: these files of a record, or the artifact itself.
_READ_HERE: dict[str, tuple[str, ...]] = {
    "snapshot": (MANIFEST,), "checkpoint": ("curves.json",),
    "report": (MANIFEST, "metrics.json", "verdict.json"), "html": (), "publication": (),
    "data_watch": ("findings.json",),
}

_PACKAGES = ("torch", "torch-geometric", "kfp", "relbench", "onnxruntime", "numpy", "pandas")


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        pipeline: Name of the pipeline.
        dataset, task: The data.
        root: Where artifacts, cache, resume states and (by default) the registry live: a
            directory, or the URI of one in an object store.
        registry: Directory or URI of the model registry.
        as_of: Logical date as text; empty for the dataset's own windows.
        config: All settings.
        runner: Where steps run: ``process`` or ``docker``.
        containers: Of the docker runner; ``KEY=VALUE`` words.
    """

    pipeline: str
    dataset: str
    task: str
    root: Path | str
    registry: Path | str
    as_of: str
    config: RunConfig
    runner: str = "process"
    containers: tuple[str, ...] = ()


def run_locally(
    request: RunRequest,
    *,
    listener: Callable[[StepRun], None],
    output: Callable[[bytes], None],
    planned: Callable[[dict[str, Any]], None] = lambda plan: None,
    enable_caching: bool = True,
) -> dict[str, Any]:
    """Compile and run a pipeline on this machine.

    Args:
        request: What to run.
        listener: Told of every start and end of a step.
        output: Receives the raw output of the running step.
        planned: Told of the plan (``pipelines.planning``) before the first step.
        enable_caching: Serve unchanged steps from earlier runs under the same root.

    Returns:
        The summary, also written to ``<root>/summary.json``.
    """
    from model_core.tables.fingerprint import source_fingerprint
    from pipelines.compiling import STEPS, compile_pipeline
    from pipelines.planning import add_plan, epochs_done, page_with_plan, plan_of_run
    from pipelines.staging import RootStaging
    from pipelines.targets.runners import runner_of

    run_pipeline = runner_of(request)
    as_of = parse_as_of(request.as_of)  # refuse a bad date, too, before anything is started
    fingerprint = source_fingerprint(request.dataset, request.task)
    if is_remote(request.registry):
        _check_registry(str(request.registry))
    staging = RootStaging(str(request.root)) if is_remote(request.root) else None
    root = staging.folder if staging else Path(request.root).resolve()
    dataset = Path(request.dataset).expanduser()
    with contextlib.ExitStack() as held:
        held.enter_context(lock_root(root))
        if staging is not None:
            held.enter_context(staging.held())
        yaml = compile_pipeline(request.pipeline, root / f"{request.pipeline}.yaml")
        config = request.config
        plan = plan_of_run(request.dataset, request.task, as_of, config, fingerprint, root)
        planned(plan)
        started = datetime.now(UTC)
        steps = run_pipeline(
            yaml,
            pipeline_arguments(
                pipeline=request.pipeline,
                # A step runs in a process of its own; a relative path must not depend on where.
                dataset=str(dataset.resolve()) if dataset.exists() else request.dataset,
                task=request.task,
                registry=str(request.registry) if is_remote(request.registry)
                         else str(Path(request.registry).resolve()),
                config=config,
                as_of=request.as_of,
                source_fingerprint=fingerprint,
                checkpoint_root=f"{staging.uri}/checkpoints" if staging else str(root / "checkpoints"),
            ),
            root, STEPS, listener=listener, output=output, enable_caching=enable_caching,
            staging=staging,
        )
        summary = _summary(request, steps, started, staging)
        add_plan(summary, plan)
        summary["epochs_done"] = epochs_done(summary)
        if "html" in summary["artifacts"]:
            # Kubeflow names the artifact without a suffix; a browser wants one.
            page = root / "report.html"
            text = Path(summary["artifacts"]["html"]).read_text(encoding="utf-8")
            write_atomically(page, page_with_plan(text, summary).encode())
            summary["artifacts"]["report_html"] = str(page)
            if staging is not None:
                staging.write(page.name, page.read_bytes())
        if staging is not None:
            summary["artifacts"] = {name: place.replace("/.peek/", "/") for name, place in
                                    staging.without_folder(summary["artifacts"]).items()}
            staging.write("summary.json", json_bytes(summary))
        write_atomically(root / "summary.json", json_bytes(summary))
    return summary


def _check_registry(uri: str) -> None:
    """Find out before hours of training whether publishing can work."""
    from model_core.storage.opening import open_store
    from model_core.storage.registry import Registry

    store = open_store(uri, "--registry")
    if not store.compares_and_swaps:
        raise ConfigError("--registry", "a local directory, gs:// or s3://", uri,
                          "use one of those; elsewhere two publishes cannot be kept apart")
    Registry(store).champion()


def lock_root(root: Path) -> IO[str]:
    """Hold a run's root until the file is closed; two runs would resume from one state."""
    root.mkdir(parents=True, exist_ok=True)
    lock = open(root / ".lock", "w")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError("--root", "a directory that no other run is using", f"{root} in use",
                          "wait for the other run to end, or pass another --root") from error
    return lock


def _summary(
    request: RunRequest, steps: list[StepRun], started: datetime, staging: RootStaging | None
) -> dict[str, Any]:
    artifacts = {name: path for step in steps for name, path in step.outputs.items()
                 if name not in {"metrics"}}
    if staging is not None:
        artifacts |= {name: str(staging.peek(artifacts[name], *_READ_HERE[name]))
                      for name in _READ_HERE.keys() & artifacts.keys()}
    failed = next((step for step in steps if step.status == "failed"), None)
    succeeded = failed is None and all(step.status == "succeeded" for step in steps)
    report = Path(artifacts["report"]) if "report" in artifacts else None
    as_of = parse_as_of(request.as_of)
    return {
        "summary_version": SUMMARY_VERSION,
        "status": "succeeded" if succeeded else "failed",
        "error": {"step": failed.name, "message": failed.error} if failed else None,
        "pipeline": request.pipeline,
        "run_name": run_name_of(request.pipeline, request.task, request.as_of),
        "dataset": request.dataset,
        "task": request.task,
        "as_of": None if as_of is None else date_text(as_of),
        "logical_date": _logical_date(report),
        "model": request.config.model.name,
        "started_at": started.isoformat(timespec="seconds"),
        "wall_s": round(sum(step.wall_s for step in steps), 3),
        "steps": [
            {key: value for key, value in asdict(step).items()
             if key in {"name", "status", "cached", "wall_s", "peak_mb"}}
            for step in steps
        ],
        "metrics": _read(report / "metrics.json") if report else [],
        "verdict": _read(report / "verdict.json") if report else None,
        "data_watch": _alarms(artifacts.get("data_watch")),
        "publication": _read(Path(artifacts["publication"])) if "publication" in artifacts else None,
        "artifacts": artifacts,
        "seeds": {"train": request.config.train.seed, "queue": request.config.train.seed,
                  "bootstrap": request.config.train.seed},
        "data_digest": _digest(artifacts.get("snapshot")),
        "config": request.config.model_dump(mode="json"),
        "versions": {"relrec": __version__, "python": platform.python_version(),
                     **{name: _version(name) for name in _PACKAGES}},
    }


def _logical_date(report: Path | None) -> str | None:
    """What moment the model is of, as the steps found it; None before there is a report."""
    return date_text(_read(report / MANIFEST)["meta"]["logical_time"]) if report else None


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _alarms(path: str | None) -> list[dict[str, Any]] | None:
    """Warnings and failures of the data watch, failures first."""
    if path is None:
        return None
    return [finding for finding in _read(Path(path) / "findings.json") if finding["level"] != "ok"]


def _digest(path: str | None) -> str | None:
    return _read(Path(path) / MANIFEST)["digest"] if path else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
