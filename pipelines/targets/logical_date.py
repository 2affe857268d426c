"""Where the logical date of a run comes from, target by target.

On this machine, in a backfill and for a single submission it is a value that the caller
gives: the pipeline's parameter ``as_of``. A scheduled run has nobody who gives it. There the
date is the time for which the run was due, which the cluster fills in for a placeholder:

- **Kubeflow Pipelines**, from 2.16 on, resolves the placeholder where it is the constant of a
  task's input and nothing else: not in a default or a value of a pipeline's parameter.
- **Vertex AI Pipelines** resolves it there, too. In a run that was not started by a schedule it
  gives 1970-01-01T00:00:00Z.

So one place of the compiled YAML is replaced: the input ``as_of`` of ``ingest``. Nothing else
differs between what is scheduled and what runs here. What an older or misused cluster leaves
in place of a date (the placeholder itself, 1970, nothing) is refused by ``ingest``; later
steps read the date from the artifacts.
"""

from __future__ import annotations

import re

from model_core.errors import ConfigError

#: As kfp.dsl has it (PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER); a test compares.
SCHEDULE_TIME = "{{$.pipeline_job_schedule_time_utc}}"

_FROM_PARAMETER = re.compile(
    r"^( +)ingest:\n(?:\1 .*\n)*?\1 +as_of:\n(\1 +)(componentInputParameter: as_of)\n", re.MULTILINE)


def with_schedule_time(text: str) -> str:
    """A compiled pipeline whose logical date is the time for which each run is due.

    Give its runs ``pipeline_arguments(as_of_required=True)``, so that a scheduler that hands
    over nothing does not start a run on the dataset's own windows.

    Args:
        text: Compiled YAML, as ``relrec compile`` writes it.

    Returns:
        The same text but for the one input.

    Raises:
        ConfigError: The text has no input to replace.
    """
    found = list(_FROM_PARAMETER.finditer(text))
    if len(found) != 1:
        raise ConfigError("schedule", "a pipeline whose step ingest takes as_of from the parameter as_of",
                          f"{len(found)} such inputs", "compile the pipeline anew, without a schedule")
    (place,) = found
    indent = place[2]
    return (f"{text[:place.start(3)]}runtimeValue:\n{indent}  constant: '{SCHEDULE_TIME}'"
            f"{text[place.end(3):]}")
