"""Faults between client and server: nothing lost, nothing half written, bounded time, a clear end."""

import dataclasses
import os
import time

import pytest

from model_core.errors import StorageError
from model_core.storage.object_store import ABSENT
from model_core.storage.opening import open_store
from tests.storage.doubles.fault_proxy import Fault, fault_proxy
from tests.storage.doubles.fixtures import QUICK

BRIEF = dataclasses.replace(QUICK, deadline_s=0.3, timeout_s=0.2)
PASSING = [
    Fault("latency"), Fault("status", times=3, status=503), Fault("status", times=3, status=429),
    Fault("status", times=2, status=500), Fault("reset_before", times=2), Fault("reset_after"),
    Fault("reset_mid_body"), Fault("reset_upload"), Fault("truncated"), Fault("stall"),
]
LASTING = [Fault("status", times=None, status=503), Fault("status", times=None, status=429),
           Fault("reset_before", times=None), Fault("stall", times=None)]


@pytest.fixture
def proxied(remote_uri, gcs_url, s3_url, monkeypatch):
    """A proxy, and a store that talks through it."""
    on_gcs = remote_uri.startswith("gs")
    with fault_proxy(gcs_url if on_gcs else s3_url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST" if on_gcs else "AWS_ENDPOINT_URL", proxy.url)
        store = open_store(remote_uri, settings=QUICK)
        assert store.stat("warm") is None  # the client is made, the bucket is known
        yield proxy, store


def again(fault):
    return Fault(fault.kind, fault.times, fault.skip, fault.match, fault.status, fault.headers, fault.body)


def test_a_fault_that_passes_costs_only_time(proxied, tmp_path):
    proxy, store = proxied
    data = os.urandom(2_300_000 if store.uri.startswith("gs") else 5_300_000)
    (tmp_path / "in").write_bytes(data)
    for number, fault in enumerate(PASSING):
        def hit(fault=fault):
            assert not any(waiting.times for waiting in proxy.faults), f"{fault} did not hit"
            proxy.faults = [again(fault)]

        hit()
        store.put(f"{number}/file", tmp_path / "in")
        hit()
        store.get(f"{number}/file", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        hit()
        assert store.write_if(f"{number}/pointer", b"1", ABSENT)
        hit()
        assert store.read(f"{number}/pointer")[0] == b"1"
        hit()
        assert store.list(f"{number}") == [f"{number}/file", f"{number}/pointer"]


def test_a_fault_that_lasts_ends_in_time_with_a_clear_error(proxied, tmp_path):
    proxy, patient = proxied
    store = open_store(patient.uri, settings=BRIEF)
    assert store.stat("warm") is None
    (tmp_path / "in").write_bytes(b"1" * 2_000_000)
    for fault in LASTING:
        proxy.faults = [fault]
        for call in (lambda: store.put("file", tmp_path / "in"), lambda: store.read("x"),
                     lambda: store.write_if("x", b"", ABSENT)):
            started = time.monotonic()
            with pytest.raises(StorageError, match=r"answer within 0.3 s.*tries in") as caught:
                call()
            assert time.monotonic() - started < BRIEF.deadline_s + 2 * BRIEF.timeout_s + 1
            assert caught.value.where.startswith(store.uri)
    proxy.faults = []
    assert store.list("") == []


def test_a_fault_in_the_middle_of_a_large_file_costs_one_chunk(proxied, tmp_path):
    proxy, store = proxied
    data = os.urandom(12_000_000)
    (tmp_path / "in").write_bytes(data)
    uploads = lambda method, path: method == "PUT" and ("upload_id" in path or "partNumber" in path)
    downloads = lambda method, path: method == "GET" and "file" in path and "list-type" not in path
    for kind in ("reset_after", "reset_upload", "stall"):
        before = proxy.count(uploads)
        proxy.faults = [Fault(kind, skip=1, match=uploads)]
        store.put("file", tmp_path / "in")
        chunks = -(-len(data) // (QUICK.chunk_bytes if store.uri.startswith("gs") else 5 << 20))
        assert proxy.count(uploads) - before <= chunks + 2
    proxy.faults = [Fault("reset_mid_body", skip=3, match=downloads)]
    before = proxy.count(downloads)
    store.get("file", tmp_path / "out")
    assert proxy.count(downloads) - before <= -(-len(data) // QUICK.chunk_bytes) + 3
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("size", [100_000, 6_000_000])
def test_corruption_on_the_way_is_noticed_and_mended(proxied, tmp_path, size):
    proxy, store = proxied
    data = os.urandom(size)
    (tmp_path / "in").write_bytes(data)
    body = lambda method, path: method in ("PUT", "POST") and "uploads" not in path and not (
        "uploadType=resumable" in path and "upload_id" not in path) and not (
        "uploadId" in path and "partNumber" not in path)
    content = lambda method, path: method == "GET" and "file" in path and "list-type" not in path and (
        "alt=media" in path or "storage/v1" not in path)
    if store.uri.startswith("gs"):  # moto does not look at Content-MD5
        proxy.faults = [Fault("corrupt_request", match=body)]
    store.put("file", tmp_path / "in")
    proxy.faults = [Fault("corrupt_answer", match=content)]
    store.get("file", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    proxy.faults = [Fault("corrupt_answer", times=None, match=content)]
    with pytest.raises(StorageError, match="damaged"):
        store.get("file", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_won_write_whose_answer_is_lost_still_counts_as_won(proxied):
    proxy, store = proxied
    for attempt in range(3):
        proxy.faults = [Fault("reset_after", match=lambda method, path: method in ("PUT", "POST"))]
        assert store.write_if("pointer", f"{attempt}".encode(), store.read("pointer")[1])
        assert not proxy.faults[0].times
    assert store.read("pointer")[0] == b"2"
