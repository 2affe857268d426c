"""Run a compiled pipeline on this machine, one container per step, by KFP's DockerRunner.

KFP's runner starts containers that the engine removes when they end, and takes a
container that is gone for one that succeeded (kubeflow/pipelines#13332). For the time
of a run ``Containers.run`` stands in for that function: create, attach, start, wait,
look, remove. The name of kfp that this touches is private; ``tests/docker`` fails when
it moves.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from kfp import local

from components._images import image
from model_core.errors import RelrecError
from pipelines.compiling import documents_of
from pipelines.targets import containers
from pipelines.targets.containers import ContainerSettings
from pipelines.targets.engine import connect, has_gpu, has_image, require_images
from pipelines.targets.session import Listener, Session, StepRun, Task, orchestrate

if TYPE_CHECKING:
    from pipelines.staging import RootStaging

#: A training step saves and uploads its state when it is asked to stop.
_STOP_S = 30
_LABEL = "relrec.root"


def run_pipeline(
    yaml: Path,
    arguments: Mapping[str, Any],
    root: Path,
    steps: tuple[str, ...],
    *,
    settings: ContainerSettings | None = None,
    readable: Sequence[Path] = (),
    writable: Sequence[Path] = (),
    listener: Listener = lambda step: None,
    output: Callable[[bytes], None] | None = None,
    enable_caching: bool = True,
    staging: RootStaging | None = None,
) -> list[StepRun]:
    """Run a compiled pipeline, one container per step.

    Args:
        yaml: Compiled pipeline.
        arguments: Its parameters.
        root: Pipeline root; containers see it at the same path.
        steps: The pipeline's step names, in order; all are reported.
        settings: Network, memory and the like.
        readable: Paths that steps read, mounted read-only: the dataset.
        writable: Directories that steps write besides the root: the registry.
        listener: Told of every start and end.
        output: Receives the raw output of the running step.
        enable_caching: Serve unchanged steps from earlier runs under the same root.
        staging: Where the root is the folder of a remote one: brings inputs and outputs.

    Returns:
        One entry per step, as the process runner gives it.

    Raises:
        ConfigError: No engine can be used or an image is missing; nothing was started.
    """
    settings = settings or ContainerSettings()
    client = connect()
    with contextlib.closing(client):
        images = _images_of(yaml)
        gpu = has_gpu(client) and has_image(client, image("gpu"))
        substitutes = {} if gpu else {image("gpu"): image("cpu")}
        require_images(client, (substitutes.get(name, name) for name in images))
        _remove_leftovers(client, root)
    # Only now: kfp imports the docker package when this is imported.
    from kfp.local import docker_task_handler

    user = containers.user_of(settings, os.getuid(), os.getgid())
    for folder in (root, *writable):
        folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        root.chmod(root.stat().st_mode | 0o070)
        for folder in (root / "checkpoints", *writable):
            containers.let_group_write(folder)
    session = Session({name: StepRun(name) for name in steps}, listener, output or (lambda chunk: None),
                      staging)
    handler = Containers(session, settings, root, substitutes, gpu,
                         containers.volumes_of(settings, readable, writable))
    limits = {"mem_limit": settings.memory, "memswap_limit": settings.memory} if settings.memory else {}
    return orchestrate(
        yaml, arguments, root, session, enable_caching=enable_caching,
        runner=lambda: local.DockerRunner(
            user=user, read_only=True, tmpfs={"/tmp": "mode=1777"}, cap_drop=["ALL"],
            security_opt=["no-new-privileges"], network_mode=settings.network, shm_size=settings.shm,
            environment=containers.environment_of(settings, os.environ), **limits),
        replacing=mock.patch.object(docker_task_handler, "run_docker_container", handler.run),
    )


class Containers:
    """Runs the containers of one pipeline run.

    Args:
        session: Takes the reports.
        settings: As the user chose.
        root: Marks the containers, so that a later run finds those that this one left.
        substitutes: Image of the YAML to the one that runs instead.
        gpu: Whether images of the role gpu get the machine's GPUs.
        volumes: Mounts besides the pipeline root.
    """

    def __init__(
        self, session: Session, settings: ContainerSettings, root: Path,
        substitutes: Mapping[str, str], gpu: bool, volumes: Mapping[str, Any],
    ) -> None:
        self.session, self.settings, self.root = session, settings, root
        self.substitutes, self.gpu, self.volumes = substitutes, gpu, volumes

    def run(
        self, client: Any, image: str, command: list[str], volumes: Mapping[str, Any], **options: Any
    ) -> int:
        """Stands in for KFP's ``run_docker_container``; returns 0 only for a step that succeeded."""
        task = Task.of(command)
        if task is None:
            raise ValueError(f"{command}: a container step ends with the executor input")
        run = self.session.begin(task)
        try:
            command = self.session.fetched(command)
        except RelrecError as problem:
            self.session.end(run, task, str(problem))
            return 1
        if os.getuid() == 0:
            for folder in (task.directory.parent, task.directory):
                folder.chmod(folder.stat().st_mode | 0o070)
        if self.gpu and image.partition(":")[0].endswith("-gpu"):
            from docker.types import DeviceRequest

            options["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
        started = time.monotonic()
        state = self._to_the_end(
            client, task, image=self.substitutes.get(image, image), command=command,
            volumes={**self.volumes, **volumes}, **options)
        run.wall_s = round(time.monotonic() - started, 3)
        run.peak_mb = _peak_mb(task)
        error = containers.failure(task, state, self.settings.memory)
        return 0 if self.session.end(run, task, error) else 1

    def _to_the_end(self, client: Any, task: Task, **options: Any) -> Mapping[str, Any]:
        """State of the ended container; while it runs, its output goes to log and screen."""
        from docker.errors import APIError

        try:
            container = client.containers.create(labels={_LABEL: str(self.root)}, **options)
        except APIError as error:
            return {"ExitCode": 125, "Error": error.explanation or str(error)}
        try:
            # Attached before it starts, so the first line is not missed.
            chunks = container.attach(stdout=True, stderr=True, stream=True, logs=True)
            try:
                container.start()
            except APIError as error:
                return {"ExitCode": 127, "Error": error.explanation or str(error)}
            with open(task.log, "wb") as log:
                for chunk in chunks:
                    log.write(chunk)
                    log.flush()
                    self.session.output(chunk)
            container.wait()
            container.reload()
            return container.attrs["State"]
        except BaseException:
            # Ctrl-C and SIGTERM included: the step may save what it has, then it is gone.
            with contextlib.suppress(APIError):
                container.stop(timeout=_STOP_S)
            raise
        finally:
            with contextlib.suppress(APIError):
                container.remove(force=True)


def _images_of(yaml: Path) -> list[str]:
    specification = documents_of(yaml.read_text(encoding="utf-8"))[0]
    return [executor["container"]["image"]
            for executor in specification["deploymentSpec"]["executors"].values() if "container" in executor]


def _remove_leftovers(client: Any, root: Path) -> None:
    """Containers of a run that was killed before it could remove them; the root is locked by now."""
    for container in client.containers.list(all=True, filters={"label": f"{_LABEL}={root}"}):
        container.remove(force=True)


def _peak_mb(task: Task) -> float:
    """Peak memory as the step measured it when it ended; 0 where it did not come so far."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return round(json.loads((task.directory / "usage.json").read_bytes())["peak_bytes"] / 1e6, 1)
    return 0.0
