"""Compile pipelines and export components. Imports kfp, so import it late."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components._images import ROLES, Pins, image, is_pinned
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
    "load_champion",
    "watch_data",
    "build_graph",
    "build_negative_queue",
    "train",
    "evaluate",
    "export_onnx",
    "publish",
)


@dataclass(frozen=True)
class ImageChoice:
    """Which images a compiled file names.

    Attributes:
        pins: Pushed images; None leaves the names that the steps give.
        allow_unpinned: Accept an image without digest: for local runs, or asked for by flag.
        cpu_only: Take the cpu image for the steps of the role gpu.
    """

    pins: Pins | None = None
    allow_unpinned: bool = False
    cpu_only: bool = False

    def apply(self, text: str, where: str) -> str:
        """The YAML text with the chosen images.

        Args:
            text: Compiled YAML.
            where: What it is of, for messages.

        Raises:
            ConfigError: An image that is left has no digest.
        """
        for role in ROLES:
            if image(role) in text:
                if self.pins is not None:
                    text = text.replace(image(role), self.pins.of(role, cpu_only=self.cpu_only))
                elif self.cpu_only and role == "gpu":
                    text = text.replace(image(role), image("cpu"))
        names = re.findall(r"^ +image: *['\"]?([^'\"\s]+)", text, flags=re.MULTILINE)
        unpinned = sorted(name for name in set(names) if not is_pinned(name))
        if unpinned and not self.allow_unpinned:
            raise ConfigError(
                f"compile {where}", "images pinned by digest, because a cluster caches by image name",
                unpinned[0], "pass --images FILE from make push, or --allow-unpinned to do without")
        return text


#: What runs on this machine: the names of make images.
LOCAL_IMAGES = ImageChoice(allow_unpinned=True)


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


def compile_pipeline(
    name: str, out: Path, images: ImageChoice = LOCAL_IMAGES,
    resources: ResourceProfile = PRESETS["laptop"],
) -> Path:
    """Write a pipeline's YAML. The same code, images and profile always give the same bytes.

    Args:
        name: One of PIPELINES.
        out: File to write.
        images: Which images it names.

    Raises:
        ConfigError: No such pipeline, not a YAML path, or an image that is not pinned.
    """
    if out.suffix not in {".yaml", ".yml"}:
        raise ConfigError(str(out), "a path that ends in .yaml", repr(out.suffix), "rename it")
    write_atomically(out, pipeline_yaml(name, images, resources).encode())
    return out


def pipeline_yaml(
    name: str, images: ImageChoice = LOCAL_IMAGES, resources: ResourceProfile = PRESETS["laptop"]
) -> str:
    """The text that ``compile_pipeline`` writes."""
    return images.apply(_compiled(make_pipeline(name, resources)), name)


def documents_of(text: str) -> list[Any]:
    """The YAML documents of a compiled pipeline: its specification, then what single platforms add.

    Parsed by libyaml where PyYAML has it, which takes a tenth of the time.

    Raises:
        yaml.YAMLError: The text is no YAML.
    """
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _compiled(what: Any) -> str:
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.yaml"
        compiler.Compiler().compile(what, str(draft))
        return draft.read_text(encoding="utf-8")


def export_components(out: Path, images: ImageChoice = LOCAL_IMAGES) -> Iterator[Path]:
    """Write ``<step>/component.yaml`` for every step, loadable by other pipelines.

    Args:
        out: Directory to write to.
        images: Which images they name.

    Raises:
        ConfigError: An image that is not pinned.
    """
    for step in STEPS:
        component = getattr(import_module(f"components.{step}.component"), step)
        path = out / step / "component.yaml"
        write_atomically(path, images.apply(_compiled(component), step).encode())
        yield path
