"""What each step gets of a cluster: processors, memory, GPU, shared memory, nodes, retries.

One profile says it for all steps, and nothing else in the repository does. Presets cover
a laptop, a cluster without GPU, a small and a large GPU node; a YAML file changes what it
names::

    preset: small_gpu
    every_step: {memory_gb: 12}
    steps:
      train: {memory_gb: 48, spot: false}
      evaluate: {gpus: 0}
    spot_nodes:
      node_selector: {karpenter.sh/capacity-type: spot}

``relrec describe pipeline retrain --resources FILE`` shows what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, model_validator

from model_core.config import Section, parse_section
from model_core.errors import ConfigError

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask


class Toleration(Section):
    """A taint that a pod may stand, in the words of Kubernetes."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _as_kubernetes_has_it(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("no value beside operator Exists")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("a key beside operator Equal")
        return self


class Nodes(Section):
    """Which nodes a pod may and must run on."""

    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are accepted.")


class StepResources(Section):
    """What one step gets. Unset means that the cluster decides."""

    cpu: float | None = Field(None, ge=0.01, le=1_000, description="Cores, requested and at most.")
    memory_gb: float | None = Field(None, ge=0.01, le=100_000,
                                    description="10^9 bytes, requested and at most.")
    gpus: int = Field(0, ge=0, le=64)
    gpu_type: str = Field("nvidia.com/gpu", min_length=1, description="Resource name of the GPU.")
    shm_gb: float | None = Field(None, ge=0.01, le=100_000,
                                 description="Size of /dev/shm, counted as memory.")
    spot: bool = Field(False, description="Run on nodes that may be taken away.")
    retries: int = Field(0, ge=0, le=100, description="Attempts after a failure or a lost node.")
    backoff_s: int = Field(30, ge=1, le=3_600,
                           description="Seconds before the first retry; doubles each time.")
    timeout_h: float | None = Field(None, ge=0.01, le=10_000,
                                    description="Hours until the step is given up.")
    secret_env: dict[str, dict[str, str]] = Field(
        {}, description="Kubernetes secret to its keys and the variables that they become.")
    nodes: Nodes = Nodes()

    @property
    def retry_period_s(self) -> int:
        """Within which retries may start, counted from the first attempt: all attempts and pauses.

        Kubeflow's default of an hour would leave a step that was lost after that without any.
        """
        attempts_h = (self.retries + 1) * (self.timeout_h or _LONGEST_ATTEMPT_H)
        pauses_s = self.backoff_s * 2 ** min(self.retries, 20)
        return min(round(attempts_h * 3_600) + pauses_s, _LONGEST_PERIOD_S)


#: Assumed where a step has no timeout.
_LONGEST_ATTEMPT_H = 72.0
_LONGEST_PERIOD_S = 365 * 86_400

#: What Google's clusters call their spot nodes; other clouds go into the file.
_GKE_SPOT = Nodes(
    node_selector={"cloud.google.com/gke-spot": "true"},
    tolerations=(Toleration(key="cloud.google.com/gke-spot", value="true", effect="NoSchedule"),),
)
_GPU_TAINT = Nodes(tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),))


class ResourceProfile(Section):
    """Resources of all steps.

    Attributes:
        steps: Step name to its resources; a step that is not named gets ``every_step``.
        every_step: The others.
        gpu_nodes: Added to steps with a GPU.
        spot_nodes: Added to steps with ``spot``.
    """

    every_step: StepResources = StepResources()
    steps: dict[str, StepResources] = Field({})
    gpu_nodes: Nodes = _GPU_TAINT
    spot_nodes: Nodes = _GKE_SPOT

    def uses_gpu(self, steps: tuple[str, ...]) -> bool:
        """Whether any of the steps has a GPU."""
        return any(self.of(step).gpus for step in steps)

    def of(self, step: str) -> StepResources:
        """Resources of a step, with the nodes that a GPU or ``spot`` asks for."""
        resources = self.steps.get(step, self.every_step)
        extra = [self.gpu_nodes] * (resources.gpus > 0) + [self.spot_nodes] * resources.spot
        selector, tolerations = dict(resources.nodes.node_selector), resources.nodes.tolerations
        for nodes in extra:
            selector = {**nodes.node_selector, **selector}
            tolerations += tuple(entry for entry in nodes.tolerations if entry not in tolerations)
        return resources.model_copy(
            update={"nodes": Nodes(node_selector=selector, tolerations=tolerations)})


def _cluster(train: StepResources, evaluate: StepResources) -> ResourceProfile:
    small = StepResources(cpu=2, memory_gb=8, retries=2, timeout_h=6)
    tables = small.model_copy(update={"memory_gb": 16.0})
    return ResourceProfile(every_step=small, steps={
        "ingest": tables, "build_graph": tables, "build_negative_queue": tables,
        "train": train, "evaluate": evaluate,
    })


