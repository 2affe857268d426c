"""Workers: threads that compute side by side, each with its share of the processors.

A step here is some thousand small operations. Spread over the processors one by one they
wait for each other more than they gain; two halves of a batch side by side do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier
from typing import TypeVar

import torch

#: Halves share what a batch computes once, such as rows of tables: more parts would share less.
MAX_WORKERS = 2

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Maps a function over parts of a batch.

    Args:
        count: Threads; 1 works in the caller's own thread. Otherwise each has a share of the
            torch threads that the maker of this object has.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        if count > 1:
            mine, started = torch.get_num_threads(), Barrier(count)
            self._pool = ThreadPoolExecutor(
                count, "worker", initializer=_take_threads, initargs=(max(mine // count, 1),))
            list(self._pool.map(lambda _: started.wait(), range(count)))
            # A thread's setting is also that of every thread which starts later: put that back.
            torch.set_num_threads(mine)

    @classmethod
    def on(cls, device: torch.device) -> Workers:
        """As many as are worth it: one beside a GPU, and no more than torch has threads."""
        return cls(min(MAX_WORKERS, torch.get_num_threads()) if device.type == "cpu" else 1)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Results in order, at most as many at work as there are threads.

        Grad mode and autocast are those of a new thread: the function sets what it needs.

        Raises:
            Exception: What the function raised, at its place, once no part is at work any more.
        """
        if self._pool is None or len(items) < 2:
            yield from map(function, items)
            return
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
            wait(ahead)


def _take_threads(share: int) -> None:
    """Give this thread so many torch threads."""
    torch.set_num_threads(share)
    torch.get_num_threads()  # a thread's first question settles its number: later defaults change it no more
