"""fsspec's own in-memory filesystem stands for every scheme without a store of its own."""

import itertools

import pytest

from model_core.errors import StorageError
from model_core.storage.opening import open_store

_number = itertools.count()


@pytest.fixture
def store():
    return open_store(f"memory://box/{next(_number)}")


def test_files_and_trees(store, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "x").write_bytes(b"1" * 100)
    (tmp_path / "in" / "empty").touch()
    store.put_tree("t", tmp_path / "in")
    assert store.list("t") == ["t/deep/x", "t/empty", "t/relrec-index.json"]
    assert store.stat("t/deep/x").size == 100
    assert store.stat("t/deep") is None
    store.get_tree("t", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "x").read_bytes() == b"1" * 100
    store.delete("t/empty")
    store.delete("t/empty")
    assert store.read("t/empty") == (b"", "")


def test_what_cannot_compare_and_swap_says_so(store):
    with pytest.raises(StorageError, match="local directory, gs:// or s3://"):
        store.write_if("pointer", b"", "")
