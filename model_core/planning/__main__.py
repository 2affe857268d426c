"""``python -m model_core.planning``: a plan as JSON, made in a process of its own.

A run starts it this way, so that the memory of planning does not count for its steps.
"""

from __future__ import annotations

import argparse
import sys

from model_core.config import RunConfig, parse_section
from model_core.errors import RelrecError
from model_core.planning.machine import DEFAULT_SPEED, available_memory_bytes, calibrate
from model_core.planning.plan import make_plan
from model_core.records import json_bytes


def main() -> int:
    """Print the plan; exit code 2 for a fault the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m model_core.planning", description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--config", default="{}", help="JSON of RunConfig")
    parser.add_argument("--as-of", type=int, help="UTC seconds")
    parser.add_argument("--no-calibrate", action="store_true")
    arguments = parser.parse_args()
    try:
        plan = make_plan(
            arguments.dataset, arguments.task, parse_section(RunConfig, arguments.config),
            memory_bytes=available_memory_bytes(), as_of=arguments.as_of,
            speed=DEFAULT_SPEED if arguments.no_calibrate else calibrate(),
        )
    except RelrecError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.buffer.write(json_bytes(plan.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
