"""Roots of runs in an object store: finished steps are found there from any machine."""

import json
from datetime import UTC, datetime

import pytest

from model_core.config import RunConfig
from model_core.errors import ConfigError, StorageError
from model_core.records import write_record
from model_core.storage.opening import open_store
from pipelines.runs import RunRequest, _check_registry, _summary
from pipelines.staging import RootStaging
from pipelines.targets import process
from pipelines.targets.session import Session, StepRun, Task
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


def test_a_root_may_have_a_backslash_in_its_name(tmp_path):
    staging = RootStaging("gs://b/a\\d\\1", tmp_path / "here")
    assert staging.remote(staging.folder / "x") == "gs://b/a\\d\\1/x"
    assert staging.without_folder([f"{staging.folder}/x"]) == ["gs://b/a\\d\\1/x"]


def test_an_outage_after_the_last_step_is_told(gcs_uri, tmp_path, monkeypatch):
    staging = RootStaging(gcs_uri, tmp_path / "here")
    request = RunRequest("retrain", "shop", "t", gcs_uri, gcs_uri, "", RunConfig())
    steps = [StepRun("evaluate", "succeeded", outputs={"report": f"{gcs_uri}/run/evaluate/report"})]

    def refuse(*arguments, **options):
        raise StorageError(gcs_uri, "an answer within 300 s", "HTTP 503", "try later")

    monkeypatch.setattr(staging.store, "get", refuse)
    with pytest.raises(StorageError, match="HTTP 503"):
        _summary(request, steps, datetime.now(UTC), staging)


def test_a_retry_leaves_nothing_of_the_attempt_before(remote_uri, tmp_path):
    staging = RootStaging(remote_uri, tmp_path / "here")
    session, folder = Session({}, staging=staging), staging.folder / "run" / "step"
    outputs = {name: {"artifacts": [{"uri": str(folder / name)}]} for name in ("tree", "file", "next")}
    command = ["step", json.dumps({
        "inputs": {}, "outputs": {"outputFile": str(folder / "out.json"), "artifacts": outputs}})]
    task = Task.of(command)

    def attempt(text, names):
        run = session.begin(task)
        session.fetched(command)
        for name in names:
            (folder / "tree").mkdir(exist_ok=True)
            (folder / "tree" / name).write_text(text)
        (folder / "file").write_text(text)
        return run

    attempt("old", ("a", "b"))
    staging.store_artifacts([folder / "tree", folder / "file"])  # and then the store is gone
    beside = f"{remote_uri}/run/step/tree-of-another"
    open_store(beside).write("x", b"1")
    run = attempt("new", ("a",))
    assert not RootStaging(remote_uri, tmp_path / "other").holds(f"{remote_uri}/run/step/tree")
    assert session.end(run, task, None)
    there = RootStaging(remote_uri, tmp_path / "there")
    tree = there.fetch(f"{remote_uri}/run/step/tree")
    assert {path.name: path.read_text() for path in tree.iterdir()} == {"a": "new"}
    assert there.fetch(f"{remote_uri}/run/step/file").read_text() == "new"
    assert open_store(beside).read("x")[0] == b"1"
