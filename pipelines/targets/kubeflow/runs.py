"""Runs on the cluster: what they and their steps are doing, in relrec's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from model_core.errors import ConfigError
from pipelines.compiling import STEPS
from pipelines.targets.kubeflow.client import Client, talking
from pipelines.targets.kubeflow.errors import KubeflowError, shortened
from pipelines.targets.kubeflow.listing import LARGEST_PAGE, pages, predicates

#: States of a run or step, as the API names them, in relrec's words.
STATES = {
    None: "pending", "RUNTIME_STATE_UNSPECIFIED": "pending", "PENDING": "pending", "RUNNING": "running",
    "SUCCEEDED": "succeeded", "SKIPPED": "skipped", "FAILED": "failed", "CANCELING": "cancelling",
    "CANCELED": "cancelled", "PAUSED": "paused",
}
#: A run in one of these does not change any more.
ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})


@dataclass(frozen=True)
class StepView:
    """One step of a run.

    Attributes:
        name: As in the pipeline.
        state: One of the values of ``STATES``, or ``cached`` for a result taken from an earlier run.
        started_at, ended_at: If known.
        error: Why it failed, if the server says it.
        nodes: IDs of the workflow nodes whose pods ran it, one per attempt.
    """

    name: str
    state: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunView:
    """A run at one moment.

    Attributes:
        run_id, name: Of the run.
        state: One of the values of ``STATES``.
        created_at, scheduled_at, ended_at: If known; ``scheduled_at`` of runs of a schedule.
        experiment_id: Experiment that it belongs to.
        schedule_id: Recurring run that made it, or None.
        parameters: Of the pipeline.
        steps: In the order of the pipeline; empty in lists.
        error: Why it failed, if the server says it.
        link: Its web page.
    """

    run_id: str
    name: str
    state: str
    created_at: datetime | None
    scheduled_at: datetime | None
    ended_at: datetime | None
    experiment_id: str
    schedule_id: str | None
    parameters: Mapping[str, Any]
    steps: tuple[StepView, ...]
    error: str | None
    link: str

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def get_run(client: Client, run_id: str) -> RunView:
    """A run with its steps.

    Raises:
        KubeflowError: No such run, or the server cannot be reached.
    """
    try:
        with talking(client):
            run = client.get_run(run_id)
    except KubeflowError as error:
        raise _no_such_run(error, run_id) from None
    return view_of(client, run)


def list_runs(
    client: Client,
    *,
    limit: int = 20,
    state: str | None = None,
    name: str | None = None,
    experiment_id: str | None = None,
) -> list[RunView]:
    """The newest runs first.

    Args:
        client: Connected client.
        limit: At most so many.
        state: Only runs in this state; one of the values of ``STATES``.
        name: Only runs of exactly this name, without regard to case.
        experiment_id: Only runs of this experiment.

    Raises:
        ConfigError: No such state.
        KubeflowError: The server cannot be reached.
    """
    wanted = {}
    if state is not None:
        known = {ours: theirs for theirs, ours in STATES.items() if theirs not in (None, _UNSPECIFIED)}
        if state not in known:
            raise ConfigError("--state", f"one of {sorted(known)}", repr(state), "use a known state")
        wanted["state"] = str(known[state])
    if name is not None:
        wanted["display_name"] = name
    query: dict[str, Any] = {"sort_by": "created_at desc", "filter": predicates(**wanted) if wanted else None}
    query |= {"experiment_id": experiment_id} if experiment_id else {
        "namespace": client.get_user_namespace() or None}
    found = pages(client, client.list_runs, "runs", page_size=min(limit, LARGEST_PAGE), **query)
    return [view_of(client, run, with_steps=False) for run in islice(found, limit)]


_UNSPECIFIED = "RUNTIME_STATE_UNSPECIFIED"


def cancel_run(client: Client, run_id: str) -> RunView:
    """Ask the cluster to end a run; what has ended already stays as it is.

    Returns:
        The run as it was before, if it had ended or was being ended; else as it is now.

    Raises:
        KubeflowError: No such run, or the server cannot be reached.
    """
    run = get_run(client, run_id)
    if run.ended or run.state == "cancelling":
        return run
    try:
        with talking(client):
            client.terminate_run(run_id)
    except KubeflowError as error:
        if error.status != 400:
            raise _no_such_run(error, run_id) from None
        # The server refuses that of a run that has just ended, or whose end was asked for by an
        # attempt before this one.
        run = get_run(client, run_id)
        if not run.ended and run.state != "cancelling":
            raise
        return run
    return get_run(client, run_id)


def _no_such_run(error: KubeflowError, run_id: str) -> KubeflowError:
    if error.status != 404:
        return error
    return KubeflowError("run", "the ID of a run on this server", repr(run_id), "see relrec runs list",
                         status=404)


def view_of(client: Client, run: Any, *, with_steps: bool = True) -> RunView:
    """A run of the API in relrec's words."""
    state = _state(run)
    tasks = (run.run_details.task_details if run.run_details else None) or []
    return RunView(
        run_id=run.run_id, name=run.display_name or "", state=state, created_at=run.created_at,
        scheduled_at=run.scheduled_at if run.recurring_run_id else None,
        ended_at=run.finished_at if state in ENDED else None,
        experiment_id=run.experiment_id or "", schedule_id=run.recurring_run_id or None,
        parameters=(run.runtime_config.parameters if run.runtime_config else None) or {},
        steps=tuple(steps_of(tasks, state)) if with_steps else (),
        error=_said(run.error) or _newest_error(run.state_history) if state == "failed" else None,
        link=client.connection.run_link(run.run_id),
    )


