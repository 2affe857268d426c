"""KFP's client over a connection of ours: tokens, client certificates, time limits, retries, errors.

``kfp.Client`` is what speaks to the server. Three things that it lacks are added underneath it,
where the generated client sends its requests: a time limit, further attempts of requests
that change nothing, and errors that say what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import kfp
import kfp_server_api
import urllib3
from kfp_server_api.exceptions import ApiException
from kfp_server_api.rest import RESTClientObject

from model_core.errors import ConfigError
from pipelines.targets.kubeflow.connection import Connection
from pipelines.targets.kubeflow.errors import KubeflowError, not_understood, refused, unreachable
from pipelines.targets.kubeflow.tokens import Tokens, tokens_of_command, tokens_of_file

#: What may be asked twice: reading, and setting a state that is then the same.
_REPEATABLE = re.compile(r":(enable|disable|terminate|archive|unarchive)$")
_LONGEST_PAUSE_S = 20.0


class Client(kfp.Client):
    """``kfp.Client``, but its construction contacts nobody.

    KFP asks for the server's health while it is made, five times with pauses, and hides why
    that fails. ``connect`` asks once, when everything is in place.
    """

    connected = False
    connection: Connection

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        if not self.connected:
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)
        return self._healthz_api.healthz_service_get_healthz()


def connect(connection: Connection) -> Client:
    """A client that is known to reach Kubeflow Pipelines.

    Args:
        connection: Settings.

    Raises:
        KubeflowError: No answer, a refusal, or an answer that is not Kubeflow Pipelines'.
        ConfigError: No token can be had, or a namespace is missing.

    Example::

        client = connect(load_connection(host="https://kubeflow.example.org/pipeline"))
        client.list_runs(page_size=5)
    """
    client = make_client(connection)
    with talking(client):
        health = client.get_kfp_healthz()
    if health.multi_user and not client.get_user_namespace():
        raise ConfigError("--namespace", "the namespace of a multi-user installation", "none",
                          "pass --namespace, or set RELREC_KUBEFLOW_NAMESPACE")
    return client


def make_client(connection: Connection) -> Client:
    """The client, before the first request."""
    tokens = _tokens(connection)
    settings = connection.settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            client = Client(
                host=connection.host, ui_host=connection.ui_host, credentials=tokens,
                namespace=connection.namespace or "kubeflow", verify_ssl=settings.verify_tls,
                ssl_ca_cert=str(settings.ca_file.expanduser()) if settings.ca_file else None,
            )
        except (ValueError, KeyError, TypeError):  # its message may quote a cookie
            raise ConfigError(Client._LOCAL_KFP_CONTEXT, "the JSON that KFP's client keeps there",
                              "something else", "move the file away; KFP writes it anew") from None
    if connection.namespace:  # kfp takes its own default, kubeflow, for none
        client._context_setting["namespace"] = connection.namespace
    api_client = client._run_api.api_client  # all services share it
    config = api_client.configuration
    if settings.client_cert is not None:
        config.cert_file = str(settings.client_cert.expanduser())
        config.key_file = str(settings.client_key.expanduser()) if settings.client_key else None
    if connection.proxy is not None:
        config.proxy, config.proxy_headers = _proxy(connection.proxy)
    # One layer of retries only, so that there is one time limit, and one that knows what a status means.
    config.retries = urllib3.Retry(connect=0, read=0, status=0, other=0, redirect=3,
                                   respect_retry_after_header=False)
    if not settings.verify_tls:
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
    try:
        api_client.rest_client = Transport(config, connection, tokens)
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise ConfigError("connection", "certificates and a proxy that can be used",
                          f"{type(error).__name__}: {error}", "correct them in the connection file") from None
    client.connection, client.connected = connection, True
    return client


def _tokens(connection: Connection) -> Tokens | None:
    settings = connection.settings
    if settings.token_command is not None:
        return tokens_of_command(settings.token_command)
    if settings.token_file is not None:
        return tokens_of_file(settings.token_file)
    if connection.pod_token is not None:
        return tokens_of_file(connection.pod_token, "the pod's service account")
    return None


def _proxy(url: str) -> tuple[str, dict[str, str] | None]:
    """A proxy's URL without credentials, and the header that holds them."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if not parts.hostname or "@" in parts.path + parts.query + parts.fragment:
        raise ConfigError("proxy", "a URL such as http://proxy.example.org:3128", "another text",
                          "correct it; in a password write / as %2F, # as %23, ? as %3F and @ as %40")
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.username is None:
        return address, None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return address, dict(urllib3.make_headers(proxy_basic_auth=credentials))


