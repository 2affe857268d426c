"""Run a compiled pipeline on this machine: KFP's own orchestrator, one process per step.

KFP's SubprocessRunner refuses container components. ``ProcessHandler`` takes its place
for the time of a run and starts the container's command as a process, so order, cache
and retries stay KFP's and the YAML is the one that a cluster gets. The names of kfp
that this touches are private; ``tests/pipelines/test_process.py`` fails when they move.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from kfp import local
from kfp.components import load_component_from_file
from kfp.local import cache, logging_utils, status, subprocess_task_handler

from model_core.errors import RelrecError, StepError
from model_core.records import MANIFEST, open_record
from model_core.storage.registry import Registry

if TYPE_CHECKING:
    from pipelines.staging import RootStaging

_MB = 1_000_000


@dataclass
class StepRun:
    """What happened to one step.

    Attributes:
        name: Step name.
        status: ``succeeded``, ``failed`` or ``not_run``.
        cached: Whether outputs of an earlier run were used.
        wall_s: Seconds it ran (0 when cached).
        peak_mb: Peak resident memory of its process, in 10^6 bytes (0 when cached).
        outputs: Output artifact name to local path, or to a URI under a remote root.
        log: Its log file, if it ran.
        error: Message of its failure.
    """

    name: str
    status: str = "not_run"
    cached: bool = False
    wall_s: float = 0.0
    peak_mb: float = 0.0
    outputs: dict[str, str] = field(default_factory=dict)
    log: str | None = None
    error: str | None = None


#: Called when a step starts (status ``running``), and again when it ends.
Listener = Callable[[StepRun], None]


def run_pipeline(
    yaml: Path,
    arguments: Mapping[str, Any],
    root: Path,
    steps: tuple[str, ...],
    *,
    listener: Listener = lambda step: None,
    output: Callable[[bytes], None] | None = None,
    enable_caching: bool = True,
    staging: RootStaging | None = None,
) -> list[StepRun]:
    """Run a compiled pipeline, one process per step.

    Args:
        yaml: Compiled pipeline.
        arguments: Its parameters.
        root: Pipeline root: artifacts, logs and the cache go here.
        steps: The pipeline's step names, in order; all are reported.
        listener: Told of every start and end.
        output: Receives the raw output of the running step.
        enable_caching: Serve unchanged steps from earlier runs under the same root.
        staging: Where the root is the folder of a remote one: brings inputs and outputs.

    Returns:
        One entry per step. After a failure, the failed one says why and later ones have
        not run; call again with the same root to resume there.
    """
    root.mkdir(parents=True, exist_ok=True)
    runs = {name: StepRun(name) for name in steps}
    session = _Session(runs, listener, output or (lambda chunk: None), staging)
    with _patched(session):
        # KFP keeps this configuration in a global and removes the workspace after each run.
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root),
                   enable_caching=enable_caching)
        try:
            load_component_from_file(str(yaml))(**arguments)
        except RuntimeError:
            # KFP's message names the step but not the cause; the step's own entry has both.
            if not any(run.status == "failed" for run in runs.values()):
                raise
    return list(runs.values())


@dataclass
class _Session:
    runs: dict[str, StepRun]
    listener: Listener
    output: Callable[[bytes], None]
    staging: RootStaging | None = None

    def run_of(self, name: str) -> StepRun:
        return self.runs.setdefault(name, StepRun(name))


@contextlib.contextmanager
def _patched(session: _Session) -> Iterator[None]:
    class Handler(ProcessHandler):
        pass

    class Cache(CheckedCache):
        pass

    Handler.session = Cache.session = session
    with (
        mock.patch.object(subprocess_task_handler, "SubprocessTaskHandler", Handler),
        mock.patch.object(cache, "LocalCache", Cache),
        mock.patch.object(logging_utils, "local_logger_context", _quiet),
        mock.patch.object(logging_utils, "print_horizontal_line"),
        mock.patch.object(logging_utils, "indented_print", contextlib.nullcontext),
    ):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No log lines of KFP: the listener tells the same, once."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class CheckedCache(cache.LocalCache):
    """KFP's local cache, but a damaged or vanished artifact is a miss, and hits are reported."""

    session: _Session

    def compute_key(self, component_name: str, *args: Any, **kwargs: Any) -> str:
        if (staging := self.session.staging) is not None:
            # Another machine has another folder, but the same steps.
            kwargs |= {name: staging.without_folder(self._serialize_value_for_key(kwargs[name]))
                       for name in ("full_command", "arguments", "env_vars") if kwargs.get(name)}
        key = super().compute_key(component_name, *args, **kwargs)
        self._names = getattr(self, "_names", {})
        self._names[key] = component_name.removeprefix("comp-").replace("-", "_")
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        outputs = super().get(key)
        if outputs is None or not all(_is_intact(Path(a.uri)) for a in _artifacts(outputs).values()):
            outputs = self._get_remote(key)
        elif self.session.staging is not None:
            self.session.staging.store_artifacts(a.uri for a in _artifacts(outputs).values())
            self.put(key, outputs)
        if outputs is None:
            return None
        run = self.session.run_of(self._names[key])
        run.status, run.cached = "succeeded", True
        run.outputs = {name: artifact.uri for name, artifact in _artifacts(outputs).items()}
        self.session.listener(run)
        return outputs


    def _get_remote(self, key: str) -> dict[str, Any] | None:
        """Outputs that another machine left under a remote root; their bytes stay there for now."""
        staging = self.session.staging
        entry = staging.entry(key) if staging is not None else None
        if staging is None or entry is None:
            return None
        outputs = self._deserialize_outputs(entry)
        uris = [artifact.uri for artifact in _artifacts(outputs).values()]
        if not all(staging.holds(uri) for uri in uris):
            return None
        acting = [uri for uri in uris if Path(uri).name == "publication"]
        return outputs if all(_is_intact(staging.fetch(uri)) for uri in acting) else None

    def put(self, key: str, outputs: dict[str, Any]) -> None:
        super().put(key, outputs)
        if self.session.staging is not None:
            self.session.staging.keep_entry(key, self._serialize_outputs(outputs))


