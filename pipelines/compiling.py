"""Compile pipelines and export components. Imports kfp, so import it late."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from model_core.errors import ConfigError

#: Pipelines that ``relrec`` knows, by name: module and function of the same name.
PIPELINES = ("retrain",)

#: Steps, in the order in which data flows through them.
STEPS = (
    "ingest",
    "temporal_split",
    "build_graph",
    "build_negative_queue",
    "train",
    "evaluate",
    "export_onnx",
    "publish",
)


def compile_pipeline(name: str, out: Path) -> Path:
    """Write a pipeline's YAML. The same code always gives the same bytes.

    Raises:
        ConfigError: No such pipeline, or not a YAML path.
    """
    from kfp import compiler

    if name not in PIPELINES:
        raise ConfigError("pipeline", f"one of {list(PIPELINES)}", repr(name), "use a known name")
    if out.suffix not in {".yaml", ".yml"}:
        raise ConfigError(str(out), "a path that ends in .yaml", repr(out.suffix), "rename it")
    pipeline = getattr(import_module(f"pipelines.{name}"), name)
    out.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline, str(out))
    return out


def export_components(out: Path) -> Iterator[Path]:
    """Write ``<step>/component.yaml`` for every step, loadable by other pipelines."""
    from kfp import compiler

    for step in STEPS:
        component = getattr(import_module(f"components.{step}.component"), step)
        path = out / step / "component.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(component, str(path))
        yield path
