"""Datasets in object stores: the same snapshot, told apart without being fetched."""

import pytest

from model_core.errors import DataError, StorageError
from model_core.storage.opening import open_store
from model_core.tables.demo import DEMO_TASK
from model_core.tables.fingerprint import source_fingerprint
from model_core.tables.ingest import ingest
from model_core.tables.relbench import open_source
from model_core.tables.remote import fetch_dataset
from tests.storage.doubles.fault_proxy import fault_proxy


@pytest.fixture
def there(remote_uri, demo_dataset, monkeypatch, tmp_path):
    """URI of the demo shop in a store, and a cache of one's own."""
    monkeypatch.setenv("RELREC_CACHE_DIR", str(tmp_path / "cache"))
    uri = f"{remote_uri}/shop"
    store = open_store(uri)
    for path in sorted(demo_dataset.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(demo_dataset).as_posix(), path)
    store.write("notes/unrelated.txt", b"not part of it")
    return uri


def test_ingest_gives_the_same_snapshot(there, demo_snapshot, tmp_path):
    assert ingest(there, DEMO_TASK, tmp_path / "s").record.digest == demo_snapshot.record.digest


def test_fingerprint_reads_no_table_and_follows_content(there, gcs_url, s3_url, monkeypatch, demo_dataset):
    on_gcs = there.startswith("gs")
    with fault_proxy(gcs_url if on_gcs else s3_url) as proxy, monkeypatch.context() as patched:
        patched.setenv("STORAGE_EMULATOR_HOST" if on_gcs else "AWS_ENDPOINT_URL", proxy.url)
        before = source_fingerprint(there, DEMO_TASK)
        assert before == source_fingerprint(there, DEMO_TASK)
        assert not proxy.count(lambda method, path: ".parquet" in path)
    store = open_store(there)
    store.put("db/views.parquet", demo_dataset / "db" / "views.parquet")
    assert source_fingerprint(there, DEMO_TASK) == before, "the same content, written again"
    store.write("notes/other.txt", b"")
    assert source_fingerprint(there, DEMO_TASK) == before
    store.put("db/views.parquet", demo_dataset / "db" / "orders.parquet")
    assert source_fingerprint(there, DEMO_TASK) != before


def test_a_file_is_fetched_once(there, gcs_url, s3_url, monkeypatch, demo_dataset):
    on_gcs = there.startswith("gs")
    first = fetch_dataset(there)
    assert not (first / "notes").exists()
    store = open_store(there)
    store.put("db/views.parquet", demo_dataset / "db" / "orders.parquet")
    with fault_proxy(gcs_url if on_gcs else s3_url) as proxy, monkeypatch.context() as patched:
        patched.setenv("STORAGE_EMULATOR_HOST" if on_gcs else "AWS_ENDPOINT_URL", proxy.url)
        second = fetch_dataset(there)
        fetched = {path.split("?")[0].rsplit("%2F")[-1].rsplit("/")[-1] for method, path in proxy.requests
                   if method == "GET" and ".parquet" in path}
    assert fetched == {"views.parquet"}
    assert second != first
    assert (first / "db" / "views.parquet").read_bytes() == (
        demo_dataset / "db" / "views.parquet").read_bytes(), "a dataset in use does not change"


def test_faults_name_the_uri_and_not_the_cache(there):
    store = open_store(there)
    store.write("manifest.yaml", b"name: [")
    with pytest.raises(DataError) as caught:
        open_source(there)
    assert caught.value.where.startswith(f"{there}/manifest.yaml")
    store.delete("manifest.yaml")
    with pytest.raises(DataError, match=r"a folder with a manifest\.yaml"):
        source_fingerprint(there, DEMO_TASK)
    with pytest.raises(StorageError, match="bucket"):
        open_source(there.replace("//bucket", "//no-such-bucket"))
