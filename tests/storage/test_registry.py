import json
import threading

import pytest

from model_core.errors import ArtifactError, RegistryError
from model_core.records import write_record
from model_core.serving.bundle import KIND, SCHEMA_VERSION
from model_core.storage.local import LocalStore
from model_core.storage.registry import Registry

YES = {"promote": True, "reason": "better"}
NO = {"promote": False, "reason": "worse than popularity"}


def bundle(tmp_path, name):
    with write_record(tmp_path / "bundles" / name, KIND, SCHEMA_VERSION) as (folder, meta):
        (folder / "model.onnx").write_text(name)
        meta["name"] = name
    return tmp_path / "bundles" / name


def publish(registry, tmp_path, name, verdict=YES, now=1_000, date="2011-11-25", **kwargs):
    return registry.publish(bundle(tmp_path, name), verdict=verdict, logical_date=date,
                            run_info={"seed": 0}, now=now, **kwargs)


def test_publish_promotes_a_winner_only(tmp_path):
    registry = Registry(tmp_path / "registry")
    assert registry.champion() is None
    assert registry.versions() == []
    refused = publish(registry, tmp_path, "a", NO)
    assert (refused.promoted, refused.champion) == (False, None)
    assert refused.reason == NO["reason"]
    assert registry.champion() is None
    assert registry.versions() == [refused.version]
    won = publish(registry, tmp_path, "b", date="2011-11-26T00:00:00Z")
    assert won.version.startswith("20111126-")
    assert won.promoted
    assert won.previous is None
    assert registry.champion().version == won.version
    info = registry.version_info(won.version)
    assert info["verdict"] == YES
    assert info["created_at"] == 1_000
    assert won.version.endswith(info["digest"][:8])
    copy = registry.fetch(won.version, tmp_path / "copy")
    assert (copy / "model.onnx").read_text() == "b"


def test_extra_files_are_kept_beside_a_version(tmp_path):
    registry = Registry(tmp_path / "registry")
    version = publish(registry, tmp_path, "a", extra={"data.json": b"{}"}).version
    assert registry.extra(version, "data.json") == b"{}"
    assert registry.extra(version, "other.json") is None
    assert registry.versions() == [version]
    assert publish(registry, tmp_path, "a", extra={"data.json": b"[]"}).version == version
    assert registry.extra(version, "data.json") == b"{}", "a version never changes"


def test_publishing_again_changes_nothing(tmp_path):
    registry = Registry(str(tmp_path / "registry"))
    first = publish(registry, tmp_path, "a")
    before = registry.store.list("")
    again = publish(registry, tmp_path, "a", now=2_000, date="2012-01-01")
    assert again.version == first.version
    assert not again.promoted
    assert again.champion == first.version
    assert registry.store.list("") == before
    assert registry.champion().promoted_at == 1_000


def test_a_replaced_champion_does_not_come_back_by_a_repeated_run(tmp_path):
    registry = Registry(tmp_path / "registry")
    first, second = (publish(registry, tmp_path, name) for name in "ab")
    assert second.previous == first.version
    assert not publish(registry, tmp_path, "a").promoted
    assert registry.champion().version == second.version


def test_equal_inputs_are_promoted_once_whatever_the_bits(tmp_path):
    registry = Registry(tmp_path / "registry")

    def run(name, inputs, date="2011-11-25"):
        return registry.publish(bundle(tmp_path, name), verdict=YES, logical_date=date,
                                run_info={"inputs_digest": inputs}, now=1)

    first = run("a", "x")
    again = run("b", "x")
    assert (first.promoted, again.promoted) == (True, False)
    assert again.version != first.version
    assert registry.champion().version == first.version
    assert again.reason == "it was promoted before"
    assert run("c", "y").promoted, "other settings of one date compete"
    assert run("d", "x", "2011-11-26").promoted


def test_two_times_of_one_day_have_two_names_in_order(tmp_path):
    registry = Registry(tmp_path / "registry")
    late, early, day = (publish(registry, tmp_path, name, NO, date=date).version for name, date in (
        ("a", "2011-11-25T18:00:00Z"), ("b", "2011-11-25T06:30:00Z"), ("c", "2011-11-25")))
    assert late.startswith("20111125T180000-")
    assert registry.versions() == [day, early, late]
    assert publish(registry, tmp_path, "a", date="2011-11-25T18:00:00Z").promoted
    assert "later date" in publish(registry, tmp_path, "b", date="2011-11-25T06:30:00Z").reason


