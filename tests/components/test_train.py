"""The train step from records to a checkpoint, cold and then warm from what it made."""

import json

from components.train.__main__ import train
from model_core.config import ModelConfig, QueueConfig, TrainConfig
from model_core.negatives.build import build_negative_queue
from model_core.records import write_record
from model_core.storage.champion import KIND, SCHEMA_VERSION
from model_core.training.checkpoint import Checkpoint
from tests.export.untrained import seeds_of, shop, write_graph
from tests.training.champions import write_bundle

MODEL = ModelConfig(channels=8, embedding_dim=4, encoder_blocks=0, num_neighbors=4)
TRAIN = TrainConfig(epochs=1, max_steps_per_epoch=2, device="cpu", refit=False, choose_far_shift=False,
                    warm_epochs=1, warm_start="champion")


def test_the_champion_reaches_training(tmp_path, capsys):
    graph = write_graph(shop(num_users=12, num_items=6, num_events=200), tmp_path / "graph")
    split = seeds_of(graph, tmp_path / "split")
    build_negative_queue(split, graph, QueueConfig(size=16), 0, tmp_path / "queue")

    def run(name: str) -> Checkpoint:
        places = {part: str(tmp_path / part) for part in ("graph", "split")}
        made = train(**places, negative_queue=str(tmp_path / "queue"), champion=str(tmp_path / "champion"),
                     checkpoint=str(tmp_path / name), tensorboard=str(tmp_path / "logs"),
                     metrics=str(tmp_path / "metrics"), model_config=MODEL.model_dump_json(),
                     train_config=TRAIN.model_dump_json(), checkpoint_root=str(tmp_path / "states"))
        assert json.dumps(made)
        return Checkpoint.open(tmp_path / name)

    with write_record(tmp_path / "champion", KIND, SCHEMA_VERSION) as (_, meta):
        meta.update(state="none", version=None, logical_date=None, promoted_at=None, problem=None)
    cold = run("cold")
    assert cold.meta["start"]["cold_because"] == "there is no champion of an earlier date"
    with write_record(tmp_path / "champion", KIND, SCHEMA_VERSION) as (folder, meta):
        meta.update(state="loaded", version="20200101-abc", logical_date="20200101", promoted_at=1,
                    problem=None)
        write_bundle(cold, graph, split, folder / "bundle")
    assert run("warm").meta["start"]["champion"] == "20200101-abc"
    said = capsys.readouterr().err
    assert "cold start: there is no champion of an earlier date" in said
    assert "warm start from champion 20200101-abc" in said
