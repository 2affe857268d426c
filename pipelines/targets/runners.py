"""Which function runs a request's pipeline on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_core.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.runs import RunRequest
    from pipelines.targets.session import StepRun

RUNNERS = ("process", "docker")


def runner_of(request: RunRequest) -> Callable[..., list[StepRun]]:
    """``run_pipeline`` of the request's runner, with what that one needs besides.

    Raises:
        ConfigError: An unknown runner, or settings that it does not have.
    """
    if request.runner not in RUNNERS:
        raise ConfigError("--runner", f"one of {list(RUNNERS)}", repr(request.runner), "use a known runner")
    if request.runner == "process":
        if request.containers:
            raise ConfigError("--docker", "--runner docker", f"--runner {request.runner}",
                              "add --runner docker, or leave --docker out")
        from pipelines.targets import process

        return process.run_pipeline
    from pipelines.targets import docker
    from pipelines.targets.containers import parse_container_settings

    dataset = Path(request.dataset).expanduser()
    registry = request.registry.resolve()
    # A dataset that is no local path has to be fetched.
    network = "none" if dataset.exists() else "host"
    return partial(
        docker.run_pipeline, settings=parse_container_settings(request.containers, network),
        readable=[dataset.resolve()] if dataset.exists() else [], writable=[registry],
    )
