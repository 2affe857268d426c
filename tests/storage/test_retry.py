import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import ConfigError
from model_core.storage.redact import redact
from model_core.storage.retry import Exhausted, with_retries
from model_core.storage.settings import StorageSettings


class Clock:
    def __init__(self):
        self.now, self.pauses = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@settings(max_examples=40, deadline=None)
@given(failures=st.integers(0, 30), duration=st.floats(0, 20), deadline=st.floats(0, 100))
def test_time_is_bounded_and_a_fault_that_passes_is_survived(failures, duration, deadline):
    clock, left = Clock(), [failures]

    def operation():
        clock.now += duration
        if left[0]:
            left[0] -= 1
            raise ConnectionError
        return "done"

    limits = StorageSettings(deadline_s=deadline, first_wait_s=0.5, longest_wait_s=30)
    ended = None
    try:
        assert with_retries(operation, lambda error: True, limits, clock=clock, sleep=clock.sleep) == "done"
    except Exhausted as error:
        ended = error
    assert ended is None or (ended.tries >= 2 and isinstance(ended.last, ConnectionError))
    assert clock.now <= deadline + 2 * duration + 1e-6
    assert all(pause <= min(0.5 * 2**n, 30) for n, pause in enumerate(clock.pauses))


def test_a_fault_that_does_not_pass_is_not_tried_again():
    calls = []
    with pytest.raises(ValueError, match="no"):
        with_retries(lambda: calls.append(1) or _raise(ValueError("no")), lambda error: False,
                     StorageSettings())
    assert calls == [1]


def _raise(error):
    raise error


def test_settings_come_from_the_environment():
    assert StorageSettings.from_environment({}) == StorageSettings()
    made = StorageSettings.from_environment({
        "RELREC_STORAGE_DEADLINE_S": "7", "RELREC_STORAGE_CHUNK_MIB": "5", "RELREC_STORAGE_PARALLEL": "2"})
    assert (made.deadline_s, made.chunk_bytes, made.parallel) == (7, 5 << 20, 2)
    for name, text in (("DEADLINE_S", "soon"), ("PARALLEL", "0"), ("TIMEOUT_S", "-1"), ("CHUNK_MIB", "nan")):
        with pytest.raises(ConfigError, match=name):
            StorageSettings.from_environment({f"RELREC_STORAGE_{name}": text})


SECRETS = ["s3cr3t0123456789abcdef", "ya29.A0ARrdaM-abc_def", "AKIAABCDEFGHIJKLMNOP",
           "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"]


@pytest.mark.parametrize("text", [
    "PUT https://h/upload?uploadType=resumable&upload_id={0}&name=x", "https://h/o?X-Goog-Signature={0}",
    "https://b.s3/o?AWSAccessKeyId=x&Signature={0}&Expires=1", "https://h/o?X-Amz-Security-Token={0}&a=b",
    "headers {{'Authorization': 'Bearer {0}', 'x': 'y'}}", "Authorization: AWS4-HMAC-SHA256 Credential={0}/x",
    '{{"refresh_token": "{0}", "client_secret":"{0}"}}', "aws_secret_access_key = {0}",
    "bearer {0} was refused",
    "https://user:{0}@host/x", "AZURE sig={0}&se=1", "https://{0}@host/x", "https://user:p@{0}@host/x",
    "AccountName=a;AccountKey={0}==;EndpointSuffix=e", "account_key={0}", "sas_token={0}",
    "'sas_token': '?{0}'",
    'password="correct horse {0}"', "password: 'correct, horse {0}'", '{{"secret": "a\\"b {0}"}}',
    "aws_secret_access_key {0}", "AWS_SECRET_ACCESS_KEY  {0}", "storage_account_key: {0}",
    "SharedAccessKey={0}", "api-key={0}",
    "-----BEGIN RSA PRIVATE KEY-----\n{0}\n-----END RSA PRIVATE KEY-----",
])
def test_no_secret_survives(text):
    assert SECRETS[0] not in redact(text.format(SECRETS[0]))


def test_tokens_are_known_by_their_form_and_other_text_stays():
    for secret in SECRETS[1:]:
        assert secret not in redact(f"found {secret} there")
    assert redact("HTTP 403: user:jane lacks storage.objects.get on the key a/b.json") == (
        "HTTP 403: user:jane lacks storage.objects.get on the key a/b.json")
    assert redact("aws_secret_access_key is not set") == "aws_secret_access_key is not set"
    assert redact("gs://bucket/a@b, mail x@y") == "gs://bucket/a@b, mail x@y"
    assert len(redact("x" * 1_000)) == 300
