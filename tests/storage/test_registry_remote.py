"""The registry in an object store: one winner, whoever races, and the losers learn of it."""

import threading

import pytest

from model_core.errors import RegistryError, StorageError
from model_core.storage.opening import open_store
from model_core.storage.registry import Registry
from tests.storage.doubles.fixtures import QUICK
from tests.storage.test_registry import NO, bundle, publish


def test_a_registry_lives_in_a_bucket(remote_uri, tmp_path):
    registry = Registry(f"{remote_uri}/models")
    assert registry.champion() is None
    first = publish(registry, tmp_path, "a")
    assert first.promoted
    assert not publish(registry, tmp_path, "b", NO).promoted
    second = publish(registry, tmp_path, "c", now=2_000)
    assert (second.promoted, second.previous) == (True, first.version)
    again = publish(registry, tmp_path, "c")
    assert (again.version, again.promoted) == (second.version, False)
    assert registry.rollback(now=3_000).version == first.version
    assert [entry.serial for entry in registry.history()] == [1, 2, 3]
    assert len(registry.versions()) == 3
    copy = registry.fetch(second.version, tmp_path / "copy")
    assert (copy / "model.onnx").read_text() == "c"


class Meeting:
    """A store whose users all meet just before they write the pointer."""

    def __init__(self, store, barrier):
        self._store, self._barrier = store, barrier

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write_if(self, key, data, generation):
        if key == "champion.json":
            self._barrier.wait()
        return self._store.write_if(key, data, generation)


def test_of_many_promotions_at_once_one_wins_and_the_others_learn_who(remote_uri, tmp_path):
    stores = [open_store(remote_uri, settings=QUICK) for _ in range(3)]
    barrier = threading.Barrier(len(stores))
    for race in range(2):  # for the first pointer, and for one that is there
        outcome = {}
        for name in range(len(stores)):
            bundle(tmp_path, f"{race}{name}")

        def run(name, race=race, outcome=outcome):
            try:
                outcome[name] = publish(Registry(Meeting(stores[name], barrier)), tmp_path, f"{race}{name}")
            except RegistryError as error:
                outcome[name] = error

        threads = [threading.Thread(target=run, args=(name,)) for name in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [value for value in outcome.values() if not isinstance(value, Exception)]
        losers = [value for value in outcome.values() if isinstance(value, Exception)]
        registry = Registry(stores[0])
        assert len(winners) == 1
        assert winners[0].promoted
        assert registry.champion().version == winners[0].version
        assert registry.champion().serial == 1 + race
        assert all(winners[0].version in str(loser) for loser in losers)
        assert len(registry.versions()) == len(stores) * (race + 1), "losers are kept, only not promoted"


def test_where_nothing_compares_and_swaps_there_is_no_registry(tmp_path):
    with pytest.raises(StorageError, match="only if nobody else did"):
        publish(Registry("memory://bucket/models"), tmp_path, "a")
