"""The champion as a record: what a run is compared with, and what it may start from.

A run sees the champion *as of its logical date*: the newest pointer whose model stands for
an earlier moment, or for the same one but comes from other settings. A run that is repeated
therefore sees the same champion before and after its own promotion, a backfilled run sees
the one of its time, and two attempts at one date are compared.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model_core.errors import ArtifactError, RegistryError, StorageError
from model_core.logical_date import date_text
from model_core.records import Record, json_bytes, open_record, write_record
from model_core.storage.pointer import Champion
from model_core.storage.registry import Registry

KIND, SCHEMA_VERSION = "champion", 1
#: Statistics of the data that a version learned from, in its folder of the registry.
DATA = "data.json"

State = Literal["none", "loaded", "unreadable"]


@dataclass(frozen=True)
class ChampionRecord:
    """Opened champion record.

    Payload: ``bundle/`` (the champion's bundle, file by file, for the state ``loaded``) and
    ``data.json`` (statistics of the data it learned from, where its version has them).

    Attributes:
        record: The record it was opened from.
        state: ``none`` (nothing was promoted for an earlier date), ``loaded``, or ``unreadable``
            (there is one, and this release cannot read it).
        version: Its version in the registry; None for the state ``none``.
        logical_date: Date that it stands for.
        promoted_at: When it became champion, UTC seconds.
        problem: Why it is unreadable.
    """

    record: Record
    state: State
    version: str | None
    logical_date: str | None
    promoted_at: int | None
    problem: str | None

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> ChampionRecord:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        return cls(record, **{name: record.meta[name] for name in (
            "state", "version", "logical_date", "promoted_at", "problem")})

    @property
    def bundle_dir(self) -> Path | None:
        """Its bundle; None unless it is loaded."""
        return self.record.path / "bundle" if self.state == "loaded" else None

    @property
    def data_statistics(self) -> dict[str, Any] | None:
        """Statistics of the data that it learned from; None where its version has none."""
        if DATA not in self.record.files:
            return None
        return json.loads(self.record.file(DATA).read_bytes())


def run_key(settings_digest: str, split_digest: str, code_digest: str) -> str:
    """What tells a repeated run from another attempt at the same date; empty where nothing does.

    Args:
        settings_digest: Of all that a user sets and training depends on; may be empty.
        split_digest: Of the split record, and so of the data.
        code_digest: Of the code.
    """
    if not settings_digest:
        return ""
    return hashlib.sha256(json_bytes([settings_digest, split_digest, code_digest])).hexdigest()


def champion_before(registry: Registry, logical_time: int, key: str = "") -> Champion | None:
    """The pointer that a run of a logical date is compared with.

    Args:
        registry: Where to look.
        logical_time: The run's moment, UTC seconds.
        key: The run's ``run_key``; empty: only models of earlier moments count.

    Returns:
        The newest pointer, up to the present one, whose model stands for an earlier moment, or
        for the same one with another key; None where there is none.

    Raises:
        RegistryError: The pointer is not readable.
    """
    seen: set[str] = set()
    for entry in registry.newest_first():
        if entry.version in seen:
            continue
        seen.add(entry.version)
        moment = registry.logical_time(entry.version)
        if moment < logical_time or (moment == logical_time and _is_of_another(registry, entry, key)):
            return entry
    return None


def _is_of_another(registry: Registry, entry: Champion, key: str) -> bool:
    """Whether a model of the same date comes from another run than the one that asks."""
    try:
        other = registry.version_info(entry.version)["run_info"].get("run_key")
    except RegistryError:
        return False
    return bool(key and other and key != other)


def write_champion(
    registry: Registry, logical_time: int, out: Path, key: str = ""
) -> ChampionRecord:
    """Write the champion as of a logical date as a record.

    A champion that cannot be read is no fault of the run: the record says so, and the gate
    decides. A registry that cannot be reached is one.

    Args:
        registry: Where to look; its schema version is the one that this release reads.
        logical_time: The run's moment, UTC seconds.
        out: Directory of the record.
        key: The run's ``run_key``, as for ``champion_before``.

    Raises:
        RegistryError: The pointer is not readable.
        StorageError: The registry cannot be reached.
    """
    champion = champion_before(registry, logical_time, key)
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        meta.update(state="none", version=None, logical_date=None, promoted_at=None, problem=None)
        if champion is not None:
            problem = _fetch(registry, champion.version, folder)
            meta.update(
                state="unreadable" if problem else "loaded", problem=problem,
                version=champion.version, promoted_at=champion.promoted_at,
                logical_date=date_text(registry.logical_time(champion.version)))
    return ChampionRecord.open(out)


def _fetch(registry: Registry, version: str, folder: Path) -> str | None:
    """Copy bundle and statistics of a version; why it could not be done, or None."""
    statistics = registry.extra(version, DATA)
    if statistics is not None:
        (folder / DATA).write_bytes(statistics)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as draft:
            # Fetched beside the record, so that a bundle that fails its check is no part of it.
            shutil.move(registry.fetch(version, Path(draft) / "bundle"), folder / "bundle")
    except (ArtifactError, RegistryError) as error:
        return _without_place(error, folder)
    except StorageError as error:
        registry.champion()  # raises where the whole store is out of reach, and not only this bundle
        return _without_place(error, folder)
    return None


def _without_place(error: ArtifactError | RegistryError | StorageError, folder: Path) -> str:
    # The folder's name is drawn by chance; equal content must stay equal.
    before, found, inside = error.fault.partition(f"{folder.parent}/")
    return before + inside.partition("/")[2] if found else error.fault

