"""The docker command, found and called. Building needs it: the Python client knows no BuildKit."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from model_core.errors import ConfigError, StepError

_CANDIDATES = ("docker", "/usr/bin/docker")


def find_docker() -> str:
    """A docker command that can build with BuildKit.

    A client from 23 on needs the buildx plugin for that; one before has it built in.

    Raises:
        ConfigError: There is none, or no engine answers it.
    """
    found = [path for path in dict.fromkeys(map(shutil.which, _CANDIDATES)) if path]
    for path in found:
        version = _output([path, "version", "--format", "{{.Client.Version}} {{.Server.Version}}"])
        if version is None:
            continue
        if int(version.split(".")[0]) < 23 or _output([path, "buildx", "version"]) is not None:
            return path
    if not found:
        raise ConfigError("make images", "the docker command", "none on PATH",
                          "install Docker 20.10 or newer")
    raise ConfigError(
        "make images", "a docker command with BuildKit and an engine that answers it",
        f"{', '.join(found)} cannot",
        "start the engine; for a client from 23 on install docker-buildx-plugin",
    )


def _output(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def call(
    command: list[str], *, shown: bool = False, environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Run a command; its output, stripped.

    Args:
        command: Program and arguments.
        shown: Let it write to the screen, and return nothing.
        environment: Variables on top of the caller's.
        log: File for its output, instead of returning it.

    Raises:
        StepError: It failed; the message ends with what it said last.
    """
    target: int | IO[bytes] | None = None if shown else subprocess.PIPE
    with contextlib.ExitStack() as stack:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            target = stack.enter_context(open(log, "wb"))
        done = subprocess.run(command, env=os.environ | dict(environment or {}), stdout=target,
                              stderr=subprocess.STDOUT if log else target)
    said = (log.read_bytes() if log else done.stderr or done.stdout or b"").decode(errors="replace")
    if done.returncode != 0:
        last = " / ".join(said.strip().splitlines()[-3:])
        raise StepError(" ".join(command[:3]), "exit code 0", f"{done.returncode}: {last}"[:600],
                        f"read {log}" if log else "see the message of the command")
    return "" if shown or log else done.stdout.decode().strip()
