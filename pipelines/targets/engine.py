"""The Docker engine of this machine: reach it, or say what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from components._images import RECIPE_LABEL, recipe_digest
from model_core.errors import ConfigError

#: API of Docker 20.10, the oldest engine that this was run with.
OLDEST_API = (1, 41)

_WHERE = "--runner docker"


def connect() -> Any:
    """A client of the engine that the environment names (``DOCKER_HOST``), tested.

    Raises:
        ConfigError: No client library, no engine, no permission, or too old an engine.
    """
    try:
        import docker
        from docker.errors import DockerException
    except ImportError as error:
        raise ConfigError(_WHERE, "the Python package docker", "it is not installed",
                          "pip install 'relrec[docker]'") from error
    try:
        client = docker.from_env()
        version = client.version()
    except DockerException as error:
        raise _unreachable(error) from error
    api = tuple(int(part) for part in version["ApiVersion"].split("."))
    if api < OLDEST_API:
        client.close()
        raise ConfigError(_WHERE, "Docker 20.10 or newer (API {}.{})".format(*OLDEST_API),
                          f"Docker {version.get('Version')} (API {version['ApiVersion']})",
                          "update the engine, or use --runner process")
    return client


def _unreachable(error: BaseException) -> ConfigError:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(f"{type(cause).__name__} {cause}" for cause in causes)
    if "PermissionError" in text or "Permission denied" in text:
        return ConfigError(_WHERE, "permission to use the Docker engine", "its socket refuses this user",
                           "add the user to the group docker and log in again, or set DOCKER_HOST to a "
                           "rootless engine")
    if "FileNotFoundError" in text or "Connection refused" in text:
        return ConfigError(_WHERE, "a running Docker engine", "none answers",
                           "start it (systemctl start docker), set DOCKER_HOST, or use --runner process")
    return ConfigError(_WHERE, "a running Docker engine", str(error),
                       "check docker version, or use --runner process")


def require_images(client: Any, images: Iterable[str]) -> None:
    """Check that images are there before the first step starts.

    Raises:
        ConfigError: One is missing, or holds other packages than this source tree pins.
    """
    for image in sorted(set(images)):
        if not has_image(client, image):
            raise ConfigError(
                f"image {image}", "an image of this code in the local engine", "none",
                "build it with make images; after a change of the code the tag is another one",
            )
        recipe = client.images.get(image).labels.get(RECIPE_LABEL, "")
        if recipe_digest() and recipe and recipe != recipe_digest():
            raise ConfigError(f"image {image}", "an image of the pinned packages of this source tree",
                              "one of others", "build it anew with make images")


def has_image(client: Any, image: str) -> bool:
    """Whether the engine holds an image."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def has_gpu(client: Any) -> bool:
    """Whether containers of this engine can be given an NVIDIA GPU."""
    return "nvidia" in (client.info().get("Runtimes") or {})