#: Presets by name. A laptop's steps are processes that take what they need; a failing one
#: is shown at once instead of being tried again.
PRESETS: dict[str, ResourceProfile] = {
    "laptop": ResourceProfile(),
    "cpu": _cluster(
        train=StepResources(cpu=8, memory_gb=32, retries=5, timeout_h=24),
        evaluate=StepResources(cpu=8, memory_gb=16, retries=2, timeout_h=6)),
    "small_gpu": _cluster(
        train=StepResources(cpu=4, memory_gb=24, gpus=1, shm_gb=2, spot=True, retries=5, timeout_h=24),
        evaluate=StepResources(cpu=4, memory_gb=16, gpus=1, shm_gb=2, spot=True, retries=3,
                               timeout_h=6)),
    "large_gpu": _cluster(
        train=StepResources(cpu=12, memory_gb=120, gpus=1, shm_gb=8, spot=True, retries=5, timeout_h=24),
        evaluate=StepResources(cpu=12, memory_gb=64, gpus=1, shm_gb=8, spot=True, retries=3,
                               timeout_h=6)),
}


def load_profile(text: str, steps: tuple[str, ...]) -> ResourceProfile:
    """A preset by name, or a YAML file over a preset.

    In a file ``every_step`` changes all steps of the preset, ``steps`` single ones; what is
    not named stays.

    Args:
        text: What the user wrote.
        steps: Names of the pipeline's steps.

    Raises:
        ConfigError: Neither a preset nor a readable file, or an unknown step or key.
    """
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text).expanduser()
    if not path.is_file():
        raise ConfigError("--resources", f"one of {sorted(PRESETS)} or a YAML file", repr(text),
                          "use a preset's name, or the path of a file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "YAML", " ".join(str(error).split()), "correct the file") from error
    if not isinstance(content, dict):
        raise ConfigError(str(path), "keys and values", type(content).__name__, "correct the file")
    return _merged(content, str(path), steps)


def _merged(content: dict[str, Any], where: str, steps: tuple[str, ...]) -> ResourceProfile:
    preset = content.pop("preset", "laptop")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ConfigError(f"{where}, key 'preset'", f"one of {sorted(PRESETS)}", repr(preset),
                          "use a preset's name")
    base = PRESETS[preset]
    everywhere = _mapping(content.pop("every_step", {}), f"{where}, key 'every_step'")
    single = _mapping(content.pop("steps", {}), f"{where}, key 'steps'")
    for name in single:
        if name not in steps:
            raise ConfigError(f"{where}, key 'steps'", f"one of {list(steps)}", repr(name),
                              "use a step of the pipeline")
    changed = {
        name: _over(base.steps.get(name, base.every_step),
                    everywhere | _mapping(single.get(name, {}), f"{where}, step {name!r}"),
                    f"{where}, step {name!r}")
        for name in steps
    }
    rest = parse_section(ResourceProfile, content, where)  # gpu_nodes, spot_nodes; refuses other keys
    nodes = {name: getattr(rest if name in content else base, name) for name in ("gpu_nodes", "spot_nodes")}
    return ResourceProfile(
        every_step=_over(base.every_step, everywhere, f"{where}, key 'every_step'"), steps=changed, **nodes)


def _over(base: StepResources, changes: Mapping[str, Any], where: str) -> StepResources:
    return parse_section(StepResources, base.model_dump() | dict(changes), where)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(where, "keys and values", repr(value), "correct the file")
    return value


def assign(resources: StepResources, task: PipelineTask) -> None:
    """Write a step's resources onto its task: KFP's own fields, and Kubernetes' for the rest."""
    from kfp import kubernetes

    if resources.cpu is not None:
        cpu = f"{round(resources.cpu * 1_000)}m"
        task.set_cpu_request(cpu).set_cpu_limit(cpu)
    if resources.memory_gb is not None:
        memory = f"{round(resources.memory_gb * 1_000)}M"
        task.set_memory_request(memory).set_memory_limit(memory)
    if resources.gpus:
        task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpus)
    if resources.retries:
        task.set_retry(resources.retries, backoff_duration=f"{resources.backoff_s}s", backoff_factor=2.0,
                       backoff_max_duration=f"{resources.retry_period_s}s")
    if resources.shm_gb is not None:
        kubernetes.empty_dir_mount(task, volume_name="shm", mount_path="/dev/shm", medium="Memory",
                                   size_limit=f"{round(resources.shm_gb * 1_000)}M")
    if resources.timeout_h is not None:
        kubernetes.set_timeout(task, round(resources.timeout_h * 3_600))
    for secret, variables in resources.secret_env.items():
        kubernetes.use_secret_as_env(task, secret_name=secret, secret_key_to_env=variables)
    for key, value in resources.nodes.node_selector.items():
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for entry in resources.nodes.tolerations:
        kubernetes.add_toleration(task, key=entry.key, operator=entry.operator, value=entry.value,
                                  effect=entry.effect)
