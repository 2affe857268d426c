"""What the load_champion step runs."""

import sys
from pathlib import Path

from components._images import code_digest
from components._step import Input, Metadata, Output, run_step


def load_champion(
    split: Input, registry: str, champion: Output, settings_digest: str = ""
) -> Metadata:
    """Copy the champion as of the run's logical date out of the registry; empty where there is none.

    Args:
        split: Says the logical date (record: split).
        registry: Directory or URI (gs://, s3://) of the model registry.
        champion: The newest champion of an earlier date, or why there is none (record: champion).
        settings_digest: Tells a repeated run from another one of the same date, whose champion then
            counts, too. Empty: only champions of earlier dates count.
    """
    from model_core.records import open_record
    from model_core.serving.bundle import SCHEMA_VERSION
    from model_core.split.logical_time import KIND, logical_time_of
    from model_core.split.logical_time import SCHEMA_VERSION as SPLIT_VERSION
    from model_core.storage.champion import run_key, write_champion
    from model_core.storage.registry import Registry

    windows = open_record(split, KIND, SPLIT_VERSION)
    models = Registry(registry, schema_version=SCHEMA_VERSION)
    models.check_subject(windows.meta)  # publish would refuse it, too, but only after training
    found = write_champion(models, logical_time_of(windows.meta), Path(champion),
                           run_key(settings_digest, windows.digest, code_digest()))
    print({"none": "no champion to compare with",
           "loaded": f"champion {found.version} of {found.logical_date}",
           "unreadable": f"champion {found.version} cannot be read: {found.problem}"}[found.state])
    return {"champion": {"digest": found.record.digest, "state": found.state,
                         "version": found.version or ""}}


if __name__ == "__main__":
    sys.exit(run_step(load_champion))
