"""Bearer tokens: from a command, a file or the pod's service account; renewed before they expire."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from kfp.client.token_credentials_base import TokenCredentialsBase

from model_core.errors import ConfigError
from pipelines.targets.kubeflow.errors import KubeflowError

#: A token that does not say when it expires is asked for again after this.
_TRUSTED_S = 300.0
#: And one that does, this long before.
_MARGIN_S = 60.0
_COMMAND_TIMEOUT_S = 120.0


class Tokens(TokenCredentialsBase):
    """Gives the token of the moment. KFP's client asks before every request.

    The token never leaves this object but into a request's header: its repr, and every
    message of ``scrubbed``, are free of it.

    Args:
        read: Gets a new token, without line end.
        clock: Seconds since the epoch.
    """

    def __init__(self, read: Callable[[], str], clock: Callable[[], float] = time.time) -> None:
        self._read, self._clock = read, clock
        self._token, self._valid_until = "", 0.0
        self._seen: list[str] = []

    def __repr__(self) -> str:
        return "Tokens(…)"

    def refresh_api_key_hook(self, config: object) -> None:
        """Put the token of the moment into a configuration of the generated client."""
        config.api_key["authorization"] = self.current()  # type: ignore[attr-defined]

    def current(self) -> str:
        """The token, read anew if the last one is about to expire.

        Raises:
            ConfigError: None can be had.
            KubeflowError: None can be had any more, which may pass: the command needs the network, too.
        """
        if not self._token or self._clock() >= self._valid_until:
            try:
                self._token = self._read()
            except ConfigError as error:
                if not self._token:
                    raise
                raise KubeflowError(error.where, error.expected, error.found, error.fix,
                                    transient=True) from None
            self._seen = [*self._seen[-7:], self._token]
            expires = expiry_of(self._token)
            now = self._clock()
            self._valid_until = max(expires - _MARGIN_S, now + 1) if expires else now + _TRUSTED_S
        return self._token

    def renew(self) -> bool:
        """After the server refused the token: read again; whether another one came."""
        refused, self._valid_until = self._token, 0.0
        return self.current() != refused

    def scrubbed(self, text: str) -> str:
        """A text without any token that was given out."""
        for token in self._seen:
            text = text.replace(token, "(token)")
        return text


def tokens_of_command(command: str) -> Tokens:
    """Tokens that a command prints, for example ``gcloud auth print-identity-token``.

    The command gets no shell. What it writes to stderr is shown as it comes, because a
    login may ask something there; the command itself is not repeated in messages, since
    it may hold a secret.

    Raises:
        ConfigError: It cannot be split into words.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError("--token-command", "words as a shell takes them", "quotes that do not match",
                          "correct the quotes") from error
    if not words:
        raise ConfigError("--token-command", "a command", "an empty text", "leave it out, or name a command")
    name = Path(words[0]).name

    def read() -> str:
        try:
            done = subprocess.run(words, stdout=subprocess.PIPE, check=False, timeout=_COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ConfigError("--token-command", "a token", f"{name} still running after "
                              f"{_COMMAND_TIMEOUT_S:.0f} s", "run it by hand and see what it waits for"
                              ) from None
        except OSError as error:
            raise ConfigError("--token-command", "a program that can be run",
                              f"{name}: {error.strerror}", "check its name and PATH") from None
        if done.returncode != 0:
            raise ConfigError("--token-command", "exit code 0", f"{name} ended with {done.returncode}",
                              "run it by hand and mend what it complains about")
        return _checked(done.stdout.decode(errors="replace"), "--token-command", f"what {name} printed")

    return Tokens(read)


def tokens_of_file(path: Path, where: str = "--token-file") -> Tokens:
    """Tokens in a file that somebody renews, such as the kubelet."""

    def read() -> str:
        try:
            return _checked(path.expanduser().read_text(encoding="utf-8"), where, str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise ConfigError(where, "a readable file with a token", f"{path}: {reason}",
                              "check the path") from None

    return Tokens(read)


def _checked(text: str, where: str, source: str) -> str:
    """A token is one word; anything else would not fit a header, and is not repeated here."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        found = "nothing" if not token else "several words, several lines or other characters"
        raise ConfigError(where, "one token", f"{found} in {source}", "let it give the bare token")
    return token


def expiry_of(token: str) -> float | None:
    """When a JSON web token expires, as it says itself; None for other tokens.

    Example:
        >>> expiry_of("secret") is None
        True
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        return None
