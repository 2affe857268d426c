"""What the publish step hands to the registry: verdict, champion compared with, data, names."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from components.publish.__main__ import publish
from model_core.errors import RegistryError
from model_core.evaluation.record import Report, Verdict
from model_core.records import open_record, write_record
from model_core.serving.bundle import KIND, SCHEMA_VERSION, Bundle
from model_core.storage.pointer import logical_seconds
from model_core.storage.registry import Registry
from model_core.watch.record import DataWatch

BETTER = Verdict(True, "Promoted: better.", "m", "b", "map", 10, "test", "none", 0.1, 0.05, 0.2)
DIGESTS = {name: name * 8 for name in ("weights", "graph", "split", "negative_queue")}
PARITY = {"num_users": 3, "largest_difference": 1e-6, "tolerance": 1e-4}


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Publishes a bundle of a date; the records that the step reads are as small as can be."""
    (tmp_path / "statistics.json").write_text('{"rows": 3}')
    monkeypatch.setattr(DataWatch, "open", lambda *_, **__: SimpleNamespace(
        statistics_file=tmp_path / "statistics.json"))
    monkeypatch.setattr(Bundle, "open", lambda path: SimpleNamespace(
        record=open_record(path, KIND, SCHEMA_VERSION, "digest")))

    def run(date, champion=None, **changes):
        bundle = tmp_path / "bundles" / date
        with write_record(bundle, KIND, SCHEMA_VERSION) as (folder, meta):
            (folder / "config.json").write_text(json.dumps({"date": date}))
            meta.update({"digests": DIGESTS, "parity": PARITY} | changes)
        monkeypatch.setattr(Report, "open", lambda *_, **__: SimpleNamespace(
            verdict=dataclasses.replace(BETTER, champion=champion), logical_time=logical_seconds(date),
            facts={"context": {"dataset": "shop", "task": "buy"}, "digests": DIGESTS, "start": None},
            record=SimpleNamespace(digest="r" * 64), deciding_figures=list))
        publish(bundle, tmp_path / "report", tmp_path / "watch", str(tmp_path / "registry"),
                tmp_path / "publication", run_name="retrain-buy", who="ann@desk", settings_digest="s")
        return json.loads((tmp_path / "publication").read_bytes())

    return run


def test_a_version_keeps_who_when_from_what_and_its_data(step, tmp_path):
    done = step("2011-11-24")
    registry = Registry(tmp_path / "registry")
    assert (done["promoted"], done["champion"]) == (True, registry.champion().version)
    assert registry.extra(done["version"], "data.json") == b'{"rows": 3}'
    assert (registry.champion().who, registry.champion().run) == ("ann@desk", "retrain-buy-20111124")
    info = registry.version_info(done["version"])
    assert info["logical_date"] == "2011-11-24T00:00:00Z"
    assert [check["name"] for check in info["verdict"]["checks"]] == ["bundle"]
    assert info["run_info"]["run_key"]
    assert info["run_info"]["inputs_digest"]


def test_a_verdict_against_another_champion_than_the_present_one_moves_nothing(step, tmp_path):
    first = step("2011-11-24")["version"]
    with pytest.raises(RegistryError, match="run the same command again"):
        step("2011-11-25")  # judged when there was no champion yet
    registry = Registry(tmp_path / "registry")
    assert registry.champion().version == first
    assert step("2011-11-25", champion=first)["promoted"]
    registry.rollback(now=1)
    with pytest.raises(RegistryError, match="run the same command again"):
        step("2011-11-26", champion=registry.history()[1].version)  # rolled back while the run went on
    assert registry.champion().version == first


def test_a_bundle_without_proof_is_stored_and_not_promoted(step, tmp_path):
    done = step("2011-11-24", parity={})
    assert not done["promoted"]
    assert "Failed: bundle" in done["reason"]
    registry = Registry(tmp_path / "registry")
    assert registry.champion() is None
    assert not registry.version_info(done["version"])["verdict"]["promote"]
