"""Workers: threads that compute side by side, each with its share of the processors.

A step here is some thousand small operations. Spread over the processors one by one they
wait for each other more than they gain; two halves of a batch side by side do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

#: Halves share what a batch computes once, such as rows of tables: more parts would share less.
MAX_WORKERS = 2

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Maps a function over parts of a batch.

    Args:
        count: Threads; 1 works in the caller's own thread.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def on(cls, device: torch.device) -> Workers:
        """As many as are worth it: one beside a GPU, and no more than torch has threads."""
        return cls(min(MAX_WORKERS, torch.get_num_threads()) if device.type == "cpu" else 1)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Results in order, at most as many at work as there are threads.

        Grad mode and autocast are those of a new thread: the function sets what it needs.

        Raises:
            Exception: What the function raised, at its place.
        """
        if self.count == 1 or len(items) < 2:
            yield from map(function, items)
            return
        if self._pool is None:
            share = max(torch.get_num_threads() // self.count, 1)
            # Of the thread alone; the caller keeps its own number.
            self._pool = ThreadPoolExecutor(
                self.count, "worker", initializer=torch.set_num_threads, initargs=(share,))
        ahead: list[Future[Result]] = []
        try:
            for item in items:
                ahead.append(self._pool.submit(function, item))
                if len(ahead) == self.count:
                    yield ahead.pop(0).result()
            while ahead:
                yield ahead.pop(0).result()
        finally:
            for future in ahead:
                future.cancel()