def test_rollback_walks_back(tmp_path):
    registry = Registry(tmp_path / "registry")
    names = [publish(registry, tmp_path, name, now=i).version for i, name in enumerate("abc")]
    assert registry.rollback(now=10).version == names[1]
    assert registry.rollback(now=11).version == names[0]
    with pytest.raises(RegistryError, match="a champion before"):
        registry.rollback(now=12)
    assert [e.version for e in registry.history()] == [*names, names[1], names[0]]
    assert [e.serial for e in registry.history()] == [1, 2, 3, 4, 5]
    assert not publish(registry, tmp_path, "c").promoted


def test_a_rollback_leads_past_what_was_taken_back_whatever_was_promoted_twice(tmp_path):
    registry = Registry(tmp_path / "registry")
    first, second = (publish(registry, tmp_path, name).version for name in "ab")
    registry.promote(first, reason="by hand", who="ann", now=3)
    assert registry.rollback(now=4).version == second
    assert registry.rollback(now=5).version == first
    with pytest.raises(RegistryError, match="a champion before"):
        registry.rollback(now=6)
    third = publish(registry, tmp_path, "c").version
    registry.promote(second, reason="by hand", who="ann", now=7)
    assert [registry.rollback(now=8).version, registry.rollback(now=9).version] == [third, first]


def test_rollbacks_through_a_log_of_an_older_release(tmp_path):
    registry = Registry(tmp_path / "registry")
    names = [publish(registry, tmp_path, name).version for name in "abc"]
    registry.rollback(now=10)
    for path in [tmp_path / "registry" / "champion.json", *(tmp_path / "registry" / "log").iterdir()]:
        entry = json.loads(path.read_bytes())
        path.write_text(json.dumps({name: entry[name] for name in (
            "serial", "version", "previous", "promoted_at", "reason")}))
    assert registry.rollback(now=11).version == names[0]
    with pytest.raises(RegistryError, match="a champion before"):
        registry.rollback(now=12)


class Meeting(LocalStore):
    """All writers of the pointer meet just before they write."""

    barrier: threading.Barrier

    def write_if(self, key, data, generation):
        if key == "champion.json":
            self.barrier.wait()
        return super().write_if(key, data, generation)


def test_of_two_promotions_at_once_one_wins_and_the_other_learns_who(tmp_path):
    Meeting.barrier = threading.Barrier(2)
    outcome = {}
    for name in "ab":
        bundle(tmp_path, name)

    def run(name):
        try:
            outcome[name] = publish(Registry(Meeting(tmp_path / "registry")), tmp_path, name)
        except RegistryError as error:
            outcome[name] = error

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry = Registry(tmp_path / "registry")
    champion = registry.champion()
    winner = next(o for o in outcome.values() if not isinstance(o, Exception))
    loser = next(o for o in outcome.values() if isinstance(o, Exception))
    assert winner.promoted
    assert champion.version == winner.version
    assert champion.serial == 1
    assert winner.version in str(loser)
    assert len(registry.versions()) == 2, "the loser's version is kept, only not promoted"


def test_verdict_against_a_replaced_champion_is_refused(tmp_path):
    registry = Registry(tmp_path / "registry")
    first, second = (publish(registry, tmp_path, name) for name in "ab")
    for stale in (first.version, None):  # None: there was no champion when the verdict was made
        with pytest.raises(RegistryError, match=second.version) as caught:
            publish(registry, tmp_path, "c", judged_against=stale, date="2011-11-26")
        assert "run the same command again" in str(caught.value)
    assert registry.champion().version == second.version
    assert publish(registry, tmp_path, "c", judged_against=second.version, date="2011-11-26").promoted


