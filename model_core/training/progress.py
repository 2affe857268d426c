"""Progress of a training run: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO, TypeVar


@dataclass(frozen=True)
class StepEvent:
    """What is known after a step.

    Attributes:
        step: Steps done, over all epochs.
        total_steps: Steps of a run that does not stop early.
        epoch: 1-based.
        epochs: Most epochs.
        loss: Loss of the step.
        seeds_per_s: Seed rows per second since training began or was resumed.
        eta_s: Seconds left at that pace.
    """

    step: int
    total_steps: int
    epoch: int
    epochs: int
    loss: float
    seeds_per_s: float
    eta_s: float


class Progress(Protocol):
    """Where a trainer reports to."""

    def step(self, event: StepEvent) -> None: ...

    def note(self, text: str) -> None: ...


class SilentProgress:
    """Says nothing."""

    def step(self, event: StepEvent) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class ProgressPrinter:
    """Prints to a stream.

    On a terminal one line is rewritten, a few times a second. In a file or a container
    log, where that would give one endless line, a plain line appears now and then.

    Args:
        stream: Defaults to standard error at the time of the call.
        every_s: Seconds between plain lines.
        clock: For tests.
    """

    def __init__(
        self, stream: TextIO | None = None, every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.every_s = 0.2 if self.live else every_s
        self.clock = clock
        self._last = -float("inf")
        self._width = 0

    def step(self, event: StepEvent) -> None:
        now = self.clock()
        if now - self._last < self.every_s and event.step < event.total_steps:
            return
        self._last = now
        line = describe(event)
        if self.live:
            self.stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def note(self, text: str) -> None:
        """A line that stays."""
        if self.live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self.stream.write(text + "\n")
        self.stream.flush()


Item = TypeVar("Item")


def noted(
    items: Sequence[Item], what: str, progress: Progress, every_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """The items, with a note now and then of how many are done, where that takes longer than a moment.

    Args:
        items: What is worked on between one and the next.
        what: In the plural.
        progress: Takes the notes.
        every_s: Least seconds between notes.
        clock: For tests.
    """
    began = last = clock()
    for done, item in enumerate(items):
        now = clock()
        if done and now - last >= every_s:
            last = now
            eta = _minutes((now - began) / done * (len(items) - done))
            progress.note(f"{done} of {len(items)} {what}, ETA {eta}")
        yield item


def describe(event: StepEvent) -> str:
    """One line for a step.

    Example:
        >>> describe(StepEvent(50, 200, 2, 8, 3.25, 612.4, 75.0))
        'step 50/200 (epoch 2/8)  loss 3.2500  612 seeds/s  ETA 1:15'
    """
    return (f"step {event.step}/{event.total_steps} (epoch {event.epoch}/{event.epochs})  "
            f"loss {event.loss:.4f}  {event.seeds_per_s:.0f} seeds/s  ETA {_minutes(event.eta_s)}")


def _minutes(duration_s: float) -> str:
    minutes, seconds = divmod(int(duration_s + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
