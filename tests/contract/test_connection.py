"""Getting in, and one clear sentence where that fails; secrets stay where they are."""

import base64
import contextlib
import datetime as dt
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest

from model_core.errors import ConfigError
from pipelines.targets.kubeflow.client import connect
from pipelines.targets.kubeflow.connection import load_connection
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.tokens import Tokens, expiry_of
from tests.contract.kfp_server import Fault, KfpServer, tls_context

CANARY = "canary-7f3a91-secret"


def connection(server, tmp_path, **settings):
    path = tmp_path / "c.yaml"
    content = {"timeout_s": 1.0, "retry_pause_s": 0.01} | settings
    path.write_text(json.dumps({key: str(value) if isinstance(value, Path) else value
                                for key, value in content.items()}))
    return load_connection(host=getattr(server, "url", server), file=path, environment={})


@pytest.fixture
def failure(tmp_path):
    def check(server, *words, **settings):
        with pytest.raises((KubeflowError, ConfigError)) as caught:
            connect(connection(server, tmp_path, **settings))
        text = str(caught.value)
        assert "\n" not in text
        assert "Fix: " in text
        for word in words:
            assert word in text, text
        return caught.value

    return check


def printing(text):
    return f"{sys.executable} -c \"print('{text}')\""


def test_token_of_a_command_and_of_a_file(server, tmp_path):
    server.tokens = {CANARY}
    connect(connection(server, tmp_path, token_command=printing(CANARY)))
    file = tmp_path / "token"
    file.write_text(CANARY + "\n")
    connect(connection(server, tmp_path, token_file=file))
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {CANARY}"}


def test_a_pod_finds_host_and_token_itself(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("of-the-pod")
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KF_PIPELINES_SA_TOKEN_PATH": str(token)}
    found = load_connection(environment=pod)
    assert found.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    assert found.pod_token == token
    assert load_connection(host=server.url, environment=pod).pod_token is None, "a stranger gets no token"
    server.tokens = {"of-the-pod"}
    file = tmp_path / "c.yaml"
    file.write_text("service_account: true\n")
    connect(load_connection(host=server.url, file=file, environment=pod))


def test_a_refused_token_is_asked_for_again(server, tmp_path):
    counter = tmp_path / "count"
    program = tmp_path / "token.py"
    program.write_text(f"import pathlib\np = pathlib.Path({str(counter)!r})\n"
                       "n = int(p.read_text()) if p.exists() else 0\np.write_text(str(n + 1))\n"
                       "print(f'token-{n}')\n")
    server.tokens = {"token-0"}
    client = connect(connection(server, tmp_path, token_command=f"{sys.executable} {program}"))
    client.list_runs()
    assert counter.read_text() == "1"
    server.tokens = {"token-1"}
    client.create_experiment("e")
    assert counter.read_text() == "2"
    server.tokens = {"another"}
    with pytest.raises(KubeflowError, match="HTTP 401"):
        client.list_runs()


def test_waiting_survives_a_token_command_that_fails_for_a_while(server, tmp_path):
    from pipelines.targets.following import follow
    from pipelines.targets.kubeflow.runs import get_run

    calls = tmp_path / "calls"
    server.tokens = {"token-1"}
    client = connect(connection(server, tmp_path, token_command=f"{sys.executable} -c \"" + (
        f"import pathlib, sys; p = pathlib.Path('{calls}'); n = len(p.read_text()) if p.exists() else 0; "
        "p.write_text('.' * (n + 1)); sys.exit(1) if n in (1, 2) else print(f'token-{n + 1}')") + '"'))
    run = server.backend._add_run(client.api_models.V2beta1Run(display_name="r"))
    server.backend.set_run(run.run_id, "SUCCEEDED")
    server.tokens = {"token-4"}
    told = []
    (seen,) = follow(lambda: get_run(client, run.run_id), poll_s=1, sleep=lambda _: None, lost=told.append)
    assert seen.state == "succeeded"
    assert [error.found.rpartition(" ")[2] for error in told] == ["1"], "ended with 1, told once"


def test_a_broken_file_of_kfp_is_named(server, failure, tmp_path, monkeypatch):
    context = tmp_path / "context.json"
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(context))
    for content in ("{broken " + CANARY, "{}"):
        context.write_text(content)
        assert CANARY not in str(failure(server, "context.json", "move the file away"))