def test_a_champion_of_the_same_or_a_later_date_stays(tmp_path):
    registry = Registry(tmp_path / "registry")
    first = publish(registry, tmp_path, "a", judged_against=None, date="2011-11-24").version
    second = publish(registry, tmp_path, "b", judged_against=first).version
    same = publish(registry, tmp_path, "c", judged_against=first)
    assert (same.promoted, same.champion) == (False, second)
    assert "same date" in same.reason
    earlier = publish(registry, tmp_path, "d", judged_against=first, date="2011-11-24T12:00:00Z")
    assert (earlier.promoted, earlier.champion) == (False, second)
    assert "later date" in earlier.reason
    assert publish(registry, tmp_path, "e", judged_against=second).promoted


def test_the_log_says_who_when_why_and_from_which_run(tmp_path):
    registry = Registry(tmp_path / "registry")
    first = registry.publish(bundle(tmp_path, "a"), verdict=YES, logical_date="2011-11-25", now=1_000,
                             run_info={"run_name": "retrain-buy-20111125"}, who="ann@desk").version
    second = publish(registry, tmp_path, "b", NO).version
    registry.promote(second, reason="a test of ours", who="bob@desk", now=2_000)
    registry.rollback(now=3_000, reason="too few hits", who="ann@desk")
    assert [(e.version, e.who, e.promoted_at, e.reason, e.run, e.action) for e in registry.history()] == [
        (first, "ann@desk", 1_000, "better", "retrain-buy-20111125", "publish"),
        (second, "bob@desk", 2_000, "a test of ours", "", "promote"),
        (first, "ann@desk", 3_000, "too few hits", "", "rollback"),
    ]


def test_pointers_of_older_and_newer_releases_are_read(tmp_path):
    registry = Registry(tmp_path / "registry")
    version = publish(registry, tmp_path, "a").version
    old = {"serial": 1, "version": version, "previous": None, "promoted_at": 5, "reason": "r"}
    for content in (old, old | {"weather": "fine"}):
        (tmp_path / "registry" / "champion.json").write_text(json.dumps(content))
        (tmp_path / "registry" / "log" / "000001.json").write_text(json.dumps(content))
        champion = registry.champion()
        assert (champion.version, champion.promoted_at, champion.who, champion.run) == (version, 5, "", "")
        assert registry.history() == [champion]


def test_promotion_by_hand(tmp_path):
    registry = Registry(tmp_path / "registry")
    first, second = (publish(registry, tmp_path, name, verdict).version
                     for name, verdict in (("a", YES), ("b", NO)))
    with pytest.raises(RegistryError, match="--reason"):
        registry.promote(second, reason=" ", who="ann", now=1)
    with pytest.raises(RegistryError, match="one of the versions"):
        registry.promote("20110101-00000000", reason="r", who="ann", now=1)
    moved = registry.promote(second, reason="r", who="ann", now=1)
    assert (moved.version, moved.previous, moved.serial) == (second, first, 2)
    assert registry.promote(second, reason="r", who="ann", now=2) == moved, "nothing to do"
    assert registry.rollback(now=3).version == first


class Counting(LocalStore):
    written = ()

    def write_if(self, key, data, generation):
        self.written = (*self.written, key)
        return super().write_if(key, data, generation)


def test_a_rollback_is_one_pointer_write(tmp_path):
    store = Counting(tmp_path / "registry")
    registry = Registry(store)
    for name in "abc":
        publish(registry, tmp_path, name)
    store.written = ()
    registry.rollback(now=9)
    assert [key for key in store.written if not key.startswith("log/")] == ["champion.json"]


def test_a_run_killed_anywhere_is_finished_by_repeating_it(tmp_path):
    class Killed(BaseException):
        pass

    class Dying(LocalStore):
        writes = 0

        def write_if(self, key, data, generation):
            type(self).writes -= 1
            if type(self).writes < 0:
                raise Killed
            return super().write_if(key, data, generation)

    for survived in range(4):
        root = tmp_path / f"registry{survived}"
        old = publish(Registry(root), tmp_path, "a")
        Dying.writes = survived
        # version.json, the old entry's log, the pointer, the new entry's log
        with pytest.raises(Killed):
            publish(Registry(Dying(root)), tmp_path, "b")
        registry = Registry(root)
        assert len(registry.versions()) == (1 if survived == 0 else 2)
        assert (registry.champion().version == old.version) == (survived < 3)
        final = publish(registry, tmp_path, "b")
        assert final.champion == final.version == registry.champion().version
        publish(registry, tmp_path, "c")
        assert [json.loads(registry.store.read(k)[0])["serial"] for k in registry.store.list("log")] \
            == [1, 2, 3]


