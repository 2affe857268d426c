"""Pins: the digests of pushed images, checked before they are used."""

import pytest

from components._images import Pins, code_digest, is_pinned
from model_core.errors import ConfigError
from model_core.records import json_bytes

CPU, SERVE = (f"r.example/t/relrec-{role}@sha256:{'0' * 64}" for role in ("cpu", "serve"))


def write(tmp_path, **changes):
    path = tmp_path / "pins.json"
    content = {"code_digest": code_digest(), "images": {"cpu": CPU, "serve": SERVE}}
    path.write_bytes(json_bytes(content | changes))
    return path


@pytest.mark.parametrize(("name", "pinned"), [
    (CPU, True), ("r.example/x:1", False), ("r.example/x@sha256:12", False),
    ("r.example/x:1@sha256:" + "a" * 64, True), ("x@sha256:" + "A" * 64, False), ("", False),
])
def test_is_pinned(name, pinned):
    assert is_pinned(name) is pinned


def test_roles(tmp_path):
    pins = Pins.read(write(tmp_path))
    assert pins.of("cpu") == CPU
    assert pins.of("gpu", cpu_only=True) == CPU
    assert pins.of("serve", cpu_only=True) == SERVE
    with pytest.raises(ConfigError, match="--cpu-only"):
        pins.of("gpu")


@pytest.mark.parametrize(("changes", "message"), [
    ({"code_digest": "0123"}, "of 0123"), ({"images": {"cpu": "r.example/x:latest"}}, "latest"),
    ({"images": {"moon": CPU}}, "moon"), ({"images": 3}, "make push"),
])
def test_bad_files_are_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        Pins.read(write(tmp_path, **changes))
