"""load_champion finds a wrong registry before training, and publish tells runs apart."""

import json

import pytest

from components.load_champion.__main__ import load_champion
from components.publish.__main__ import _inputs_digest
from model_core.errors import RegistryError
from model_core.records import write_record
from model_core.split.logical_time import KIND, SCHEMA_VERSION
from model_core.storage.champion import ChampionRecord
from model_core.storage.pointer import logical_seconds
from model_core.storage.registry import Registry
from tests.storage.test_registry import YES, bundle


def split_of(tmp_path, dataset="shop", task="buy", date="2011-11-25"):
    with write_record(tmp_path / "split", KIND, SCHEMA_VERSION) as (_, meta):
        meta.update(dataset=dataset, task=task, as_of=logical_seconds(date), test_time=0)
    return tmp_path / "split"


@pytest.fixture
def registry(tmp_path):
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle(tmp_path, "a"), verdict=YES, logical_date="2011-11-24", now=1,
                     run_info={"dataset": "shop", "task": "buy"})
    return registry


def load(tmp_path, **names):
    load_champion(split_of(tmp_path, **names), str(tmp_path / "registry"), tmp_path / "champion")
    return ChampionRecord.open(tmp_path / "champion")


def test_the_champion_of_the_split_s_date(registry, tmp_path):
    assert load(tmp_path).version == registry.champion().version
    assert load(tmp_path, date="2011-11-24").state == "none"


@pytest.mark.parametrize("other", [{"dataset": "library"}, {"task": "view"}])
def test_a_registry_of_other_models_is_refused_before_training(registry, tmp_path, other):
    with pytest.raises(RegistryError, match="one for each dataset and task"):
        load(tmp_path, **other)
    assert not (tmp_path / "champion").exists()


def test_a_warm_start_from_another_champion_is_another_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"train": {"warm_start": "champion"}}))
    starts = [None, {"bundle": None}, {"bundle": "a" * 64}, {"bundle": "b" * 64}]
    cold, no_champion, first, second = (
        _inputs_digest(tmp_path, {"digests": {"graph": "g"}, "start": start}) for start in starts)
    assert cold == no_champion
    assert len({cold, first, second}) == 3
