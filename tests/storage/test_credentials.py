"""Expired and missing credentials, and that none of them is ever shown."""

import re

import pytest

from model_core.errors import StorageError
from model_core.storage.gcs import GcsStore
from model_core.storage.opening import open_store
from model_core.storage.uri import parse_location
from tests.storage.doubles.fault_proxy import Fault, fault_proxy
from tests.storage.doubles.fixtures import QUICK

TOKEN = b'{"access_token": "new-token-0123456789", "expires_in": 3600, "token_type": "Bearer"}'
EXPIRED_S3 = (b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The provided token has "
              b"expired. token=old-token-0123456789</Message></Error>")
is_token = lambda method, path: path.startswith("/token")
is_storage = lambda method, path: not path.startswith("/token")
is_object = lambda path: re.search(r"/b/[^/]+/o\b", path) is not None


@pytest.fixture
def signed_in(gcs_uri, gcs_url, monkeypatch):
    """A store whose client has a user's credentials, with an access token that is old."""
    from google.cloud import storage
    from google.oauth2.credentials import Credentials

    with fault_proxy(gcs_url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        credentials = Credentials("old-token-0123456789", refresh_token="refresh-0123456789",
                                  token_uri=f"{proxy.url}/token", client_id="id",
                                  client_secret="secret-0123456789")
        client = storage.Client(project="p", credentials=credentials)
        proxy.faults = [Fault("status", None, 0, is_token, 200, {"Content-Type": "application/json"}, TOKEN)]
        yield proxy, GcsStore(parse_location(gcs_uri), QUICK, client)


def test_an_expired_token_is_renewed_once_and_used(signed_in):
    proxy, store = signed_in
    # The client also asks for the bucket, whenever it likes: only requests for objects count.
    proxy.faults.append(Fault("status", 1, 0, lambda method, path: is_object(path), 401))
    store.write("x", b"1")
    assert store.read("x")[0] == b"1"
    assert proxy.count(is_token) >= 1
    sent = [value for (_, path), headers in zip(proxy.requests, proxy.headers, strict=True)
            for name, value in headers.items() if name.lower() == "authorization" and is_object(path)]
    assert sent[-1] == "Bearer new-token-0123456789"
    assert sent.count("Bearer old-token-0123456789") <= 1


def test_a_large_upload_survives_a_token_that_expires_meanwhile(signed_in, tmp_path):
    proxy, store = signed_in
    (tmp_path / "in").write_bytes(b"7" * 4_000_000)
    chunks = lambda method, path: method == "PUT" and "upload_id" in path
    proxy.faults.append(Fault("status", 1, 2, chunks, 401))
    store.put("x", tmp_path / "in")
    store.get("x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_a_token_refused_for_ever_ends_soon_and_shows_nothing(signed_in):
    proxy, store = signed_in
    body = b'{"error": {"message": "Invalid Credentials for Bearer old-token-0123456789"}}'
    proxy.faults.append(Fault("status", None, 0, is_storage, 401, {"Content-Type": "application/json"}, body))
    with pytest.raises(StorageError, match="401") as caught:
        store.read("x")
    assert "gcloud auth application-default login" in caught.value.fix
    assert "0123456789" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "a traceback would show the client's own message"
    assert len(proxy.requests) < 15


def test_a_refresh_token_that_was_revoked(signed_in):
    proxy, store = signed_in
    proxy.faults[:] = [
        Fault("status", None, 0, is_token, 400, {"Content-Type": "application/json"},
              b'{"error": "invalid_grant", "refresh_token": "refresh-0123456789"}'),
        Fault("status", None, 0, is_storage, 401)]
    with pytest.raises(StorageError, match="cannot be renewed") as caught:
        store.read("x")
    assert "0123456789" not in str(caught.value)


def test_no_google_credentials_at_all(monkeypatch, tmp_path):
    from google.auth.exceptions import DefaultCredentialsError

    def none(*args, **kwargs):
        raise DefaultCredentialsError("nothing found")

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.cloud.storage.Client", none)
    with pytest.raises(StorageError, match="workload identity"):
        open_store("gs://bucket/x").read("x")


@pytest.mark.parametrize("times", [1, None])
def test_expired_s3_token(s3_uri, s3_url, monkeypatch, times):
    with fault_proxy(s3_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        store = open_store(s3_uri, settings=QUICK)
        store.write("x", b"1")
        proxy.faults = [Fault("status", times, 0, lambda method, path: True, 400,
                              {"Content-Type": "application/xml"}, EXPIRED_S3)]
        if times == 1:
            store.write("x", b"2")
            assert store.read("x")[0] == b"2"
        else:
            with pytest.raises(StorageError, match="expired token"):
                store.read("x")  # a HEAD, whose answer has no body to say why
            with pytest.raises(StorageError, match="ExpiredToken") as caught:
                store.write("x", b"2")
            assert "0123456789" not in str(caught.value)
            assert "AWS_ACCESS_KEY_ID" in caught.value.fix


def test_no_s3_credentials_at_all(s3_uri, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
        open_store(s3_uri, settings=QUICK).read("x")


def test_a_forbidden_request_names_the_permission(remote_uri, gcs_url, s3_url, monkeypatch):
    on_gcs = remote_uri.startswith("gs")
    with fault_proxy(gcs_url if on_gcs else s3_url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST" if on_gcs else "AWS_ENDPOINT_URL", proxy.url)
        proxy.faults = [Fault("status", times=None, status=403)]
        with pytest.raises(StorageError, match="403") as caught:
            open_store(remote_uri, settings=QUICK).write("x", b"")
        assert "docs/reliability.md" in caught.value.fix
        writes = proxy.count(lambda method, path: method in ("PUT", "POST"))
        assert writes == 1, "a refusal is not tried again"
