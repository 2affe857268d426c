"""watch_data: measure a snapshot, compare it with the champion's, write record and page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_core.config import WatchConfig
from model_core.errors import ArtifactError, DataError
from model_core.records import write_atomically
from model_core.split.seeds import Split
from model_core.storage.champion import ChampionRecord
from model_core.tables.snapshot import Snapshot
from model_core.watch.compare import compare
from model_core.watch.findings import Finding
from model_core.watch.measuring import measure
from model_core.watch.page import render_page
from model_core.watch.record import DataWatch, write_data_watch
from model_core.watch.statistics import DataStatistics


def watch_data(
    snapshot: Snapshot, split: Split, champion: ChampionRecord, config: WatchConfig, out: Path, *, html: Path
) -> DataWatch:
    """Hold a snapshot against the one that the champion learned from.

    Args:
        snapshot: Validated tables.
        split: Its seed rows.
        champion: Whose ``data_statistics`` are the reference; may be the empty record.
        config: Limits.
        out: Directory of the record.
        html: File of the self-contained page.

    Returns:
        The opened record. A failure is a finding, not an error.
    """
    present = measure(snapshot, split, config.max_categories)
    reference, problem = _reference(champion)
    findings = [*problem, *compare(present, reference, config)]
    watch = write_data_watch(
        out, findings, present.to_json(), reference=champion.version if reference else None,
        reference_statistics=reference.to_json() if reference else None, on_failure=config.on_failure)
    write_atomically(html, render_page(watch).encode())
    return watch


def require_no_failure(watch: DataWatch) -> None:
    """End the run where its configuration says so.

    Raises:
        DataError: There is a failure and ``watch.on_failure`` is ``stop``.
    """
    if watch.on_failure != "stop" or not watch.failures:
        return
    more = len(watch.failures) - 1
    worst = watch.failures[0]
    raise DataError(
        f"data watch, {worst.rule} of {worst.place}" + (f" (and {more} more)" if more else ""),
        worst.expected, f"{worst.found} ({worst.message.rstrip('.')})",
        "mend the data, or accept them: raise the limit, name the column in watch.ignore, or set "
        "watch.on_failure=refuse to train without promoting",
    )


def _reference(champion: ChampionRecord) -> tuple[DataStatistics | None, list[Finding]]:
    """The champion's statistics, or why there are none where there should be."""
    if champion.state == "none":
        return None, []
    try:
        value: Mapping[str, Any] | None = champion.data_statistics
        if value is None:
            raise ArtifactError("data.json", "statistics of the champion's data", "none",
                                "promote a new model")
        return DataStatistics.from_json(value), []
    except (ArtifactError, ValueError) as error:
        expected, found = ((error.expected, error.found) if isinstance(error, ArtifactError)
                           else ("readable data statistics", str(error)))
        return None, [Finding(
            "reference", "", "", "warn", expected, found,
            f"The data of champion {champion.version} cannot be compared with: {found}. "
            "Only the rules that need no earlier data were checked.")]
