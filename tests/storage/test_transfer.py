import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from model_core.errors import ArtifactError, StorageError
from model_core.records import open_record, write_record
from model_core.storage.cache import ContentCache
from model_core.storage.object_store import ABSENT
from model_core.storage.opening import open_store
from model_core.storage.transfer import INDEX, download_tree, tree_index, upload_tree
from tests.storage.doubles.fault_proxy import Fault, fault_proxy
from tests.storage.doubles.fixtures import QUICK
from tests.storage.doubles.servers import ROOT


@pytest.fixture
def record(tmp_path):
    with write_record(tmp_path / "record", "demo", 1) as (folder, meta):
        (folder / "deep").mkdir()
        for number in range(6):
            (folder / "deep" / f"{number}.npy").write_bytes(os.urandom(300_000))
        (folder / "empty").touch()
        meta["rows"] = 3
    return tmp_path / "record"


def test_a_record_travels_whole_and_tells_how_far_it_is(remote_uri, record, tmp_path):
    store, seen = open_store(remote_uri, settings=QUICK), []
    upload_tree(store, "a/r", record, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] >= 1_800_000
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert INDEX not in " ".join(store.list("a"))  # its manifest is the index
    download_tree(store, "a/r", tmp_path / "copy")
    assert open_record(tmp_path / "copy", "demo", 1, verify="digest").meta["rows"] == 3


def test_a_damaged_record_is_refused_before_it_is_seen(gcs, record):
    (record / "deep" / "3.npy").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="re-run the step"):
        upload_tree(gcs, "r", record)
    assert tree_index(gcs, "r") is None


def test_damage_in_the_store_is_found_when_it_is_read(gcs, record, tmp_path):
    upload_tree(gcs, "r", record)
    gcs.write("r/deep/2.npy", b"y" * 300_000)
    with pytest.raises(StorageError, match="SHA-256|sha256") as caught:  # noqa: RUF043
        download_tree(gcs, "r", tmp_path / "copy")
    assert caught.value.where.endswith("r/deep/2.npy")
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".copy*"))


def test_without_its_index_a_tree_is_not_there(gcs, record, tmp_path):
    upload_tree(gcs, "r", record)
    gcs.delete("r/manifest.json")
    assert tree_index(gcs, "r") is None
    with pytest.raises(StorageError, match="complete stored directory"):
        download_tree(gcs, "r", tmp_path / "copy")


@pytest.mark.parametrize("index", [b"{", b"[]", b'{"files": {"../x": {"bytes": 1, "sha256": "0"}}}',
                                   b'{"files": {"/etc/x": {"bytes": 1, "sha256": "' + b"0" * 64 + b'"}}}',
                                   b'{"files": {"a/../../x": {"bytes": 1, "sha256": "' + b"0" * 64 + b'"}}}'])
def test_a_hostile_index_is_refused(gcs, tmp_path, index):
    gcs.write(f"t/{INDEX}", index)
    with pytest.raises(ArtifactError):
        download_tree(gcs, "t", tmp_path / "copy")


