"""The champion as of a logical date, and as a record."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import RegistryError, StorageError
from model_core.logical_date import date_text
from model_core.records import write_record
from model_core.storage.champion import ChampionRecord, champion_before, run_key, write_champion
from model_core.storage.local import LocalStore
from model_core.storage.pointer import Champion, logical_seconds
from model_core.storage.registry import Registry
from tests.storage.test_registry import NO, YES, bundle, publish

DAYS = [logical_seconds(f"2011-11-{day}") for day in (25, 26, 27, 28)]


def filled(tmp_path, *dates):
    registry = Registry(tmp_path / "registry")
    return registry, [publish(registry, tmp_path, name, date=date, now=1_000 + number).version
                      for number, (name, date) in enumerate(zip("abcd", dates, strict=False))]


def version_before(registry, time):
    found = champion_before(registry, time)
    return found and found.version


def test_a_run_sees_the_champion_of_an_earlier_date(tmp_path):
    registry, (first, second) = filled(tmp_path, "20111125", "2011-11-27")
    assert [version_before(registry, day) for day in DAYS] == [None, first, first, second]


def test_a_repeated_run_sees_the_same_champion_before_and_after_its_promotion(tmp_path):
    registry, (first,) = filled(tmp_path, "2011-11-25")
    before = write_champion(registry, DAYS[1], tmp_path / "before")
    publish(registry, tmp_path, "b", date="2011-11-26")
    after = write_champion(registry, DAYS[1], tmp_path / "after")
    assert before.version == after.version == first
    assert before.record.digest == after.record.digest


def test_another_attempt_at_the_same_date_is_compared_and_a_repeated_one_is_not(tmp_path):
    registry, (first,) = filled(tmp_path, "2011-11-25")
    ours, theirs = (run_key(settings, "s", "c") for settings in ("a", "b"))
    second = registry.publish(bundle(tmp_path, "x"), verdict=YES, logical_date="2011-11-26",
                              run_info={"run_key": ours}, now=1).version
    assert champion_before(registry, DAYS[1], ours).version == first
    assert champion_before(registry, DAYS[1], theirs).version == second
    assert champion_before(registry, DAYS[1]).version == first
    assert champion_before(registry, DAYS[0], theirs) is None, "of a version without key nothing is known"
    assert run_key("", "s", "c") == ""
    assert len({run_key("a", "s", "c"), run_key("a", "t", "c"), run_key("a", "s", "d")}) == 3


def test_two_runs_of_a_day_are_told_apart(tmp_path):
    registry, (first,) = filled(tmp_path, "2011-11-25T06:00:00Z")
    assert version_before(registry, DAYS[0] + 6 * 3_600) is None
    assert version_before(registry, DAYS[0] + 12 * 3_600) == first


def test_a_rolled_back_version_is_seen_no_more(tmp_path):
    registry, (first, _) = filled(tmp_path, "2011-11-25", "2011-11-26")
    registry.rollback(now=5_000)
    assert version_before(registry, DAYS[3]) == first


def test_a_damaged_log_entry_is_named_where_it_matters_and_may_be_removed(tmp_path):
    registry, versions = filled(tmp_path, "2011-11-24", "2011-11-25", "2011-11-26", "2011-11-27")
    registry.store.write("log/000002.json", b"{half")
    assert version_before(registry, DAYS[3]) == versions[3]
    with pytest.raises(RegistryError, match=r"log/000002\.json.*remove the damaged log entry"):
        version_before(registry, DAYS[0])
    registry.store.delete("log/000002.json")
    assert version_before(registry, DAYS[0]) == versions[0]


def test_without_a_pointer_there_is_no_champion_whatever_the_log_says(tmp_path):
    registry, _ = filled(tmp_path, "2011-11-25")
    registry.store.delete("champion.json")
    assert champion_before(registry, DAYS[3]) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=6), st.integers(0, 4))
def test_of_any_history_the_newest_pointer_of_an_earlier_date_counts(days, asked):
    class Told(Registry):
        def newest_first(self):
            return reversed([Champion(n + 1, f"{n}", None, 0, "") for n in range(len(days))])

        def version_info(self, version):
            return {"logical_date": date_text(DAYS[0] + 86_400 * days[int(version)]), "run_info": {}}

    found = version_before(Told(LocalStore("/nowhere")), DAYS[0] + 86_400 * asked)
    earlier = [str(n) for n, day in enumerate(days) if day < asked]
    assert found == (earlier[-1] if earlier else None)


def test_the_record_of_no_champion(tmp_path):
    record = write_champion(Registry(tmp_path / "registry"), DAYS[0], tmp_path / "out")
    assert (record.state, record.version, record.bundle_dir, record.data_statistics) == (
        "none", None, None, None)
    assert not (tmp_path / "registry").exists(), "looking writes nothing"


def test_the_record_of_a_champion_holds_its_bundle(tmp_path):
    registry, (version,) = filled(tmp_path, "2011-11-25")
    registry.store.write(f"versions/{version}/data.json", json.dumps({"rows": 3}).encode())
    write_champion(registry, DAYS[1], tmp_path / "out")
    record = ChampionRecord.open(tmp_path / "out", verify="digest")
    assert (record.state, record.version, record.logical_date, record.promoted_at, record.problem) == (
        "loaded", version, "2011-11-25T00:00:00Z", 1_000, None)
    assert (record.bundle_dir / "model.onnx").read_text() == "a"
    assert record.data_statistics == {"rows": 3}


def _damaged(registry, version, tmp_path):
    (tmp_path / "registry" / "versions" / version / "bundle" / "model.onnx").write_text("z")


def _older_schema(registry, version, tmp_path):
    registry.schema_version = 99


def _bundle_gone(registry, version, tmp_path):
    for key in registry.store.list(f"versions/{version}/bundle"):
        registry.store.delete(key)


def _version_gone(registry, version, tmp_path):
    registry.store.delete(f"versions/{version}/version.json")


@pytest.mark.parametrize(("spoil", "problem"), [
    (_damaged, "SHA-256"), (_older_schema, "schema version 99"), (_bundle_gone, "stored directory"),
    (_version_gone, "one of the versions"),
])
def test_a_champion_that_cannot_be_read_is_a_state_and_no_fault(tmp_path, spoil, problem):
    registry, (version,) = filled(tmp_path, "2011-11-25")
    spoil(registry, version, tmp_path)
    record = write_champion(registry, DAYS[1], tmp_path / "out")
    assert (record.state, record.version, record.bundle_dir) == ("unreadable", version, None)
    assert problem in record.problem
    again = write_champion(registry, DAYS[1], tmp_path / "again")
    assert again.record.digest == record.record.digest, "no chance name in the text"


def test_a_registry_out_of_reach_is_a_fault(tmp_path):
    registry, _ = filled(tmp_path, "2011-11-25")

    def unreachable(*_):
        raise StorageError("gs://bucket", "an answer", "none", "look at the network")

    registry.store.get_tree = unreachable
    assert write_champion(registry, DAYS[1], tmp_path / "out").state == "unreadable"
    reads = iter([registry.champion()])
    registry.champion = lambda: next(reads, None) or unreachable()
    with pytest.raises(StorageError):
        write_champion(registry, DAYS[1], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_pointer_is_a_fault(tmp_path):
    registry, _ = filled(tmp_path, "2011-11-25")
    (tmp_path / "registry" / "champion.json").write_text("{}")
    with pytest.raises(RegistryError, match="newest readable file"):
        write_champion(registry, DAYS[1], tmp_path / "out")


def test_a_version_that_was_never_promoted_is_no_champion(tmp_path):
    registry = Registry(tmp_path / "registry")
    publish(registry, tmp_path, "a", NO)
    assert champion_before(registry, DAYS[3]) is None


def test_in_a_bucket(remote_uri, tmp_path):
    registry = Registry(f"{remote_uri}/models")
    version = publish(registry, tmp_path, "a").version
    record = write_champion(registry, DAYS[1], tmp_path / "out")
    assert (record.state, record.version) == ("loaded", version)
    assert (record.bundle_dir / "model.onnx").read_text() == "a"


def test_another_record_is_refused(tmp_path):
    from model_core.errors import ArtifactError

    with write_record(tmp_path / "r", "bundle", 3):
        pass
    with pytest.raises(ArtifactError, match="champion record"):
        ChampionRecord.open(tmp_path / "r")