def test_tokens_are_renewed_before_they_expire():
    now, given = [1_000.0], []

    def jwt(expires):
        claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
        return f"h.{claims}.s"

    def read():
        given.append(now[0])
        return jwt(now[0] + 600)

    tokens = Tokens(read, clock=lambda: now[0])
    assert expiry_of(tokens.current()) == 1_600
    now[0] = 1_539
    tokens.current()
    assert len(given) == 1
    now[0] = 1_541
    assert expiry_of(tokens.current()) == 2_141
    assert CANARY not in repr(Tokens(lambda: CANARY))


def test_secrets_are_in_no_message(server, tmp_path, failure, capfd, caplog):
    server.tokens = {"another"}  # the server repeats the token that it refuses
    error = failure(server, "HTTP 401", "--token-command", token_command=printing(CANARY))
    assert "(token)" in str(error)
    failure("http://127.0.0.1:9", "refused", proxy=f"http://me:{CANARY}@127.0.0.1:9")
    failure(server, "exit code 0", token_command=f"false --password {CANARY}")
    failure(server, "can be run", token_command=f"/nowhere/{'x'} {CANARY}")
    failure(server, "several words", token_command=f"{sys.executable} -c \"print('{CANARY} {CANARY}')\"")
    failure(server, "quotes", token_command=f"echo '{CANARY}")
    lines = f"{sys.executable} -c \"print('{CANARY}'); print('{CANARY}')\""
    failure(server, "several lines", token_command=lines)
    failure(server, "one token", "other characters", token_command="printf '\\377'")
    failure(server, "such as http", proxy=f"http://me:a/{CANARY}@127.0.0.1:9")
    messages = ""
    for slip in ("{}", "a/{}", "a#{}", "{}?", "{}@["):  # some are no part of the netloc
        with pytest.raises(ConfigError, match="without credentials") as caught:
            load_connection(host=f"https://me:{slip.format(CANARY)}@example.org", environment={})
        messages += str(caught.value)
    with pytest.raises(ConfigError, match=r"before any \?") as caught:
        load_connection(host=f"https://h/?token={CANARY}", environment={})
    messages += str(caught.value)
    with pytest.raises(ConfigError, match="found token_command and token_file") as caught:
        load_connection(host="h", token_command=CANARY, token_file=Path("t"), environment={})
    messages += str(caught.value)
    file = tmp_path / "bad.yaml"
    file.write_text(f"proxy: [http://me:{CANARY}@h\n")
    with pytest.raises(ConfigError, match="YAML") as caught:
        load_connection(host="h", file=file, environment={})
    messages += str(caught.value)
    with pytest.raises(ConfigError) as caught:
        connection(server, tmp_path, proxy=[CANARY])
    messages += str(caught.value)
    messages += repr(connection(server, tmp_path, token_command=CANARY, proxy=f"http://a:{CANARY}@h"))
    captured = capfd.readouterr()
    assert CANARY not in messages + captured.out + captured.err + caplog.text


def test_wrong_host_refused_timeout_and_web_page(server, failure):
    failure("http://127.0.0.1:9", "connection was refused", "port")
    failure("http://nowhere.invalid", "no address", "--host")
    failure("https://" + server.url.removeprefix("http://"), "plain HTTP", "http://")
    failure(server.url + "/elsewhere", "HTTP 404", "--host")
    server.faults = [Fault("GET /healthz", html=True, times=None)]
    failure(server, "text/html instead of JSON", "login page")
    server.faults = [Fault("GET /healthz", body="[]", times=None)]
    failure(server, "instead of JSON", "2.0 or newer")
    server.faults = [Fault("GET /healthz", delay_s=0.3, times=None)]
    failure(server, "none within the time limit", "timeout_s", timeout_s=0.05, attempts=1)
    server.faults = [Fault("GET /healthz", drop="before", times=None)]
    failure(server, "connection was lost", attempts=2)
    assert server.requests.count("GET /healthz") >= 4


def test_a_long_token_is_no_part_of_a_message_that_is_cut(server, failure):
    long = "".join(f"{number:04d}" for number in range(200))
    server.tokens = {"another"}
    error = failure(server, "HTTP 401", "(token)", token_command=printing(long))
    assert "0001" not in str(error)


def test_a_server_that_asks_for_a_pause_is_not_a_lost_connection(server, failure):
    server.faults = [Fault("GET /healthz", status=429, headers={"Retry-After": "1"}, times=None)]
    assert failure(server, "HTTP 429", "wait a moment").status == 429


def test_redirects_without_end(server, failure):
    there = {"Location": f"{server.url}/apis/v2beta1/healthz"}
    server.faults = [Fault("GET /healthz", status=302, headers=there, times=None)]
    assert not failure(server, "too many redirects", "--host").transient
    assert len(server.requests) == 4


