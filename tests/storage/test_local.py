import multiprocessing
import shutil
import threading
from pathlib import Path

import pytest

from model_core.errors import RegistryError
from model_core.storage.local import LocalStore
from model_core.storage.object_store import ABSENT


def test_read_and_write_if(tmp_path):
    store = LocalStore(tmp_path / "new")
    assert store.read("a/b.json") == (b"", ABSENT)
    assert store.write_if("a/b.json", b"1", ABSENT)
    assert not store.write_if("a/b.json", b"2", ABSENT)
    data, generation = store.read("a/b.json")
    assert data == b"1"
    assert store.write_if("a/b.json", b"2", generation)
    assert not store.write_if("a/b.json", b"3", generation)
    assert store.read("a/b.json")[0] == b"2"
    assert store.list("") == ["a/b.json"]


def _race(root: str, key: str, name: int, start, won) -> None:
    store = LocalStore(Path(root))
    generation = store.read(key)[1]
    start.wait()
    if store.write_if(key, f"writer {name}".encode(), generation):
        won.append(name)


@pytest.mark.parametrize("present", [False, True])
def test_one_of_many_threads_wins(tmp_path, present):
    for attempt in range(10):
        key = f"pointer{attempt}"
        if present:
            LocalStore(tmp_path).write_if(key, b"old", ABSENT)
        start, won = threading.Barrier(16), []
        threads = [threading.Thread(target=_race, args=(str(tmp_path), key, i, start, won))
                   for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert LocalStore(tmp_path).read(key)[0] == f"writer {won[0]}".encode()


def _race_often(root: str, name: int, start, winners) -> None:
    for attempt in range(20):
        won: list[int] = []
        _race(root, f"pointer{attempt}", name, start, won)
        if won:
            winners.put((attempt, name))
    winners.put(None)


def test_one_of_many_processes_wins(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, winners = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_race_often, args=(str(tmp_path), i, start, winners))
                 for i in range(4)]
    for process in processes:
        process.start()
    wins, finished = [], 0
    while finished < len(processes):
        entry = winners.get(timeout=30)
        if entry is None:
            finished += 1
        else:
            wins.append(entry)
    for process in processes:
        process.join()
    assert sorted(attempt for attempt, _ in wins) == list(range(20))


def test_trees_are_complete_and_immutable(tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "x").write_text("1")
    (source / "y").write_text("2")
    store = LocalStore(tmp_path / "store")
    store.put_tree("t/one", source)
    assert store.list("t") == ["t/one/deep/x", "t/one/y"]
    (source / "y").write_text("changed")
    store.put_tree("t/one", source)
    store.get_tree("t/one", tmp_path / "copy")
    assert (tmp_path / "copy" / "y").read_text() == "2"
    with pytest.raises(RegistryError, match="no such directory yet"):
        store.get_tree("t/one", tmp_path / "copy")
    with pytest.raises(RegistryError, match="a stored directory"):
        store.get_tree("t/two", tmp_path / "other")


def test_a_failed_copy_leaves_nothing(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for name in "ab":
        (source / name).write_text(name)
    real_copy, copied = shutil.copyfile, []

    def copy_one_then_fail(src, dst):
        if copied:
            raise OSError("disk full")
        copied.append(dst)
        return real_copy(src, dst)

    monkeypatch.setattr("model_core.storage.local.shutil.copyfile", copy_one_then_fail)
    store = LocalStore(tmp_path / "store")
    with pytest.raises(OSError, match="disk full"):
        store.put_tree("t", source)
    assert [p.name for p in (tmp_path / "store").iterdir()] == []


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", ".lock", ""])
def test_keys_stay_inside(tmp_path, key):
    with pytest.raises(AssertionError):
        LocalStore(tmp_path).read(key)
