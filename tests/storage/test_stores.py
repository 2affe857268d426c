"""What every object store must do, whatever holds the bytes."""

import os
import threading

import pytest

from model_core.errors import RelrecError, StorageError
from model_core.storage.object_store import ABSENT
from model_core.storage.opening import open_store


def test_read_and_write_if(make_store):
    store = make_store()
    assert store.read("a/b.json") == (b"", ABSENT)
    assert store.write_if("a/b.json", b"1", ABSENT)
    assert not store.write_if("a/b.json", b"2", ABSENT)
    data, generation = store.read("a/b.json")
    assert data == b"1"
    assert store.write_if("a/b.json", b"2", generation)
    assert not store.write_if("a/b.json", b"3", generation)
    assert make_store().read("a/b.json")[0] == b"2"
    store.write("a/b.json", b"4")
    assert store.read("a/b.json")[0] == b"4"
    assert store.list("") == ["a/b.json"]


def test_files_of_any_size_come_back_whole(make_store, tmp_path):
    store = make_store()
    for size in (0, 5, (1 << 20) + 1, 6_000_000):
        seen, key = [], f"x{size}/file"
        (tmp_path / "in").write_bytes(os.urandom(size))
        put = store.put(key, tmp_path / "in", seen.append)
        assert (put.key, put.size) == (key, size)
        assert sum(seen) == size
        there = store.stat(key)
        assert (there.size, there.generation, there.digest) == (size, put.generation, put.digest)
        assert store.get(key, tmp_path / "new" / "out", sha256=there.sha256) == there
        assert (tmp_path / "new" / "out").read_bytes() == (tmp_path / "in").read_bytes()
        assert [(info.key, info.size) for info in store.list_objects(f"x{size}")] == [(key, size)]


def test_absent_and_deleted_objects(make_store, tmp_path):
    store = make_store()
    assert store.stat("x") is None
    store.delete("x")
    with pytest.raises(RelrecError, match="found none"):
        store.get("x", tmp_path / "x")
    store.write("x", b"1")
    store.delete("x")
    assert store.stat("x") is None
    assert not (tmp_path / "x").exists()


def test_a_prefix_ends_at_a_slash(make_store):
    store = make_store()
    for key in ("a/1", "a/b/2", "ab/3", "c"):
        store.write(key, b"")
    assert store.list("a") == ["a/1", "a/b/2"]
    assert store.list("") == ["a/1", "a/b/2", "ab/3", "c"]
    assert store.list("none") == []


def test_another_digest_is_refused(make_store, tmp_path):
    store = make_store()
    store.write("x", b"1")
    with pytest.raises(RelrecError, match=r"SHA-256|sha256"):
        store.get("x", tmp_path / "x", sha256="0" * 64)
    assert list(tmp_path.glob("*x*")) == []


def test_one_of_many_racers_wins(make_store):
    stores = [make_store() for _ in range(4)]
    for attempt in range(6):
        key = f"pointer{attempt}"
        if attempt % 2:
            stores[0].write(key, b"old")
        start, won = threading.Barrier(len(stores)), []

        def race(name, key=key, start=start, won=won):
            generation = stores[name].read(key)[1]
            start.wait()
            if stores[name].write_if(key, b"same bytes from everybody", generation):
                won.append(name)

        threads = [threading.Thread(target=race, args=(i,)) for i in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


def test_trees_are_complete_and_immutable(make_store, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "x").write_text("1")
    (source / "y").write_text("2")
    store = make_store()
    store.put_tree("t/one", source)
    (source / "y").write_text("changed")
    store.put_tree("t/one", source)
    store.get_tree("t/one", tmp_path / "copy")
    assert (tmp_path / "copy" / "y").read_text() == "2"
    assert (tmp_path / "copy" / "deep" / "x").read_text() == "1"
    assert sorted(path.name for path in (tmp_path / "copy").rglob("*")) == ["deep", "x", "y"]
    with pytest.raises(RelrecError, match="no such directory yet"):
        store.get_tree("t/one", tmp_path / "copy")
    with pytest.raises(RelrecError, match="stored directory"):
        store.get_tree("t/two", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", ".lock", ""])
def test_keys_stay_inside(make_store, key):
    with pytest.raises(AssertionError):
        make_store().read(key)


def test_a_wrong_bucket_is_not_an_empty_one(remote_uri):
    wrong = open_store(remote_uri.replace("//bucket", "//no-such-bucket"))
    for call in (lambda store: store.read("x"), lambda store: store.stat("x"), lambda store: store.list(""),
                 lambda store: store.write("x", b"")):
        with pytest.raises(StorageError, match="no-such-bucket") as caught:
            call(wrong)
        assert "create the bucket" in caught.value.fix or "check the name" in caught.value.fix
