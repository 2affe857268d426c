"""Where Kubeflow Pipelines is and how to get in: settings from flags, a file and the environment.

A flag wins over its environment variable (``RELREC_KUBEFLOW_HOST`` and so on), that over the
connection file (``--connection``, ``RELREC_KUBEFLOW``)::

    host: https://kubeflow.example.org/pipeline
    namespace: recommenders
    token_command: gcloud auth print-identity-token
    ca_file: /etc/ssl/company.pem

Everything is read when a command runs, never at import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from pydantic import Field

from model_core.config import Section, parse_section
from model_core.errors import ConfigError

#: Where a pod finds the token that Kubeflow made for it, unless the variable says otherwise.
POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"
POD_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
#: The service as a pod of the same cluster sees it.
IN_CLUSTER = "http://ml-pipeline.{namespace}.svc.cluster.local:8888"


class ConnectionFile(Section):
    """What a connection file may say."""

    host: str | None = Field(None, min_length=1)
    ui_host: str | None = Field(None, description="Address of the web pages, where it is another one.")
    namespace: str | None = Field(None, description="Kubernetes namespace of a multi-user installation.")
    token_command: str | None = Field(None, description="Prints a bearer token.")
    token_file: Path | None = Field(None, description="Holds a bearer token; read anew as it changes.")
    service_account: bool = Field(False, description="Send the token of the pod's service account.")
    ca_file: Path | None = Field(None, description="Certificates of authorities to trust, PEM.")
    client_cert: Path | None = Field(None, description="Certificate to show to the server, PEM.")
    client_key: Path | None = Field(None, description="Its key, PEM.")
    verify_tls: bool = Field(True, description="Check the server's certificate.")
    proxy: str | None = Field(None, description="URL of a proxy; else HTTPS_PROXY and NO_PROXY hold.")
    timeout_s: float = Field(30.0, gt=0, le=3_600, description="Longest wait for one answer.")
    attempts: int = Field(4, ge=1, le=20, description="Of requests that change nothing.")
    retry_pause_s: float = Field(0.5, ge=0, le=60, description="Before a second attempt; doubles.")
    cluster_timezone: str = Field("UTC", description="In which the cluster reads cron expressions.")


@dataclass(frozen=True)
class Connection:
    """How to reach Kubeflow Pipelines; checked, but nothing has been contacted.

    Attributes:
        host: Base URL, without slash at its end.
        ui_host: Base URL of the web pages.
        namespace: Namespace of a multi-user installation; empty in a single-user one.
        settings: The rest.
        pod_token: File with the token of the pod's service account, if it is to be sent.
        proxy: Proxy to go through, credentials included; None for a direct way.
    """

    host: str
    ui_host: str
    namespace: str
    settings: ConnectionFile
    pod_token: Path | None = None
    proxy: str | None = None

    def __repr__(self) -> str:
        return f"Connection({self.host})"

    @property
    def token_in_clear(self) -> bool:
        """Whether a bearer token would leave this machine for all on the way to read.

        The pod's own token for the cluster's own service does not count: that speaks nothing else.
        """
        parts, settings = urlsplit(self.host), self.settings
        given = settings.token_command is not None or settings.token_file is not None
        sent = given or (self.pod_token is not None and not _is_inside(self.host))
        return parts.scheme == "http" and sent and not _is_loopback(parts.hostname or "")

    def run_link(self, run_id: str) -> str:
        return f"{self.ui_host}/#/runs/details/{run_id}"

    def schedule_link(self, recurring_run_id: str) -> str:
        return f"{self.ui_host}/#/recurringrun/details/{recurring_run_id}"


def load_connection(
    *,
    host: str | None = None,
    namespace: str | None = None,
    token_command: str | None = None,
    token_file: Path | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Connection:
    """Settings from flags over those of a file over what a pod knows by itself.

    Args:
        host, namespace, token_command, token_file: Flags; None where not given.
        file: Connection file.
        environment: Of this process by default: KFP's variables, and whether it is a pod.

    Raises:
        ConfigError: No host is known, or a setting is not usable.
    """
    environment = os.environ if environment is None else environment
    content = _read(file) if file is not None else {}
    where = f"connection file {file}" if file is not None else "connection"
    flags: dict[str, Any] = {"host": host, "namespace": namespace, "token_command": token_command,
                             "token_file": token_file}
    given = {key: value for key, value in flags.items() if value is not None}
    if given.keys() & {"token_command", "token_file"}:  # a flag takes the place of the file's way in
        content = {key: value for key, value in content.items()
                   if key not in {"token_command", "token_file", "service_account"}}
    content |= given
    _check_without_quoting(content, where)
    settings = parse_section(ConnectionFile, content, where)
    address = settings.host or environment.get("KF_PIPELINES_ENDPOINT")
    in_pod = "KUBERNETES_SERVICE_HOST" in environment
    if not address and in_pod:
        address = IN_CLUSTER.format(namespace="kubeflow")
    if not address:
        raise ConfigError("--host", "the address of Kubeflow Pipelines", "none",
                          "pass --host, set RELREC_KUBEFLOW_HOST, or name a file by --connection")
    address = checked_url(address, "--host")
    for key in ("ca_file", "client_cert", "client_key"):
        path = getattr(settings, key)
        if path is not None and not path.expanduser().is_file():
            raise ConfigError(f"{where}, key '{key}'", "a file", f"{path}, which is not there",
                              "check the path")
    return Connection(
        host=address,
        ui_host=checked_url(settings.ui_host or environment.get("KF_PIPELINES_UI_ENDPOINT") or address,
                            f"{where}, key 'ui_host'"),
        namespace=settings.namespace or "",
        settings=settings,
        pod_token=_pod_token(settings, address, environment, where, in_pod),
        proxy=settings.proxy or _proxy_of(address),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.expanduser().read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError("--connection", "a readable file", f"{file}: {error.strerror}",
                          "check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        # The parser's message would quote the file, which may hold a proxy's password.
        raise ConfigError(f"connection file {file}", "YAML", "something else", "correct the file") from None
    if not isinstance(content, dict):
        raise ConfigError(f"connection file {file}", "keys and values", type(content).__name__,
                          "correct the file")
    return content


def _check_without_quoting(content: Mapping[str, Any], where: str) -> None:
    """Refuse here what the message of a later check would quote: a command may hold a secret."""
    for key in ("host", "ui_host", "proxy", "token_command", "token_file"):
        if not isinstance(content.get(key), str | Path | None):
            raise ConfigError(f"{where}, key {key!r}", "a text", type(content[key]).__name__, "correct it")
    ways = [key for key in ("token_command", "token_file", "service_account") if content.get(key)]
    if len(ways) > 1:
        raise ConfigError(where, "at most one of token_command, token_file and service_account",
                          " and ".join(ways), "leave out all but one, as flag, variable and in the file")
    if content.get("client_key") and not content.get("client_cert"):
        raise ConfigError(where, "a client_cert beside client_key", "none", "name it")


def checked_url(text: str, where: str) -> str:
    """A base URL in one form: with scheme, without slash at its end.

    Example:
        >>> checked_url("kubeflow.example.org/pipeline/", "--host")
        'https://kubeflow.example.org/pipeline'

    Raises:
        ConfigError: No http(s) URL, or one with credentials, a query or a fragment.
    """
    url = text.strip()
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit("x://"), None
    # In the whole text: a password with a slash in it is no netloc, and must not be quoted either.
    if "@" in url:
        raise ConfigError(where, "an address without credentials", "some in it",
                          "leave them out and use --token-command, --token-file or client certificates")
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\w.:%-]+", host):
        raise ConfigError(where, "an address such as https://kubeflow.example.org/pipeline", repr(text),
                          "correct it")
    if parts.query or parts.fragment:
        raise ConfigError(where, "the address before any ? or #", f"more after {re.split('[?#]', url)[0]}",
                          "leave out what the browser added")
    return url.rstrip("/")


def _is_inside(url: str) -> bool:
    """Whether it is a service of the cluster in which this runs."""
    return (urlsplit(url).hostname or "").endswith((".svc", ".svc.cluster.local"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _pod_token(settings: ConnectionFile, host: str, environment: Mapping[str, str], where: str,
               in_pod: bool) -> Path | None:
    """The service account's token goes to the cluster's own services, and where the file says so."""
    path = Path(environment.get(POD_TOKEN_VARIABLE) or POD_TOKEN)
    if settings.service_account:
        if not path.is_file():
            raise ConfigError(f"{where}, key 'service_account'", "a pod with a token of its service account",
                              f"no file {path}", "add a projected token volume to the pod, or use "
                              "token_command or token_file")
        return path
    if settings.token_command is not None or settings.token_file is not None:
        return None
    return path if in_pod and _is_inside(host) and path.is_file() else None


def _proxy_of(host: str) -> str | None:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say of an address."""
    parts = urlsplit(host)
    proxies = getproxies()
    return None if proxy_bypass(parts.netloc) else proxies.get(parts.scheme) or proxies.get("all")
