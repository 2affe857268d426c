"""The plan of a local run: made before the first step, compared after the last."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_core.config import RunConfig
from model_core.planning.plan import PLAN_VERSION, beside_measured
from model_core.planning.section import with_time_and_memory
from model_core.records import json_bytes, write_atomically
from model_core.version import __version__

_TIMEOUT_S = 120


def plan_of_run(
    dataset: str, task: str, as_of: int | None, config: RunConfig, fingerprint: str, root: Path
) -> dict[str, Any]:
    """The plan as JSON, from ``<root>/plan.json`` where nothing it rests on has changed.

    A process of its own makes it: Linux counts a parent's peak memory for its children, so
    planning here would show in every step. An estimate must never stop a run: where none
    can be made the result is ``{"error": why}``.
    """
    key = json.loads(json_bytes({
        "plan_version": PLAN_VERSION, "relrec": __version__, "fingerprint": fingerprint,
        "as_of": as_of, "config": config.model_dump(mode="json")}))
    kept = root / "plan.json"
    try:
        earlier = json.loads(kept.read_bytes())
        if earlier["made_for"] == key:
            return earlier["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    command = [sys.executable, "-m", "model_core.planning", "--dataset", dataset, "--task", task,
               "--config", config.model_dump_json()]
    if as_of is not None:
        command += ["--as-of", str(as_of)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            return {"error": lines[-1] if lines else f"exit code {done.returncode}"}
        plan = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    write_atomically(kept, json_bytes({"made_for": key, "plan": plan}))
    return plan


def add_plan(summary: dict[str, Any], plan: Mapping[str, Any]) -> None:
    """Put the plan into a run's summary, and beside every step what was estimated for it."""
    summary["plan"] = dict(plan)
    if "error" in plan:
        return
    rows = {row["name"]: row for row in beside_measured(plan, summary["steps"])}
    for step in summary["steps"]:
        row = rows.get(step["name"])
        step["estimated_s"] = row and row["estimated_s"]
        step["estimated_mb"] = row and row["estimated_mb"]


def page_with_plan(page: str, summary: Mapping[str, Any]) -> str:
    """The report's page with a section on time and memory; as it is where there is no plan."""
    plan = summary["plan"]
    if "error" in plan:
        return page
    return with_time_and_memory(
        page, beside_measured(plan, summary["steps"]), plan, epochs_done(summary))


def epochs_done(summary: Mapping[str, Any]) -> int | None:
    """Epochs that training took, from the checkpoint's curves."""
    checkpoint = summary["artifacts"].get("checkpoint")
    if checkpoint is None:
        return None
    try:
        return len(json.loads((Path(checkpoint) / "curves.json").read_bytes()))
    except (OSError, ValueError):
        return None
