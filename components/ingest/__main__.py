"""What the ingest step runs."""

import sys
from pathlib import Path

from components._step import Metadata, Output, run_step


def ingest(
    dataset: str,
    task: str,
    snapshot: Output,
    profile: Output,
    as_of: str = "",
    as_of_required: bool = False,
    source_fingerprint: str = "",
) -> Metadata:
    """Check a RelBench-v3 dataset and freeze it as a snapshot.

    Args:
        dataset: Folder or URI (gs://, s3://) with manifest.yaml, or a Hub spec org/repo/name.
        task: Name of a recommendation task of the dataset.
        snapshot: Validated tables, task and stored labels (record: snapshot).
        profile: What the tables hold, as a page.
        as_of: Logical date (ISO 8601 or epoch seconds, UTC). Empty: the manifest's windows.
        as_of_required: Refuse an empty as_of, which a scheduler may hand over by mistake.
        source_fingerprint: Digest of the source files; only part of the cache key.
    """
    from model_core.logical_date import parse_as_of
    from model_core.records import write_atomically
    from model_core.tables.ingest import ingest as ingest_tables

    moment = parse_as_of(as_of, required=as_of_required)
    opened = ingest_tables(dataset, task, Path(snapshot), as_of=moment)
    write_atomically(Path(profile), opened.record.file("profile.html").read_bytes())
    rows = sum(table.num_rows for table in opened.tables.values())
    print(f"{opened.dataset}: {len(opened.tables)} tables, {rows:,} rows")
    return {"snapshot": {"digest": opened.record.digest, "rows": rows}}


if __name__ == "__main__":
    sys.exit(run_step(ingest))
