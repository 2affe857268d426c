"""Pushed images are pinned by the digest that a real registry gave."""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from components._images import Pins, code_digest
from images.docker_cli import find_docker
from images.push import push
from model_core.records import json_bytes
from pipelines.compiling import STEPS, ImageChoice, compile_pipeline


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Address of a registry server on loopback (Debian's docker-registry)."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{address}'}}\n")
    process = subprocess.Popen([program, "serve", str(folder / "config.yml")],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=1)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def test_push_pins_what_compile_writes(registry, record, client, tmp_path):
    repository = f"{registry}/team/relrec-serve"
    tags = [record["version"], record["version"] + "-0123456789ab"]
    try:
        pinned = push(find_docker(), record["images"]["serve"]["name"], repository, tags)
    finally:
        for tag in tags:
            client.images.remove(f"{repository}:{tag}")
    digest = pinned.split("@")[1]
    for tag in (*tags, digest):
        asked = urllib.request.Request(
            f"http://{registry}/v2/team/relrec-serve/manifests/{tag}",
            headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"})
        assert urllib.request.urlopen(asked).headers["Docker-Content-Digest"] == digest
    pins = tmp_path / "pins.json"
    pins.write_bytes(json_bytes({"code_digest": code_digest(), "images": {"serve": pinned, "cpu": pinned}}))
    images = ImageChoice(Pins.read(pins), cpu_only=True)
    text = compile_pipeline("retrain", tmp_path / "r.yaml", images).read_text()
    assert text.count(pinned) == len(STEPS)
