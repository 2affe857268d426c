"""Containers, with the dataset, the root and the registry in a bucket: the report is readable there."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from model_core.storage.opening import open_store
from model_core.storage.registry import Registry
from model_core.storage.transfer import tree_index, upload_tree
from pipelines.runs import run_locally
from tests.pipelines.test_retrain import request as small_request
from tests.storage.doubles import servers

PLACES = {
    "gs": (servers.gcs_server, lambda url: {"STORAGE_EMULATOR_HOST": url}),
    "s3": (servers.s3_server, lambda url: {**servers.S3_ENVIRONMENT, "AWS_ENDPOINT_URL": url}),
}


@pytest.mark.parametrize("scheme", PLACES)
def test_everything_in_a_bucket(scheme, demo_dataset, tmp_path, monkeypatch, record):
    assert os.environ.get("OMP_NUM_THREADS"), "set OMP_NUM_THREADS: sums depend on the thread count"
    server, environment = PLACES[scheme]
    with server() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RELREC_CACHE_DIR", str(tmp_path / "cache"))
        bucket = f"{scheme}://{servers.BUCKET}"
        store = open_store(bucket)
        upload_tree(store, "data/shop", demo_dataset)
        request = replace(
            small_request(demo_dataset, Path("unused")), dataset=f"{bucket}/data/shop", root=f"{bucket}/x",
            registry=f"{bucket}/x/registry", runner="docker")
        said: list[bytes] = []
        summary = run_locally(request, listener=lambda step: None, output=said.append)
        assert summary["status"] == "succeeded", summary["error"]
        assert not any(value.encode() in b"".join(said) for value in servers.S3_ENVIRONMENT.values()
                       if scheme == "s3" and value != "us-east-1")

        page, _ = store.read("x/report.html")
        assert page.startswith(b"<!doctype html>") or page.lower().startswith(b"<!doctype html>")
        assert json.loads(store.read("x/summary.json")[0])["metrics"] == summary["metrics"]
        for name in ("snapshot", "graph", "checkpoint", "report", "bundle"):
            place = summary["artifacts"][name]
            assert place.startswith(f"{bucket}/x/")
            assert tree_index(store, place.removeprefix(f"{bucket}/")) is not None
        version = summary["publication"]["version"]
        assert Registry(f"{bucket}/x/registry").versions() == [version]
        assert any(key.startswith("x/checkpoints/") for key in store.list("x"))  # resume states of training

        # Another machine, without Docker: everything is found in the bucket.
        monkeypatch.setenv("RELREC_CACHE_DIR", str(tmp_path / "elsewhere"))
        again = run_locally(replace(request, runner="process"), listener=lambda step: None,
                            output=lambda chunk: None)
        assert [step["name"] for step in again["steps"] if not step["cached"]] == ["load_champion"]  # never
        assert again["publication"] == summary["publication"]
