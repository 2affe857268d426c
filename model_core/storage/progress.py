"""How far a transfer is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

#: Told of bytes done and bytes in all.
Progress = Callable[[int, int], None]

_QUIET_BELOW, _PAUSE_S = 10_000_000, 5.0


class Counter:
    """Adds up bytes that several threads move, and tells of it.

    Args:
        progress: Who is told; nobody where None.
        total: Bytes in all.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._done, self._lock = 0, threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes (negative: to be moved again)."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(self._done, self._total)

    def finish(self) -> None:
        """Everything is there, small files that were not counted included."""
        with self._lock:
            if self._progress is not None and self._done != self._total:
                self._progress(self._total, self._total)


class ProgressLines:
    """Prints progress: one line that is drawn over on a terminal, a plain line now and then off it.

    Transfers of less than 10 MB say nothing.

    Args:
        what: What is moved, such as ``downloading shop``.
        stream: Where to.
    """

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what, self._stream = what, stream or sys.stderr
        self._started = self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if total < _QUIET_BELOW or (done < total and now - self._told < self._pause()):
            return
        self._told = now
        rate = done / max(now - self._started, 1e-3) / 1e6
        line = f"{self._what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate:,.0f} MB/s"
        if self._stream.isatty():
            self._stream.write(f"\r{line}\x1b[K" + ("\n" if done >= total else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _pause(self) -> float:
        return 0.2 if self._stream.isatty() else _PAUSE_S
