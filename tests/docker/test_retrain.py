"""The demo shop retrained through containers equals the process run."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from model_core.records import MANIFEST
from pipelines.compiling import STEPS
from pipelines.runs import RunRequest, run_locally
from tests.pipelines.test_retrain import request as small_request

#: Files that hold a measured time or memory, or the digest of one that does.
MEASURED = {"curves.json", "facts.json", "MODEL_CARD.md", MANIFEST}
CLOCKS = {"seeds_per_s", "wall_s", "peak_mb"}


def finished(request: RunRequest) -> dict:
    summary = run_locally(request, listener=lambda step: None, output=lambda chunk: None)
    assert summary["status"] == "succeeded", summary["error"]
    return summary


@pytest.fixture(scope="module")
def both(demo_dataset, tmp_path_factory, record):
    assert os.environ.get("OMP_NUM_THREADS"), "set OMP_NUM_THREADS: sums depend on the thread count"
    folder = tmp_path_factory.mktemp("both")
    one = small_request(demo_dataset, folder / "process")
    return finished(one), finished(replace(
        small_request(demo_dataset, folder / "docker"), runner="docker"))


def test_every_step_ran_in_a_container(both):
    _, docker = both
    assert [step["name"] for step in docker["steps"]] == list(STEPS)
    assert {step["status"] for step in docker["steps"]} == {"succeeded"}
    assert all(step["peak_mb"] > 10 and step["wall_s"] > 0 for step in docker["steps"])


def test_steps_did_not_run_as_root(both):
    _, docker = both
    for name in ("snapshot", "checkpoint", "bundle"):
        assert os.stat(docker["artifacts"][name]).st_uid == (os.getuid() or 10001)


def test_metrics_and_verdict_are_the_same(both):
    process, docker = both
    assert docker["metrics"] == process["metrics"]
    assert docker["verdict"] == process["verdict"]
    assert docker["data_digest"] == process["data_digest"]


@pytest.mark.parametrize(
    "name", ["snapshot", "split", "graph", "negative_queue", "checkpoint", "report", "bundle"])
def test_every_file_is_the_same_to_the_bit(both, name):
    files = [{file.relative_to(root).as_posix(): file.read_bytes()
              for file in root.rglob("*") if file.is_file()}
             for root in (Path(summary["artifacts"][name]) for summary in both)]
    assert files[0].keys() == files[1].keys()
    different = {path for path in files[0] if files[0][path] != files[1][path]}
    assert different <= MEASURED, different
    if name in ("snapshot", "split", "graph", "negative_queue"):
        assert not different


def test_curves_differ_in_clocks_only(both):
    curves = [[{key: value for key, value in row.items() if key not in CLOCKS} for row in json.loads(
        (Path(summary["artifacts"]["checkpoint"]) / "curves.json").read_bytes())] for summary in both]
    assert curves[0] == curves[1]


def test_second_run_is_cached(both, demo_dataset):
    _, docker = both
    root = Path(docker["artifacts"]["report_html"]).parent
    again = finished(replace(small_request(demo_dataset, root), runner="docker"))
    assert [step["name"] for step in again["steps"] if not step["cached"]] == ["load_champion"]  # never
