"""What a backfill has done so far, kept in one file so that it can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components._images import code_digest
from model_core.config import RunConfig
from model_core.errors import ConfigError, RelrecError
from model_core.records import json_bytes, write_atomically
from model_core.storage.registry import Registry
from pipelines.backfill.dates import LogicalDate
from pipelines.backfill.outcome import Outcome

#: Version of the file's layout; docs/how-to/backfill.md describes it.
STATE_VERSION = 1
STATE_FILE = "backfill.json"


def run_key(config: RunConfig, task: str, fingerprint: str, registry: str) -> str:
    """Digest of all that decides what a run computes, but for its date."""
    return hashlib.sha256(json_bytes({
        "code": code_digest(), "config": config.model_dump(mode="json"), "task": task,
        "source": fingerprint, "registry": registry,
    })).hexdigest()[:16]


class BackfillState:
    """The entries of a backfill, one per date, written after every change.

    Args:
        path: The file.
        key: Of this call, as from ``run_key``: an entry of another key does not count.
        facts: What is shown of the call: dataset, task, settings and so on.

    Raises:
        ConfigError: A file that is none of ours.
    """

    def __init__(self, path: Path, key: str, facts: Mapping[str, Any]) -> None:
        self.path, self.key, self.facts = path, key, dict(facts)
        self.entries: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                content = json.loads(path.read_bytes())
                if content["state_version"] != STATE_VERSION:
                    raise ValueError(f"version {content['state_version']}")
                self.entries = {entry["date"]: entry for entry in content["dates"]}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(str(path), f"the state of a backfill, version {STATE_VERSION}",
                                  f"{type(error).__name__}: {error}",
                                  "move the file away, or pass another --root") from error

    def entry(self, date: LogicalDate) -> dict[str, Any]:
        """What is known of a date under this call's key; empty if nothing is."""
        entry = self.entries.get(date.text, {})
        return entry if entry.get("key") == self.key else {}

    def is_done(self, date: LogicalDate, registry: Registry) -> bool:
        """Whether a date needs no run: it is done, and its version is still in the registry."""
        entry = self.entry(date)
        if entry.get("status") != "done":
            return False
        try:
            registry.version_info(entry["result"]["version"])
        except RelrecError:
            return False
        return True

    def begin(self, date: LogicalDate, run: Mapping[str, str]) -> None:
        """A run has started; ``run`` tells it again."""
        self._put(date, "running", attempts=self.entry(date).get("attempts", 0) + 1, run=dict(run))

    def note(self, date: LogicalDate, run: Mapping[str, str]) -> None:
        """What tells the run of a date again."""
        self._put(date, "running", attempts=self.entry(date)["attempts"], run=dict(run))

    def end(self, date: LogicalDate, outcome: Outcome) -> None:
        """A run has ended."""
        self._put(date, outcome.status, attempts=self.entry(date)["attempts"],
                  seconds=round(outcome.seconds, 1), run=dict(outcome.run or {}),
                  result=None if outcome.result is None else dict(outcome.result), error=outcome.error)

    def of(self, dates: Iterable[LogicalDate]) -> list[dict[str, Any]]:
        """Entries of dates, in their order; ``status`` is ``pending`` where nothing is known."""
        return [self.entry(date) or {"date": date.text, "status": "pending"} for date in dates]

    def _put(self, date: LogicalDate, status: str, **content: Any) -> None:
        self.entries[date.text] = {"date": date.text, "key": self.key, "status": status, **content}
        self.write()

    def write(self) -> None:
        """Write the file; a reader sees the old or the new content, never a part."""
        write_atomically(self.path, json_bytes({
            "state_version": STATE_VERSION, "backfill": self.facts,
            "dates": [self.entries[date] for date in sorted(self.entries)],
        }))
