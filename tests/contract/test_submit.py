"""Submitting: uploaded once, run each time, followed to its end."""

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from components._images import REPOSITORY, ROLES, Pins, code_digest, image
from model_core.errors import ConfigError
from model_core.tables.demo import DEMO_TASK
from pipelines.cli.run_screen import wait_and_show
from pipelines.compiling import (
    LOCAL_IMAGES,
    STEPS,
    ImageChoice,
    compile_pipeline,
    documents_of,
    pipeline_yaml,
)
from pipelines.resources import PRESETS
from pipelines.targets.following import follow
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.pipeline_versions import ensure_version
from pipelines.targets.kubeflow.runs import cancel_run, get_run, list_runs
from pipelines.targets.kubeflow.submit import submit
from tests.contract.kfp_server import Fault

ASKED = ("submit", "retrain", "--dataset", "gs://bucket/shop", "--task", "buy",
         "--registry", "gs://bucket/registry")


def test_the_same_yaml_is_uploaded_once(client, server, submission):
    first, second = submit(client, submission), submit(client, submission)
    assert (first.version.uploaded, second.version.uploaded) == (True, False)
    assert second.version.version_id == first.version.version_id
    assert second.run.run_id != first.run.run_id
    assert len(server.backend.pipelines) == len(server.backend.experiments) == 1
    other = replace(submission, yaml=submission.yaml.replace("number of", "count of") + "# changed\n")
    assert submit(client, other).version.version_id != first.version.version_id
    assert len(server.backend.pipelines) == 1
    assert server.backend.yamls[first.version.version_id] == submission.yaml


def test_many_versions_and_pipelines_are_paged(client, server, submission, monkeypatch):
    monkeypatch.setattr("pipelines.targets.kubeflow.listing.LARGEST_PAGE", 2)
    for index in range(5):
        ensure_version(client, "relrec-retrain", submission.yaml + f"# {index}\n")
    # A server that filters without regard to case finds more than what is looked for.
    for name in ("RELREC-RETRAIN", "Relrec-Retrain", "relrec-RETRAIN"):
        server.backend.create_pipeline(json.dumps({"name": name}).encode())
    for pipeline in list(server.backend.pipelines.values())[::-1]:
        server.backend.pipelines[pipeline.pipeline_id] = server.backend.pipelines.pop(pipeline.pipeline_id)
        pipeline.created_at = server.backend._time()
    server.requests.clear()
    assert not ensure_version(client, "relrec-retrain", submission.yaml + "# 0\n").uploaded
    assert server.requests.count("GET /pipelines") == 2
    assert len(server.backend.versions) == 5


@pytest.mark.parametrize("status", [0, 504])  # a gateway may lose it, too
@pytest.mark.parametrize("lost", ["POST /pipelines$", "POST /pipelines/upload_version", "POST /experiments",
                                  "POST /runs"])
def test_a_lost_answer_makes_nothing_twice(client, server, submission, lost, status):
    server.faults = [Fault(lost, drop="after", status=status)]
    run = submit(client, submission).run
    backend = server.backend
    assert list(backend.runs) == [run.run_id]
    assert len(backend.pipelines) == len(backend.versions) == len(backend.experiments) == 1


def test_another_run_of_the_name_is_not_taken_for_a_lost_one(client, server, submission):
    submit(client, submission)
    server.faults = [Fault("POST /runs", drop="before")]
    with pytest.raises(KubeflowError, match="look first"):
        submit(client, replace(submission, arguments=dict(submission.arguments) | {"seed": 99}))


@pytest.mark.parametrize("refused", ["POST /pipelines$", "POST /pipelines/upload_version", "POST /runs"])
def test_a_refusal_is_told(client, server, submission, refused):
    server.faults = [Fault(refused, status=500)]
    with pytest.raises(KubeflowError, match="HTTP 500"):
        submit(client, submission)
    assert not server.backend.runs


