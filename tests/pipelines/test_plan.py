"""``relrec plan`` on a screen, and the plan of a run in its summary."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from model_core.config import RunConfig
from model_core.errors import ConfigError, DataError
from model_core.tables.demo import DEMO_TASK
from pipelines import planning
from pipelines.cli.main import app
from pipelines.cli.plan import duration, show_costs, show_forecast
from pipelines.compiling import STEPS


def run(demo_dataset, *arguments):
    return CliRunner().invoke(app, ["plan", "--dataset", str(demo_dataset), "--task", DEMO_TASK,
                                    "--no-calibrate", *arguments])


def test_a_plan_that_fits(demo_dataset, tmp_path):
    done = run(demo_dataset, "--memory-gb", "64", "--json", str(tmp_path / "plan.json"))
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in STEPS)
    assert "fits into 64.0 GB" in done.output
    assert json.loads((tmp_path / "plan.json").read_text())["fits"]


def test_a_plan_that_does_not_fit(demo_dataset):
    done = run(demo_dataset, "--memory-gb", "0.3")
    assert done.exit_code == 1
    assert "train would need" in done.output
    assert "Fix: " in done.output


@pytest.mark.parametrize(("arguments", "error"), [
    (["--set", "train.epoch=1"], ConfigError), (["--as-of", "[[ScheduledTime]]"], ConfigError),
    (["--json", "."], ConfigError), (["--task", "nonsense"], DataError),
])
def test_mistakes(demo_dataset, arguments, error):
    assert isinstance(run(demo_dataset, *arguments).exception, error)


def test_a_logical_date_is_allowed(demo_dataset):
    assert run(demo_dataset, "--as-of", "2023-05-01").exit_code == 0


@pytest.fixture(scope="module")
def planned(demo_dataset, tmp_path_factory):
    """A root, and the plan that was made under it."""
    root = tmp_path_factory.mktemp("root")
    return root, planning.plan_of_run(str(demo_dataset), DEMO_TASK, None, RunConfig(), "f", root)


def test_a_plan_is_kept_until_something_changes(demo_dataset, planned, monkeypatch):
    arguments = (str(demo_dataset), DEMO_TASK, None)
    root, first = planned
    assert len(first["steps"]) == len(STEPS)
    started = []
    monkeypatch.setattr(planning.subprocess, "run", lambda *a, **k: started.append(a) or 1 / 0)
    assert planning.plan_of_run(*arguments, RunConfig(), "f", root) == first
    with pytest.raises(ZeroDivisionError):
        planning.plan_of_run(*arguments, RunConfig(), "another", root)
    assert len(started) == 1


def test_a_plan_that_cannot_be_made_stops_nothing(tmp_path):
    plan = planning.plan_of_run("./nowhere", "t", None, RunConfig(), "f", tmp_path)
    assert "nowhere" in plan["error"]
    summary = {"steps": [{"name": "ingest"}], "artifacts": {}}
    planning.add_plan(summary, plan)
    assert planning.page_with_plan("<main></main>", summary) == "<main></main>"
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (99, "99 s"), (600, "10 min"), (36_000, "10 h")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_run_shows_the_forecast_and_then_both_figures(planned, tmp_path, capsys):
    _, plan = planned
    console = Console(width=100)
    show_forecast(console, plan)
    assert "estimate: " in capsys.readouterr().out
    (tmp_path / "curves.json").write_text("[{}, {}, {}]")
    summary = {"artifacts": {"checkpoint": str(tmp_path)}, "steps": [
        {"name": name, "status": "succeeded", "cached": name == "ingest", "wall_s": 12.5, "peak_mb": 345.0}
        for name in STEPS]}
    planning.add_plan(summary, plan)
    assert all(step["estimated_s"] > 0 and step["estimated_mb"] > 0 for step in summary["steps"])
    show_costs(console, summary, planning.epochs_done(summary))
    shown = capsys.readouterr().out
    assert f"train (3 of {RunConfig().train.epochs} epochs)" in shown
    assert "→ 12.5" in shown
    assert "→ 345" in shown
    assert "ingest" not in shown
    assert "it took 3" in planning.page_with_plan("<main></main>", summary)
