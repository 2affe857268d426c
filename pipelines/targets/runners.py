"""Which function runs a request's pipeline on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_core.errors import ConfigError
from model_core.storage.cache import cache_folder
from model_core.storage.uri import is_remote
from pipelines.targets.store_access import check_readable, store_access

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
    from pipelines.targets.containers import parse_container_settings, user_of

    dataset = Path(request.dataset).expanduser()
    readable = [dataset.resolve()] if dataset.exists() else []
    writable = [] if is_remote(request.registry) else [Path(request.registry).resolve()]
    # What lies elsewhere has to be reached.
    remote = not readable or is_remote(request.registry) or is_remote(request.root)
    settings = parse_container_settings(request.containers, "host" if remote else "none")
    files: list[Path] = []
    if remote:
        variables, files = store_access(os.environ)
        cache = cache_folder().resolve()
        settings = replace(settings, environment=(
            *(f"{name}={value}" for name, value in variables.items()), f"RELREC_CACHE_DIR={cache}",
            *settings.environment))
        readable, writable = [*readable, *files], [*writable, cache]
    check_readable([*files, *map(Path, settings.mounts)],
                   user_of(settings, os.getuid(), os.getgid()), os.getuid())
    return partial(docker.run_pipeline, settings=settings, readable=readable, writable=writable)
