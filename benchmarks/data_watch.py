"""How quiet the data watch is on sound data: many dates of one dataset, each beside earlier ones.

Every date is a snapshot as of that day; it is compared with the snapshots some days before,
as if those had been promoted. Prints the alarms, and the largest measure per rule.

    python -m benchmarks.data_watch DIR TASK --first 2011-02-01 --last 2011-12-06 --every 7 --lags 7 14 28 56
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from model_core.config import SplitConfig, WatchConfig
from model_core.logical_date import parse_as_of
from model_core.split.temporal import temporal_split
from model_core.tables.ingest import ingest
from model_core.watch.compare import compare
from model_core.watch.findings import Finding
from model_core.watch.measuring import measure
from model_core.watch.statistics import DataStatistics


def statistics_of(dataset: str, task: str, day: date) -> tuple[DataStatistics, float]:
    """Statistics as of the start of a day, and the seconds that measuring them took."""
    with tempfile.TemporaryDirectory() as folder:
        snapshot = ingest(dataset, task, Path(folder) / "snapshot", as_of=parse_as_of(day.isoformat()))
        split = temporal_split(snapshot, SplitConfig(max_locality_rows=1), Path(folder) / "split")
        started = time.perf_counter()
        return measure(snapshot, split), time.perf_counter() - started


def compare_dates(
    dataset: str, task: str, days: Sequence[date], lags: Sequence[int]
) -> tuple[dict[int, list[tuple[date, tuple[Finding, ...]]]], list[float]]:
    """Findings by lag in days and date, and the seconds per date.

    Args:
        dataset, task: What is watched.
        days: Logical dates.
        lags: Ages of the reference, in days; a date without such a reference is left out.
    """
    measured = {day: statistics_of(dataset, task, day) for day in days}
    found = {lag: [(day, compare(now, measured[day - timedelta(lag)][0], WatchConfig()))
                   for day, (now, _) in measured.items() if day - timedelta(lag) in measured]
             for lag in lags}
    return found, [seconds for _, seconds in measured.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("task")
    parser.add_argument("--first", type=date.fromisoformat, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    parser.add_argument("--every", type=int, default=7)
    parser.add_argument("--lags", type=int, nargs="+", default=[7, 14, 28, 56])
    args = parser.parse_args()
    days = [args.first + timedelta(number)
            for number in range(0, (args.last - args.first).days + 1, args.every)]
    found, seconds = compare_dates(args.dataset, args.task, days, args.lags)
    for lag, compared in found.items():
        alarms = [(day, finding) for day, findings in compared for finding in findings
                  if finding.level != "ok"]
        print(f"{lag} days apart: {len(compared)} comparisons, {len(alarms)} alarms")
        for day, finding in alarms:
            print(f"  {day} {finding.level} {finding.rule}: {finding.message}")
    largest: dict[str, tuple[float, str]] = {}
    for compared in found.values():
        for day, findings in compared:
            for finding in findings:
                value = (finding.measure or 0.0, f"{finding.place}, {day}")
                largest[finding.rule] = max(largest.get(finding.rule, (0.0, "")), value)
    for rule, (value, place) in sorted(largest.items()):
        print(f"largest {rule}: {value:.3f} ({place})")
    print(f"{len(days)} dates, measured in {min(seconds):.2f} to {max(seconds):.2f} s each")


if __name__ == "__main__":
    main()
