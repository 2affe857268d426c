"""Compile pipelines and export components. Imports kfp, so import it late."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_core.errors import ConfigError
from model_core.records import write_atomically
from pipelines.resources import PRESETS, ResourceProfile, assign

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent

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


def make_pipeline(name: str, resources: ResourceProfile = PRESETS["laptop"]) -> GraphComponent:
    """A pipeline whose steps have the resources of a profile, to compile or to nest in another.

    Raises:
        ConfigError: No such pipeline.
    """
    from kfp import dsl

    if name not in PIPELINES:
        raise ConfigError("pipeline", f"one of {list(PIPELINES)}", repr(name), "use a known name")
    build: Callable[..., dict[str, Any]] = getattr(import_module(f"pipelines.{name}"), name)

    @functools.wraps(build)  # Kubeflow reads parameters and their descriptions off the function
    def with_resources(*args: Any, **kwargs: Any) -> None:
        for step, task in build(*args, **kwargs).items():
            assign(resources.of(step), task)

    summary = (build.__doc__ or "").partition("\n")[0]
    return dsl.pipeline(name=name, description=summary)(with_resources)


def compile_pipeline(name: str, out: Path, resources: ResourceProfile = PRESETS["laptop"]) -> Path:
    """Write a pipeline's YAML. The same code and profile always give the same bytes.

    Raises:
        ConfigError: No such pipeline, or not a YAML path.
    """
    if out.suffix not in {".yaml", ".yml"}:
        raise ConfigError(str(out), "a path that ends in .yaml", repr(out.suffix), "rename it")
    write_atomically(out, pipeline_yaml(name, resources).encode())
    return out


def pipeline_yaml(name: str, resources: ResourceProfile = PRESETS["laptop"]) -> str:
    """The text that ``compile_pipeline`` writes."""
    from kfp import compiler

    pipeline = make_pipeline(name, resources)
    with tempfile.TemporaryDirectory() as folder:
        compiler.Compiler().compile(pipeline, f"{folder}/{name}.yaml")
        return Path(folder, f"{name}.yaml").read_text(encoding="utf-8")


def export_components(out: Path) -> Iterator[Path]:
    """Write ``<step>/component.yaml`` for every step, loadable by other pipelines."""
    from kfp import compiler

    for step in STEPS:
        component = getattr(import_module(f"components.{step}.component"), step)
        path = out / step / "component.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(component, str(path))
        yield path
