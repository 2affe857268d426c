"""What the temporal_split step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def temporal_split(snapshot: Input, split: Output, config: str = "{}") -> Metadata:
    """Cut label rows into train, val and test by time, and certify that nothing leaks.

    Args:
        snapshot: Validated tables (record: snapshot).
        split: Seed rows, leakage certificate and locality score (record: split).
        config: JSON of SplitConfig.
    """
    from model_core.config import SplitConfig, parse_section
    from model_core.split.temporal import temporal_split as cut
    from model_core.tables.routes import described
    from model_core.tables.snapshot import Snapshot

    opened = cut(
        Snapshot.open(snapshot, verify="digest"), parse_section(SplitConfig, config), Path(split)
    )
    sizes = {name: len(getattr(opened, name)) for name in ("train", "val", "test")}
    print(", ".join(f"{name} {size:,} rows" for name, size in sizes.items()))
    for route in opened.routes:
        other = "" if route in opened.target_routes else " (not what the labels speak of)"
        print(f"met along {described(route)}{other}")
    return {"split": {"digest": opened.record.digest, **sizes}}


if __name__ == "__main__":
    sys.exit(run_step(temporal_split))
