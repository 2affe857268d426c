"""The demo shop, exported as CSV files, comes back as the same dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from model_core.config import GraphConfig, ModelConfig, QueueConfig, SplitConfig, TrainConfig
from model_core.graph.build import build_graph
from model_core.negatives.build import build_negative_queue
from model_core.split.temporal import temporal_split
from model_core.tables.demo import DEMO_TASK
from model_core.tables.ingest import ingest
from model_core.tables.sql import run_task_sql
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train
from tests.tables.init.exports import made


@pytest.fixture(scope="module")
def exported(demo_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "shop"
    folder.mkdir()
    for path in (demo_dataset / "db").glob("*.parquet"):
        pyarrow.csv.write_csv(pq.read_table(path), folder / f"{path.stem}.csv")
    return folder


@pytest.fixture(scope="module")
def again(exported: Path, demo_dataset: Path) -> Path:
    manifest = yaml.safe_load((demo_dataset / "manifest.yaml").read_text())
    _, written = made(exported, exported.parent / "again", window="14d", task_name=DEMO_TASK,
                      val=manifest["val_timestamp"], test=manifest["test_timestamp"])
    return written.path


def test_manifest_is_the_same(again: Path, demo_dataset: Path):
    ours, theirs = (yaml.safe_load((path / "manifest.yaml").read_text()) for path in (again, demo_dataset))
    # The shop's own SQL compares the sign-up date; here it is the time of the customer's row.
    assert ours["tables"]["customers"].pop("time_col") == "signup_date"
    theirs["tables"]["customers"].pop("time_col", None)
    assert ours["tables"] == theirs["tables"]
    for moment in ("val_timestamp", "test_timestamp"):
        assert ours[moment] == theirs[moment]


def test_tables_are_the_same(again: Path, demo_dataset: Path):
    for path in (demo_dataset / "db").glob("*.parquet"):
        theirs, ours = pq.read_table(path), pq.read_table(again / "db" / path.name)
        assert ours.column_names == theirs.column_names
        for name in theirs.column_names:
            one, other = theirs.column(name), ours.column(name)
            if pa.types.is_floating(one.type):
                one = pc.if_else(pc.is_nan(one), None, one)
            assert one.to_pylist() == other.cast(one.type).to_pylist(), f"{path.stem}.{name}"


def test_labels_are_the_same(again: Path, demo_snapshot, tmp_path: Path):
    snapshot = ingest(str(again), DEMO_TASK, tmp_path / "snapshot")
    for split, time in (("val", snapshot.val_time), ("test", snapshot.test_time)):
        stored = pq.read_table(demo_snapshot.record.file(f"labels/{split}.parquet"))
        assert run_task_sql(snapshot, snapshot.task, [time]).to_pydict() == stored.to_pydict()


def test_relbench_reads_it(again: Path):
    from relbench import load_dataset

    table = load_dataset(str(again)).load_task(DEMO_TASK).get_table("val")
    assert len(table.df) > 30


def test_parquet_files_give_the_same_as_csv(demo_dataset: Path, again: Path, tmp_path: Path):
    manifest = yaml.safe_load((demo_dataset / "manifest.yaml").read_text())
    _, written = made(demo_dataset / "db", tmp_path / "again", window="14d", task_name=DEMO_TASK,
                      val=manifest["val_timestamp"], test=manifest["test_timestamp"])
    for path in (again / "db").glob("*.parquet"):
        ours, other = pq.read_table(path), pq.read_table(written.path / "db" / path.name)
        assert ours.to_pydict() == other.to_pydict()


def test_a_tiny_run_trains_on_it(again: Path, tmp_path: Path):
    snapshot = ingest(str(again), DEMO_TASK, tmp_path / "snapshot")
    split = temporal_split(snapshot, SplitConfig(), tmp_path / "split")
    graph = build_graph(snapshot, split, GraphConfig(), tmp_path / "graph")
    queue = build_negative_queue(split, graph, QueueConfig(size=64), 0, tmp_path / "queue")
    checkpoint = train(
        graph, split, queue, ModelConfig(channels=8, embedding_dim=4, encoder_blocks=1, num_neighbors=4),
        TrainConfig(epochs=1, max_steps_per_epoch=2, batch_size=32, device="cpu", refit=False),
        tmp_path / "checkpoint", progress=SilentProgress(), validate=lambda scorer: 0.5)
    assert np.isfinite([entry["loss"] for entry in checkpoint.curves]).all()
