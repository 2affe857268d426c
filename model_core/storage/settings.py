"""How patiently and how much at once relrec talks to object stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from model_core.errors import ConfigError

_MIB = 1 << 20


@dataclass(frozen=True)
class StorageSettings:
    """Limits of requests to an object store.

    They come from the environment and not from RunConfig: they say something about a machine
    and its network, not about a model, and a step on a cluster has no other way to get them.

    Attributes:
        deadline_s: Longest time that one request (or one chunk of a large file) is tried again.
            It starts anew with every chunk that arrives. RELREC_STORAGE_DEADLINE_S.
        timeout_s: Longest silence of the other side within one try. RELREC_STORAGE_TIMEOUT_S.
        chunk_bytes: Bytes per request of a large file, a multiple of 256 KiB (5 MiB at least on
            S3). RELREC_STORAGE_CHUNK_MIB.
        parallel: Files moved at the same time. RELREC_STORAGE_PARALLEL.
        first_wait_s, longest_wait_s: The pause after a fault is drawn below a bound that starts
            at the first, doubles with every try and ends at the second.
    """

    deadline_s: float = 300.0
    timeout_s: float = 60.0
    chunk_bytes: int = 16 * _MIB
    parallel: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> StorageSettings:
        """Settings of this process.

        Raises:
            ConfigError: A variable holds no number, or one out of range.
        """
        environ = os.environ if environ is None else environ
        number = lambda name, default, least: _number(environ, f"RELREC_STORAGE_{name}", default, least)
        return cls(
            deadline_s=number("DEADLINE_S", cls.deadline_s, 0),
            timeout_s=number("TIMEOUT_S", cls.timeout_s, 0.001),
            chunk_bytes=int(number("CHUNK_MIB", cls.chunk_bytes / _MIB, 1)) * _MIB,
            parallel=int(number("PARALLEL", cls.parallel, 1)),
        )


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise ConfigError(name, f"a number of at least {least}", repr(text), "correct it or unset it")
    return value
