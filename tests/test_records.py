"""Records: atomic, checked, and the same bytes for the same content."""

import json
import os
import stat

import pytest

from model_core.errors import ArtifactError
from model_core.records import MANIFEST, open_record, verify_record, write_atomically, write_record


def write(path, text="hello", **meta):
    with write_record(path, "demo", 1) as (folder, stored):
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text(text)
        stored.update(meta or {"rows": 1})
    return path


def test_a_record_is_read_back(tmp_path):
    record = open_record(write(tmp_path / "r"), "demo", 1, verify="digest")
    assert record.meta == {"rows": 1}
    assert list(record.files) == ["part/a.txt"]
    assert record.file("part/a.txt").read_text() == "hello"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_equal_content_has_an_equal_digest_and_other_content_another(tmp_path):
    digest = open_record(write(tmp_path / "a"), "demo", 1).digest
    assert open_record(write(tmp_path / "b"), "demo", 1).digest == digest
    assert open_record(write(tmp_path / "c", "hallo"), "demo", 1).digest != digest
    assert open_record(write(tmp_path / "d", rows=2), "demo", 1).digest != digest


def test_the_manifest_has_no_clock_time_and_sorted_keys(tmp_path):
    a, b = write(tmp_path / "a", z=1, b=2), write(tmp_path / "b", b=2, z=1)
    assert (a / MANIFEST).read_bytes() == (b / MANIFEST).read_bytes()


def test_a_failed_write_leaves_nothing_and_keeps_the_old(tmp_path):
    write(tmp_path / "r", "old")
    with pytest.raises(TypeError):
        write(tmp_path / "r", text=None)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    assert open_record(tmp_path / "r", "demo", 1).file("part/a.txt").read_text() == "old"


def test_a_second_write_replaces_the_first(tmp_path):
    write(tmp_path / "r", "old")
    assert open_record(write(tmp_path / "r", "new"), "demo", 1).file("part/a.txt").read_text() == "new"


def test_payloads_can_be_read_by_another_user(tmp_path):
    with write_record(tmp_path / "r", "demo", 1) as (folder, _):
        (folder / "private").write_text("x")
        os.chmod(folder / "private", 0o600)
    assert stat.S_IMODE((tmp_path / "r" / "private").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o755


@pytest.mark.parametrize(("kind", "version", "message"), [
    ("other", 1, "a other record"), ("demo", 2, "schema version 2"),
])
def test_another_kind_or_version_is_refused(tmp_path, kind, version, message):
    with pytest.raises(ArtifactError, match=message):
        open_record(write(tmp_path / "r"), kind, version)


def test_damage_is_found(tmp_path):
    path = write(tmp_path / "r")
    (path / "part" / "a.txt").write_text("hullo")
    open_record(path, "demo", 1)  # the size alone does not tell
    with pytest.raises(ArtifactError, match="SHA-256"):
        open_record(path, "demo", 1, verify="digest")
    (path / "part" / "a.txt").write_text("hell")
    with pytest.raises(ArtifactError, match="expected 5 bytes, found 4 bytes"):
        open_record(path, "demo", 1)
    (path / "part" / "a.txt").unlink()
    with pytest.raises(ArtifactError, match="no file"):
        open_record(path, "demo", 1)


def test_an_edited_or_unreadable_manifest_is_found(tmp_path):
    path = write(tmp_path / "r")
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | {"meta": {"rows": 2}}))
    with pytest.raises(ArtifactError, match="another content"):
        open_record(path, "demo", 1)
    for text in ("{", "[]", "{}"):
        (path / MANIFEST).write_text(text)
        with pytest.raises(ArtifactError, match="a readable manifest"):
            open_record(path, "demo", 1)
    with pytest.raises(ArtifactError, match="found none"):
        open_record(tmp_path / "absent", "demo", 1)


def test_any_kind_can_be_verified(tmp_path):
    path = write(tmp_path / "r")
    assert verify_record(path) == open_record(path, "demo", 1)
    payload = path / next(iter(verify_record(path).files))
    payload.write_bytes(bytes(byte ^ 1 for byte in payload.read_bytes()))
    with pytest.raises(ArtifactError, match="SHA-256"):
        verify_record(path)
    for text in ("{", "[]", "{}"):
        (path / MANIFEST).write_text(text)
        with pytest.raises(ArtifactError, match="a readable manifest"):
            verify_record(path)


def test_a_missing_payload_is_named(tmp_path):
    record = open_record(write(tmp_path / "r"), "demo", 1)
    with pytest.raises(ArtifactError, match=r"'b\.txt'"):
        record.file("b.txt")


def test_values_json_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "r", rows=float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_atomically(tmp_path / "sub" / "f", b"one")
    write_atomically(tmp_path / "sub" / "f", b"two")
    assert (tmp_path / "sub" / "f").read_bytes() == b"two"
    assert len(list((tmp_path / "sub").iterdir())) == 1
