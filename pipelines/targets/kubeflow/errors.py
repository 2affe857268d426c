"""What can go wrong between this machine and Kubeflow Pipelines, each as one clear sentence."""

from __future__ import annotations

import json
import re

import urllib3
from kfp_server_api.exceptions import ApiException

from pipelines.targets.following import ServiceError

#: Status codes that another attempt may cure.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

#: Versions that are known to talk to each other, for messages.
SERVERS = "Kubeflow Pipelines 2.0 or newer"

_LONGEST_MESSAGE = 300


class KubeflowError(ServiceError):
    """Kubeflow Pipelines cannot be reached, refuses a request, or answers what is not understood.

    Attributes:
        status: HTTP status of the answer; 0 where none came.
        transient: Whether the same request may succeed later.
        sent: Whether the server may have done what was asked although no answer came.
    """

    def __init__(
        self, where: str, expected: str, found: str, fix: str, *,
        status: int = 0, transient: bool = False, sent: bool = False,
    ) -> None:
        super().__init__(where, expected, found, fix)
        self.status, self.transient, self.sent = status, transient, sent

    def __reduce__(self) -> tuple:
        return _rebuilt, (self.where, self.expected, self.found, self.fix, self.status, self.transient,
                          self.sent)


def _rebuilt(where: str, expected: str, found: str, fix: str, status: int, transient: bool,
             sent: bool) -> KubeflowError:
    return KubeflowError(where, expected, found, fix, status=status, transient=transient, sent=sent)