def _artifacts(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if hasattr(value, "uri")}


def _is_intact(path: Path) -> bool:
    """Whether a cached output can still be used."""
    if not path.exists():
        return False
    try:
        if (path / MANIFEST).is_file():
            manifest = json.loads((path / MANIFEST).read_bytes())
            open_record(path, manifest["kind"], manifest["schema_version"], verify="digest")
        elif path.name == "publication":
            # Publishing acts on a registry outside the cache: if that is in another state by
            # now (a version gone, a rollback), publish again, which changes nothing twice.
            publication = json.loads(path.read_bytes())
            registry = Registry(publication["registry"])
            registry.version_info(publication["version"])
            champion = registry.champion()
            return (champion.version if champion else None) == publication["champion"]
    except (RelrecError, ValueError, KeyError):
        return False
    return True


class ProcessHandler(subprocess_task_handler.SubprocessTaskHandler):
    """Runs a container component's command as a process on this machine."""

    session: _Session

    def validate_image(self, image: str) -> None:
        """Any image will do: its command runs in this environment."""

    def validate_not_container_component(self, full_command: list[str]) -> None:
        """Container components are exactly what this handler is for."""

    def validate_not_containerized_python_component(self, full_command: list[str]) -> None:
        """As above."""

    def run(self) -> status.Status:
        executable, *rest = self.full_command
        if not rest or not rest[-1].startswith('{"'):
            return super().run()  # a lightweight Python component of somebody else's pipeline
        executor_input = json.loads(rest[-1])
        outputs = executor_input["outputs"]
        task_dir = Path(outputs["outputFile"]).parent
        paths = {name: Path(value["artifacts"][0]["uri"])
                 for name, value in outputs.get("artifacts", {}).items()}
        stale = [*paths.values(), Path(outputs["outputFile"]), task_dir / "error.json"]
        stale += [Path(value["outputFile"]) for value in outputs.get("parameters", {}).values()]
        for path in stale:  # a retry shares the task directory with the attempt before it
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        task_dir.mkdir(parents=True, exist_ok=True)

        run = self.session.run_of(task_dir.name.replace("-", "_"))
        run.status, run.log = "running", str(task_dir / "log.txt")
        self.session.listener(run)
        staging = self.session.staging
        if staging is not None:
            try:
                rest[-1] = json.dumps(_fetched(executor_input, staging))
            except RelrecError as error:
                return self._failed(run, str(error))
        command = [sys.executable if executable in ("python", "python3") else executable, *rest]
        environment = {**os.environ, **self.env_vars, "PYTHONUNBUFFERED": "1"}
        started = time.monotonic()
        code, run.peak_mb = _run(command, environment, Path(run.log), self.session.output)
        run.wall_s = round(time.monotonic() - started, 3)
        missing = [name for name, path in paths.items() if not path.exists()]
        if staging is not None:
            staging.store_log(Path(run.log))
        if code == 0 and not missing:
            try:
                if staging is not None:
                    staging.store_artifacts(paths.values())
            except RelrecError as error:
                return self._failed(run, str(error))
            run.status = "succeeded"
            run.outputs = {name: str(path) for name, path in paths.items()}
        else:
            run.status = "failed"
            run.error = _error(code, missing, task_dir, Path(run.log))
        self.session.listener(run)
        return status.Status.SUCCESS if run.status == "succeeded" else status.Status.FAILURE

    def _failed(self, run: StepRun, message: str) -> status.Status:
        run.status, run.error = "failed", message
        self.session.listener(run)
        return status.Status.FAILURE


def _fetched(executor_input: dict[str, Any], staging: RootStaging) -> dict[str, Any]:
    """The executor input with every input artifact on this machine."""
    for value in executor_input.get("inputs", {}).get("artifacts", {}).values():
        for artifact in value["artifacts"]:
            artifact["uri"] = str(staging.fetch(artifact["uri"]))
    return executor_input


def _run(
    command: list[str], environment: dict[str, str], log: Path, output: Callable[[bytes], None]
) -> tuple[int, float]:
    """Exit code (negative: signal) and peak memory in MB of a command; its output is teed."""
    if sys.stdout.isatty():
        reader, writer = pty.openpty()  # so that the step, too, sees a terminal
    else:
        reader, writer = os.pipe()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
                               env=environment)
    os.close(writer)
    try:
        with open(log, "wb") as stream:
            while True:
                try:
                    chunk = os.read(reader, 65_536)
                except OSError:  # a pseudo-terminal ends with EIO, not with end of file
                    break
                if not chunk:
                    break
                stream.write(chunk)
                stream.flush()
                output(chunk)
    except BaseException:
        process.send_signal(signal.SIGTERM)
        raise
    finally:
        os.close(reader)
        _, wait_status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(wait_status)
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
    return process.returncode, round(peak_bytes / _MB, 1)


def _error(code: int, missing: list[str], task_dir: Path, log: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        error = json.loads((task_dir / "error.json").read_bytes())
        if error["user_fault"]:
            return error["message"]
        return f"{error['type']}: {error['message']} (not your fault; see {log})"
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return str(StepError(f"step {task_dir.name}", "exit code 0", f"killed by {name}{hint}",
                             "run the same command again; it resumes at this step"))
    found = f"no output {', '.join(missing)}" if code == 0 else f"exit code {code}"
    return str(StepError(f"step {task_dir.name}", "exit code 0 and every declared output", found,
                         f"read {log}"))