def test_somebody_else_was_first(client, server, submission):
    """Between looking and making, another caller makes the same."""
    make = server.backend.create_pipeline
    server.backend.create_pipeline = lambda body: (make(body), make(body))[1]
    upload = server.backend.upload_version
    server.backend.upload_version = lambda *args: (upload(*args), upload(*args))[1]
    assert not submit(client, submission).version.uploaded
    assert len(server.backend.pipelines) == len(server.backend.versions) == 1


def test_parameters_are_checked_before_anything_is_sent(submission):
    arguments = dict(submission.arguments)
    for changes, message in [({"colour": "red"}, "colour"), ({"seed": "1"}, "number_integer"),
                             ({"as_of": 3}, "string"), ({"seed": True}, "number_integer")]:
        with pytest.raises(ConfigError, match=message):
            replace(submission, arguments=arguments | changes)
    with pytest.raises(ConfigError, match="'dataset'"):
        replace(submission, arguments={"task": "t", "registry": "r"})


@pytest.mark.parametrize(("where", "message"), [
    (["--dataset", "/data/shop"], "gcloud storage cp"), (["--dataset", "shop"], "gcloud storage cp"),
    (["--dataset", "./a/b"], "relrec run retrain"), (["--dataset", "file:///x"], "gcloud storage cp"),
    (["--registry", "runs/registry"], "bucket"), (["--registry", "ftp://h/x"], "two publishes"),
    (["--checkpoint-root", "states"], "--checkpoint-root"), (["--as-of", "{{ ds }}"], "macro"),
    (["--set", "train.epoch=1"], "epochs"), (["--resources", "moon"], "small_gpu"),
    (["--output", "xml"], "json"),
])
def test_mistakes_are_told_before_anything_is_sent(relrec, server, where, message):
    said = relrec(*ASKED, "--allow-unpinned", *where)
    assert said.code == 2
    assert message in said.err
    assert not server.requests


def test_images_must_be_pinned(relrec, server, tmp_path):
    said = relrec(*ASKED)
    assert said.code == 2
    assert "--images" in said.err
    pins = tmp_path / "pins.json"
    digest = "@sha256:" + "1" * 64
    pins.write_text(json.dumps({"code_digest": code_digest(),
                                "images": {role: f"{REPOSITORY}-{role}{digest}" for role in ROLES}}))
    said = relrec(*ASKED, "--images", pins, "--output", "json")
    assert said.code == 0, said.err
    text = server.backend.yamls[json.loads(said.out)["version_id"]]
    assert text.count(digest) == text.count(" image:") > 0


def test_dry_run_sends_nothing(relrec, server):
    said = relrec(*ASKED, "--allow-unpinned", "--dry-run", "--output", "json", "--as-of", "2026-11-20")
    plan = json.loads(said.out)
    assert plan["run_name"] == "retrain-buy-20261120"
    assert plan["parameters"]["source_fingerprint"] == "ab" * 32
    assert plan["host"] == server.url
    assert "nothing was sent" in relrec(*ASKED, "--allow-unpinned", "--dry-run").out
    assert not server.requests


def test_a_missing_host_is_told_before_the_data_is_looked_at(relrec, server, monkeypatch):
    def look(*_):
        raise AssertionError("checksums were read")

    monkeypatch.setattr("model_core.tables.fingerprint.source_fingerprint", look)
    monkeypatch.delenv("RELREC_KUBEFLOW_HOST")
    assert "--host" in relrec(*ASKED, "--allow-unpinned").err


def test_secrets_are_in_no_output(relrec, server, tmp_path, monkeypatch):
    canary = "canary-1b44-secret"
    server.tokens = {canary}
    monkeypatch.setenv("RELREC_KUBEFLOW_TOKEN_COMMAND", f"{sys.executable} -c \"print('{canary}')\"")
    for words in (["--output", "json"], ["--dry-run"], ["--dry-run", "--output", "json"], []):
        said = relrec(*ASKED, "--allow-unpinned", *words)
        assert said.code == 0, said.err
        assert canary not in said.out + said.err
    server.tokens = {"another"}
    said = relrec(*ASKED, "--allow-unpinned")
    assert said.code == 2
    assert canary not in said.err
    assert canary not in relrec("submit", "retrain", "--help").out


