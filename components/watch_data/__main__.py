"""What the watch_data step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def watch_data(
    snapshot: Input, split: Input, champion: Input, data_watch: Output, watch_page: Output, config: str = "{}"
) -> Metadata:
    """Compare the data with those that the champion learned from; warn, or refuse promotion.

    Args:
        snapshot: Validated tables (record: snapshot).
        split: Seed rows and labels (record: split).
        champion: Statistics of its data are the reference, if it has any (record: champion).
        data_watch: Findings, and statistics of this run's data (record: data_watch).
        watch_page: The findings and statistics as a page.
        config: JSON of WatchConfig.
    """
    from model_core.config import WatchConfig, parse_section
    from model_core.split.seeds import Split
    from model_core.storage.champion import ChampionRecord
    from model_core.tables.snapshot import Snapshot
    from model_core.watch.watch import require_no_failure
    from model_core.watch.watch import watch_data as watch_against

    watched = watch_against(
        Snapshot.open(snapshot, verify="digest"), Split.open(split, verify="digest"),
        ChampionRecord.open(champion, verify="digest"), parse_section(WatchConfig, config),
        Path(data_watch), html=Path(watch_page))
    for finding in (*watched.failures, *watched.warnings):
        print(f"{'failure' if finding.level == 'fail' else 'warning'}: {finding.message}", flush=True)
    passed = len(watched.findings) - len(watched.failures) - len(watched.warnings)
    print(f"{passed} checks passed, compared with {watched.reference or 'no earlier data'}", flush=True)
    require_no_failure(watched)
    return {"data_watch": {"digest": watched.record.digest, "failures": len(watched.failures),
                           "warnings": len(watched.warnings), "reference": watched.reference or ""}}


if __name__ == "__main__":
    sys.exit(run_step(watch_data))
