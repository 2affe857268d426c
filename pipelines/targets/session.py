"""What every local target shares: KFP's orchestrator, a checked cache, and an entry per step.

KFP's local orchestrator keeps order, cache and retries. A target says how one container
command is run; this module tells the caller what became of it. The names of kfp that are
touched here are private; ``tests/pipelines/test_process.py`` fails when they move.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from kfp import local
from kfp.components import load_component_from_file
from kfp.local import cache, logging_utils

from model_core.errors import RelrecError, StepError
from pipelines.targets.step_cache import CheckedCache

if TYPE_CHECKING:
    from pipelines.staging import RootStaging


@dataclass
class StepRun:
    """What happened to one step.

    Attributes:
        name: Step name.
        status: ``succeeded``, ``failed`` or ``not_run``.
        cached: Whether outputs of an earlier run were used.
        wall_s: Seconds it ran (0 when cached).
        peak_mb: Peak resident memory of its process, in 10^6 bytes (0 when cached or not known).
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


@dataclass
class Session:
    """One run of a pipeline, as its targets report it.

    Attributes:
        runs: Step name to its entry.
        listener: Told of every start and end.
        output: Receives the raw output of the running step.
        staging: Where the root is the folder of a remote one: brings inputs and outputs.
    """

    runs: dict[str, StepRun]
    listener: Listener = lambda step: None
    output: Callable[[bytes], None] = lambda chunk: None
    staging: RootStaging | None = None

    def run_of(self, name: str) -> StepRun:
        return self.runs.setdefault(name, StepRun(name))

    def begin(self, task: Task) -> StepRun:
        """Clear what an earlier attempt left, and tell that the step runs."""
        task.clear()
        run = self.run_of(task.step)
        run.status, run.error, run.log = "running", None, str(task.log)
        self.listener(run)
        return run

    def fetched(self, command: list[str]) -> list[str]:
        """A task's command, with every artifact that it reads on this machine.

        What an earlier attempt stored of its outputs is removed, as ``begin`` does here.

        Raises:
            RelrecError: One cannot be had.
        """
        if self.staging is None:
            return command
        if (task := Task.of(command)) is not None:
            self.staging.remove(task.outputs.values())
        executor_input = json.loads(command[-1])
        for value in executor_input.get("inputs", {}).get("artifacts", {}).values():
            for artifact in value["artifacts"]:
                artifact["uri"] = str(self.staging.fetch(artifact["uri"]))
        return [*command[:-1], json.dumps(executor_input)]

    def end(self, run: StepRun, task: Task, error: str | None) -> bool:
        """Store what a step that succeeded wrote, and tell how it ended; whether it succeeded."""
        if self.staging is not None:
            self.staging.store_log(task.log)
            try:
                self.staging.store_artifacts(task.outputs.values() if error is None else ())
            except RelrecError as problem:
                error = error or str(problem)
        run.error = error
        run.status = "succeeded" if error is None else "failed"
        if error is None:
            run.outputs = {name: str(path) for name, path in task.outputs.items()}
        self.listener(run)
        return error is None


@dataclass(frozen=True)
class Task:
    """Where one attempt of a step writes, as the executor input says.

    Attributes:
        directory: Holds the executor output, ``error.json`` and the log.
        outputs: Output artifact name to local path.
        files: Executor output and output parameters.
    """

    directory: Path
    outputs: Mapping[str, Path]
    files: tuple[Path, ...]

    @classmethod
    def of(cls, command: list[str]) -> Task | None:
        """The task of a command; None where its last argument is no executor input."""
        if len(command) < 2 or not command[-1].startswith('{"'):
            return None
        outputs = json.loads(command[-1])["outputs"]
        executor_output = Path(outputs["outputFile"])
        return cls(
            executor_output.parent,
            {name: Path(value["artifacts"][0]["uri"])
             for name, value in outputs.get("artifacts", {}).items()},
            (executor_output,
             *(Path(value["outputFile"]) for value in outputs.get("parameters", {}).values())),
        )

    @property
    def step(self) -> str:
        return self.directory.name.replace("-", "_")

    @property
    def log(self) -> Path:
        return self.directory / "log.txt"

    def clear(self) -> None:
        """Make the directory; a retry shares it with the attempt before, so remove stale outputs."""
        beside = (self.directory / name for name in ("error.json", "usage.json"))
        for path in (*self.outputs.values(), *self.files, *beside):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.directory.mkdir(parents=True, exist_ok=True)

    def missing(self) -> list[str]:
        """Declared outputs that are not there."""
        return [name for name, path in self.outputs.items() if not path.exists()]

    def told_error(self) -> str | None:
        """What the step itself said about its failure."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            error = json.loads((self.directory / "error.json").read_bytes())
            if error["user_fault"]:
                return error["message"]
            return f"{error['type']}: {error['message']} (not your fault; see {self.log})"
        return None

    def failure(self, code: int, *, killed_by: int = 0) -> str | None:
        """Why an attempt failed, None where it succeeded.

        Args:
            code: Exit code.
            killed_by: The signal that ended it, if one did.
        """
        missing = self.missing()
        if code == 0 and not missing:
            return None
        if told := self.told_error():
            return told
        where = f"step {self.directory.name}"
        if killed_by:
            name = signal.Signals(killed_by).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return str(StepError(where, "exit code 0", f"killed by {name}{hint}",
                                 "run the same command again; it resumes at this step"))
        found = f"no output {', '.join(missing)}" if code == 0 else f"exit code {code}"
        return str(StepError(where, "exit code 0 and every declared output", found, f"read {self.log}"))


def orchestrate(
    yaml: Path,
    arguments: Mapping[str, Any],
    root: Path,
    session: Session,
    *,
    runner: Callable[[], Any],
    replacing: contextlib.AbstractContextManager,
    enable_caching: bool = True,
) -> list[StepRun]:
    """Run a compiled pipeline with KFP's local orchestrator.

    Args:
        yaml: Compiled pipeline.
        arguments: Its parameters.
        root: Pipeline root: artifacts, logs and the cache go here.
        session: Takes the reports.
        runner: Makes the KFP runner; called within ``replacing``.
        replacing: Puts the target's handler in the place of KFP's for the time of the run.
        enable_caching: Serve unchanged steps from earlier runs under the same root.

    Returns:
        One entry per step. After a failure, the failed one says why and later ones have
        not run; call again with the same root to resume there.
    """
    root.mkdir(parents=True, exist_ok=True)
    with replacing, _reporting_to(session):
        # KFP keeps this configuration in a global and removes the workspace after each run.
        local.init(runner(), pipeline_root=str(root), enable_caching=enable_caching)
        try:
            load_component_from_file(str(yaml))(**arguments)
        except RuntimeError:
            # KFP's message names the step but not the cause; the step's own entry has both.
            if not any(run.status == "failed" for run in session.runs.values()):
                raise
    return list(session.runs.values())


@contextlib.contextmanager
def _reporting_to(session: Session) -> Iterator[None]:
    class Cache(CheckedCache):
        pass

    Cache.session = session
    with (
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
