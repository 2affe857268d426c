from pathlib import Path

import pytest

from model_core.errors import ConfigError
from model_core.storage.uri import local_path


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
def test_other_storage_is_refused_by_name(text, named):
    with pytest.raises(ConfigError, match=named) as caught:
        local_path(text, "--root")
    assert caught.value.where == "--root"