def fail_at_train(backend, run_id):
    return [
        lambda: backend.set_step(run_id, "ingest", "PENDING"),
        lambda: backend.set_step(run_id, "ingest", "RUNNING"),
        lambda: (backend.set_step(run_id, "ingest", "SUCCEEDED", cached=True),
                 backend.set_step(run_id, "train", "RUNNING")),
        lambda: (backend.set_step(run_id, "train", "FAILED", error="not enough [memory]", attempts=2),
                 backend.set_run(run_id, "FAILED")),
    ]


def succeed(backend, run_id):
    return [lambda step=step: backend.set_step(run_id, step, "SUCCEEDED") for step in STEPS] + [
        lambda: backend.set_run(run_id, "SUCCEEDED")]


def cancelled(backend, run_id):
    return [lambda: backend.set_step(run_id, "ingest", "RUNNING"),
            lambda: backend.set_run(run_id, "CANCELING"), lambda: backend.set_run(run_id, "CANCELED")]


@pytest.fixture
def playing(server, monkeypatch):
    """Every new run plays a script."""
    def play(script):
        make = server.backend.create_run

        def create(body):
            run = make(body)
            server.backend.play(run.run_id, *script(server.backend, run.run_id))
            return run

        monkeypatch.setattr(server.backend, "create_run", create)

    return play


@pytest.mark.parametrize(("script", "code", "expected"), [
    (succeed, 0, ["✓ ingest", "✓ publish", "run succeeded"]),
    (fail_at_train, 1, ["▸ ingest", "✓ ingest cached", "▸ train", "✗ train", "failed at step train",
                        "not enough [memory]", "relrec runs logs"]),
    (cancelled, 1, ["▸ ingest", "■ ingest cancelled", "run cancelled"]),
])
def test_wait_shows_steps_and_exits_by_the_result(relrec, playing, script, code, expected):
    playing(script)
    said = relrec(*ASKED, "--allow-unpinned", "--wait", "--poll", "0.05")
    assert said.code == code
    position = 0
    for words in expected:
        position = said.out.index(words, position)
    assert "#/runs/details/" in said.out


def test_wait_in_json(relrec, playing):
    playing(fail_at_train)
    said = relrec(*ASKED, "--allow-unpinned", "--wait", "--poll", "0.05", "--output", "json")
    run = json.loads(said.out)
    assert said.code == 1
    assert run["state"] == "failed"
    assert {step["name"]: step["state"] for step in run["steps"]} == {"ingest": "cached", "train": "failed"}
    assert run["steps"][1]["error"] == "not enough [memory]"


def test_wait_survives_lost_connections(relrec, server, playing):
    playing(succeed)
    server.faults = [Fault("GET /runs/", drop="before", times=5), Fault("GET /runs/", status=503, times=5)]
    said = relrec(*ASKED, "--allow-unpinned", "--wait", "--poll", "0.05")
    assert said.code == 0
    assert said.err.count("still waiting") == 1


@pytest.mark.parametrize("at", [1, 3])
def test_ctrl_c_ends_the_waiting_and_not_the_run(relrec, server, playing, monkeypatch, at):
    playing(succeed)
    calls = []

    def look(client, run_id):
        calls.append(run_id)
        if len(calls) == at:
            raise KeyboardInterrupt
        return get_run(client, run_id)

    monkeypatch.setattr("pipelines.cli.run_screen.get_run", look)
    words = (*ASKED, "--allow-unpinned", "--wait", "--poll", "0.05")
    said = relrec(*words)
    assert said.code == 130
    assert f"relrec runs show {calls[0]}" in said.err
    assert f"relrec runs cancel {calls[0]}" in said.err
    assert not any("terminate" in request for request in server.requests)
    calls.clear()
    said = relrec(*words, "--output", "json")
    assert said.code == 130
    assert json.loads(said.out)["run_id"] == calls[0]
    run_id = calls[0]
    calls.clear()
    said = relrec("runs", "show", run_id, "--wait", "--poll", "0.05", "--output", "json")
    assert (said.code, json.loads(said.out)["name"]) == (130, "retrain-buy")


