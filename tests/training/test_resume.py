"""A run killed by SIGKILL at any step ends with the same weights, to the bit."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model_core.training.state import Counters, StateStore
from model_core.training.trainer import train
from tests.training.runs import MODEL, TRAIN, first_hit, run

ROOT = Path(__file__).resolve().parents[2]


pytestmark = pytest.mark.usefixtures("one_thread")


def weights(checkpoint):
    return load_file(checkpoint.record.file("weights.safetensors"))


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name].view(torch.int32), other[name].view(torch.int32)), name


def start(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.runs", *map(str, args)], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    torch.set_num_threads(1)
    return run(None, tmp_path_factory.mktemp("whole") / "c", inputs=inputs)


def test_killed_by_sigkill_and_restarted(whole, tmp_path):
    arguments = tmp_path / "data", tmp_path / "out", tmp_path / "state"
    victim = start(*arguments)
    last = random.randrange(3, 17)  # any step but the very last; 18 steps in all
    assert victim.stdout is not None
    for line in victim.stdout:
        if line.strip() == f"step {last}":
            victim.send_signal(signal.SIGKILL)
            break
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (tmp_path / "out").exists()

    progress = StopAfter(None)
    resumed = run(arguments[0], arguments[1], state_dir=arguments[2], progress=progress)
    assert 1 < progress.seen[0] <= last + 1, "the second run did not resume"
    assert_same_bits(weights(whole), weights(resumed))


class StopAfter:
    def __init__(self, last):
        self.last, self.seen = last, []

    def step(self, event):
        self.seen.append(event.step)
        if event.step == self.last:
            raise Interrupted

    def note(self, text):
        pass


@pytest.mark.parametrize("stops", [[1], [6], [7, 8, 9], [12, 17]])
def test_interrupted_at_chosen_steps(inputs, whole, tmp_path, stops):
    for stop in stops:
        with pytest.raises(Interrupted):
            run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s",
                progress=StopAfter(stop))
    resumed = run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s")
    assert_same_bits(weights(whole), weights(resumed))
    compared = ("epoch", "step", "loss", "learning_rate", "val_map")
    for one, other in zip(whole.curves, resumed.curves, strict=True):
        assert [one[key] for key in compared] == [other[key] for key in compared]


def test_interrupted_with_sampled_classes_and_neighbours(inputs, tmp_path):
    config = TRAIN.model_copy(update={"loss": "sampled", "num_classes": 12})
    model = MODEL.model_copy(update={"strategy": "uniform", "num_neighbors": 2})
    plain = run(None, tmp_path / "p", model=model, config=config, inputs=inputs)
    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", model=model, config=config, inputs=inputs,
            state_dir=tmp_path / "s", progress=StopAfter(9))
    resumed = run(None, tmp_path / "c", model=model, config=config, inputs=inputs,
                  state_dir=tmp_path / "s")
    assert_same_bits(weights(plain), weights(resumed))


def test_interrupted_in_validation(inputs, whole, tmp_path):
    calls = []

    def validate(scorer):
        calls.append(None)
        if len(calls) == 2:
            raise Interrupted
        return first_hit(inputs[1])(scorer)

    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", validate=validate)
    resumed = run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", validate=validate)
    assert_same_bits(weights(whole), weights(resumed))


def states(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_states_are_kept_and_a_damaged_one_is_skipped(inputs, whole, tmp_path):
    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=StopAfter(11))
    assert [name for name in states(tmp_path / "s") if name.startswith("step")] == [
        "step-000000008", "step-000000010"]
    tensors = tmp_path / "s" / "step-000000010" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:1000])
    progress = StopAfter(None)
    with pytest.warns(UserWarning, match="training state skipped"):
        resumed = run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s",
                      progress=progress)
    assert progress.seen[0] == 9
    assert_same_bits(weights(whole), weights(resumed))


def test_flipped_byte_is_noticed(inputs, tmp_path):
    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=StopAfter(4))
    for state in (tmp_path / "s").glob("step-*"):
        file = state / "tensors.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(bytes(data))
    progress = StopAfter(1)
    with pytest.warns(UserWarning, match="SHA-256"), pytest.raises(Interrupted):
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=progress)
    assert progress.seen == [1]


def test_state_of_another_run_is_ignored(inputs, tmp_path):
    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=StopAfter(5))
    progress = StopAfter(1)
    with pytest.raises(Interrupted):
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=progress,
            config=TRAIN.model_copy(update={"learning_rate": 0.02}))
    assert progress.seen == [1]
    progress = StopAfter(5)
    with pytest.raises(Interrupted):  # how often states are written changes no result
        run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=progress,
            config=TRAIN.model_copy(update={"checkpoint_every_steps": 3}))
    assert progress.seen == [5]


def test_finished_run_trains_no_further(inputs, whole, tmp_path):
    run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s")
    shutil.rmtree(tmp_path / "c")
    progress = StopAfter(1)
    again = run(None, tmp_path / "c", inputs=inputs, state_dir=tmp_path / "s", progress=progress)
    assert progress.seen == []
    assert_same_bits(weights(whole), weights(again))


def test_fresh_store_has_fresh_counters(tmp_path):
    store = StateStore(tmp_path / "missing", "guard")
    assert store.restore(None, None, None) == Counters()


def test_global_random_state_neither_matters_nor_changes(inputs, whole, tmp_path):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    graph, split, queue = inputs
    from model_core.training.progress import SilentProgress
    other = train(graph, split, queue, MODEL, TRAIN, tmp_path / "c",
                  validate=first_hit(split), progress=SilentProgress())
    assert torch.equal(before, torch.get_rng_state())
    assert_same_bits(weights(whole), weights(other))
