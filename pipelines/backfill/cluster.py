"""Run a date on Kubeflow Pipelines: submit, follow, and read the outcome from the registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any

from model_core.errors import RelrecError
from model_core.storage.registry import Registry
from pipelines.backfill.dates import LogicalDate
from pipelines.backfill.outcome import Outcome, figures_of
from pipelines.targets.following import follow
from pipelines.targets.kubeflow.client import Client, connect
from pipelines.targets.kubeflow.connection import Connection
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.retraining import Retraining, submission_of
from pipelines.targets.kubeflow.runs import RunView, get_run
from pipelines.targets.kubeflow.submit import submit


class _Left(Exception):
    """The user ended the waiting; the run goes on."""


@dataclass(frozen=True)
class ClusterRunner:
    """Makes one run per date.

    A run that an earlier call has started is followed instead of started again. Ending the
    backfill leaves runs alone: the next call follows them, ``relrec runs cancel`` ends them.

    Attributes:
        connection: Where.
        retraining: What to run; each date is put into it.
        poll_s: Seconds between looks.
    """

    connection: Connection
    retraining: Retraining
    poll_s: float = 5.0

    def run(self, date: LogicalDate, earlier: Mapping[str, Any], stop: Event,
            note: Callable[[Mapping[str, str]], None]) -> Outcome:
        """Run one date. See ``DateRunner``."""
        started = time.monotonic()
        # Kept, whatever happens: a server that is away must not make a run of ours forgotten.
        known: dict[str, str] = dict(earlier.get("run") or {})
        try:
            client = connect(self.connection)
            run = _still_good(client, earlier)
            if run is None:
                run = submit(client, submission_of(replace(self.retraining, as_of=date.text))).run
            known = {"run_id": run.run_id, "link": run.link}
            note(known)
            for seen in follow(partial(get_run, client, run.run_id), poll_s=self.poll_s,
                               sleep=lambda s: _sleep(stop, s)):
                run = seen
            seconds = time.monotonic() - started
            if run.state != "succeeded":
                return Outcome("failed", seconds, run=known, error=f"{_why(run)} ({run.link})")
            return Outcome("done", seconds, _result(self.retraining.registry, date, run), run=known)
        except _Left:
            return Outcome("interrupted", time.monotonic() - started, run=known)
        except RelrecError as error:
            return Outcome("failed", time.monotonic() - started, run=known, error=str(error))


def _still_good(client: Client, earlier: Mapping[str, Any]) -> RunView | None:
    """The run of an earlier call, unless it failed or is gone.

    A date that failed may have a run that is still on its way: the server was lost, not the run.
    """
    run_id = (earlier.get("run") or {}).get("run_id")
    if not run_id:
        return None
    try:
        run = get_run(client, run_id)
    except KubeflowError as error:
        if error.status != 404:
            raise  # it may be on its way, whatever hides it now
        return None
    if not run.ended:
        return run
    # One that succeeded and could not be read from the registry would fail again and again.
    return run if run.state == "succeeded" and earlier.get("status") != "failed" else None


def _sleep(stop: Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise _Left


def _why(run: RunView) -> str:
    step = next((step for step in run.steps if step.state == "failed"), None)
    if step is None:
        return run.error or f"the run is {run.state}"
    return f"{step.name}: {step.error or run.error or 'failed'}"


def _result(registry_uri: str, date: LogicalDate, run: RunView) -> dict[str, Any]:
    """Figures of the version that the run has stored."""
    registry = Registry(registry_uri)
    found = [(info["created_at"], version, info) for version in registry.versions()
             if version.startswith(f"{date.name}-")
             and (info := registry.version_info(version))["run_info"].get("run_name") == run.name]
    if not found:
        raise RelrecError(f"registry {registry_uri}", f"a version of the run {run.name}", "none",
                          "check that the run wrote to this registry (relrec runs show)")
    _, version, info = max(found, key=lambda entry: entry[:2])
    champion = registry.champion()
    publication = {"version": version, "champion": champion.version if champion else None,
                   "promoted": any(entry.version == version for entry in registry.history()),
                   "reason": info["verdict"]["reason"]}
    seconds = _seconds(run, "train")
    return figures_of(info["run_info"].get("figures", []), info["verdict"], publication) | {
        "train_s": seconds, "epochs": None}


def _seconds(run: RunView, name: str) -> float | None:
    step = next((step for step in run.steps if step.name == name), None)
    if step is None or step.started_at is None or step.ended_at is None or step.state == "cached":
        return None
    return round((step.ended_at - step.started_at).total_seconds(), 1)
