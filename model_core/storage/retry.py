"""Try again after faults that may pass: exponential back-off with jitter, in bounded time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from model_core.storage.settings import StorageSettings

T = TypeVar("T")

#: A fault is worth a line when it lasts for longer than this.
SILENT_S = 10.0


class Exhausted(Exception):
    """The last try failed, too.

    Attributes:
        last: How it failed.
        tries: How often it was tried.
        seconds: How long that took.
    """

    def __init__(self, last: Exception, tries: int, seconds: float) -> None:
        super().__init__(f"{tries} tries in {seconds:.0f} s")
        self.last, self.tries, self.seconds = last, tries, seconds


class TransientFault(Exception):
    """A fault that our own code noticed and that may pass, such as a body that ended early."""


def with_retries(
    operation: Callable[[], T],
    is_transient: Callable[[Exception], bool],
    settings: StorageSettings,
    *,
    waiting: Callable[[Exception, float], None] = lambda error, seconds: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call until it returns, fails for good, or the deadline is over.

    The pause before try n is drawn uniformly below ``first_wait_s * 2**(n - 1)`` (at most
    ``longest_wait_s``), so that many clients hit by one fault do not come back together. A pause
    never goes past the deadline, and at least two tries are made however long the first took.

    Args:
        operation: What to do; must be safe to repeat.
        is_transient: Whether a fault may pass.
        settings: Deadline and pauses.
        waiting: Told of the fault and the seconds that are left, once it has lasted for
            ``SILENT_S`` and every ``SILENT_S`` from then on.
        clock, sleep: Time; tests pass their own.

    Raises:
        Exhausted: The deadline is over.
    """
    draw = random.SystemRandom()
    started = told = clock()
    tries = 0
    while True:
        tries += 1
        try:
            return operation()
        except Exception as error:
            if not is_transient(error):
                raise
            spent = clock() - started
            bound = min(settings.first_wait_s * 2 ** (tries - 1), settings.longest_wait_s)
            pause = draw.uniform(0, bound)
            if spent + pause > settings.deadline_s and tries > 1:
                raise Exhausted(error, tries, spent) from error
            if clock() - told > SILENT_S:
                told = clock()
                waiting(error, max(settings.deadline_s - spent, 0.0))
            sleep(min(pause, max(settings.deadline_s - spent, 0.0)))
