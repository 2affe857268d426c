"""The console script inside the test process."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from pipelines.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def relrec(*words: str) -> Said:
    """What ``relrec`` does in the current directory, without the start of a process.

    Example: relrec("describe", "./shop").code
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    terminated = signal.getsignal(signal.SIGTERM)
    with mock.patch.object(sys, "argv", ["relrec", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, terminated)
    return Said(code, out.getvalue(), err.getvalue())
