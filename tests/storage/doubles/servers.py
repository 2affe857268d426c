"""Start storage servers as processes on loopback, and stop them by their id."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

BUCKET = "bucket"
ROOT = Path(__file__).resolve().parents[3]
_PATIENCE_S = 30

#: What the S3 client needs to talk to moto; the values are made up.
S3_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
                  "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}


@contextlib.contextmanager
def gcs_server() -> Iterator[str]:
    """URL of a Google Cloud Storage emulator that holds an empty ``BUCKET``."""
    command = [sys.executable, "-m", "tests.storage.doubles.gcs_server", "0", BUCKET]
    with _process(command) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """URL of a moto server that holds an empty ``BUCKET``."""
    with _process([sys.executable, "-m", "tests.storage.doubles.s3_server"]) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        _until_up(url)
        request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):
            yield url


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen]:
    environment = {**os.environ, **S3_ENVIRONMENT}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until_up(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