def test_wait_on_a_terminal(relrec, client, server, submission, capsys):
    run_id = submit(client, submission).run.run_id
    server.backend.play(run_id, *fail_at_train(server.backend, run_id))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, highlight=False, width=100, color_system=None)
    run, code = wait_and_show(console, client, run_id, poll_s=0.05)
    assert (run.state, code) == ("failed", 1)
    last = screen.getvalue().rpartition("ingest")[2]
    for words in ("✗ train", "failed at step train", "not enough [memory]", "#/runs/details/"):
        assert words in last
    assert not capsys.readouterr().out


def test_threads_leave_stdout_alone(client, server):
    """Runs of a backfill are followed in threads, and the screen is written meanwhile."""
    server.faults = [Fault("GET /runs", delay_s=0.01, times=None)]
    before, seen = sys.stdout, []

    def look():
        for _ in range(5):
            list_runs(client, limit=1)
            seen.append(sys.stdout)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 20
    assert all(stream is before for stream in [*seen, sys.stdout])


def test_waiting_gives_up_on_a_server_that_stays_away(client, server, submission):
    run = submit(client, submission).run
    server.faults = [Fault("GET /runs/", status=503, times=None)]
    now = iter(range(0, 10_000, 100))
    with pytest.raises(KubeflowError, match="HTTP 503"):
        list(follow(lambda: get_run(client, run.run_id), poll_s=1, sleep=lambda _: None,
                    clock=lambda: next(now), patience_s=500))
    server.faults = [Fault("GET /runs/", status=403, times=None)]
    with pytest.raises(KubeflowError, match="HTTP 403"):
        next(follow(lambda: get_run(client, run.run_id), poll_s=1))


def test_states_left_behind_follow_the_run(client, server, submission):
    backend, run_id = server.backend, submit(client, submission).run.run_id
    backend.set_step(run_id, "ingest", "SUCCEEDED")
    backend.set_step(run_id, "temporal_split", "PENDING")
    backend.set_run(run_id, "RUNNING")
    assert [step.state for step in get_run(client, run_id).steps] == ["succeeded", "pending"]
    backend.set_run(run_id, "SUCCEEDED")
    assert [step.state for step in get_run(client, run_id).steps] == ["succeeded", "succeeded"]


def test_runs_are_listed_shown_and_cancelled(relrec, client, server, submission, monkeypatch):
    runs = [submit(client, submission).run.run_id for _ in range(5)]
    server.backend.set_run(runs[1], "FAILED", error="the node is gone")
    assert [run.run_id for run in list_runs(client, limit=3)] == runs[:1:-1]
    assert [run.run_id for run in list_runs(client, state="failed")] == [runs[1]]
    assert len(list_runs(client, name="RETRAIN-BUY-20261120", limit=100)) == 5
    monkeypatch.setattr("pipelines.targets.kubeflow.runs.LARGEST_PAGE", 2)
    assert [run.run_id for run in list_runs(client, limit=100)] == runs[::-1], "three pages"
    assert json.loads(relrec("runs", "list", "--limit", 2, "--output", "json").out)[0]["run_id"] == runs[4]
    assert runs[0] in relrec("runs", "list").out
    assert "no runs" in relrec("runs", "list", "--state", "paused").out
    said = relrec("runs", "show", runs[1], "--wait")
    assert said.code == 1
    assert "the node is gone" in said.out
    assert "cancelling" in relrec("runs", "cancel", runs[0]).out
    assert cancel_run(client, runs[1]).state == "failed", "what has ended stays"
    assert "failed already" in relrec("runs", "cancel", runs[1]).out
    for verb in ("show", "cancel", "logs"):
        said = relrec("runs", verb, "nowhere")
        assert said.code == 2
        assert "relrec runs list" in said.err


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"drop": "after", "status": 502}])
def test_ending_a_run_twice_or_as_it_ends_is_no_fault(client, server, submission, fault):
    backend = server.backend
    first, second = (submit(client, submission).run.run_id for _ in range(2))
    server.faults = [Fault(":terminate", **fault)]
    assert cancel_run(client, first).state == "cancelling"
    assert cancel_run(client, first).state == "cancelling"
    terminate = backend.terminate
    backend.terminate = lambda run_id: (backend.set_run(run_id, "SUCCEEDED"), terminate(run_id))
    assert cancel_run(client, second).state == "succeeded"
    backend.terminate = terminate
    server.faults = [Fault(":terminate", status=400)]
    with pytest.raises(KubeflowError, match="HTTP 400"):
        cancel_run(client, submit(client, submission).run.run_id)


