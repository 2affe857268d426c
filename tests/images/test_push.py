"""Pushing: what is refused, and what is written, with a docker command that only notes its calls."""

import json

import pytest

from components._images import Pins, code_digest, recipe_digest
from images import push as pushing
from model_core.records import json_bytes

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A root with a record and a docker command that answers like an engine that has pushed."""
    docker = tmp_path / "docker"
    docker.write_text(f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
if [ "$1" = inspect ]; then
    role=$(echo "$4" | sed 's/.*relrec-\\([a-z]*\\):.*/\\1/')
    echo '["other/relrec@{DIGEST}", "r.example/t/relrec-'$role'@{DIGEST}"]'
fi
""")
    docker.chmod(0o755)
    monkeypatch.setattr(pushing, "ROOT", tmp_path)
    monkeypatch.setattr(pushing, "find_docker", lambda: str(docker))

    def write(**changes):
        record = {"version": "1.2", "revision": "0" * 40,
                  "code_digest": code_digest(), "recipe": recipe_digest(),
                  "images": {role: {"name": f"x/relrec-{role}:1"} for role in ("cpu", "serve")}} | changes
        (tmp_path / "build").mkdir(exist_ok=True)
        (tmp_path / "build" / "images.json").write_bytes(json_bytes(record))
        return tmp_path

    return write


def test_tags_by_version_and_commit_and_writes_pins(workplace):
    root = workplace()
    assert pushing.main(["r.example/t/"]) == 0
    calls = (root / "calls").read_text()
    for tag in ("1.2", "1.2-000000000000"):
        assert f"push r.example/t/relrec-cpu:{tag}\n" in calls
    pins = Pins.read(root / "build" / "pins.json")
    assert pins.of("serve") == f"r.example/t/relrec-serve@{DIGEST}"
    assert json.loads((root / "build" / "pins.json").read_bytes())["version"] == "1.2"


@pytest.mark.parametrize(("changes", "message"), [
    ({"code_digest": "old"}, "make images"), ({"recipe": "old"}, "make images"),
    ({"revision": "0" * 40 + "-dirty"}, "commit"),
])
def test_refuses_images_of_other_code(workplace, capsys, changes, message):
    root = workplace(**changes)
    assert pushing.main(["r.example/t"]) == 1
    assert message in capsys.readouterr().err
    assert not (root / "build" / "pins.json").exists()


def test_needs_built_images(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pushing, "ROOT", tmp_path)
    assert pushing.main(["r.example/t"]) == 1
    assert "make images" in capsys.readouterr().err


def test_a_registry_that_gives_no_digest_is_told(workplace, capsys):
    workplace()
    assert pushing.main(["elsewhere.example/t"]) == 1
    assert "digest" in capsys.readouterr().err
