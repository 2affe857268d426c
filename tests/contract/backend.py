"""What a Kubeflow Pipelines backend keeps and which rules it has; runs move as a test says."""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec
from kfp_server_api import models

from tests.contract.schema import BadRequest, dump, parse

#: Operations of a filter, by number as KFP's client sends them, and by name.
_OPERATIONS = {1: "EQUALS", 2: "NOT_EQUALS", 3: "GREATER_THAN", 5: "GREATER_THAN_EQUALS", 6: "LESS_THAN",
               7: "LESS_THAN_EQUALS", 8: "IN", 9: "IS_SUBSTRING"}
_KEYS = {"id", "name", "display_name", "created_at", "description", "state", "status", "storage_state",
         "finished_at", "scheduled_at", "namespace", "experiment_id"}
_TYPES = {"STRING": str, "NUMBER_INTEGER": (int, float), "NUMBER_DOUBLE": (int, float), "BOOLEAN": bool,
          "LIST": list, "STRUCT": dict}


class Refusal(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class FakeBackend:
    """State of the server.

    Attributes:
        multi_user: Whether requests need a namespace.
        watch: Called after every change, to check what must hold at all times.
    """

    multi_user: bool = False
    watch: Callable[["FakeBackend"], None] = lambda backend: None
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    recurring_runs: dict[str, Any] = field(default_factory=dict)
    yamls: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, Iterator[Callable[[], None]]] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._count = 0

    def _id(self) -> str:
        self._count += 1
        return f"{self._count:08d}-0000-4000-8000-000000000000"

    def _time(self) -> datetime:
        self.now += timedelta(milliseconds=10)
        return self.now

    # Pipelines and versions

    def create_pipeline(self, body: bytes) -> Any:
        pipeline = parse(body, "V2beta1Pipeline")
        name = pipeline.name or pipeline.display_name
        if not name:
            raise Refusal(400, "pipeline's name cannot be empty")
        if len(name) > 128:
            raise Refusal(400, "pipeline's name is longer than 128 characters")
        if any(other.name == name and other.namespace == pipeline.namespace
               for other in self.pipelines.values()):
            raise Refusal(409, f"The name {name} already exists. Please specify a new name")
        pipeline.pipeline_id, pipeline.name = self._id(), name
        pipeline.display_name = pipeline.display_name or name
        pipeline.created_at = self._time()
        self.pipelines[pipeline.pipeline_id] = pipeline
        return pipeline

    def upload_version(self, pipeline_id: str, name: str, description: str | None, text: str) -> Any:
        if pipeline_id not in self.pipelines:
            raise Refusal(404, f"Pipeline {pipeline_id} not found")
        if any(other.pipeline_id == pipeline_id and other.name == name for other in self.versions.values()):
            raise Refusal(409, f"The name {name} already exists. Please specify a new name")
        version = models.V2beta1PipelineVersion(
            pipeline_id=pipeline_id, pipeline_version_id=self._id(), name=name, display_name=name,
            description=description, created_at=self._time(), pipeline_spec=checked_yaml(text))
        self.versions[version.pipeline_version_id] = version
        self.yamls[version.pipeline_version_id] = text
        return version

    # Experiments

    def create_experiment(self, body: bytes) -> Any:
        experiment = parse(body, "V2beta1Experiment")
        if not experiment.display_name:
            raise Refusal(400, "Experiment name is empty")
        self._check_namespace(experiment.namespace)
        if any(other.display_name == experiment.display_name and other.namespace == experiment.namespace
               for other in self.experiments.values()):
            raise Refusal(409, f"The name {experiment.display_name} already exists")
        experiment.experiment_id, experiment.created_at = self._id(), self._time()
        experiment.storage_state = "AVAILABLE"
        self.experiments[experiment.experiment_id] = experiment
        return experiment

    # Runs

    def create_run(self, body: bytes) -> Any:
        run = parse(body, "V2beta1Run")
        if not run.display_name:
            raise Refusal(400, "The run name is empty")
        self._check_source(run)
        return self._add_run(run)

    def _add_run(self, run: Any) -> Any:
        run.run_id, run.created_at, run.storage_state = self._id(), self._time(), "AVAILABLE"
        run.state, run.state_history = "PENDING", []
        run.run_details = models.V2beta1RunDetails(task_details=[])
        self.runs[run.run_id] = run
        return run

    def _check_source(self, run: Any) -> None:
        """Rules that runs and recurring runs share."""
        if run.experiment_id not in self.experiments:
            raise Refusal(404, f"Experiment {run.experiment_id} not found")
        if self.experiments[run.experiment_id].storage_state == "ARCHIVED":
            raise Refusal(400, "the experiment is archived")
        reference, spec = run.pipeline_version_reference, run.pipeline_spec
        if (reference is None) == (spec is None):
            raise Refusal(400, "Either a pipeline spec or a pipeline version is required")
        if reference is not None:
            version = self.versions.get(reference.pipeline_version_id)
            if version is None or version.pipeline_id != reference.pipeline_id:
                raise Refusal(404, f"PipelineVersion {reference.pipeline_version_id} not found")
            spec = version.pipeline_spec
        spec = spec.get("pipeline_spec", spec)
        json_format.ParseDict(spec, PipelineSpec())
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = (run.runtime_config.parameters if run.runtime_config else None) or {}
        if unknown := set(given) - set(declared):
            raise Refusal(400, f"parameter {sorted(unknown)} not found in pipeline job inputs")
        for name, entry in declared.items():
            if name not in given:
                if not entry.get("isOptional") and "defaultValue" not in entry:
                    raise Refusal(400, f"parameter {name} is required but was not provided")
            elif not isinstance(given[name], _TYPES[entry["parameterType"]]):
                raise Refusal(400, f"input parameter {name} requires type {entry['parameterType']}")
        if run.runtime_config is not None:
            # protobuf's Struct knows one kind of number
            run.runtime_config.parameters = json.loads(json.dumps(given), parse_int=float)

    def look_at_run(self, run_id: str) -> Any:
        """A GET: the run's script moves on by one frame first."""
        run = self._get(self.runs, run_id, "Run")
        frame = next(self.scripts.get(run_id, iter(())), None)
        if frame is not None:
            frame()
        return run

    def terminate(self, run_id: str) -> None:
        run = self._get(self.runs, run_id, "Run")
        if run.state not in ("PENDING", "RUNNING", "PAUSED"):  # nor one that is being ended already
            raise Refusal(400, f"Failed to terminate a run {run_id}. Row not found")
        self.set_run(run_id, "CANCELING")

    def archive(self, run_id: str) -> None:
        self._get(self.runs, run_id, "Run").storage_state = "ARCHIVED"

    def set_run(self, run_id: str, state: str, error: str | None = None) -> None:
        """Put a run into a state, as the controller would."""
        run = self.runs[run_id]
        run.state = state
        run.state_history.append(models.V2beta1RuntimeStatus(update_time=self._time(), state=state))
        if state in ("SUCCEEDED", "FAILED", "CANCELED"):
            run.finished_at = self._time()
        if error is not None:
            run.error = models.GoogleRpcStatus(code=13, message=error)

    def set_step(self, run_id: str, step: str, state: str, *, cached: bool = False,
                 error: str | None = None, attempts: int = 1) -> None:
        """Report a step as the backend does: driver, group, and one pod per attempt."""
        run = self.runs[run_id]
        name, tasks = step.replace("_", "-"), run.run_details.task_details
        number = 1_000 * (1 + sum(map(ord, name)))
        workflow = f"{run.display_name}-x7k2p"

        def node(display_name: str, offset: int, state: str, children: list[str]) -> Any:
            pod = f"{workflow}-{number + offset}"
            task = next((task for task in tasks if task.pod_name == pod), None)
            if task is None:
                task = models.V2beta1PipelineTaskDetail(
                    run_id=run_id, task_id=self._id(), display_name=display_name, pod_name=pod,
                    create_time=self._time(), start_time=self._time())
                tasks.append(task)
            task.state = state
            task.child_tasks = [models.PipelineTaskDetailChildTask(pod_name=f"{workflow}-{child}")
                                for child in children]
            if state in ("SUCCEEDED", "FAILED", "SKIPPED"):
                task.end_time = self._time()
            return task

        if state == "PENDING":
            node(f"{name}-driver", 1, "RUNNING", [])
            return
        pods = [number + 10 + attempt for attempt in range(attempts)]
        node(f"{name}-driver", 1, "SUCCEEDED", [str(number + 2)])
        node(name, 2, state, [str(number + 3)])
        children = [str(pod) for pod in pods] if attempts > 1 else []
        node("executor", 3, "SKIPPED" if cached else state, children)
        if attempts > 1:
            for attempt in range(attempts):
                last = attempt == attempts - 1
                task = node(f"executor({attempt})", 10 + attempt, state if last else "FAILED", [])
                if error is not None and last:
                    task.state_history = [models.V2beta1RuntimeStatus(
                        state="FAILED", error=models.GoogleRpcStatus(code=2, message=error))]
        elif error is not None:
            tasks[-1].error = models.GoogleRpcStatus(code=2, message=error)

    def play(self, run_id: str, *frames: Callable[[], None]) -> None:
        """Let every look at the run show the next frame."""
        self.scripts[run_id] = iter(frames)

    # Recurring runs

    def create_recurring_run(self, body: bytes) -> Any:
        run = parse(body, "V2beta1RecurringRun")
        self._check_source(run)
        try:
            at_once = int(run.max_concurrency or 0)
        except ValueError as error:
            raise Refusal(400, "max_concurrency is no number") from error
        if not 1 <= at_once <= 10:
            raise Refusal(400, f"The max concurrency of the recurring run is out of range. Support 1-10. "
                               f"Received {at_once}")
        trigger = run.trigger
        if trigger is not None and trigger.cron_schedule is not None:
            check_cron(trigger.cron_schedule.cron)
        run.recurring_run_id, run.created_at = self._id(), self._time()
        run.status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}.get(run.mode)
        if run.status is None:
            raise Refusal(400, "mode of the recurring run is invalid")
        run.max_concurrency = str(at_once)
        run.namespace = self.experiments[run.experiment_id].namespace
        self.recurring_runs[run.recurring_run_id] = run
        return run

    def set_mode(self, recurring_run_id: str, mode: str) -> None:
        run = self._get(self.recurring_runs, recurring_run_id, "RecurringRun")
        run.mode, run.status = mode, mode + "D"

    def fire(self, name: str, due: datetime) -> str | None:
        """Let the active recurring run of a name make its run, as the controller does; its ID."""
        active = [run for run in self.recurring_runs.values()
                  if run.display_name == name and run.status == "ENABLED"]
        if not active:
            return None
        assert len(active) == 1, "two schedules of one name fire"
        recurring = active[0]
        run = self._add_run(models.V2beta1Run(
            display_name=f"{name}-{self._count}", experiment_id=recurring.experiment_id,
            pipeline_version_reference=recurring.pipeline_version_reference,
            runtime_config=recurring.runtime_config, recurring_run_id=recurring.recurring_run_id,
            scheduled_at=due))
        return run.run_id

    # What all have in common

    def _get(self, kind: dict[str, Any], key: str, name: str) -> Any:
        if key not in kind:
            raise Refusal(404, f"{name} {key} not found")
        return kind[key]

    def delete(self, kind: dict[str, Any], key: str, name: str) -> None:
        del kind[self._key(kind, key, name)]

    def _key(self, kind: dict[str, Any], key: str, name: str) -> str:
        self._get(kind, key, name)
        return key

    def _check_namespace(self, namespace: str | None) -> None:
        if self.multi_user and not namespace:
            raise Refusal(400, "A resource must have a namespace in multi-user mode")

    def page(self, entries: list[Any], query: dict[str, str], largest: int = 200
             ) -> tuple[list[Any], str, int]:
        """Entries that pass the filter, sorted, one page of them, and the token of the next."""
        size = int(query.get("page_size") or 20) or 20
        if size < 0:
            raise Refusal(400, "The page size should be greater than 0")
        size = min(size, largest)
        wanted = {key: query.get(key, "") for key in ("sort_by", "filter", "namespace", "experiment_id")}
        start = 0
        if token := query.get("page_token"):
            try:
                held = json.loads(base64.b64decode(token, validate=True))
            except ValueError as error:
                raise Refusal(400, "Invalid page token") from error
            if held["query"] != wanted:
                raise Refusal(400, "page token does not match sort order, filter or namespace")
            start = held["start"]
        for key in ("namespace", "experiment_id"):
            if wanted[key]:
                entries = [entry for entry in entries if getattr(entry, key, None) == wanted[key]]
        if wanted["filter"]:
            entries = [entry for entry in entries if _passes(entry, wanted["filter"])]
        name, _, order = (wanted["sort_by"] or "created_at asc").partition(" ")
        if name not in _KEYS or order not in ("", "asc", "desc"):
            raise Refusal(400, f"Invalid sorting field: {wanted['sort_by']!r}")
        entries = sorted(entries, key=lambda entry: str(_value(entry, name)), reverse=order == "desc")
        rest = start + size < len(entries)
        token = base64.b64encode(json.dumps({"query": wanted, "start": start + size}).encode()).decode()
        return entries[start:start + size], token if rest else "", len(entries)


