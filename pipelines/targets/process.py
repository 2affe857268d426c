"""Run a compiled pipeline on this machine: KFP's own orchestrator, one process per step.

KFP's SubprocessRunner refuses container components. ``ProcessHandler`` takes its place
for the time of a run and starts the container's command as a process, so order, cache
and retries stay KFP's and the YAML is the one that a cluster gets. The names of kfp
that this touches are private; ``tests/pipelines/test_process.py`` fails when they move.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from kfp import local
from kfp.local import status, subprocess_task_handler

from model_core.errors import RelrecError
from pipelines.targets.session import Listener, Session, StepRun, Task, orchestrate

if TYPE_CHECKING:
    from pipelines.staging import RootStaging

_MB = 1_000_000


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
    session = Session({name: StepRun(name) for name in steps}, listener, output or (lambda chunk: None),
                      staging)

    class Handler(ProcessHandler):
        pass

    Handler.session = session
    return orchestrate(
        yaml, arguments, root, session, enable_caching=enable_caching,
        runner=lambda: local.SubprocessRunner(use_venv=False),
        replacing=mock.patch.object(subprocess_task_handler, "SubprocessTaskHandler", Handler),
    )


class ProcessHandler(subprocess_task_handler.SubprocessTaskHandler):
    """Runs a container component's command as a process on this machine."""

    session: Session

    def validate_image(self, image: str) -> None:
        """Any image will do: its command runs in this environment."""

    def validate_not_container_component(self, full_command: list[str]) -> None:
        """Container components are exactly what this handler is for."""

    def validate_not_containerized_python_component(self, full_command: list[str]) -> None:
        """As above."""

    def run(self) -> status.Status:
        task = Task.of(self.full_command)
        if task is None:
            return super().run()  # a lightweight Python component of somebody else's pipeline
        run = self.session.begin(task)
        try:
            executable, *rest = self.session.fetched(self.full_command)
        except RelrecError as error:
            self.session.end(run, task, str(error))
            return status.Status.FAILURE
        command = [sys.executable if executable in ("python", "python3") else executable, *rest]
        environment = {**os.environ, **self.env_vars, "PYTHONUNBUFFERED": "1"}
        started = time.monotonic()
        code, run.peak_mb = _run(command, environment, task.log, self.session.output)
        run.wall_s = round(time.monotonic() - started, 3)
        succeeded = self.session.end(run, task, task.failure(code, killed_by=max(0, -code)))
        return status.Status.SUCCESS if succeeded else status.Status.FAILURE


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
