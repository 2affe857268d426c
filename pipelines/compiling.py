"""Compile pipelines and export components. Imports kfp, so import it late."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from components._images import ROLES, Pins, image, is_pinned
from model_core.errors import ConfigError
from model_core.records import write_atomically

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


def compile_pipeline(name: str, out: Path, images: ImageChoice = LOCAL_IMAGES) -> Path:
    """Write a pipeline's YAML. The same code always gives the same bytes.

    Args:
        name: One of PIPELINES.
        out: File to write.
        images: Which images it names.

    Raises:
        ConfigError: No such pipeline, not a YAML path, or an image that is not pinned.
    """
    from kfp import compiler

    if name not in PIPELINES:
        raise ConfigError("pipeline", f"one of {list(PIPELINES)}", repr(name), "use a known name")
    if out.suffix not in {".yaml", ".yml"}:
        raise ConfigError(str(out), "a path that ends in .yaml", repr(out.suffix), "rename it")
    pipeline = getattr(import_module(f"pipelines.{name}"), name)
    out.parent.mkdir(parents=True, exist_ok=True)
    _compile(compiler.Compiler(), pipeline, out, images, name)
    return out


def _compile(compiler: Any, what: Any, out: Path, images: ImageChoice, where: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.yaml"  # a refused file is not left behind
        compiler.compile(what, str(draft))
        text = images.apply(draft.read_text(encoding="utf-8"), where)
    write_atomically(out, text.encode())


def export_components(out: Path, images: ImageChoice = LOCAL_IMAGES) -> Iterator[Path]:
    """Write ``<step>/component.yaml`` for every step, loadable by other pipelines.

    Args:
        out: Directory to write to.
        images: Which images they name.

    Raises:
        ConfigError: An image that is not pinned.
    """
    from kfp import compiler

    for step in STEPS:
        component = getattr(import_module(f"components.{step}.component"), step)
        path = out / step / "component.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        _compile(compiler.Compiler(), component, path, images, step)
        yield path
