"""The whole pipeline on a small shop: from tables to a published model, as a user runs it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from model_core.config import RunConfig, parse_overrides
from model_core.errors import ConfigError
from model_core.logical_date import parse_as_of
from model_core.serving.bundle import Bundle
from model_core.split.seeds import Split
from model_core.storage.registry import Registry
from model_core.tables.demo import DEMO_TASK
from model_core.training.checkpoint import Checkpoint
from model_core.watch.record import DataWatch
from model_core.watch.statistics import DataStatistics
from pipelines.compiling import STEPS
from pipelines.runs import RunRequest, lock_root, run_locally
from tests.steps_in_process import steps_in_process

SMALL = [
    "model.channels=16", "model.embedding_dim=8", "model.encoder_blocks=0", "model.num_neighbors=8",
    "train.epochs=1", "train.max_steps_per_epoch=2", "train.batch_size=64",
    "evaluate.num_bootstrap=20", "queue.size=256", "export.num_parity_users=16",
    "split.num_train_windows=4", "gate.min_baseline_gain=-1",
]
#: A moment within the demo's data, not at midnight.
AS_OF = "2023-05-20T06:30:00Z"


def request(dataset: Path, root: Path, *settings: str, registry: Path | None = None) -> RunRequest:
    config: RunConfig = parse_overrides([*SMALL, *settings])
    return RunRequest("retrain", str(dataset), DEMO_TASK, root, registry or root / "registry", AS_OF, config)


def cached_steps(summary: dict) -> set[str]:
    return {step["name"] for step in summary["steps"] if step["cached"]}


#: load_champion looks into the registry, which is not among its inputs.
CACHEABLE = set(STEPS) - {"load_champion"}


def run_as_users_do(request: RunRequest) -> dict:
    """Every step in a process of its own."""
    return run_locally(request, listener=lambda step: None, output=lambda chunk: None)


def run(request: RunRequest) -> dict:
    """The same without the start of the processes, which takes longer than what they do."""
    with steps_in_process():
        return run_as_users_do(request)


@pytest.fixture(scope="module")
def finished(demo_dataset, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs") / "root"
    return root, run_as_users_do(request(demo_dataset, root))


def test_every_step_succeeds(finished):
    _, summary = finished
    assert summary["status"] == "succeeded", summary["error"]
    assert [step["name"] for step in summary["steps"]] == list(STEPS)
    assert {step["status"] for step in summary["steps"]} == {"succeeded"}
    assert not any(step["cached"] for step in summary["steps"])
    assert all(step["wall_s"] > 0 and step["peak_mb"] > 10 for step in summary["steps"])


def test_metrics_hold_model_and_baselines(finished):
    _, summary = finished
    rows = summary["metrics"]
    assert {row["model"] for row in rows} == {
        "contextgnn", "popularity", "recent_popularity", "past_then_popular", "item_knn", "blend"}
    assert {row["split"] for row in rows} == {"val", "test"}
    assert {row["mask"] for row in rows} == {"none", "seen", "unavailable"}
    assert {row["metric"] for row in rows} >= {"map", "recall", "ndcg", "hit_rate", "mrr"}
    for row in rows:
        assert set(row) == {"split", "mask", "model", "metric", "k", "mean", "ci_low", "ci_high", "num_users"}
        assert 0 <= row["ci_low"] <= row["mean"] <= row["ci_high"] <= 1


def test_artifacts_are_there(finished):
    root, summary = finished
    for name in ("snapshot", "split", "graph", "negative_queue", "checkpoint", "report", "html", "bundle"):
        assert Path(summary["artifacts"][name]).exists(), name
    assert "<html" in Path(summary["artifacts"]["html"]).read_text()
    assert (root / "registry" / "versions" / summary["publication"]["version"]).is_dir()
    assert summary["publication"]["promoted"] == summary["verdict"]["promote"]
    assert json.loads((root / "summary.json").read_text()) == summary
    assert summary["data_digest"]


def test_data_are_watched(finished):
    root, summary = finished
    assert summary["data_watch"] == []
    assert "Nothing to compare with" in (root / "report.html").read_text()
    assert "Nothing to compare with" in Path(summary["artifacts"]["watch_page"]).read_text()
    kept = root / "registry" / "versions" / summary["publication"]["version"] / "data.json"
    watched = DataWatch.open(summary["artifacts"]["data_watch"])
    assert DataStatistics.from_json(json.loads(kept.read_bytes())) == watched.statistics


def test_plan_stands_beside_measurement(finished):
    root, summary = finished
    assert [step["name"] for step in summary["plan"]["steps"]] == list(STEPS)
    assert all(step["estimated_s"] > 0 and step["estimated_mb"] > 0 for step in summary["steps"])
    assert "Time and memory" in (root / "report.html").read_text()


def test_second_run_is_cached_and_says_the_same(finished, demo_dataset):
    root, first = finished
    second = run(request(demo_dataset, root))
    assert cached_steps(second) == CACHEABLE
    assert second["metrics"] == first["metrics"]
    assert second["publication"] == first["publication"]


def test_publish_runs_again_where_the_registry_is_gone(finished, demo_dataset, tmp_path):
    root, first = finished
    other = run(request(demo_dataset, root, registry=tmp_path / "registry"))
    assert cached_steps(other) == CACHEABLE - {"publish"}
    assert other["publication"]["version"] == first["publication"]["version"]


def test_a_changed_registry_is_not_hidden_by_the_cache(finished, demo_dataset, tmp_path):
    root, _ = finished
    settings = request(demo_dataset, root, registry=tmp_path / "registry")
    first = run(settings)
    assert first["publication"]["promoted"]
    (tmp_path / "registry" / "champion.json").unlink()
    again = run(settings)
    assert cached_steps(again) == CACHEABLE - {"publish"}
    assert again["publication"]["champion"] != first["publication"]["champion"] or (
        again["publication"]["promoted"])


def test_everything_says_the_logical_date(finished):
    root, summary = finished
    assert summary["run_name"] == summary["publication"]["run_name"] == (
        f"retrain-{DEMO_TASK}-20230520t063000")
    assert {summary["as_of"], summary["logical_date"], summary["publication"]["logical_date"]} == {AS_OF}
    assert summary["publication"]["version"].startswith("20230520T063000-")
    seconds = parse_as_of(AS_OF)
    for name in ("graph", "report", "bundle"):
        record = json.loads((Path(summary["artifacts"][name]) / "manifest.json").read_bytes())
        assert record["meta"]["logical_time"] == seconds, name
    assert Split.open(summary["artifacts"]["split"]).logical_time == seconds
    assert Checkpoint.open(summary["artifacts"]["checkpoint"]).meta["logical_time"] == seconds
    page = (root / "report.html").read_text()
    assert re.search(r"<title>[^<]*2023-05-20 06:30:00[^<]*</title>", page)
    assert "Logical date 2023-05-20 06:30:00" in page
    card = (Path(summary["artifacts"]["bundle"]) / "MODEL_CARD.md").read_text()
    assert "Logical date: 2023-05-20 06:30:00 UTC" in card


def test_the_same_run_under_a_fresh_root_is_the_same_version(finished, demo_dataset, tmp_path, monkeypatch):
    """Nothing is cached, everything is computed again; the registry sees no second model."""
    root, first = finished
    bundle = Bundle.open(first["artifacts"]["bundle"])

    def export_onnx(model, schema, vector_dim, path):
        """``tests/export`` shows that equal weights give an equal file; here it is proven to fit them."""
        shutil.copyfile(bundle.model_path, path)
        return bundle.record.meta["onnx"]

    monkeypatch.setattr("model_core.export.bundle.export_onnx", export_onnx)
    assert first["publication"]["promoted"]
    again = run(request(demo_dataset, tmp_path / "fresh", registry=root / "registry"))
    assert cached_steps(again) == set()
    assert again["publication"]["version"] == first["publication"]["version"]
    assert again["metrics"] == first["metrics"]
    assert not again["publication"]["promoted"]
    assert again["publication"]["reason"] == "it was promoted before"
    registry = Registry(root / "registry")
    assert registry.versions() == [first["publication"]["version"]]
    assert [entry.version for entry in registry.history()] == registry.versions()


def test_damaged_artifact_is_made_again(finished, demo_dataset):
    root, first = finished
    victim = Path(first["artifacts"]["split"]) / "seeds" / "test.parquet"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    again = run(request(demo_dataset, root))
    assert again["status"] == "succeeded"
    cached = {step["name"]: step["cached"] for step in again["steps"]}
    assert cached["ingest"]
    assert not cached["temporal_split"]


def test_two_runs_do_not_share_a_root(finished, demo_dataset):
    root, _ = finished
    with lock_root(root), pytest.raises(ConfigError, match="no other run"):
        run(request(demo_dataset, root))


def test_failure_is_told_and_the_next_run_resumes_there(finished, demo_dataset, tmp_path):
    root, _ = finished
    blocked = tmp_path / "registry"
    blocked.write_text("a file where the registry should be")
    failed = run(request(demo_dataset, root, registry=blocked))
    assert failed["status"] == "failed"
    assert failed["error"]["step"] == "publish"
    assert str(blocked) in failed["error"]["message"]
    assert failed["steps"][-1]["status"] == "failed"
    blocked.unlink()
    mended = run(request(demo_dataset, root, registry=blocked))
    assert mended["status"] == "succeeded"
    assert cached_steps(mended) == CACHEABLE - {"publish"}


def test_changed_setting_reruns_only_what_depends_on_it(finished, demo_dataset, monkeypatch):
    root, first = finished

    def export(checkpoint, graph, split, config, out, *, metrics):
        """The export takes long and is not the subject: that it is started is."""
        return Bundle.open(shutil.copytree(first["artifacts"]["bundle"], out))

    monkeypatch.setattr("model_core.export.bundle.export_bundle", export)
    changed = run(request(demo_dataset, root, "evaluate.num_bootstrap=21"))
    cached = {step["name"]: step["cached"] for step in changed["steps"]}
    assert all(cached[name] for name in STEPS[:STEPS.index("evaluate")] if name in CACHEABLE)
    assert not cached["evaluate"]
    assert not cached["export_onnx"]
