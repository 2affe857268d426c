"""One request to a remote store: tried again while its fault may pass, with errors in plain words."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from model_core.errors import StorageError
from model_core.storage.fault import Changed, Fault
from model_core.storage.redact import redact
from model_core.storage.retry import Exhausted, TransientFault, with_retries
from model_core.storage.settings import StorageSettings
from model_core.storage.uri import Location

T = TypeVar("T")


class Requesting(ABC):
    """A place on the other side of a network, and how one request to it is made.

    Args:
        location: Bucket and prefix; all keys lie below.
        settings: Limits; unset: those of the environment, read at the first request.
    """

    def __init__(self, location: Location, settings: StorageSettings | None = None) -> None:
        self.location = location
        self._settings = settings

    @property
    def settings(self) -> StorageSettings:
        if self._settings is None:
            self._settings = StorageSettings.from_environment()
        return self._settings

    @property
    def uri(self) -> str:
        return str(self.location)

    @abstractmethod
    def _fault(self, error: Exception) -> Fault | None:
        """What a client library's exception means; None for one that is not its own."""

    def _renew_credentials(self) -> bool:
        """Fetch credentials anew after a refusal that may be their age; False if impossible."""
        return False

    def _request(self, key: str, attempt: Callable[[], T]) -> T:
        """One request with retries; every failure leaves as a StorageError."""
        renewed = False

        def with_renewal() -> T:
            nonlocal renewed
            try:
                return attempt()
            except Exception as error:
                fault = self._fault(error)
                if (renewed or fault is None or not fault.stale_credentials
                        or not self._renew_credentials()):
                    raise
                renewed = True
                return attempt()

        def is_transient(error: Exception) -> bool:
            fault = self._fault(error)
            return isinstance(error, TransientFault) or (fault is not None and fault.transient)

        def waiting(error: Exception, seconds: float) -> None:
            fault = self._fault(error)
            print(f"{self._where(key)}: {fault.found if fault else redact(str(error))}; trying again for "
                  f"{seconds:.0f} s at most", file=sys.stderr, flush=True)

        try:
            return with_retries(with_renewal, is_transient, self.settings, waiting=waiting)
        except Exhausted as error:
            fault = self._fault(error.last) or Fault(redact(str(error.last)))
            problem = StorageError(
                self._where(key), f"an answer within {self.settings.deadline_s:g} s",
                f"{fault.found} ({error.tries} tries in {error.seconds:.1f} s)", fault.fix)
        except (StorageError, Changed):
            raise
        except Exception as error:
            known = self._fault(error)
            if known is None:
                raise
            problem = StorageError(self._where(key), "an answer", known.found, known.fix)
        # Not chained: a client's own exception may show signed URLs and headers in a traceback.
        raise problem from None

    def _where(self, key: str) -> str:
        return redact(f"{self.uri}/{key}".rstrip("/"), 1_000)
