"""Steps in forks of a process that has the libraries loaded: own processes still, without their start."""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

_LOADED = ["torch", "torch._dynamo", "torch.export", "torch.onnx._internal.exporter._core", "networkx",
           "torch_geometric", "pandas", "relbench", "onnxruntime", "onnxscript", "duckdb",
           "google.cloud.storage", "components._step", "model_core.evaluation.evaluate",
           "model_core.training.trainer", "model_core.export.onnx", "model_core.tables.ingest"]


def run_forked(
    command: list[str], environment: dict[str, str], log: Path, output: Callable[[bytes], None]
) -> tuple[int, float]:
    """Stands for ``pipelines.targets.process._run``: same arguments, same answer, memory not measured."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    process = context.Process(target=_step, args=(command, environment, str(log)))
    process.start()
    process.join()
    output(log.read_bytes())
    return process.exitcode or 0, 0.0


def _step(command: list[str], environment: dict[str, str], log: str) -> None:
    _, flag, module, *arguments = command
    assert flag == "-m", command
    os.environ.clear()
    os.environ.update(environment)
    with open(log, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    from components._step import run_step

    name = module.rpartition(".")[2]
    code = 1
    with contextlib.suppress(SystemExit):
        code = run_step(getattr(import_module(f"{module}.__main__"), name), arguments)
    sys.exit(code)
