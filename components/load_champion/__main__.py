"""What the load_champion step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def load_champion(split: Input, registry: str, champion: Output) -> Metadata:
    """Copy the champion as of the run's logical date out of the registry; empty where there is none.

    Args:
        split: Says the logical date (record: split).
        registry: Directory or URI (gs://, s3://) of the model registry.
        champion: The newest champion of an earlier date, or why there is none (record: champion).
    """
    from model_core.serving.bundle import SCHEMA_VERSION
    from model_core.split.logical_time import read_logical_time
    from model_core.storage.champion import write_champion
    from model_core.storage.registry import Registry

    found = write_champion(
        Registry(registry, schema_version=SCHEMA_VERSION), read_logical_time(split), Path(champion))
    print({"none": "no champion of an earlier date",
           "loaded": f"champion {found.version} of {found.logical_date}",
           "unreadable": f"champion {found.version} cannot be read: {found.problem}"}[found.state])
    return {"champion": {"digest": found.record.digest, "state": found.state,
                         "version": found.version or ""}}


if __name__ == "__main__":
    sys.exit(run_step(load_champion))
