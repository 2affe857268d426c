"""``relrec registry`` as a person and a script use it."""

import json

import pytest
from typer.testing import CliRunner

from model_core.storage.registry import Registry
from pipelines.cli.main import app
from pipelines.cli.registry_screen import parse_age
from tests.storage.test_registry import NO, YES, publish


@pytest.fixture
def versions(tmp_path):
    registry = Registry(tmp_path / "registry")
    checks = [{"name": "champion", "passed": False, "required": "more", "found": "less"}]
    verdicts = [YES | {"model": "contextgnn", "gain": 0.01}, NO | {"checks": checks}, NO]
    return [publish(registry, tmp_path, str(number), verdict, date=f"2011-11-{number + 1:02}").version
            for number, verdict in enumerate(verdicts)]


def relrec(tmp_path, *words, code=0):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["registry", *words, "--registry", str(tmp_path / "registry")])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert code == 2, done.exception
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.output


def as_json(tmp_path, *words):
    return json.loads(relrec(tmp_path, *words, "--output", "json"))


def test_list(tmp_path, versions):
    found = as_json(tmp_path, "list")
    assert [(entry["version"], entry["state"]) for entry in found] == [
        (versions[0], "champion"), (versions[1], "not promoted"), (versions[2], "not promoted")]
    assert found[0]["gain"] == 0.01
    assert found[1]["failed"] == ["champion"]
    text = relrec(tmp_path, "list")
    assert all(version in text for version in versions)
    assert "+0.0100" in text


def test_an_empty_registry(tmp_path):
    assert "no versions" in relrec(tmp_path, "list")
    assert as_json(tmp_path, "list") == []
    assert "champion" in relrec(tmp_path, "show", code=2)
    assert not (tmp_path / "registry").exists()


def test_show(tmp_path, versions):
    assert as_json(tmp_path, "show")["version"] == versions[0]
    shown = as_json(tmp_path, "show", versions[1])
    assert shown["checks"][0]["found"] == "less"
    assert [entry["version"] for entry in shown["log"]] == [versions[0]]
    text = relrec(tmp_path, "show", versions[1])
    assert "less" in text
    assert "worse than popularity" in text
    assert "one of the versions" in relrec(tmp_path, "show", "20110101-00000000", code=2)


def test_promote_and_roll_back(tmp_path, versions):
    registry = Registry(tmp_path / "registry")
    promote = ("promote", versions[1], "--reason", "new [items]", "--who", "ann")
    assert as_json(tmp_path, *promote, "--dry-run") == {
        "champion": versions[0], "previous": versions[0], "would_be": versions[1], "dry_run": True}
    assert registry.champion().version == versions[0]
    assert f"moved from {versions[0]} to {versions[1]}" in relrec(tmp_path, *promote)
    assert (registry.champion().who, registry.champion().action) == ("ann", "promote")
    assert "already" in relrec(tmp_path, *promote)
    assert "new [items]" in relrec(tmp_path, "show")
    assert "would move" in relrec(tmp_path, "rollback", "--reason", "worse", "--dry-run")
    assert registry.champion().version == versions[1]
    assert versions[0] in relrec(tmp_path, "rollback", "--reason", "worse")
    assert registry.champion().version == versions[0]
    assert "@" in registry.champion().who, "user@host"
    assert "a champion before" in relrec(tmp_path, "rollback", "--reason", "more", code=2)


def test_gc(tmp_path, versions):
    words = ("gc", "--keep", "0", "--older-than", "1d")
    plan = as_json(tmp_path, *words, "--dry-run")
    assert [entry["version"] for entry in plan["removed"]] == versions[1:]
    assert plan["kept"] == {versions[0]: "the champion"}
    assert Registry(tmp_path / "registry").versions() == versions
    assert "2 to remove" in relrec(tmp_path, *words, "--dry-run")
    assert "2 removed" in relrec(tmp_path, *words)
    assert Registry(tmp_path / "registry").versions() == versions[:1]


@pytest.mark.parametrize("text", ["", "d", "3", "-3d", "3w", "3.5d", "soon"])
def test_an_age_has_a_unit(text):
    from model_core.errors import ConfigError

    with pytest.raises(ConfigError, match="--older-than"):
        parse_age(text)


def test_a_bad_output_is_refused(tmp_path):
    assert "--output" in relrec(tmp_path, "list", "--output", "yaml", code=2)
