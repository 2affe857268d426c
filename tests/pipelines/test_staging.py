"""Roots of runs in an object store: finished steps are found there from any machine."""

import json
import threading

import pytest

from model_core.errors import ConfigError, StorageError
from model_core.records import write_record
from model_core.storage.opening import open_store
from pipelines.remote_lock import LOCK, RemoteLock
from pipelines.runs import _check_registry
from pipelines.staging import RootStaging
from pipelines.targets import process
from tests.pipelines.test_process import yaml  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RELREC_CACHE_DIR", str(tmp_path / "cache"))


def run(yaml, staging, one, two):  # noqa: F811
    arguments = {"one": one, "two": two, "mended": ""}
    with staging.held():
        return {step.name: step for step in process.run_pipeline(
            yaml, arguments, staging.folder, ("first", "second"), staging=staging)}


def test_another_machine_finds_finished_steps(yaml, remote_uri, tmp_path):  # noqa: F811
    here, there = (RootStaging(remote_uri, tmp_path / name) for name in ("here", "there"))
    before = run(yaml, here, "a", "b")
    assert [step.cached for step in before.values()] == [False, False]
    store = open_store(remote_uri)
    text = here.remote(before["second"].outputs["text"])
    assert store.read(text.removeprefix(remote_uri + "/"))[0] == b"ab"
    after = run(yaml, there, "a", "b")
    assert all(step.cached for step in after.values())
    assert after["second"].outputs["text"] == text
    assert not list((tmp_path / "there").rglob("text")), "nothing was fetched, for nothing was run"
    changed = run(yaml, there, "a", "c")
    assert (changed["first"].cached, changed["second"].cached) == (True, False)
    assert len(list((tmp_path / "there").rglob("text"))) == 2, "input and output of what ran"
    assert there.peek(there.remote(changed["second"].outputs["text"])).read_text() == "ac"
    assert all(step.cached for step in run(yaml, here, "a", "c").values())


def test_what_is_gone_from_the_root_is_made_again(yaml, gcs_uri, tmp_path):  # noqa: F811
    here = RootStaging(gcs_uri, tmp_path / "here")
    text = here.remote(run(yaml, here, "a", "b")["first"].outputs["text"])
    open_store(gcs_uri).delete(text.removeprefix(gcs_uri + "/"))
    assert not run(yaml, RootStaging(gcs_uri, tmp_path / "there"), "a", "b")["first"].cached
    assert run(yaml, RootStaging(gcs_uri, tmp_path / "here"), "a", "b")["first"].cached
    assert open_store(gcs_uri).stat(text.removeprefix(gcs_uri + "/")), "what is still here is stored again"


def test_a_step_whose_outputs_cannot_be_stored_fails(yaml, gcs_uri, tmp_path, monkeypatch):  # noqa: F811
    here = RootStaging(gcs_uri, tmp_path / "here")

    def refuse(paths):
        raise StorageError(gcs_uri, "an answer", "HTTP 403", "grant it")

    monkeypatch.setattr(here, "store_artifacts", refuse)
    steps = run(yaml, here, "a", "b")
    assert steps["first"].status == "failed"
    assert "HTTP 403" in steps["first"].error
    assert steps["second"].status == "not_run"


def test_records_travel_and_damage_here_is_mended(gcs_uri, tmp_path):
    here, there = (RootStaging(gcs_uri, tmp_path / name) for name in ("here", "there"))
    with write_record(here.folder / "run" / "step" / "r", "demo", 1) as (folder, _):
        (folder / "x.npy").write_bytes(b"12345")
    here.store_artifacts([here.folder / "run" / "step" / "r"])
    uri = f"{gcs_uri}/run/step/r"
    assert there.holds(uri)
    assert not there.holds(f"{gcs_uri}/run/step")
    assert (there.fetch(uri) / "x.npy").read_bytes() == b"12345"
    kept = there.folder / "run" / "step" / "r" / "x.npy"
    kept.unlink()
    kept.write_bytes(b"54321")
    assert (there.fetch(uri) / "x.npy").read_bytes() == b"12345"
    assert (there.peek(f"{gcs_uri}/run/step/r", "manifest.json") / "manifest.json").exists()
    with pytest.raises(StorageError, match="complete"):
        there.fetch(f"{gcs_uri}/run/other/r")


def test_the_same_key_from_any_folder(tmp_path):
    one, two = (RootStaging("gs://b/x", tmp_path / name) for name in ("one", "one-more"))
    value = {"a": f"{one.folder}/run/y", "b": [f'{{"uri": "{one.folder}"}}'], "c": f"{two.folder}/y", "d": 1}
    assert one.without_folder(value) == {
        "a": "gs://b/x/run/y", "b": ['{"uri": "gs://b/x"}'], "c": f"{two.folder}/y", "d": 1}
    assert one.local(one.remote(one.folder / "a")) == one.folder / "a"
    assert one.remote("gs://elsewhere/y") == "gs://elsewhere/y"


def test_a_registry_that_cannot_be_is_found_before_the_run(gcs_uri):
    with pytest.raises(ConfigError, match="--registry"):
        _check_registry("memory://x/y")
    with pytest.raises(StorageError, match="bucket"):
        _check_registry(gcs_uri.replace("//bucket", "//no-such-bucket"))
    _check_registry(gcs_uri)


@pytest.mark.parametrize("root", ["az://box/x", "memory://x/y", "gs://"])
def test_roots_that_cannot_be(root):
    with pytest.raises(ConfigError, match="--root"):
        RootStaging(root)


def test_one_run_at_a_time(remote_uri):
    first, second = (RemoteLock(open_store(remote_uri)) for _ in range(2))
    with first.held():
        with pytest.raises(ConfigError, match="no other run is using"), second.held():
            pass
        first.check()
    with second.held():
        pass


def test_of_many_runs_that_start_at_once_one_gets_in(gcs_uri):
    inside, refused, start, leave = [], [], threading.Barrier(6), threading.Event()

    def enter(name):
        lock = RemoteLock(open_store(gcs_uri))
        start.wait()
        try:
            with lock.held():
                inside.append(name)
                leave.wait(20)
        except ConfigError:
            refused.append(name)
            if len(refused) == 5:
                leave.set()

    threads = [threading.Thread(target=enter, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 5)


def test_a_lease_that_ran_out_is_taken_and_its_holder_learns_of_it(gcs_uri):
    store, now = open_store(gcs_uri), [1_000.0]
    slow = RemoteLock(store, lease_s=0.3, clock=lambda: now[0])
    with slow.held():
        holder = json.loads(store.read(LOCK)[0])
        store.write(LOCK, json.dumps(holder | {"host": "elsewhere", "token": "other"}).encode())
        slow._end.wait(0.5)
        with pytest.raises(StorageError, match="elsewhere"):
            slow.check()
    assert json.loads(store.read(LOCK)[0])["token"] == "other", "what is another's is not released"
    with pytest.raises(ConfigError, match="elsewhere"), RemoteLock(store, clock=lambda: now[0]).held():
        pass
    now[0] += 1_000
    with RemoteLock(store, clock=lambda: now[0]).held():
        pass


def test_the_lease_of_a_dead_process_on_this_machine_is_free(gcs_uri):
    store = open_store(gcs_uri)
    lock = RemoteLock(store)
    with lock.held():
        holder = json.loads(store.read(LOCK)[0])
    store.write(LOCK, json.dumps(holder | {"pid": 2**22 + 1}).encode())
    with RemoteLock(store).held():
        pass
