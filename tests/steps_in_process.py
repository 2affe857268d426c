"""Steps in the process of the tests: the same functions, without a start and its imports.

The first export of a process costs several times what later ones do, and the import of torch much of
what is left. ``tests/pipelines/test_retrain.py`` runs every step in a process of its own, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from unittest import mock

from components._step import run_step
from pipelines.targets import process


@contextmanager
def steps_in_process() -> Iterator[None]:
    """For the time of a ``with``, steps start no processes; memory and logs are not to be had."""
    with mock.patch.object(process, "_run", _run):
        yield


def _run(
    command: list[str], environment: dict[str, str], log: Path, output: Callable[[bytes], None]
) -> tuple[int, float]:
    """Stands for ``pipelines.targets.process._run``: same arguments, same answer."""
    _, flag, module, *arguments = command
    assert flag == "-m", command
    log.touch()  # what a step prints is where pytest keeps it
    name = module.rpartition(".")[2]
    return run_step(getattr(import_module(f"{module}.__main__"), name), arguments), 0.0