def test_logs_say_what_is_known_and_what_to_run(relrec, client, server, submission):
    run_id = submit(client, submission).run.run_id
    server.backend.set_step(run_id, "train", "FAILED", error="exit code 137", attempts=2)
    server.backend.set_run(run_id, "FAILED")
    said = relrec("runs", "logs", run_id, "train", "--namespace", "team")
    assert "train: exit code 137" in said.out
    assert f"kubectl logs -n team -l pipeline/runid={run_id}" in said.out
    nodes = json.loads(relrec("runs", "logs", run_id, "--output", "json").out)
    assert nodes["errors"] == {"train": "exit code 137"}
    assert "train" in relrec("runs", "logs", run_id, "nonsense").err


def test_what_is_submitted_is_what_runs_locally(tmp_path):
    """One YAML everywhere, but for image digests; resources are the user's choice."""
    local = compile_pipeline("retrain", tmp_path / "retrain.yaml").read_text()  # process and docker
    digest = "@sha256:" + "2" * 64
    pins = Pins({role: f"{REPOSITORY}-{role}{digest}" for role in ROLES}, "pins.json")
    submitted = pipeline_yaml("retrain", ImageChoice(pins))
    assert submitted != local
    for role in ROLES:
        submitted = submitted.replace(pins.of(role), image(role))
    assert submitted == local
    assert pipeline_yaml("retrain", LOCAL_IMAGES) == local
    spec, with_resources = (documents_of(text)[0] for text in (
        local, pipeline_yaml("retrain", resources=PRESETS["cpu"])))
    for name, task in spec["root"]["dag"]["tasks"].items():
        other = with_resources["root"]["dag"]["tasks"][name]
        assert task == {key: value for key, value in other.items() if key != "retryPolicy"}


def test_a_dataset_in_a_bucket_is_fingerprinted_there(server, quick, gcs_uri, demo_dataset, monkeypatch):
    from typer.testing import CliRunner

    from model_core.storage.opening import open_store
    from model_core.tables.fingerprint import source_fingerprint
    from pipelines.cli.main import app

    store = open_store(f"{gcs_uri}/shop")
    for path in sorted(demo_dataset.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(demo_dataset).as_posix(), path)
    done = CliRunner().invoke(app, [
        "submit", "retrain", "--dataset", f"{gcs_uri}/shop", "--task", DEMO_TASK, "--registry",
        f"{gcs_uri}/registry", "--allow-unpinned", "--host", server.url, "--connection", quick])
    assert done.exit_code == 0, done.output
    run = next(iter(server.backend.runs.values()))
    sent = run.runtime_config.parameters["source_fingerprint"]
    assert sent == source_fingerprint(f"{gcs_uri}/shop", DEMO_TASK)


def test_submit_imports_no_torch():
    code = ("import sys\nfrom pipelines.cli.main import app\n"
            "import model_core.tables.fingerprint as f\nf.source_fingerprint = lambda *_: 'x'\n"
            f"try: app({[*ASKED, '--allow-unpinned', '--dry-run', '--host', 'h']!r})\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "assert 'torch' not in sys.modules\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELREC_")}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
