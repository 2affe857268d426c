"""Resume states in an object store: what a lost machine leaves behind is enough to go on, to the bit."""

import json
import shutil
import threading
import time

import pytest

from model_core.errors import Stopped, StorageError
from model_core.records import MANIFEST
from model_core.storage.local import LocalStore
from model_core.storage.opening import open_store
from model_core.training.mirror import StateMirror, resume_states
from tests.storage.doubles.fixtures import QUICK
from tests.training.runs import TRAIN, run
from tests.training.test_resume import Interrupted, StopAfter, assert_same_bits, weights

pytestmark = pytest.mark.usefixtures("one_thread")
REFIT = TRAIN.model_copy(update={"refit": True})


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    return run(None, tmp_path_factory.mktemp("whole") / "c", inputs=inputs, config=REFIT)


@pytest.fixture(params=["local", "gs", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    uri = request.getfixturevalue({"gs": "gcs_uri", "s3": "s3_uri"}[request.param])
    return open_store(uri, settings=QUICK)


def attempt(inputs, folder, store, last, **kwargs):
    """Train on a machine that is lost after a step; the second fit's steps count on from the first's."""
    progress, seen = StopAfter(last), []
    mirror = StateMirror(store, "run")
    try:
        done = run(None, folder / "c", inputs=inputs, config=REFIT, state_dir=folder / "s", mirror=mirror,
                   progress=progress, **kwargs)
    except Interrupted:
        done = None
        assert mirror.flush()
    seen = progress.seen
    shutil.rmtree(folder / "s")
    return done, seen


def test_lost_machines_cost_nothing_but_the_steps_since_the_last_state(inputs, whole, tmp_path, store):
    _, first = attempt(inputs, tmp_path / "a", store, 5)
    assert first == [1, 2, 3, 4, 5]
    resumed, second = attempt(inputs, tmp_path / "b", store, None)
    assert second[0] == 5  # the newest state was that of step 4
    assert_same_bits(weights(whole), weights(resumed))
    # The output was lost too: the next attempt finds both fits finished.
    again, third = attempt(inputs, tmp_path / "c", store, None)
    assert third == []
    assert_same_bits(weights(whole), weights(again))


class StopAt:
    """Asks to stop once a step is done, as SIGTERM does."""

    def __init__(self, last):
        self.last, self.asked = last, False

    def step(self, event):
        self.asked = self.asked or event.step >= self.last

    def note(self, text):
        pass


@pytest.mark.parametrize("last", [3, 6])  # within an epoch, and at its end
def test_stopped_runs_save_and_say_where(inputs, whole, tmp_path, last):
    store, progress = LocalStore(tmp_path / "store"), StopAt(last)
    with pytest.raises(Stopped, match=rf"stopped after (step 3|epoch 1); the state is in {store.uri}/run"):
        run(None, tmp_path / "c", inputs=inputs, config=REFIT, state_dir=tmp_path / "s",
            mirror=StateMirror(store, "run"), progress=progress, stop=lambda: progress.asked)
    assert not (tmp_path / "c").exists()
    resumed, seen = attempt(inputs, tmp_path / "b", store, None)
    assert seen[0] == last + 1
    assert_same_bits(weights(whole), weights(resumed))


def test_stopped_before_the_first_step(inputs, tmp_path):
    progress = StopAt(0)
    with pytest.raises(Stopped, match="while counting"):
        run(None, tmp_path / "c", inputs=inputs, progress=progress, stop=lambda: True)
    assert not progress.asked, "no step was made"
    assert not (tmp_path / "c").exists()


def names(store, prefix="run"):
    return sorted({key.split("/")[1] for key in store.list(prefix)})


class Slow(LocalStore):
    """Uploads only while it is let."""

    def __init__(self, root):
        super().__init__(root)
        self.begun, self.let = threading.Event(), threading.Event()

    def put_tree(self, prefix, folder):
        self.begun.set()
        assert self.let.wait(20)
        super().put_tree(prefix, folder)


def record(folder, name, best=None):
    path = folder / name
    path.mkdir(parents=True)
    (path / "counters.json").write_text(json.dumps({"best_step": best}))
    (path / MANIFEST).write_text("{}")
    return path


def test_states_that_wait_are_overtaken_and_old_ones_removed(tmp_path):
    store = Slow(tmp_path / "store")
    mirror = StateMirror(store, "run", grace_s=20)
    best = record(tmp_path, "best-000000001")
    mirror.push(record(tmp_path, "step-000000001", 1), best)
    assert store.begun.wait(20)
    for step in (2, 3, 4):
        mirror.push(record(tmp_path, f"step-{step:09}", 1), best)
        shutil.rmtree(tmp_path / f"step-{step:09}")  # what is written locally does not wait
    store.let.set()
    assert mirror.flush()
    assert names(store) == ["best-000000001", "step-000000001", "step-000000004"]
    mirror.push(record(tmp_path, "step-000000005", 5), record(tmp_path, "best-000000005"))
    assert mirror.flush()
    mirror.push(record(tmp_path, "step-000000006", 5), tmp_path / "best-000000005")
    assert mirror.flush()
    assert names(store) == ["best-000000005", "step-000000005", "step-000000006"]
    assert mirror.newest() == "step-000000006"
    assert not list(tmp_path.glob(".uploading-*"))


def test_flush_gives_up_after_its_grace(tmp_path):
    store = Slow(tmp_path / "store")
    mirror = StateMirror(store, "run", grace_s=0.05)
    mirror.push(record(tmp_path, "step-000000001"), None)
    assert not mirror.flush()
    store.let.set()


def test_a_store_that_fails_does_not_end_training(inputs, whole, tmp_path):
    class Full(LocalStore):
        def put_tree(self, prefix, folder):
            raise StorageError(prefix, "room", "none", "make some")

    with pytest.warns(UserWarning, match="training state not uploaded: run/.*expected room, found none"):
        done = run(None, tmp_path / "c", inputs=inputs, config=REFIT, state_dir=tmp_path / "s",
                   mirror=StateMirror(Full(tmp_path / "store"), "run"))
    assert_same_bits(weights(whole), weights(done))


def test_training_ends_when_the_states_of_both_fits_are_stored(inputs, tmp_path):
    class Far(LocalStore):
        def put_tree(self, prefix, folder):
            time.sleep(0 if "refit" in prefix else 1)
            super().put_tree(prefix, folder)

    run(None, tmp_path / "c", inputs=inputs, config=REFIT, state_dir=tmp_path / "s",
        mirror=StateMirror(Far(tmp_path / "store"), "run"))
    assert not list((tmp_path / "s").rglob(".uploading-*"))


@pytest.mark.parametrize("damage", ["a byte", "the best weights"])
def test_a_damaged_state_is_skipped_for_the_one_before(inputs, whole, tmp_path, damage):
    store = LocalStore(tmp_path / "store")
    attempt(inputs, tmp_path / "a", store, 9)
    newest = tmp_path / "store" / "run" / "step-000000008"
    older = next(name for name in names(store) if name.startswith("step"))
    assert newest.is_dir()
    if damage == "a byte":
        tensors = newest / "tensors.safetensors"
        data = bytearray(tensors.read_bytes())
        data[-1] ^= 1
        tensors.write_bytes(data)
    else:
        counters = json.loads((newest / "counters.json").read_bytes())
        shutil.rmtree(tmp_path / "store" / "run" / f"best-{counters['best_step']:09}")
    with pytest.warns(UserWarning, match="training state.*skipped"):
        resumed, seen = attempt(inputs, tmp_path / "b", store, None)
    assert seen[0] == (int(older.removeprefix("step-")) + 1 if damage == "a byte" else 1)
    assert_same_bits(weights(whole), weights(resumed))


def _lose(folder, mirror):
    assert mirror is None
    folder.mkdir()
    raise Interrupted


def test_where_states_go(tmp_path, gcs_uri):
    with resume_states("", "key", tmp_path) as (folder, mirror):
        assert (folder, mirror) == (None, None)
    with pytest.raises(Interrupted), resume_states(str(tmp_path), "key", tmp_path) as (folder, mirror):
        _lose(folder, mirror)
    assert (tmp_path / "key").is_dir()  # for the next attempt
    with resume_states(tmp_path.as_uri(), "key", tmp_path) as (folder, mirror):
        assert folder == tmp_path / "key"
    assert not (tmp_path / "key").exists()
    (tmp_path / "scratch" / ".resume-states" / "of a killed attempt").mkdir(parents=True)
    with resume_states(f"{gcs_uri}/states", "key", tmp_path / "scratch") as (folder, mirror):
        assert list(folder.iterdir()) == []
        assert mirror.uri == f"{gcs_uri}/states/key"
        mirror.push(record(folder, "step-000000001"), None)
        assert mirror.flush()
    assert not folder.exists()
    assert mirror.newest() == "step-000000001"


def test_a_record_that_lost_a_file_does_not_end_uploads(tmp_path):
    store = LocalStore(tmp_path / "store")
    mirror = StateMirror(store, "run", grace_s=20)
    for step in (1, 2, 3):
        mirror.push(record(tmp_path, f"step-{step:09}"), None)
        assert mirror.flush()
        (tmp_path / "store" / "run" / f"step-{step:09}" / "counters.json").unlink()
    assert names(store) == ["step-000000002", "step-000000003"]


def test_damaged_states_do_not_crowd_out_good_ones(inputs, whole, tmp_path):
    store = LocalStore(tmp_path / "store")
    attempt(inputs, tmp_path / "a", store, 15)
    for tensors in (tmp_path / "store" / "run").glob("*/*.safetensors"):
        tensors.write_bytes(b"")
    with pytest.warns(UserWarning, match="training state.*skipped"):
        _, seen = attempt(inputs, tmp_path / "b", store, 7)
    assert seen[0] == 1
    resumed, seen = attempt(inputs, tmp_path / "c", store, None)
    assert seen[0] == 7  # the state of step 6 was kept
    assert_same_bits(weights(whole), weights(resumed))
