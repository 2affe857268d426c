"""Old versions go; nothing that is served, or that a rollback needs, ever does."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_core.errors import RegistryError
from model_core.storage.local import LocalStore
from model_core.storage.registry import Registry
from model_core.storage.registry_gc import GRACE_S, collect, plan_gc
from tests.storage.test_registry import NO, YES, bundle, publish

DAY = 86_400
LATER = 1_000 * DAY


def date(number):
    return f"2011-11-{number + 1:02}"


def filled(tmp_path, verdicts, store=None):
    registry = Registry(store or tmp_path / "registry")
    return registry, [
        publish(registry, tmp_path, str(number), verdict, now=number * DAY, date=date(number)).version
        for number, verdict in enumerate(verdicts)]


def going(plan):
    return [removal.version for removal in plan.removals]


def test_the_oldest_that_nobody_needs_go(tmp_path):
    registry, versions = filled(tmp_path, [YES, NO, YES, NO, NO, YES, NO, NO])
    plan = plan_gc(registry, keep=1, older_than_s=0, now=LATER)
    assert going(plan) == [versions[n] for n in (0, 1, 3, 4, 6)]
    assert plan.kept[versions[5]] == "the champion"
    assert "rollback" in plan.kept[versions[2]]
    assert "newest" in plan.kept[versions[7]]
    assert registry.versions() == versions, "a plan removes nothing"
    before = registry.champion()
    done = collect(registry, plan, now=LATER)
    assert going(done) == going(plan)
    assert done.num_bytes > 0
    assert registry.versions() == [versions[n] for n in (2, 5, 7)]
    assert not any(versions[0] in key for key in registry.store.list(""))
    assert not (tmp_path / "registry" / "versions" / versions[0]).exists()
    assert registry.champion().version == before.version
    assert registry.champion().serial == before.serial
    assert registry.rollback(now=LATER).version == versions[2]
    with pytest.raises(RegistryError, match="one of the versions"):
        registry.rollback(now=LATER)
    assert len(registry.history()) == 4, "the log is never shortened"


def test_age_and_grace(tmp_path):
    registry, versions = filled(tmp_path, [NO] * 5 + [YES])
    assert going(plan_gc(registry, keep=0, older_than_s=3 * DAY, now=5 * DAY)) == versions[:3]
    young = plan_gc(registry, keep=0, older_than_s=0, now=5 * DAY)
    assert going(young) == versions[:5], "a day old is old enough"
    assert going(plan_gc(registry, keep=0, older_than_s=0, now=5 * DAY - 1)) == versions[:4]
    assert "ago" in plan_gc(registry, keep=0, older_than_s=3 * DAY, now=5 * DAY).kept[versions[4]]


def test_unfinished_uploads_go_after_the_grace_time(tmp_path):
    registry, _ = filled(tmp_path, [YES])
    half = tmp_path / "registry" / "versions" / "20111101-0badc0de" / "bundle" / "model.onnx"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    written = int(half.stat().st_mtime)
    assert going(plan_gc(registry, keep=0, older_than_s=0, now=written + GRACE_S - 1)) == []
    plan = plan_gc(registry, keep=9, older_than_s=9 * DAY, now=written + GRACE_S)
    assert [(removal.version, removal.why, removal.num_bytes) for removal in plan.removals] == [
        ("20111101-0badc0de", "unfinished", 4)]
    collect(registry, plan, now=written + GRACE_S)
    assert not half.parent.parent.exists()


def test_without_a_champion_only_unfinished_uploads_go(tmp_path):
    registry, versions = filled(tmp_path, [NO, NO])
    plan = plan_gc(registry, keep=0, older_than_s=0, now=LATER)
    assert going(plan) == versions
    with pytest.raises(RegistryError, match="promote a version first"):
        collect(registry, plan, now=LATER)
    assert registry.versions() == versions


def test_a_damaged_version_is_told_and_not_removed(tmp_path):
    registry, versions = filled(tmp_path, [NO, YES])
    (tmp_path / "registry" / "versions" / versions[0] / "version.json").write_text("{")
    with pytest.raises(RegistryError, match="not JSON"):
        plan_gc(registry, keep=0, older_than_s=0, now=LATER)


def test_limits_below_zero_are_refused(tmp_path):
    with pytest.raises(RegistryError, match="--keep"):
        plan_gc(Registry(tmp_path / "registry"), keep=-1, older_than_s=0, now=0)


def test_a_run_repeated_after_its_version_was_removed_is_not_promoted_again(tmp_path):
    registry, versions = filled(tmp_path, [YES, YES])
    registry.rollback(now=2 * DAY)
    collect(registry, plan_gc(registry, keep=0, older_than_s=0, now=LATER), now=LATER)
    assert registry.versions() == versions[:1]
    again = publish(registry, tmp_path, "1", YES, now=LATER, date=date(1))
    assert (again.version, again.promoted) == (versions[1], False)
    assert again.reason == "it was promoted before"
    publish(registry, tmp_path, "2", YES, now=LATER, date=date(2))
    assert registry.champion().collected_at == LATER, "still known after the next move"


class Interrupting(LocalStore):
    """Calls a function just before the n-th write of the pointer or deletion."""

    def __init__(self, root):
        super().__init__(root)
        self.before = {}

    def delete(self, key):
        self.before.pop(("delete", key.rpartition("/")[2]), lambda: None)()
        super().delete(key)

    def write_if(self, key, data, generation):
        self.before.pop(("write", key), lambda: None)()
        return super().write_if(key, data, generation)


@pytest.mark.parametrize("moment", [("delete", "version.json"), ("write", "champion.json")])
def test_a_version_that_is_promoted_meanwhile_stays(tmp_path, moment):
    """Whether the promotion comes before the version is hidden or has seen it before that."""
    store = Interrupting(tmp_path / "registry")
    registry, versions = filled(tmp_path, [NO, YES], store)
    other = Registry(tmp_path / "registry")
    promoter = Promoting(other, versions[0])
    plan = plan_gc(registry, keep=0, older_than_s=0, now=LATER)
    assert going(plan) == [versions[0]]
    promoter.read()
    store.before[moment] = promoter.move
    done = collect(registry, plan, now=LATER)
    assert promoter.moved
    assert going(done) == []
    assert done.kept[versions[0]] == "the champion"
    assert other.champion().version == versions[0]
    assert (other.fetch(versions[0], tmp_path / "copy") / "model.onnx").read_text() == "0"


def test_a_promotion_that_comes_too_late_loses(tmp_path):
    store = Interrupting(tmp_path / "registry")
    registry, versions = filled(tmp_path, [NO, YES], store)
    promoter = Promoting(Registry(tmp_path / "registry"), versions[0])
    promoter.read()
    store.before["delete", "manifest.json"] = promoter.move
    collect(registry, plan_gc(registry, keep=0, older_than_s=0, now=LATER), now=LATER)
    assert not promoter.moved
    assert registry.champion().version == versions[1]


@pytest.mark.parametrize("finished", [True, False])
def test_a_version_that_is_stored_again_meanwhile_stays(tmp_path, finished):
    store = Interrupting(tmp_path / "registry")
    registry, versions = filled(tmp_path, [NO, YES], store)
    if not finished:  # an upload that died, and is finished by a repeated run
        store.delete(f"versions/{versions[0]}/version.json")
    plan = plan_gc(registry, keep=0, older_than_s=0, now=2**40)
    assert going(plan) == [versions[0]]
    store.before["write", "champion.json"] = lambda: publish(
        Registry(tmp_path / "registry"), tmp_path, "0", NO, now=LATER, date=date(0))
    done = collect(registry, plan, now=2**40)
    assert going(done) == []
    assert done.kept[versions[0]] == "stored again meanwhile"
    assert (registry.fetch(versions[0], tmp_path / "copy") / "model.onnx").read_text() == "0"


class Promoting:
    """``Registry.promote`` in two halves: what it reads, and the swap."""

    def __init__(self, registry, version):
        self.registry, self.version, self.moved = registry, version, False

    def read(self):
        self.champion, self.generation = self.registry._pointer()
        self.registry.version_info(self.version)

    def move(self):
        self.moved = self.registry._move(self.champion, self.generation, self.version, None, now=1,
                                         reason="r", who="", run="", action="promote")


def test_a_collection_that_fails_puts_back_what_it_hid(tmp_path):
    store = Interrupting(tmp_path / "registry")
    registry, versions = filled(tmp_path, [NO, NO, YES], store)

    def fail():
        raise KeyboardInterrupt

    store.before["write", "champion.json"] = fail
    with pytest.raises(KeyboardInterrupt):
        collect(registry, plan_gc(registry, keep=0, older_than_s=0, now=LATER), now=LATER)
    assert registry.versions() == versions


@settings(max_examples=20, deadline=None)
@example([YES, YES, "rollback", NO], 0, 0)
@given(st.lists(st.sampled_from([YES, NO, "rollback"]), min_size=1, max_size=7), st.integers(0, 3),
       st.integers(0, 9))
def test_whatever_happened_champion_and_rollback_survive(tmp_path_factory, happened, keep, old_days):
    tmp_path = tmp_path_factory.mktemp("gc")
    registry = Registry(tmp_path / "registry")
    for number, what in enumerate(happened):
        if what == "rollback":
            champion = registry.champion()
            if champion is not None and champion.previous is not None:
                registry.rollback(now=number * DAY)
        else:
            publish(registry, tmp_path, str(number), what, now=number * DAY, date=date(number))
    now = len(happened) * DAY
    champion, before = registry.champion(), set(registry.versions())
    plan = plan_gc(registry, keep=keep, older_than_s=old_days * DAY, now=now)
    assert set(going(plan)) | set(plan.kept) == before
    assert not set(going(plan)) & set(plan.kept)
    if champion is None:
        return
    collect(registry, plan, now=now)
    left = set(registry.versions())
    assert left == set(plan.kept)
    assert {champion.version, champion.previous} - {None} <= left
    assert len(left) >= min(keep, len(before))
    for version in left:
        assert registry.version_info(version)["digest"]


def test_in_a_bucket(remote_uri, tmp_path):
    registry = Registry(f"{remote_uri}/models")
    versions = [publish(registry, tmp_path, name, verdict, now=number, date=date(number)).version
                for number, (name, verdict) in enumerate([("a", NO), ("b", YES), ("c", YES)])]
    registry.store.put("versions/20111101-0badc0de/bundle/model.onnx", bundle(tmp_path, "x") / "model.onnx")
    written = registry.store.list_objects("versions/20111101-0badc0de")[0].modified_at
    assert written > 1_500_000_000
    assert going(plan_gc(registry, keep=0, older_than_s=0, now=written + 60)) == [versions[0]]
    plan = plan_gc(registry, keep=0, older_than_s=0, now=written + GRACE_S)
    assert going(plan) == [versions[0], "20111101-0badc0de"]
    collect(registry, plan, now=written + GRACE_S)
    assert registry.versions() == versions[1:]
    assert registry.champion().version == versions[2]
    assert {key.split("/")[1] for key in registry.store.list("versions")} == set(versions[1:])