class Transport(RESTClientObject):
    """Sends the generated client's requests.

    Args:
        configuration: Of the generated client.
        connection: Time limit, attempts, pauses.
        tokens: Asked for another token when one is refused.
        sleep: Waits between attempts.
    """

    def __init__(self, configuration: Any, connection: Connection, tokens: Tokens | None,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(configuration)
        self._connection, self._tokens, self._sleep = connection, tokens, sleep

    def request(self, method: str, url: str, *args: Any, headers: dict[str, str] | None = None,
                **kwargs: Any) -> Any:
        settings = self._connection.settings
        if not kwargs.get("_request_timeout"):
            kwargs["_request_timeout"] = (settings.timeout_s, settings.timeout_s)
        path = urlsplit(url).path
        repeatable = method in ("GET", "DELETE") or _REPEATABLE.search(path) is not None
        renewed = False
        attempt, pause = 1, settings.retry_pause_s
        while True:
            try:
                # The generated client empties the headers that it was given.
                answer = super().request(method, url, *args, headers=dict(headers or {}), **kwargs)
                return self._checked(answer)
            except ApiException as error:
                if error.status == 401 and self._tokens is not None and not renewed:
                    renewed = True
                    if self._tokens.renew():
                        headers = dict(headers or {}) | {"authorization": f"Bearer {self._tokens.current()}"}
                        continue
                if error.status == 404 and method == "DELETE" and attempt > 1:
                    return _Empty()  # the attempt before did it
                error.body = self._without_token(error.body)  # first: a message may be cut within a token
                problem = refused(error, self._connection.host, f"{method} {path}", changes=not repeatable)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                problem = unreachable(error, self._connection.host, sent=not repeatable)
            if not (repeatable and problem.transient and attempt < settings.attempts):
                raise self._scrubbed(problem) from None
            self._sleep(min(pause, _LONGEST_PAUSE_S))
            attempt, pause = attempt + 1, pause * 2

    def _checked(self, answer: Any) -> Any:
        """Refuse a web page, which the generated client would take for an empty answer."""
        data = answer.data if isinstance(answer.data, bytes) else str(answer.data).encode()
        try:
            if isinstance(json.loads(data), dict):
                return answer
        except ValueError:
            pass
        kind = answer.urllib3_response.headers.get("content-type", "no type").partition(";")[0]
        fix = ("this looks like a login page or another service: check --host, and pass a token"
               if kind == "text/html" else "")
        raise not_understood(self._connection.host, f"{kind} instead of JSON", fix)

    def _without_token(self, body: bytes | str | None) -> str:
        text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
        return text if self._tokens is None else self._tokens.scrubbed(text)

    def _scrubbed(self, problem: KubeflowError) -> KubeflowError:
        if self._tokens is None:
            return problem
        return KubeflowError(
            problem.where, problem.expected, self._tokens.scrubbed(problem.found), problem.fix,
            status=problem.status, transient=problem.transient, sent=problem.sent)


class _Empty:
    """An answer without content."""

    status, reason, data = 200, "OK", b"{}"

    def getheader(self, name: str, default: Any = None) -> Any:
        return default

    def getheaders(self) -> dict[str, str]:
        return {}


@contextlib.contextmanager
def talking(client: Client) -> Iterator[None]:
    """Within this, what KFP's client cannot read is a clear error.

    The generated models refuse what they do not know, for example a state that a newer
    server has; that is what a mismatch of versions looks like from here.

    Call no method of ``kfp.Client`` that prints (``run_pipeline``, ``upload_pipeline_version``)
    but the service below it: stdout belongs to the commands, and cannot be put aside for
    one thread only.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, ApiException) as error:
        found = " ".join(str(error).split())[:200]
        raise not_understood(
            client.connection.host,
            f"one that kfp-server-api {kfp_server_api.__version__} cannot read ({found})",
            "use a server and a kfp of the same minor version; relrec is made for kfp 2.17") from error
