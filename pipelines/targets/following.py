"""Follow a run of a service until it ends, through lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from model_core.errors import RelrecError

#: How long a service may be away before waiting is given up.
PATIENCE_S = 600.0


class ServiceError(RelrecError):
    """A service that runs pipelines cannot be reached, or refuses a request.

    Attributes:
        transient: Whether the same request may succeed later.
    """

    transient: bool


class Run(Protocol):
    """What ``follow`` needs to know of a run."""

    @property
    def ended(self) -> bool: ...


RunT = TypeVar("RunT", bound=Run)


def follow(
    look: Callable[[], RunT],
    *,
    poll_s: float,
    patience_s: float = PATIENCE_S,
    lost: Callable[[ServiceError], None] = lambda error: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[RunT]:
    """The run as it is, again and again; the last one has ended.

    KFP's own ``wait_for_run_completion`` does not end for a cancelled run and breaks at the
    first lost connection.

    Args:
        look: Asks the service for the run.
        poll_s: Pause between looks.
        patience_s: Give up when the service has been away for so long.
        lost: Told of the first failure in a row.
        sleep, clock: Pause and monotonic seconds.

    Raises:
        ServiceError: No such run, no right to see it, or the service stays away.

    Example::

        *_, last = follow(lambda: get_run(client, run_id), poll_s=5)
    """
    away_since: float | None = None
    while True:
        try:
            run = look()
        except ServiceError as error:
            if not error.transient:
                raise
            if away_since is None:
                away_since = clock()
                lost(error)
            elif clock() - away_since > patience_s:
                raise
        else:
            away_since = None
            yield run
            if run.ended:
                return
        sleep(poll_s)
