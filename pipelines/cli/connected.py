"""What every command that talks to a cluster has in common: its options, its output, its time."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_core.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.targets.following import ServiceError
    from pipelines.targets.kubeflow.client import Client
    from pipelines.targets.kubeflow.connection import Connection

Host = Annotated[str | None, typer.Option(
    "--host", metavar="URL", envvar="RELREC_KUBEFLOW_HOST", show_default=False,
    help="Address of Kubeflow Pipelines; in a pod of the cluster it is known.")]
Namespace = Annotated[str | None, typer.Option(
    "--namespace", "-n", envvar="RELREC_KUBEFLOW_NAMESPACE", show_default=False,
    help="Namespace of a multi-user installation.")]
TokenCommand = Annotated[str | None, typer.Option(
    "--token-command", metavar="COMMAND", envvar="RELREC_KUBEFLOW_TOKEN_COMMAND", show_default=False,
    help="Prints a bearer token, such as 'gcloud auth print-identity-token'; run again when it expires.")]
TokenFile = Annotated[Path | None, typer.Option(
    "--token-file", metavar="FILE", envvar="RELREC_KUBEFLOW_TOKEN_FILE", show_default=False,
    help="Holds a bearer token; read again when it expires.")]
ConnectionFile = Annotated[Path | None, typer.Option(
    "--connection", metavar="FILE", envvar="RELREC_KUBEFLOW", show_default=False,
    help="YAML with host, namespace, token_command, ca_file, client_cert, proxy and more.")]
Output = Annotated[str, typer.Option(
    "--output", metavar="text|json", help="For people, or one JSON document for scripts.")]

CONNECTION_OPTIONS = {"host": Host, "namespace": Namespace, "token_command": TokenCommand,
                      "token_file": TokenFile, "connection": ConnectionFile}


@dataclass(frozen=True)
class Access:
    """What the user said about the cluster, not yet looked at."""

    host: str | None
    namespace: str | None
    token_command: str | None
    token_file: Path | None
    connection: Path | None

    def __repr__(self) -> str:
        return "Access(…)"  # a token command may hold a secret

    def load(self) -> Connection:
        """Settings of the connection; nobody is contacted. A token in clear is warned of, once.

        Raises:
            ConfigError: No host, or a bad setting.
        """
        return self._loaded

    @functools.cached_property
    def _loaded(self) -> Connection:
        from pipelines.targets.kubeflow.connection import load_connection

        found = load_connection(host=self.host, namespace=self.namespace, token_command=self.token_command,
                                token_file=self.token_file, file=self.connection)
        if found.token_in_clear:
            typer.echo(f"the token goes to {found.host} unencrypted, for all on the way to read: use https, "
                       "or a port-forward to localhost", err=True)
        return found

    def connect(self) -> Client:
        """A client that has reached the cluster.

        Raises:
            RelrecError: It cannot be reached, or does not let the user in.
        """
        from pipelines.targets.kubeflow.client import connect

        return connect(self.load())


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the connection; it takes them as one ``access``.

    Example::

        @runs_app.command("list")
        @connected
        def list_command(access: Access, limit: int = 20) -> None: ...
    """

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in CONNECTION_OPTIONS}
        command(access=Access(**options), **arguments)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
           for name, parameter in signature.parameters.items() if name != "access"]
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
             for name, kind in CONNECTION_OPTIONS.items()]
    with_options.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    del with_options.__wrapped__  # type: ignore[attr-defined]
    return with_options


def check_output(output: str) -> bool:
    """Whether JSON is wanted.

    Raises:
        ConfigError: Neither of the two.
    """
    if output not in ("text", "json"):
        raise ConfigError("--output", "text or json", repr(output), "use one of them")
    return output == "json"


def print_json(content: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, default=_text))


def _text(value: Any) -> Any:
    return utc(value) if isinstance(value, datetime) else list(value)


def tell_lost(error: ServiceError) -> None:
    """A service is away while its run is waited for."""
    typer.echo(f"{error.where}: {error.found}; still waiting for the run", err=True)


def utc(moment: datetime | None) -> str | None:
    """A moment for scripts.

    Example:
        >>> utc(datetime(2026, 1, 2, 3, tzinfo=UTC))
        '2026-01-02T03:00:00Z'
    """
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(moment: datetime | None) -> str:
    """A moment for people, UTC."""
    return "–" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