def refused(error: ApiException, host: str, action: str, *, changes: bool) -> KubeflowError:
    """What an answer with an error status means.

    Args:
        error: As the generated client raises it; status 0 is TLS.
        host: Where the request went.
        action: Method and path, for messages.
        changes: Whether the request changes something; a gateway that gives up does not know
            whether the server did it.
    """
    status = int(error.status or 0)
    said = message_of(error.body) or str(error.reason or "").strip() or "no reason given"
    if status == 0:
        return unreachable(urllib3.exceptions.SSLError(said), host, sent=changes)
    expected, fix = _MEANING.get(status) or _MEANING.get(status // 100 * 100, _OTHER)
    sent = changes and (status >= 500 or status == 408)
    return KubeflowError(f"{host} ({action})", expected, f"HTTP {status}: {said}", fix + _LOOK * sent,
                         status=status, transient=status in TRANSIENT, sent=sent)


_OTHER = ("an answer of Kubeflow Pipelines", "check --host")
_MEANING = {
    401: ("a caller that is known",
          "pass --token-command or --token-file with a valid token, for example "
          "--token-command 'gcloud auth print-identity-token'"),
    403: ("a caller that may do this",
          "ask for the right in this namespace, or pass the --namespace that is yours"),
    404: ("something that is there",
          f"check the ID; if every request ends so, check that --host is the address of {SERVERS}"),
    407: ("a proxy that lets the request through", "check the proxy and its credentials"),
    409: ("a name that is free, or a state that allows this",
          "look at what is there and choose another name"),
    413: ("a request that the server takes", "the pipeline is larger than the server or a proxy allows"),
    429: ("a server with time for this", "wait a moment and try again"),
    400: ("a request that the server understands",
          f"correct what it names; if it names a field, compare versions: the server should be {SERVERS}"),
    500: ("a healthy server", "try again; if it stays, look at the logs of the ml-pipeline deployment"),
}


def message_of(body: object) -> str:
    """The sentence in an error body, whichever of the server's two forms it has; empty for others.

    Example:
        >>> message_of('{"error": "no such run", "code": 5}'), message_of("<html>")
        ('no such run', '')
    """
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        content = json.loads(text)
    except ValueError:
        return "" if "<" in text else shortened(text)
    if not isinstance(content, dict):
        return ""
    said = content.get("message") or content.get("error_message") or content.get("error") or ""
    return shortened(str(said))


def shortened(text: str) -> str:
    """One line of bounded length."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + " …"


def unreachable(error: Exception, host: str, *, sent: bool) -> KubeflowError:
    """Why no answer came.

    Args:
        error: As urllib3 raises it.
        host: Where the request went.
        sent: Whether the request changes something and may have arrived.
    """
    cause = _root_cause(error)
    text = shortened(str(cause))
    closed = re.search(r"\beof\b", text, re.IGNORECASE)  # a balancer that restarts, and no fault of TLS
    if not closed and (isinstance(cause, urllib3.exceptions.SSLError) or "certificate" in text.lower()):
        return _tls(text, host)
    if isinstance(cause, urllib3.exceptions.ProxyError):
        return KubeflowError(host, "a proxy that answers", text, "check the proxy setting, or NO_PROXY",
                             transient=True)
    if isinstance(cause, urllib3.exceptions.NameResolutionError) or "Name or service not known" in text:
        return KubeflowError(host, "a host name that is known", "no address for it",
                             "check --host for a slip, and the network or VPN", transient=True)
    if isinstance(cause, (urllib3.exceptions.NewConnectionError, ConnectionRefusedError)):
        return KubeflowError(host, "a server that listens", "the connection was refused",
                             "check host and port of --host; for a port-forward, that it still runs",
                             transient=True)
    if isinstance(cause, urllib3.exceptions.ConnectTimeoutError):
        return KubeflowError(host, "a connection", "none within the time limit",
                             "check --host, the network or VPN, or raise timeout_s", transient=True)
    if isinstance(cause, (urllib3.exceptions.ReadTimeoutError, TimeoutError)):
        return KubeflowError(host, "an answer", "none within the time limit",
                             "try again, or raise timeout_s" + _LOOK * sent, transient=True, sent=sent)
    if isinstance(cause, urllib3.exceptions.ResponseError):  # of what urllib3 follows by itself
        return KubeflowError(host, "an answer", text, "check --host, and whether a token is needed")
    if isinstance(cause, urllib3.exceptions.LocationValueError):
        return KubeflowError("--host", "an address such as https://kubeflow.example.org/pipeline", text,
                             "correct it")
    return KubeflowError(host, "an answer", f"the connection was lost ({text or type(cause).__name__})",
                         "try again" + _LOOK * sent, transient=True, sent=sent)


#: Where a request that changes something got lost.
_LOOK = "; whether it was done is not known, so look first with relrec runs list or relrec schedule list"


def _tls(text: str, host: str) -> KubeflowError:
    low = text.lower()
    if "wrong version number" in low or "record layer" in low:
        return KubeflowError(host, "TLS", "a server that speaks plain HTTP", "write --host http://…")
    if "key_values_mismatch" in low or "key values mismatch" in low:
        return KubeflowError("connection", "a client_key that belongs to client_cert", "another one",
                             "correct one of them in the connection file")
    if "hostname" in low or "doesn't match" in low or "ip address mismatch" in low:
        return KubeflowError(host, "a certificate of this host", text, "use the name that it was issued for")
    if "expired" in low:
        return KubeflowError(host, "a valid certificate", "an expired one", "have it renewed")
    if "alert" in low or "handshake" in low:
        return KubeflowError(host, "a TLS handshake", text,
                             "pass client_cert and client_key in the connection file if the server asks for "
                             "them")
    return KubeflowError(host, "a certificate that is trusted here", text,
                         "name the authority's certificate as ca_file in the connection file")


def _root_cause(error: Exception) -> BaseException:
    """What urllib3 wrapped."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        return _root_cause(error.reason)
    if isinstance(error, urllib3.exceptions.ProxyError):
        return error
    return error


def not_understood(host: str, found: str, fix: str = "") -> KubeflowError:
    """An answer that is not one of Kubeflow Pipelines' API, v2beta1."""
    return KubeflowError(host, "an answer of the Kubeflow Pipelines API, v2beta1", found,
                         fix or f"check that --host is the address of {SERVERS}")