def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they come back from the server: whole numbers are floats then."""
    return {key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for key, value in parameters.items()}


def steps_of(tasks: Sequence[Any], run_state: str) -> Iterator[StepView]:
    """The steps among the nodes that the backend reports.

    Behind a step ``train`` there are ``train-driver``, which prepares it, ``train``, which
    groups its pods, and below it ``executor`` (one more for every retry), which is left out
    where the result came from the cache. A node may be left behind in a state that is
    not final, so the run's own state decides once it has one.
    """
    by_name = {task.display_name: task for task in tasks if task.display_name}
    by_pod = {task.pod_name: task for task in tasks if task.pod_name}
    names = [step.replace("_", "-") for step in STEPS]
    names = [name for name in names if name in by_name or f"{name}-driver" in by_name]
    others = sorted((task for name, task in by_name.items() if _is_step(name, by_name) and name not in names),
                    key=lambda task: (str(task.create_time or ""), task.display_name))
    for name in [*names, *(task.display_name for task in others)]:
        yield _step(name, by_name, by_pod, run_state)


def _state(of: Any) -> str:
    """A newer server may know states that are not in the table."""
    return STATES.get(of.state) or str(of.state).lower()


def _is_step(name: str, by_name: Mapping[str, Any]) -> bool:
    return f"{name}-driver" in by_name and name != "root"


def _step(name: str, by_name: Mapping[str, Any], by_pod: Mapping[str, Any], run_state: str) -> StepView:
    group, driver = by_name.get(name), by_name.get(f"{name}-driver")
    shown: Any = group or driver
    below = list(_descendants(group, by_pod))
    if group is not None:
        state = _state(group)
        if state == "succeeded" and any(
                task.display_name == "executor" and _state(task) == "skipped" for task in below):
            state = "cached"
    else:
        state = _state(shown)
        state = {"succeeded": "pending", "running": "pending"}.get(state, state)
    if run_state in ENDED and state in {"pending", "running", "cancelling", "paused"}:
        state = {"succeeded": "succeeded", "cancelled": "cancelled"}.get(run_state, "skipped")
    error = None
    if state == "failed":
        told = [_said(task.error) or _newest_error(task.state_history)
                for task in [*reversed(below), group, driver] if task is not None]
        error = next((text for text in told if text), None)
    ended = shown.end_time if state in ENDED | {"cached"} else None
    pods = tuple(task.pod_name for task in below if (task.display_name or "").startswith("executor"))
    return StepView(name.replace("-", "_"), state, shown.start_time, ended, error, pods)


def _descendants(task: Any, by_pod: Mapping[str, Any]) -> Iterator[Any]:
    for child in (task.child_tasks if task is not None else None) or ():
        below = by_pod.get(child.pod_name)
        if below is not None and below is not task:
            yield below
            yield from _descendants(below, by_pod)


def _said(error: Any) -> str | None:
    return shortened(error.message) if error is not None and error.message else None


def _newest_error(history: Sequence[Any] | None) -> str | None:
    told = [_said(entry.error) for entry in history or ()]
    return next((text for text in reversed(told) if text), None)


def log_command(client: Client, run: RunView, step: str | None) -> str:
    """What to run to see the logs of a run's pods, or of one step.

    v2beta1 has no endpoint for logs. The pods carry the run's ID as a label; the number at
    the end of a node's ID is the one at the end of its pod's name.

    Raises:
        ConfigError: No such step.
    """
    namespace = client.get_user_namespace() or "kubeflow"
    command = f"kubectl logs -n {namespace} -l pipeline/runid={run.run_id} -c main --prefix --tail=-1"
    if step is None:
        return command
    found = next((entry for entry in run.steps if entry.name == step.replace("-", "_")), None)
    if found is None:
        raise ConfigError("step", f"one of {[entry.name for entry in run.steps]}", repr(step),
                          "use a step that has started")
    numbers = "|".join(node.rpartition("-")[2] for node in found.nodes)
    return f"{command} | grep -E -- '-({numbers})/main'" if numbers else command
