"""Run dates one after the other, or some at once, until all are done or one fails."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from pipelines.backfill.dates import LogicalDate
from pipelines.backfill.outcome import DateRunner, Outcome
from pipelines.backfill.state import BackfillState


class Listener(Protocol):
    """Told of every start and end, in the main thread."""

    def started(self, date: LogicalDate) -> None: ...

    def ended(self, date: LogicalDate, outcome: Outcome, *, num_left: int) -> None: ...


def run_dates(
    dates: Sequence[LogicalDate],
    runner: DateRunner,
    state: BackfillState,
    listener: Listener,
    *,
    parallel: int = 1,
    keep_going: bool = False,
) -> None:
    """Run every date, oldest first.

    Args:
        dates: What is to be run.
        runner: Where.
        state: Kept up to date, so that a later call goes on.
        listener: Told of progress.
        parallel: Runs at once.
        keep_going: Go on with later dates after one has failed.

    Raises:
        KeyboardInterrupt: The user wants to end. Runs were stopped and are noted as
            interrupted.
    """
    waiting, running = deque(dates), dict[Future[Outcome], LogicalDate]()
    stop, writing = threading.Event(), threading.Lock()

    def one(date: LogicalDate, earlier: Mapping) -> Outcome:
        def note(run: Mapping[str, str]) -> None:
            with writing:
                state.note(date, run)

        return runner.run(date, earlier, stop, note)

    def settle(future: Future[Outcome]) -> Outcome:
        date, outcome = running.pop(future), future.result()
        with writing:
            state.end(date, outcome)
        listener.ended(date, outcome, num_left=len(waiting) + len(running))
        return outcome

    with ThreadPoolExecutor(max_workers=parallel) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    date = waiting.popleft()
                    listener.started(date)
                    with writing:
                        earlier = dict(state.entry(date))
                        state.begin(date, earlier.get("run") or {})
                    running[pool.submit(one, date, earlier)] = date
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                if any(settle(future).status == "failed" for future in done) and not keep_going:
                    waiting.clear()  # what runs already may end
        except BaseException:
            stop.set()
            for future in tuple(running):
                settle(future)
            raise
