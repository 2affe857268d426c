"""Estimates move as the settings do, say what does not fit, and name settings that help."""

import json
import subprocess
import sys

import pytest

from model_core.config import TrainConfig, parse_overrides
from model_core.planning.machine import (
    DEFAULT_SPEED,
    MachineSpeed,
    available_memory_bytes,
    calibrate,
)
from model_core.planning.plan import LEVERS, beside_measured, make_plan
from model_core.planning.section import PLACE, with_time_and_memory
from model_core.planning.workload import MAX_SCORES, MIN_BATCH_SIZE, rows_per_step
from model_core.tables.demo import DEMO_TASK
from pipelines.compiling import STEPS

PLENTY = 10**12


@pytest.fixture(scope="module")
def plan(demo_dataset):
    def make(*settings, memory_bytes=PLENTY, speed=DEFAULT_SPEED):
        return make_plan(str(demo_dataset), DEMO_TASK, parse_overrides(settings),
                         memory_bytes=memory_bytes, speed=speed)

    return make


def step(plan, name):
    return next(cost for cost in plan.steps if cost.name == name)


def test_every_step_has_an_estimate(plan):
    made = plan()
    assert tuple(cost.name for cost in made.steps) == STEPS
    assert all(cost.wall_s > 0 and cost.peak_mb > 0 for cost in made.steps)
    assert made.fits


def test_batches_are_cut_as_training_cuts_them():
    from model_core.evaluation import ranking
    from model_core.training import batching

    assert (MIN_BATCH_SIZE, MAX_SCORES) == (batching.MIN_BATCH_SIZE, batching.MAX_SCORES)
    assert MAX_SCORES == ranking.MAX_SCORES
    for num_rows in (10, 600, 5_000, 10**6):
        assert rows_per_step(num_rows, TrainConfig()) == batching._batch_size(num_rows, TrainConfig())


@pytest.mark.parametrize(("setting", "part", "factor"), [
    ("model.channels=256", "activations", 1.9),
    ("model.embedding_dim=128", "item_table", 1.9),
    ("train.min_steps_per_epoch=1", "activations", 1.5),
    ("model.num_similar=160", "pair_prior", 1.4),
])
def test_memory_of_training_grows_with(plan, setting, part, factor):
    base = [] if part == "pair_prior" else ["model.use_priors=false"]
    before, after = (step(plan(*base, *more), "train").parts for more in ([], [setting]))
    assert after[part] > factor * before[part]


def test_networks_of_the_pair_prior_take_memory_and_time(plan):
    def train_step(*settings):
        cost = step(plan(*settings), "train")
        return cost.parts["activations"], cost.wall_s

    one, two, four = (train_step(f"model.prior_networks={n}") for n in (1, 2, 4))
    for a, b, c in zip(one, two, four, strict=True):
        assert a < b < c
        assert c - b == pytest.approx(2 * (b - a), rel=1e-6)
    # Under one softmax there is one, whatever is asked for.
    assert train_step("model.fusion=add") == train_step("model.fusion=add", "model.prior_networks=1")


def test_neighbours_are_no_more_than_there_are(plan):
    """Beyond the items of a small shop a longer list costs nothing."""
    some, more, most = (step(plan(f"model.num_similar={n}", "model.num_following=0"), "export_onnx").parts
                        for n in (10, 80, 10**6))
    assert some["pair_prior"] < more["pair_prior"] < most["pair_prior"] < 100 * more["pair_prior"]


def test_exact_parts(plan):
    made = plan("train.loss=full", "model.item_bias=true")
    work = made.workload
    items, parts = work.facts.num_items, step(made, "train").parts
    # Weight, gradient and two moments of 64 + 1 float32 numbers per item.
    assert parts["item_table"] == items * 65 * 4 * 4
    assert parts["scores"] % (work.rows_per_micro_batch * items * 4) == 0
    sampled = step(plan("train.loss=sampled", "train.num_classes=8"), "train").parts
    assert sampled["item_table"] == items * 65 * 4 * 3
    assert sampled["item_vectors"] < parts["item_vectors"]


def test_time_follows_epochs_and_machine(plan):
    one, two, four = (step(plan(f"train.epochs={n}"), "train").wall_s for n in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one))
    assert two > one
    slow = MachineSpeed(*(value / 3 for value in (
        DEFAULT_SPEED.gflops, DEFAULT_SPEED.copy_gb_s, DEFAULT_SPEED.parquet_mb_s,
        DEFAULT_SPEED.python_mops)))
    for quick, later in zip(plan().steps, plan(speed=slow).steps, strict=True):
        assert later.wall_s == pytest.approx(3 * quick.wall_s, rel=1e-6)


def test_what_does_not_fit_comes_with_settings_that_fit(plan):
    wide = ["model.channels=256", "train.min_steps_per_epoch=1", "train.batch_size=2048"]
    need = step(plan(*wide), "train").peak_mb
    tight = plan(*wide, memory_bytes=int(0.6 * need * 1e6))
    problem = next(p for p in tight.problems if p.step == "train")
    assert not tight.fits
    assert problem.largest == "activations"
    assert problem.settings
    assert all(f"--set {setting}" in problem.fix for setting in problem.settings)
    mended = plan(*wide, *problem.settings, memory_bytes=int(0.6 * need * 1e6))
    assert "train" not in {p.step for p in mended.problems}


def test_what_no_setting_mends_asks_for_a_machine(plan):
    made = plan(memory_bytes=10**7)
    assert {problem.step for problem in made.problems} == set(STEPS)
    assert all("machine with more than" in problem.fix for problem in made.problems)
    assert all(problem.settings == () for problem in made.problems)


def test_levers_are_settings():
    for name, value, parts in LEVERS:
        parse_overrides([f"{name}={json.dumps(value)}"])
        assert parts


def test_two_tower_has_no_pair_prior(plan):
    assert step(plan("model.name=two_tower"), "train").parts["pair_prior"] == 0
    assert step(plan(), "train").parts["pair_prior"] > 0


def test_calibration_measures_something():
    speed = calibrate()
    assert speed.measured
    assert min(speed.gflops, speed.copy_gb_s, speed.parquet_mb_s, speed.python_mops) > 0
    assert available_memory_bytes() > 10**8


def test_json_and_page_show_estimate_beside_measurement(plan):
    made = plan().to_json()
    json.dumps(made)
    steps = [{"name": name, "status": "succeeded", "cached": name == "ingest", "wall_s": 1.25,
              "peak_mb": 300.0} for name in STEPS]
    rows = beside_measured(made, steps)
    assert [row["name"] for row in rows] == list(STEPS)
    assert rows[0]["measured_s"] is None
    assert rows[1]["measured_mb"] == 300.0
    page = with_time_and_memory(f"<main>x{PLACE}y</main>", rows, made, epochs_done=3)
    assert page.index("x") < page.index("temporal_split") < page.index(f"{PLACE}y")
    assert "it took 3" in page
    assert "temporal_split" in with_time_and_memory("<main>old</main>", rows, made, None)


def test_planning_imports_no_torch(demo_dataset):
    code = (
        "import sys\n"
        "from model_core.planning.__main__ import main\n"
        f"sys.argv = ['plan', '--dataset', {str(demo_dataset)!r}, '--task', {DEMO_TASK!r}, "
        "'--no-calibrate']\n"
        "assert main() == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert json.loads(done.stdout)["fits"]


def test_a_fault_is_one_line():
    done = subprocess.run([sys.executable, "-m", "model_core.planning", "--dataset", "./nowhere",
                           "--task", "t"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1