def _passes(entry: Any, text: str) -> bool:
    content = json.loads(text)
    for predicate in content.get("predicates", []):
        predicate = {re.sub("([A-Z])", lambda match: "_" + match[1].lower(), key): value
                     for key, value in predicate.items()}
        operation = predicate["operation"]
        predicate["operation"] = _OPERATIONS.get(operation, operation)
        checked = parse(json.dumps({"predicates": [predicate]}).encode(), "V2beta1Filter").predicates[0]
        if checked.key not in _KEYS:
            raise Refusal(400, f"no support for filtering on unrecognized field {checked.key!r}")
        found, wanted = str(_value(entry, checked.key)).lower(), str(checked.string_value).lower()
        holds = {"EQUALS": found == wanted, "NOT_EQUALS": found != wanted, "IS_SUBSTRING": wanted in found}
        if checked.operation not in holds:
            raise Refusal(400, f"invalid predicate operation: {checked.operation}")
        if not holds[checked.operation]:
            return False
    return True


def _value(entry: Any, key: str) -> Any:
    return getattr(entry, key, None) or (entry.display_name if key == "name" else "")


def checked_yaml(text: str) -> dict[str, Any]:
    """Both documents of a compiled pipeline, refused where they do not fit the protocol."""
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        json_format.ParseDict(documents[0], PipelineSpec())
        for document in documents[1:]:
            json_format.ParseDict(document, PlatformSpec())
    except (yaml.YAMLError, json_format.ParseError, IndexError) as error:
        raise Refusal(400, f"Failed to parse the pipeline spec: {error}") from error
    if len(documents) == 1:
        return documents[0]
    return {"pipeline_spec": documents[0], "platform_spec": documents[1]}


def check_cron(text: str | None) -> None:
    """What the server's cron library takes: five or six fields, or a descriptor."""
    if not text:
        raise Refusal(400, "Schedule cron is not a supported format")
    if text.startswith("@"):
        return
    words = text.split()
    bounds = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "jan", "feb", "mar", "apr", "may", "jun", "jul",
             "aug", "sep", "oct", "nov", "dec"]
    if len(words) not in (5, 6):
        raise Refusal(400, f"Expected 5 to 6 fields, found {len(words)}: {text}")
    for word, (low, high) in zip(words, bounds, strict=False):
        for part in word.split(","):
            for number in re.split("[-/]", part):
                known = number in ("*", "?") or number.lower() in names or number.isdigit()
                if not known or (number.isdigit() and part.find("/") < 0 and not low <= int(number) <= high):
                    raise Refusal(400, f"Schedule cron is not a supported format. Error: {part}")


__all__ = ["BadRequest", "FakeBackend", "Refusal", "dump"]
