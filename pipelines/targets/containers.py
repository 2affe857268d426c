"""How the containers of a local run are set up: settings, mounts, user, and what a failure means."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_core.errors import ConfigError, StepError
from pipelines.targets.session import Task

#: Thread counts change how sums are grouped, so containers get those of the caller.
PASSED_ON = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

#: User of the images, for a caller who is root.
IMAGE_USER = (10001, 0)

_KEYS = ("network", "memory", "shm", "user", "env", "mount")


@dataclass(frozen=True)
class ContainerSettings:
    """What a user may choose about the containers of a run.

    Attributes:
        network: Docker network; ``none`` cuts a step off, ``host`` lets it reach a store.
        memory: Limit such as ``4g``; empty for none. A step above it is killed.
        shm: Size of /dev/shm, which loader workers need.
        user: ``uid:gid``; empty for the caller's (10001:0 where the caller is root).
        environment: ``NAME=VALUE`` to set, ``NAME`` to take from the caller.
        mounts: Further directories or files, read-only at the same path.
    """

    network: str = "none"
    memory: str = ""
    shm: str = "1g"
    user: str = ""
    environment: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def parse_container_settings(pairs: Sequence[str], network: str = "none") -> ContainerSettings:
    """Settings from ``key=value`` words; ``env`` and ``mount`` may come more than once.

    Args:
        pairs: Such as ``["network=host", "memory=4g", "env=STORAGE_EMULATOR_HOST"]``.
        network: What holds where the pairs do not say.

    Raises:
        ConfigError: An unknown key, or no value.

    Example:
        >>> parse_container_settings(["memory=2g"]).memory
        '2g'
    """
    single: dict[str, str] = {"network": network}
    many: dict[str, list[str]] = {"env": [], "mount": []}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in _KEYS or not equals or not value:
            # Only the key: a variable without its env= may be a secret.
            raise ConfigError("--docker", f"KEY=VALUE with a key of {list(_KEYS)}",
                              f"{key!r} without a value" if not value else f"the key {key!r}",
                              "write for example --docker memory=4g, or --docker env=NAME for a variable")
        if key in many:
            many[key].append(value)
        else:
            single[key] = value
    for key in ("memory", "shm"):
        if key in single and not re.fullmatch(r"[1-9][0-9]*[bkmg]", single[key]):
            raise ConfigError(f"--docker {key}", "a number and a unit of b, k, m, g", repr(single[key]),
                              f"write for example --docker {key}=4g")
    for path in many["mount"]:
        if not Path(path).exists():
            raise ConfigError("--docker mount", "a path that exists", repr(path), "correct the path")
    return ContainerSettings(**single, environment=tuple(many["env"]), mounts=tuple(many["mount"]))


def user_of(settings: ContainerSettings, uid: int, gid: int) -> str:
    """``uid:gid`` of the containers: never root unless asked for."""
    if settings.user:
        return settings.user
    return "{}:{}".format(*(IMAGE_USER if uid == 0 else (uid, gid)))


def let_group_write(path: Path) -> None:
    """Let group 0 write a directory and what is in it: root runs containers as 10001:0."""
    for folder, _, files in os.walk(path):
        os.chmod(folder, os.stat(folder).st_mode | 0o070)
        for name in files:
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                file.chmod(file.stat().st_mode | 0o060)


def environment_of(settings: ContainerSettings, caller: Mapping[str, str]) -> dict[str, str]:
    """Variables of the containers.

    Raises:
        ConfigError: A variable that is to be passed on is not set.
    """
    environment = {name: caller[name] for name in PASSED_ON if name in caller}
    for entry in settings.environment:
        name, equals, value = entry.partition("=")
        if not equals and name not in caller:
            raise ConfigError(f"--docker env={name}", "a variable that is set", "it is not",
                              f"export {name}, or write env={name}=VALUE")
        environment[name] = value if equals else caller[name]
    return environment


def volumes_of(
    settings: ContainerSettings, readable: Sequence[Path], writable: Sequence[Path]
) -> dict[str, dict[str, str]]:
    """Mounts at the same path inside and outside; those that exist."""
    volumes = dict.fromkeys((*map(str, readable), *settings.mounts), "ro")
    volumes |= {str(path): "rw" for path in writable}
    return {path: {"bind": path, "mode": mode} for path, mode in volumes.items() if Path(path).exists()}


def failure(task: Task, state: Mapping[str, Any], memory: str) -> str | None:
    """Why a container failed, None where it succeeded.

    Args:
        task: Its outputs.
        state: ``State`` of the ended container, as the engine reports it.
        memory: Its memory limit, empty for none.
    """
    code = int(state["ExitCode"])
    where = f"step {task.directory.name}"
    if code == 0 and not task.missing():
        return None
    if state.get("OOMKilled"):
        limit = f"its memory limit of {memory}" if memory else "the memory of this machine"
        return str(StepError(
            where, f"to stay within {limit}", "the kernel killed it for want of memory (OOMKilled)",
            "raise the limit (--docker memory=…), or see what relrec plan says about train.batch_size",
        ))
    if code in (125, 126, 127) and state.get("Error"):
        return str(StepError(where, "a container that the engine can start", str(state["Error"]).strip(),
                             "check the --docker settings, or build the image anew with make images"))
    killed_by = code - 128 if 128 < code <= 128 + 64 else 0
    try:
        return task.failure(code, killed_by=killed_by)
    except ValueError:  # an exit code above 128 that is no signal
        return task.failure(code)
