"""``relrec describe pipeline``: steps, what flows between them and what each gets of a cluster."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.compiling import STEPS, documents_of, pipeline_yaml
from pipelines.resources import ResourceProfile, StepResources, load_profile


def show_pipeline(name: str, resources: str) -> None:
    """Read the compiled pipeline and print it; what is shown is what would be submitted.

    Raises:
        ConfigError: No such pipeline or profile.
    """
    profile = load_profile(resources, STEPS)
    spec = documents_of(pipeline_yaml(name, resources=profile))[0]
    tasks = spec["root"]["dag"]["tasks"]
    console = Console(highlight=False)
    console.print(f"[bold]{escape(name)}[/], resources {escape(resources)}", soft_wrap=True)
    console.print(escape(spec["pipelineInfo"].get("description", "")), soft_wrap=True)

    flow = Table(box=None, pad_edge=False, show_header=False)
    for step in STEPS:
        artifacts = tasks[step.replace("_", "-")]["inputs"].get("artifacts", {})
        sources = [entry["taskOutputArtifact"]["producerTask"].replace("-", "_")
                   for entry in artifacts.values()]
        flow.add_row(step, f"◂ {', '.join(dict.fromkeys(sources))}" if sources else "")
    console.print(flow, "")

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("step", "CPU", "memory", "GPU", "/dev/shm", "retries", "at most"):
        table.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=True)
    for step in STEPS:
        table.add_row(step, *_cells(profile.of(step)))
    console.print(table)
    for line, steps in _nodes_of(profile).items():
        console.print(f"{', '.join(steps)}: {escape(line)}", soft_wrap=True)
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    required = [key for key, entry in parameters.items() if not _is_optional(entry)]
    optional = [key for key, entry in parameters.items() if _is_optional(entry)]
    console.print(f"parameters: {', '.join(required)}; optional: {', '.join(optional)}", soft_wrap=True)


def _cells(resources: StepResources) -> tuple[str, ...]:
    def shown(value: float | None, unit: str = "") -> str:
        return "–" if value is None else f"{value:g}{unit}"

    return (shown(resources.cpu), shown(resources.memory_gb, " GB"), str(resources.gpus or "–"),
            shown(resources.shm_gb, " GB"), str(resources.retries or "–"), shown(resources.timeout_h, " h"))


def _nodes_of(profile: ResourceProfile) -> dict[str, list[str]]:
    """What is asked of nodes, with the steps that ask it."""
    found: dict[str, list[str]] = {}
    for step in STEPS:
        resources = profile.of(step)
        nodes = resources.nodes
        lines = [f"GPU of type {resources.gpu_type}"] * (resources.gpus > 0)
        lines += ["on spot nodes: set checkpoint_root"] * resources.spot
        lines += [f"nodes with {key}={value}" for key, value in nodes.node_selector.items()]
        lines += [f"tolerates {entry.key or 'every taint'}{'=' + entry.value if entry.value else ''}"
                  f"{':' + entry.effect if entry.effect else ''}" for entry in nodes.tolerations]
        for line in lines:
            found.setdefault(line, []).append(step)
    return found


def _is_optional(entry: dict[str, Any]) -> bool:
    return bool(entry.get("isOptional")) or "defaultValue" in entry
