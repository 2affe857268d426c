"""The nightly run that nobody watches, told from the first submission to a rollback.

Commands talk to the contract server with KFP's client. What the server is given, and nothing else, is
run by KFP's local orchestrator on a small shop in a bucket: the same YAML, the same parameters, and
the schedule's time filled in as the cluster does it.
"""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
import yaml as yaml_of
from typer.testing import CliRunner

from model_core.storage.opening import open_store
from model_core.storage.registry import Registry
from model_core.tables.demo import DEMO_TASK
from pipelines.cli.main import app
from pipelines.compiling import STEPS, documents_of
from pipelines.targets import process
from pipelines.targets.logical_date import SCHEDULE_TIME
from tests.steps_in_process import steps_in_process

SMALL = [
    "model.name=two_tower", "model.num_layers=1",  # little to export, which is what takes the time
    "model.channels=16", "model.embedding_dim=8", "model.encoder_blocks=0", "model.num_neighbors=8",
    "train.epochs=3", "train.max_steps_per_epoch=20", "train.batch_size=64", "train.refit=false",
    "train.learning_rate=0.01", "evaluate.num_bootstrap=100", "queue.size=256",
    "export.num_parity_users=16", "split.num_train_windows=4",
]
#: A model so small is no match for the baselines; the story is about who decides, not about quality.
LENIENT = ["gate.min_gain=-1", "gate.min_baseline_gain=-1", "gate.max_coverage_loss=1",
           "gate.max_cold_user_loss=1"]
#: A model that learns nothing, under the rule that holds by default: better than the champion beyond doubt.
WORSE = [*LENIENT, "gate.min_gain=0", "train.epochs=1", "train.learning_rate=1e-12"]


class Cluster:
    """Runs what the backend was given."""

    def __init__(self, server, root):
        self.backend, self.root, self.threads = server.backend, root, []

    def start(self, run_id):
        thread = threading.Thread(target=self.run, args=(run_id,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def run(self, run_id):
        run = self.backend.runs[run_id]
        text = self.backend.yamls[run.pipeline_version_reference.pipeline_version_id]
        if run.scheduled_at is not None:
            text = self.due(text, run.scheduled_at)
        path = self.root / f"{run_id}.yaml"
        path.write_text(text)
        declared = documents_of(text)[0]["root"]["inputDefinitions"]["parameters"]
        given = {name: int(value) if declared[name]["parameterType"] == "NUMBER_INTEGER" else value
                 for name, value in run.runtime_config.parameters.items()}
        self.backend.set_run(run_id, "RUNNING")
        steps = process.run_pipeline(path, given, self.root / "artifacts", STEPS,
                                     listener=lambda step: self.report(run_id, step))
        failed = [step for step in steps if step.status != "succeeded"]
        self.backend.set_run(run_id, "FAILED" if failed else "SUCCEEDED")

    def report(self, run_id, step):
        with self.backend.lock:
            self.backend.set_step(run_id, step.name, step.status.upper(), cached=step.cached,
                                  error=step.error)

    @staticmethod
    def due(text, moment):
        """The cluster fills the time in where a task's input is the placeholder and nothing else."""
        documents = documents_of(text)
        filled = 0
        for task in documents[0]["root"]["dag"]["tasks"].values():
            for entry in task["inputs"].get("parameters", {}).values():
                if entry.get("runtimeValue", {}).get("constant") == SCHEDULE_TIME:
                    entry["runtimeValue"]["constant"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
                    filled += 1
        assert filled == 1
        return yaml_of.safe_dump_all(documents)


@pytest.fixture
def cluster(server, tmp_path):
    found = Cluster(server, tmp_path)
    with steps_in_process():
        yield found
        for thread in found.threads:
            thread.join(60)


@pytest.fixture
def shop(gcs_uri, demo_dataset):
    store = open_store(f"{gcs_uri}/shop")
    for path in sorted(demo_dataset.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(demo_dataset).as_posix(), path)
    return f"{gcs_uri}/shop"


@pytest.mark.slow
def test_story(server, quick, cluster, shop, gcs_uri, demo_dataset, monkeypatch):
    registry = Registry(f"{gcs_uri}/registry")
    windows = yaml_of.safe_load((demo_dataset / "manifest.yaml").read_text())
    newest = datetime.fromisoformat(str(windows["test_timestamp"])).replace(tzinfo=UTC) + timedelta(days=7)
    make = server.backend.create_run

    def create(body):
        run = make(body)
        cluster.start(run.run_id)
        return run

    monkeypatch.setattr(server.backend, "create_run", create)

    def relrec(*words, code=0):
        done = CliRunner().invoke(app, [*words, "--host", server.url, "--connection", quick])
        assert done.exit_code == code, done.output
        return done.stdout

    def asked(settings):
        pairs = [word for setting in [*SMALL, *settings] for word in ("--set", setting)]
        return ["--dataset", shop, "--task", DEMO_TASK, "--registry", f"{gcs_uri}/registry",
                "--allow-unpinned", "--resources", "laptop", "--experiment", "story", *pairs]

    def date_of(champion):
        return registry.version_info(champion.version)["logical_date"].replace("-", "")[:8]

    def night(days_ago):
        run_id = server.backend.fire(f"retrain-{DEMO_TASK}", newest - timedelta(days=days_ago))
        cluster.run(run_id)
        assert f"{run_id}: succeeded" in relrec("runs", "show", run_id)
        return f"{newest - timedelta(days=days_ago):%Y%m%d}"

    # A person submits the first run and waits for it.
    first_date = newest - timedelta(days=3)
    said = relrec("submit", "retrain", *asked(LENIENT), "--as-of", first_date.isoformat(), "--wait",
                  "--poll", "0.2")
    assert all(f"✓ {step}" in said for step in STEPS)
    first = registry.champion()
    assert date_of(first) == f"{first_date:%Y%m%d}"

    # From then on the cluster does it every night.
    schedule = ["schedule", "create", "--cron", "0 3 * * *"]
    assert "created" in relrec(*schedule, *asked(LENIENT))
    assert "unchanged" in relrec(*schedule, *asked(LENIENT))
    date = night(2)
    second = registry.champion()
    assert date_of(second) == date, "promoted"

    # Somebody changes the schedule; its model is refused, the run succeeds, the champion stays.
    assert "replaced" in relrec(*schedule, *asked(WORSE))
    date = night(1)
    assert registry.champion().version == second.version
    versions = [registry.version_info(version) for version in registry.versions()]
    assert len(versions) == 3
    refused = next(info for info in versions if info["logical_date"].replace("-", "")[:8] == date)
    assert not refused["verdict"]["promote"]
    assert "champion" in refused["verdict"]["reason"]
    runs = json.loads(relrec("runs", "list", "--output", "json"))
    assert [run["state"] for run in runs] == ["succeeded"] * 3
    assert [run["schedule_id"] is None for run in runs] == [False, False, True]

    # And one step back.
    rolled_back = CliRunner().invoke(
        app, ["registry", "rollback", "--registry", f"{gcs_uri}/registry", "--reason", "fewer clicks"])
    assert rolled_back.exit_code == 0, rolled_back.output
    assert registry.champion().version == first.version
    assert [entry.action for entry in registry.history()] == ["publish", "publish", "rollback"]
    assert all("@" in entry.who for entry in registry.history())
    relrec("schedule", "pause", f"retrain-{DEMO_TASK}")
    assert server.backend.fire(f"retrain-{DEMO_TASK}", newest) is None