def test_an_upload_goes_on_where_it_failed(remote_uri, gcs_url, s3_url, record, monkeypatch, tmp_path):
    on_gcs = remote_uri.startswith("gs")
    with fault_proxy(gcs_url if on_gcs else s3_url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST" if on_gcs else "AWS_ENDPOINT_URL", proxy.url)
        store = open_store(remote_uri, settings=QUICK)
        writes = lambda method, path: method in ("PUT", "POST")
        proxy.faults = [Fault("status", times=None, skip=4, match=writes, status=403)]
        with pytest.raises(StorageError, match="403"):
            upload_tree(store, "r", record)
        sent = len(store.list("r"))
        assert 0 < sent <= 4
        assert tree_index(store, "r") is None
        proxy.faults.clear()
        before = proxy.count(writes)
        upload_tree(store, "r", record)
        assert proxy.count(writes) - before == 8 - sent, "7 files and the index, less what was there"
        download_tree(store, "r", tmp_path / "copy")


def test_a_killed_upload_is_never_seen_and_repeating_it_finishes_it(gcs_uri, gcs_url, record, tmp_path):
    writes = lambda method, path: method in ("PUT", "POST")
    with fault_proxy(gcs_url) as proxy:
        proxy.faults = [Fault("stall", times=None, skip=3, match=writes)]
        environment = os.environ | {"STORAGE_EMULATOR_HOST": proxy.url}
        command = [sys.executable, "-m", "tests.storage.doubles.uploader", gcs_uri, "r", str(record)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        deadline = time.monotonic() + 30
        store = open_store(gcs_uri, settings=QUICK)
        while len(store.list("r")) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(store.list("r")) == 3
    assert tree_index(store, "r") is None
    with pytest.raises(StorageError, match="complete"):
        store.get_tree("r", tmp_path / "copy")
    upload_tree(store, "r", record)
    store.get_tree("r", tmp_path / "copy")
    open_record(tmp_path / "copy", "demo", 1, verify="digest")


def test_of_two_trees_at_once_under_one_prefix_one_is_there_or_none(gcs_uri, tmp_path):
    outcome, start = {}, threading.Barrier(2)

    def send(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "x").write_text(name * 1000)
        (folder / name).write_text(name)
        start.wait()
        try:
            outcome[name] = upload_tree(open_store(gcs_uri, settings=QUICK), "t", folder)
        except StorageError as error:
            outcome[name] = error

    threads = [threading.Thread(target=send, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_store(gcs_uri, settings=QUICK)
    winner = tree_index(store, "t")
    assert winner is not None
    assert any(not isinstance(value, Exception) and value.files == winner.files
               for value in outcome.values())
    with contextlib.suppress(StorageError):  # a mixture is found, never handed out
        store.get_tree("t", tmp_path / "copy")
        names = {path.name for path in (tmp_path / "copy").iterdir()}
        assert names in ({"x", "a"}, {"x", "b"})


def test_the_cache_saves_the_second_download(gcs_url, gcs_uri, record, monkeypatch, tmp_path):
    with fault_proxy(gcs_url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        store, cache = open_store(gcs_uri, settings=QUICK), ContentCache(tmp_path / "cache")
        upload_tree(store, "r", record)
        media = lambda method, path: "alt=media" in path
        download_tree(store, "r", tmp_path / "one", cache=cache)
        before = proxy.count(media)
        download_tree(store, "r", tmp_path / "two", cache=cache)
        assert proxy.count(media) - before == 1, "the manifest alone"
    assert open_record(tmp_path / "two", "demo", 1, verify="digest")
    assert store.read("r/manifest.json")[1] != ABSENT


@pytest.mark.parametrize(("name", "sha256", "size"), [
    ("x", "../" * 17 + "victim/file/y", 1), ("x", "A" * 64, 1), ("x", "0" * 64, -1), ("../x", "0" * 64, 1),
    ("a\0b", "0" * 64, 1), ("a" * 256, "0" * 64, 1), ("a/" * 512 + "b", "0" * 64, 1), (INDEX, "0" * 64, 1),
    ("\ud800", "0" * 64, 1),
])
def test_an_index_cannot_name_what_is_no_file_of_the_tree(tmp_path, name, sha256, size):
    files = {"files": {name: {"bytes": size, "sha256": sha256}}}
    store = open_store(tmp_path / "store")
    store.write(f"r/{INDEX}", json.dumps(files).encode())
    with pytest.raises(ArtifactError, match="an index of files"):
        tree_index(store, "r")
    store.write("m/manifest.json", json.dumps(files | {"kind": "demo", "digest": "0"}).encode())
    assert tree_index(store, "m") is None
    files["files"] = {"manifest.json": {"bytes": 1, "sha256": "0" * 64}}
    store.write("m/manifest.json", json.dumps(files | {"kind": "demo", "digest": "0"}).encode())
    assert tree_index(store, "m") is None


def test_a_digest_in_an_index_deletes_no_file(gcs, tmp_path):
    cache, victim = ContentCache(tmp_path / "cache"), tmp_path / "file"
    victim.write_bytes(b"mine")
    sha256 = "../" + "./" * 28 + "/file"  # as long as a digest, and a way from content/.. to the victim
    (tmp_path / "cache" / "content").mkdir(parents=True)
    assert len(sha256) == 64
    gcs.write("r/x", b"1")
    gcs.write(f"r/{INDEX}", json.dumps({"files": {"x": {"bytes": 1, "sha256": sha256}}}).encode())
    with contextlib.suppress(ArtifactError, StorageError):
        download_tree(gcs, "r", tmp_path / "copy", cache=cache)
    assert victim.read_bytes() == b"mine"
