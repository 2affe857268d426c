"""Plan: what every step of a run will need, what does not fit, and which settings mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model_core.config import RunConfig
from model_core.planning.cost import MB, StepCost, step_costs
from model_core.planning.facts import DatasetFacts, look_at
from model_core.planning.machine import DEFAULT_SPEED, MachineSpeed
from model_core.planning.skeleton import Skeleton, build_skeleton, subgraph_facts
from model_core.planning.workload import Workload

PLAN_VERSION = 1

#: Setting, smaller value and the parts of memory it lowers, in the order in which they are tried.
LEVERS: tuple[tuple[str, Any, frozenset[str]], ...] = (
    ("train.loss", "sampled", frozenset({"scores", "item_table", "item_vectors"})),
    ("train.num_classes", 4_096, frozenset({"scores", "item_vectors"})),
    ("train.max_batch_nodes", 50_000, frozenset({"activations"})),
    ("train.batch_size", 128, frozenset({"activations", "batches", "scores"})),
    ("model.num_similar", 20, frozenset({"pair_prior"})),
    ("model.use_priors", False, frozenset({"pair_prior"})),
    ("model.max_nodes_per_seed", 128, frozenset({"activations", "batches"})),
    ("evaluate.batch_size", 32, frozenset({"scores"})),
    ("model.embedding_dim", 16, frozenset({"item_table", "item_vectors"})),
    ("model.channels", 64, frozenset({"activations", "network"})),
    ("graph.text_dim", 16, frozenset({"graph", "columns"})),
    ("queue.num_hard", 0, frozenset({"item_pairs", "queue"})),
)


@dataclass(frozen=True)
class Problem:
    """A step that does not fit.

    Attributes:
        step: Step name.
        peak_mb: What it would need.
        largest: The part of its memory that is largest.
        fix: What to do, in a sentence.
        settings: Settings with which it fits; empty where none of the known ones suffices.
    """

    step: str
    peak_mb: float
    largest: str
    fix: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Estimates for one run.

    Attributes:
        workload: The counts behind them.
        steps: Cost of every step, in order.
        problems: Steps that need more than the memory there is.
        memory_mb: Memory there is, 10^6 bytes.
        speed: Coefficients that were used.
    """

    workload: Workload
    steps: tuple[StepCost, ...]
    problems: tuple[Problem, ...]
    memory_mb: float
    speed: MachineSpeed

    @property
    def fits(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        work = self.workload
        return {
            "plan_version": PLAN_VERSION,
            "dataset": work.facts.source.name, "task": work.facts.task.name,
            "fits": self.fits, "memory_mb": round(self.memory_mb, 1),
            "steps": [{"name": step.name, "wall_s": round(step.wall_s, 1),
                       "peak_mb": round(step.peak_mb, 1), "fits": step.peak_mb <= self.memory_mb,
                       "parts_mb": {name: round(value / MB, 1) for name, value in step.parts.items()}}
                      for step in self.steps],
            "problems": [asdict(problem) for problem in self.problems],
            "counts": self.counts(),
            "speed": asdict(self.speed),
        }

    def counts(self) -> dict[str, Any]:
        """What the estimate rests on."""
        work = self.workload
        return {
            "rows": work.facts.num_rows, "items": work.facts.num_items,
            "train_rows": work.skeleton.num_train, "val_rows": work.skeleton.num_val,
            "test_rows": work.skeleton.num_test, "fan_out": list(work.subgraph.fan_out),
            "nodes_per_seed": round(work.subgraph.nodes, 1), "rows_per_step": work.rows_per_step,
            "steps_per_epoch": work.steps_per_epoch, "epochs": work.config.train.epochs,
            "share_of_rows_looked_at": round(work.skeleton.share, 6),
        }


def make_plan(
    dataset: str,
    task: str,
    config: RunConfig,
    *,
    memory_bytes: int,
    speed: MachineSpeed = DEFAULT_SPEED,
    as_of: int | None = None,
) -> Plan:
    """Estimate every step of a retraining run.

    Args:
        dataset: Folder with manifest.yaml, or a Hub spec.
        task: Name of a recommendation task.
        config: All settings of the run.
        memory_bytes: Memory that a step can get.
        speed: Of the machine, from ``calibrate``.
        as_of: Logical date, UTC seconds. It moves the windows; rows after it are counted
            though they will be cut.

    Raises:
        DataError: No such dataset or task, or files that cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from model_core.tables.demo import DEMO_TASK, write_demo_dataset
        >>> shop = write_demo_dataset(Path(tempfile.mkdtemp()) / "shop", scale=0.05)
        >>> plan = make_plan(str(shop), DEMO_TASK, RunConfig(), memory_bytes=8 * 10**9)
        >>> plan.fits, [step.name for step in plan.steps][:3]
        (True, ['ingest', 'temporal_split', 'build_graph'])
    """
    facts = look_at(dataset, task, config.graph, stored_labels=as_of is None)
    val_time = facts.source.val_time if as_of is None else as_of - 2 * facts.task.window_s
    skeleton = build_skeleton(facts, val_time, config.split.num_train_windows)
    work = _workload(facts, skeleton, config)
    steps = step_costs(work, speed)
    problems = tuple(_problem(step, work, memory_bytes / MB, speed)
                     for step in steps if step.peak_mb > memory_bytes / MB)
    return Plan(work, steps, problems, memory_bytes / MB, speed)


def _workload(facts: DatasetFacts, skeleton: Skeleton, config: RunConfig) -> Workload:
    model = config.model
    if model.name == "two_tower":  # it overrules these switches
        model = model.model_copy(update={"use_pair": False, "use_priors": False, "use_tower": True})
        config = config.model_copy(update={"model": model})
    layers = model.num_layers or skeleton.graph.hops
    subgraph = subgraph_facts(skeleton, layers, model.num_neighbors, model.max_nodes_per_seed)
    return Workload.of(facts, skeleton, subgraph, config)


def _problem(step: StepCost, work: Workload, memory_mb: float, speed: MachineSpeed) -> Problem:
    """Try smaller settings, those first that lower the largest part, until the step fits."""
    config, changed, now = work.config, dict[str, Any](), step
    own = {name: value for name, value in step.parts.items() if name != "libraries"} or step.parts
    largest = max(own, key=lambda name: own[name])
    levers = list(LEVERS)
    while now.peak_mb > memory_mb and levers:
        order = sorted(now.parts, key=lambda name: -now.parts[name])
        lever = next((entry for part in order for entry in levers if part in entry[2]), None)
        if lever is None:
            break
        levers.remove(lever)
        name, value, _ = lever
        smaller = _with(config, name, value)
        if smaller is None:
            continue
        after = next(cost for cost in step_costs(_workload(work.facts, work.skeleton, smaller), speed)
                     if cost.name == step.name)
        if after.bytes < 0.95 * now.bytes:
            config, now = smaller, after
            changed[name] = value
    settings = tuple(f"{name}={str(value).lower()}" for name, value in changed.items())
    if now.peak_mb <= memory_mb:
        fix = "run with " + " ".join(f"--set {setting}" for setting in settings)
    else:
        settings, least = (), now.peak_mb / 1e3
        fix = f"use a machine with more than {max(least, 0.1):,.1f} GB" + (
            ", and run with " + " ".join(f"--set {n}={str(v).lower()}" for n, v in changed.items())
            if changed else "")
    return Problem(step.name, step.peak_mb, largest, fix, settings)


def _with(config: RunConfig, name: str, value: Any) -> RunConfig | None:
    """The configuration with one setting changed; None where it is as small already."""
    section, key = name.split(".")
    part = getattr(config, section)
    old = getattr(part, key)
    if old == value or (isinstance(value, int) and not isinstance(value, bool) and old <= value):
        return None
    return config.model_copy(update={section: part.model_copy(update={key: value})})


def beside_measured(plan: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Estimate and measurement of every step that ran.

    Args:
        plan: ``Plan.to_json()``.
        steps: ``steps`` of a run's summary.

    Returns:
        ``{name, estimated_s, measured_s, estimated_mb, measured_mb}``; None for what was not
        measured, because a step was served from the cache or did not run.
    """
    planned = {step["name"]: step for step in plan["steps"]}
    rows = []
    for step in steps:
        if step["name"] not in planned:
            continue
        ran = step["status"] == "succeeded" and not step["cached"]
        rows.append({
            "name": step["name"],
            "estimated_s": planned[step["name"]]["wall_s"], "measured_s": step["wall_s"] if ran else None,
            "estimated_mb": planned[step["name"]]["peak_mb"], "measured_mb": step["peak_mb"] if ran else None,
        })
    return rows
