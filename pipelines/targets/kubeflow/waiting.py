"""Follow a run until it ends, through lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pipelines.targets.kubeflow.client import Client
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.runs import RunView, get_run

#: How long a server may be away before waiting is given up.
PATIENCE_S = 600.0


def follow(
    client: Client,
    run_id: str,
    *,
    poll_s: float = 5.0,
    patience_s: float = PATIENCE_S,
    lost: Callable[[KubeflowError], None] = lambda error: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[RunView]:
    """The run as it is, again and again; the last one has ended.

    KFP's own ``wait_for_run_completion`` does not end for a cancelled run and breaks at the
    first lost connection.

    Args:
        client: Connected client.
        run_id: The run.
        poll_s: Pause between looks.
        patience_s: Give up when the server has been away for so long.
        lost: Told of the first failure in a row.
        sleep, clock: Pause and monotonic seconds.

    Raises:
        KubeflowError: No such run, no right to see it, or the server stays away.
    """
    away_since: float | None = None
    while True:
        try:
            run = get_run(client, run_id)
        except KubeflowError as error:
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