def test_what_may_pass_is_tried_again(server, failure):
    """A name server that is restarted, a balancer that closes connections: waiting goes on."""
    assert failure("http://nowhere.invalid", "no address").transient
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def close_all():
            with contextlib.suppress(OSError):
                while True:
                    inner, _ = listener.accept()
                    inner.recv(1)
                    inner.close()

        threading.Thread(target=close_all, daemon=True).start()
        error = failure(f"https://127.0.0.1:{listener.getsockname()[1]}", "connection was lost", attempts=2)
        assert error.transient


def test_a_token_in_clear_is_told_once(relrec, server, tmp_path, monkeypatch):
    from pipelines.cli.connected import Access

    def warned(host, *, command=None, pod=False):
        said = []
        with monkeypatch.context() as patch:
            if pod:
                token = tmp_path / "token"
                token.write_text("of-the-pod")
                patch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
                patch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
            patch.setattr("typer.echo", lambda text, err: said.append((text, err)))
            access = Access(host, None, command, None, None)
            access.load()
            access.load()
        return said

    ((text, err),) = warned("http://kubeflow.example.org", command=printing(CANARY))
    assert err
    assert "http://kubeflow.example.org" in text
    assert "https" in text
    assert CANARY not in text
    for host in ("http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "https://h"):
        assert not warned(host, command="print-token")
    assert not warned("http://kubeflow.example.org"), "no token, no warning"
    assert not warned(None, pod=True), "the pod's own token, for the cluster's own service"
    said = relrec("runs", "list", "--token-command", printing(CANARY))
    assert (said.code, said.err) == (0, "")


def test_a_token_command_that_hangs_is_ended(server, failure, monkeypatch):
    monkeypatch.setattr("pipelines.targets.kubeflow.tokens._COMMAND_TIMEOUT_S", 0.2)
    # A child of the command keeps its output open; nobody waits for that.
    failure(server, "sh still running", token_command="sh -c 'sleep 5 & sleep 5'")


@pytest.mark.parametrize(("status", "words"), [
    (400, ["HTTP 400: made up"]), (401, ["HTTP 401", "--token-command"]), (403, ["HTTP 403", "--namespace"]),
    (404, ["HTTP 404"]), (409, ["HTTP 409"]), (500, ["HTTP 500", "ml-pipeline"]), (503, ["HTTP 503"]),
    (418, ["HTTP 418"]),
])
def test_every_status_has_its_sentence(server, failure, status, words):
    server.faults = [Fault("GET /healthz", status=status, times=None)]
    assert failure(server, *words).status == status


def test_reading_is_tried_again_and_making_is_not(server, client):
    server.faults = [Fault("GET /runs", status=503), Fault("GET /runs", drop="before")]
    client.list_runs()
    assert server.requests.count("GET /runs") == 3
    server.faults = [Fault("POST /experiments", drop="after")]
    with pytest.raises(KubeflowError, match="whether it was done is not known"):
        client.create_experiment("e")
    assert server.requests.count("POST /experiments") == 1
    assert len(server.backend.experiments) == 1
    server.faults = [Fault("DELETE", drop="after")]
    client.delete_experiment = client.experiments.experiment_service_delete_experiment
    run = server.backend._add_run(client.api_models.V2beta1Run(display_name="r"))
    client.delete_run(run.run_id)  # the second attempt finds it gone


def test_an_answer_of_another_version(server, client):
    from pipelines.targets.kubeflow.runs import get_run

    server.faults = [Fault("GET /runs/x", body='{"run_id": "x", "state": "HIBERNATING"}')]
    assert get_run(client, "x").state == "hibernating"
    server.faults = [Fault("GET /runs/x", body='{"run_id": "x", "created_at": "a while ago"}')]
    with pytest.raises(KubeflowError, match=r"kfp-server-api .* cannot read .*a while ago") as caught:
        get_run(client, "x")
    assert "same minor version" in str(caught.value)


def test_multi_user_needs_a_namespace(server, failure, tmp_path):
    server.backend.multi_user = True
    failure(server, "--namespace")
    for name in ("team", "kubeflow"):
        client = connect(connection(server, tmp_path, namespace=name))
        assert client.get_user_namespace() == name


@pytest.mark.parametrize(("settings", "message"), [
    ({"colour": "red"}, "token_command"), ({"token_file": "a", "token_command": "b"}, "at most one"),
    ({"client_key": "k"}, "client_cert"), ({"ca_file": "/nowhere.pem"}, "not there"),
    ({"timeout_s": 0}, "timeout_s"), ({"service_account": True}, "projected token"),
])
def test_bad_settings(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        connection("http://h", tmp_path, **settings)


@pytest.mark.parametrize(("text", "expected"), [
    ("kf.example.org", "https://kf.example.org"), ("http://h:80/pipeline/", "http://h:80/pipeline"),
    ("ftp://h", None), ("https://", None), ("https://h/#/runs", None), ("h?x=1", None), ("h:port", None),
    ("", None),
])
def test_hosts(text, expected):
    if expected is None:
        with pytest.raises(ConfigError):
            load_connection(host=text, environment={})
    else:
        assert load_connection(host=text, environment={}).host == expected


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("host: https://file.example\nnamespace: a\ntoken_command: mine\n")
    found = load_connection(file=file, environment={"KF_PIPELINES_ENDPOINT": "https://env.example"})
    assert (found.host, found.namespace) == ("https://file.example", "a")
    found = load_connection(host="flag.example", token_file=Path("t"), file=file, environment={})
    assert found.host == "https://flag.example"
    assert found.settings.token_command is None
    assert load_connection(environment={"KF_PIPELINES_ENDPOINT": "e"}).host == "https://e"
    with pytest.raises(ConfigError, match="RELREC_KUBEFLOW_HOST"):
        load_connection(environment={})


def test_proxies_of_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert load_connection(host="https://out.example", environment={}).proxy == "http://proxy:3128"
    assert load_connection(host="https://inside.example", environment={}).proxy is None


def test_a_proxy_gets_its_credentials_and_the_request(server, tmp_path):
    """A proxy of five lines: takes one request for an absolute URL and passes it on."""
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(1):
            inner, _ = listener.accept()
            head = inner.recv(65_536).decode()
            seen.append(head)
            host, port = server.url.removeprefix("http://").split(":")
            path = head.split()[1].partition(server.url)[2]
            with socket.create_connection((host, int(port))) as outer:
                outer.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                while data := outer.recv(65_536):
                    inner.sendall(data)
                    if b"}" in data:
                        break
            inner.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    connect(connection(server, tmp_path, proxy=f"http://me:{CANARY}@127.0.0.1:{listener.getsockname()[1]}"))
    thread.join(5)
    listener.close()
    assert seen[0].startswith(f"GET {server.url}/apis/v2beta1/healthz")
    assert base64.b64encode(f"me:{CANARY}".encode()).decode() in seen[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority, and certificates of localhost, of another host, of a client, and an old one."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def make(file, subject, signer=None, until=30):
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key, issuer = signer or (key, name(subject))
        builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(issuer)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - dt.timedelta(days=60))
                   .not_valid_after(now + dt.timedelta(days=until))
                   .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                                  critical=False))
        if signer is None:
            builder = builder.add_extension(x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False), critical=True)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        (folder / f"{file}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{file}.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return key, name(subject)

    ca = make("ca", "relrec-test-ca")
    make("localhost", "localhost", ca)
    make("other", "other.example", ca)
    make("client", "someone", ca)
    make("old", "localhost", ca, until=-1)
    return folder


@pytest.mark.parametrize(("certificate", "settings", "words"), [
    ("localhost", {}, ["trusted", "ca_file"]),
    ("other", {"ca_file": "ca.pem"}, ["of this host"]),
    ("old", {"ca_file": "ca.pem"}, ["expired"]),
])
def test_tls_failures(authority, failure, certificate, settings, words):
    settings = {key: authority / value for key, value in settings.items()}
    context = tls_context(authority / f"{certificate}.pem", authority / f"{certificate}.key")
    with KfpServer(tls=context) as server:
        failure(server, *words, **settings)


def test_tls_with_authority_and_without_check(authority, tmp_path):
    with KfpServer(tls=tls_context(authority / "localhost.pem", authority / "localhost.key")) as server:
        connect(connection(server, tmp_path, ca_file=authority / "ca.pem"))
        connect(connection(server, tmp_path, verify_tls=False))


def test_client_certificates(authority, tmp_path, failure):
    context = tls_context(authority / "localhost.pem", authority / "localhost.key", authority / "ca.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 tells of it only after the handshake
    with KfpServer(tls=context) as server:
        ca = authority / "ca.pem"
        failure(server, "client_cert", ca_file=ca, attempts=1)
        connect(connection(server, tmp_path, ca_file=ca, client_cert=authority / "client.pem",
                           client_key=authority / "client.key"))
        failure(server, "client_key that belongs", ca_file=ca, client_cert=authority / "client.pem",
                client_key=authority / "other.key")


def test_a_slow_answer_within_the_limit_is_fine(server, client):
    server.faults = [Fault("GET /runs", delay_s=0.2)]
    before = time.monotonic()
    client.list_runs()
    assert time.monotonic() - before >= 0.2
