from pathlib import Path

import pytest

from model_core.errors import ConfigError
from model_core.storage.local import LocalStore
from model_core.storage.opening import open_store
from model_core.storage.uri import is_remote, local_path, parse_location


def test_paths_and_file_uris():
    assert local_path("some/dir") == Path("some/dir")
    assert local_path(Path("/a/b")) == Path("/a/b")
    assert local_path("file:///a/b%20c") == Path("/a/b c")
    assert local_path("file://localhost/a") == Path("/a")
    assert local_path("~") == Path.home()


@pytest.mark.parametrize(
    ("text", "named"),
    [("gs://bucket/x", "gs://"), ("s3://bucket/x", "s3://"), ("file://host/x", "without a host"),
     ("  ", "empty")],
)
def test_other_places_are_refused_where_a_local_one_is_needed(text, named):
    with pytest.raises(ConfigError, match=named) as caught:
        local_path(text, "--out")
    assert caught.value.where == "--out"


@pytest.mark.parametrize(("text", "parts", "plain"), [
    ("gs://b/x/y/", ("gs", "b", "x/y"), "gs://b/x/y"),
    ("gs://b", ("gs", "b", ""), "gs://b"),
    ("GCS://b//x", ("gs", "b", "x"), "gs://b/x"),
    ("s3a://b/x", ("s3", "b", "x"), "s3://b/x"),
    ("minio://b/x", ("s3", "b", "x"), "s3://b/x"),
    ("memory://x/y", ("memory", "x", "y"), "memory://x/y"),
    ("az://box/a b", ("az", "box", "a b"), "az://box/a b"),
    ("/a/b", ("file", "", "/a/b"), "/a/b"),
    ("file:///a", ("file", "", "/a"), "/a"),
])
def test_locations(text, parts, plain):
    location = parse_location(text)
    assert (location.scheme, location.bucket, location.path) == parts
    assert str(location) == plain
    assert parse_location(plain) == location
    assert str(location / "z") == plain.rstrip("/") + "/z"


@pytest.mark.parametrize("text", ["gs://", "gs:///x", "s3://b/../x", "s3://b/x?versionId=1", "1a://b/x", ""])
def test_places_that_are_none(text):
    with pytest.raises(ConfigError) as caught:
        parse_location(text, "--root")
    assert caught.value.where == "--root"


@pytest.mark.parametrize("text", [
    "gs://bucket /x", "gs://bucket ", " gs://bucket", "gs://bucket/x\n", "s3://buc\nket/x", "gs://bucket/a\x00b",
    "gs://bucket/\x1b[31m", "az://box/a\u2028b",
])
def test_stray_and_unseen_characters_are_refused(text):
    with pytest.raises(ConfigError, match="control characters"):
        parse_location(text, "--root")


def test_credentials_in_a_uri_are_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="credentials") as caught:
        parse_location("s3://AKIA:hunter2@bucket/x")
    assert "hunter2" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_hub_specs_and_paths_are_no_uris():
    assert not is_remote("stanford-star/relbench-v1/rel-hm")
    assert not is_remote("C:/x")
    assert not is_remote(Path("gs:/x"))
    assert is_remote("hf://datasets/x")


def test_one_store_for_each_scheme(tmp_path):
    assert isinstance(open_store(tmp_path), LocalStore)
    assert open_store(f"file://{tmp_path}").uri == str(tmp_path)
    assert [type(open_store(uri)).__name__ for uri in ("gs://b", "s3://b/x", "memory://b")] == [
        "GcsStore", "S3Store", "FilesystemStore"]
    with pytest.raises(ConfigError, match="nosuch://"):
        open_store("nosuch://b/x")


def test_nothing_is_imported_before_it_is_needed():
    import subprocess
    import sys

    code = ("import sys, model_core.storage.opening as o, model_core.storage.registry, pipelines.cli.main;"
            "o.open_store('gs://b/x'); o.open_store('s3://b/x');"
            # Bare ``google`` is there wherever a package of that namespace was installed with a .pth file.
            "wanted = ('google.api_core', 'google.auth', 'google.cloud.storage', 's3fs', 'requests');"
            "print([m for m in wanted if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