def test_damage_is_named_with_its_fix(tmp_path):
    registry = Registry(tmp_path / "registry")
    version = publish(registry, tmp_path, "a").version
    pointer = tmp_path / "registry" / "champion.json"
    good = pointer.read_bytes()
    for bad in (b"", b"{}", b"[]", b'{"serial": "x"}', good[:-20],
                *(json.dumps(json.loads(good) | wrong).encode() for wrong in (
                    {"previous": 3}, {"promoted_at": None}, {"version": None}, {"reason": ["r"]}))):
        pointer.write_bytes(bad)
        with pytest.raises(RegistryError, match=r"log/ over champion\.json"):
            registry.champion()
        with pytest.raises(RegistryError):
            publish(registry, tmp_path, "b")
        assert pointer.read_bytes() == bad, "a damaged pointer is never overwritten"
    pointer.write_bytes(max((tmp_path / "registry" / "log").iterdir()).read_bytes())
    assert registry.champion().version == version
    stored = tmp_path / "registry" / "versions" / version / "bundle" / "model.onnx"
    stored.write_text("z")
    with pytest.raises(ArtifactError, match="SHA-256"):
        registry.fetch(version, tmp_path / "copy")


@pytest.mark.parametrize("damage", [b"{}", b"[]", b"", {"logical_date": 5}, {"run_info": None}])
def test_a_damaged_version_file_is_named(tmp_path, damage):
    registry = Registry(tmp_path / "registry")
    first, second = (publish(registry, tmp_path, name, date=date).version
                     for name, date in (("a", "2011-11-24"), ("b", "2011-11-25")))
    path = tmp_path / "registry" / "versions" / second / "version.json"
    path.write_bytes(damage if isinstance(damage, bytes) else json.dumps(
        json.loads(path.read_bytes()) | damage).encode())
    before = registry.champion()
    for ask in (lambda: registry.version_info(second), lambda: registry.fetch(second, tmp_path / "copy"),
                lambda: registry.promote(second, reason="r", who="", now=1)):
        with pytest.raises(RegistryError, match=f"{second}/version.json.*restore the file"):
            ask()
    assert registry.champion() == before
    registry.promote(first, reason="the way out", who="", now=2)


def test_a_champion_that_is_gone_stands_for_the_date_in_its_name(tmp_path):
    registry = Registry(tmp_path / "registry")
    gone = publish(registry, tmp_path, "a").version
    registry.store.delete(f"versions/{gone}/version.json")
    earlier = publish(registry, tmp_path, "b", date="2011-11-24", judged_against=None)
    assert (earlier.promoted, earlier.champion) == (False, gone)
    assert "later date (2011-11-25" in earlier.reason
    later = publish(registry, tmp_path, "c", date="2011-11-26", judged_against=gone)
    assert (later.promoted, later.previous) == (True, gone)
    with pytest.raises(RegistryError, match="one of the versions"):
        registry.rollback(now=5)
    assert registry.champion().version == later.version


def test_bad_arguments(tmp_path):
    registry = Registry(tmp_path / "registry")
    with pytest.raises(RegistryError, match="promote"):
        publish(registry, tmp_path, "a", verdict={})
    with pytest.raises(RegistryError, match="2011-11-25"):
        publish(registry, tmp_path, "a", date="yesterday")
    with pytest.raises(RegistryError, match="NaN"):
        publish(registry, tmp_path, "a", verdict={"promote": True, "gain": float("nan")})
    with pytest.raises(RegistryError, match="one of the versions"):
        registry.fetch("20110101-00000000", tmp_path / "copy")
    (bundle(tmp_path, "a") / "model.onnx").write_text("b")
    with pytest.raises(ArtifactError):
        registry.publish(tmp_path / "bundles" / "a", verdict=YES, logical_date="20110101",
                         run_info={}, now=0)
    assert registry.versions() == []
    assert not (tmp_path / "registry").exists()
