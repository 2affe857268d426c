"""DataWatch: what the data watch found, and the statistics that a later run is compared with.

Reading one needs neither pyarrow nor torch, because the image that publishes has neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from model_core.errors import ArtifactError
from model_core.records import Record, json_bytes, open_record, write_record
from model_core.watch.findings import Finding, worst_first
from model_core.watch.statistics import DataStatistics

KIND, SCHEMA_VERSION = "data_watch", 1


@dataclass(frozen=True)
class DataWatch:
    """Opened data_watch record.

    Payload: ``findings.json``, ``statistics.json`` (``DataStatistics`` of this run) and, where
    there is a reference, its statistics as ``reference.json``.

    Attributes:
        record: The record it was opened from.
        findings: What the rules say, failures first, passed checks last.
        reference: Version that the data were compared with, or None.
        on_failure: ``refuse`` or ``stop`` (``WatchConfig``).
    """

    record: Record
    findings: tuple[Finding, ...]
    reference: str | None
    on_failure: str

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> DataWatch:
        """Open a record.

        Raises:
            ArtifactError: Missing, damaged, of another kind or version.
        """
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        try:
            entries = json.loads(record.file("findings.json").read_bytes())
            findings = tuple(Finding(**entry) for entry in entries)
        except (ValueError, TypeError) as error:
            raise ArtifactError(str(path), "readable findings", repr(error),
                                "re-run the step that wrote it") from error
        return cls(record, findings, record.meta["reference"], record.meta["on_failure"])

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Findings because of which nothing should be promoted."""
        return tuple(finding for finding in self.findings if finding.level == "fail")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that a person should see."""
        return tuple(finding for finding in self.findings if finding.level == "warn")

    @property
    def statistics(self) -> DataStatistics:
        """Of this run's data."""
        return self._statistics("statistics.json")

    @property
    def reference_statistics(self) -> DataStatistics | None:
        """Of the data that they were compared with."""
        return self._statistics("reference.json") if "reference.json" in self.record.files else None

    def _statistics(self, name: str) -> DataStatistics:
        return DataStatistics.from_json(json.loads(self.record.file(name).read_bytes()), name)

    @property
    def statistics_file(self) -> Path:
        """``statistics.json``, which is stored with a version as its ``data.json``."""
        return self.record.file("statistics.json")


def write_data_watch(
    out: Path, findings: Sequence[Finding], statistics: Mapping[str, Any], *,
    reference: str | None, on_failure: str, reference_statistics: Mapping[str, Any] | None = None,
) -> DataWatch:
    """Write a record and open it. Arguments as the attributes of DataWatch.

    Args:
        out: Directory of the record.
        findings: In any order.
        statistics: ``DataStatistics.to_json()``.
        reference: Version of the reference, or None.
        on_failure: From the configuration.
        reference_statistics: The same of the reference, or None.
    """
    ordered = worst_first(findings)
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        (folder / "findings.json").write_bytes(json_bytes([asdict(finding) for finding in ordered]))
        (folder / "statistics.json").write_bytes(json_bytes(dict(statistics)))
        if reference_statistics is not None:
            (folder / "reference.json").write_bytes(json_bytes(dict(reference_statistics)))
        levels = [finding.level for finding in ordered]
        meta.update(reference=reference, on_failure=on_failure,
                    counts={level: levels.count(level) for level in ("fail", "warn", "ok")})
    return DataWatch.open(out)
