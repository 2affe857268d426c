"""Model registry: versioned bundles and one champion pointer.

Layout, all keys relative to the registry's root::

    versions/<version>/bundle/...      the bundle, file by file
    versions/<version>/<name>          what else belongs to it, such as data.json
    versions/<version>/version.json    digest, verdict, created_at, run info; written last,
                                       so that a version without it does not exist
    champion.json                      the pointer: serial, version, previous, promoted_at, ...
    log/<serial>.json                  every pointer there ever was

The pointer moves by compare-and-swap, which alone decides who wins. A log entry is a
copy of a pointer; whoever moves the pointer first writes the entry of the one it
replaces, so that a writer killed in between leaves no gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_core.errors import RegistryError
from model_core.logical_date import date_name
from model_core.records import MANIFEST, json_bytes, open_record
from model_core.storage.object_store import ABSENT, ObjectStore
from model_core.storage.opening import open_store
from model_core.storage.pointer import LOG, POINTER, Champion, log_key, logical_seconds, parse_json

__all__ = ["Champion", "Publication", "Registry"]


@dataclass(frozen=True)
class Publication:
    """What ``publish`` did.

    Attributes:
        version: The version that holds the bundle.
        promoted: Whether this call moved the pointer to it.
        champion: The champion after the call, or None.
        previous: The champion before the call, or None.
        reason: Why it was promoted, or why not.
    """

    version: str
    promoted: bool
    champion: str | None
    previous: str | None
    reason: str


class Registry:
    """Versions of one kind of record, and which of them is the champion.

    Args:
        root: A local directory, ``file://``, ``gs://`` or ``s3://`` URI, or any object store.
        kind, schema_version: The record it holds.
    """

    def __init__(
        self, root: str | Path | ObjectStore, *, kind: str = "bundle", schema_version: int = 4
    ) -> None:
        if isinstance(root, (str, Path)):
            root = open_store(root, "--registry")
        self.store: ObjectStore = root
        self.kind, self.schema_version = kind, schema_version

    def publish(
        self,
        bundle_dir: Path | str,
        *,
        verdict: Mapping[str, Any],
        logical_date: str,
        run_info: Mapping[str, Any],
        now: int,
        judged_against: str | None = None,
        extra: Mapping[str, bytes] | None = None,
    ) -> Publication:
        """Store a bundle under a version and promote it if the verdict says so.

        Promotion is refused where the champion stands for a later date. Publishing again
        changes nothing: an equal bundle is the same version, and a
        version that was champion before (and was replaced or rolled back since) does
        not come back by a repeated run. Nor does one of the same inputs, for a GPU may give it
        other bits. A run killed half-way is finished by repeating it.

        Args:
            bundle_dir: The bundle record; every byte is checked first.
            verdict: Holds ``promote`` (bool) and ``reason`` (str).
            logical_date: Date the model stands for, such as ``2011-11-25``.
            run_info: Small JSON values kept with the version; ``dataset`` and ``task`` among
                them must be those of the versions already there, and ``inputs_digest`` tells a
                repeated run.
            now: UTC seconds, stored as ``created_at`` and ``promoted_at``.
            judged_against: Champion that the verdict was measured against; the promotion is
                refused if another one reigns by now. None: not measured against one.
            extra: Small files to keep beside the bundle of a new version, by name.

        Raises:
            RegistryError: No ``promote`` in the verdict, a bad date, models of another dataset
                or task in the registry, a damaged pointer, or
                another writer moved the pointer first (the message says to what).
            ArtifactError: The bundle is damaged.
        """
        if not isinstance(verdict.get("promote"), bool):
            raise RegistryError("verdict", "a key 'promote', true or false", repr(dict(verdict)),
                                "pass the verdict that evaluate wrote")
        record = open_record(bundle_dir, self.kind, self.schema_version, verify="digest")
        self._check_subject(run_info)
        version = self._store_version(record.path, record.digest, logical_date, {
            "digest": record.digest, "verdict": dict(verdict), "created_at": now,
            "logical_date": logical_date, "run_info": dict(run_info),
        }, extra or {})
        champion, generation = self._pointer()
        before = champion.version if champion else None
        reigning = self.version_info(before) if before else None
        reason = str(verdict.get("reason") or "the verdict gives no reason")
        if not verdict["promote"]:
            return Publication(version, False, before, before, reason)
        if self._was_champion(version, run_info.get("inputs_digest")):
            return Publication(version, False, before, before, "it was promoted before")
        if reigning is not None and logical_seconds(
                reigning["logical_date"]) > logical_seconds(logical_date):
            return Publication(version, False, before, before, "the champion stands for a later "
                               f"date ({reigning['logical_date']}) than this model ({logical_date})")
        if judged_against is not None and before != judged_against:
            raise self._lost(version, judged_against)
        if not self._move(champion, generation, version, before, now, reason):
            winner = self.champion()
            if winner is None or winner.version != version:
                raise self._lost(version, before)
            return Publication(version, False, version, before, "another writer promoted it")
        return Publication(version, True, version, before, reason)

    def champion(self) -> Champion | None:
        """The champion, or None where nothing was ever promoted.

        Raises:
            RegistryError: The pointer is not readable.
        """
        return self._pointer()[0]

    def versions(self) -> list[str]:
        """All versions, oldest logical date first."""
        found = (re.fullmatch(r"versions/([^/]+)/version\.json", key)
                 for key in self.store.list("versions"))
        return [match[1] for match in found if match]

    def version_info(self, version: str) -> dict[str, Any]:
        """What was stored with a version: digest, verdict, created_at, run_info."""
        key = f"versions/{version}/version.json"
        data, generation = self.store.read(key)
        if generation == ABSENT:
            raise RegistryError("registry", f"one of the versions {self.versions()}", repr(version),
                                "pass a version that the registry lists")
        return parse_json(key, data)

    def extra(self, version: str, name: str) -> bytes | None:
        """A file that was stored beside a version's bundle, or None."""
        data, generation = self.store.read(f"versions/{version}/{name}")
        return None if generation == ABSENT else data

    def fetch(self, version: str, out: Path) -> Path:
        """Copy a version's bundle to a new directory and check every byte of it."""
        self.version_info(version)
        self.store.get_tree(f"versions/{version}/bundle", out)
        open_record(out, self.kind, self.schema_version, verify="digest")
        return out

    def history(self) -> list[Champion]:
        """All pointers there ever were, oldest first, the present one included."""
        entries = {entry.serial: entry for key in self.store.list(LOG)
                   if (entry := Champion.parse(key, self.store.read(key)[0]))}
        if (champion := self.champion()) is not None:
            entries[champion.serial] = champion
        return [entries[serial] for serial in sorted(entries)]

    def newest_first(self) -> Iterator[Champion]:
        """Pointers from the present one back, each read when it is asked for."""
        present = self.champion()
        if present is not None:
            yield present
            for serial in range(present.serial - 1, 0, -1):
                data, generation = self.store.read(log_key(serial))
                if generation != ABSENT:
                    yield Champion.parse(log_key(serial), data)

    def rollback(self, *, now: int, reason: str = "rolled back") -> Champion:
        """Move the pointer back to the champion before; repeated, further back.

        Raises:
            RegistryError: There is none before, or another writer moved the pointer.
        """
        champion, generation = self._pointer()
        if champion is None or champion.previous is None:
            raise RegistryError(POINTER, "a champion before the present one", "none",
                                "publish a version that is promoted first")
        target = champion.previous
        self.version_info(target)
        before = [entry for entry in self.history() if entry.version == target]
        if not self._move(champion, generation, target, before[-1].previous if before else None,
                          now, reason):
            raise self._lost(target, champion.version)
        moved = self.champion()
        assert moved is not None
        return moved

    def _was_champion(self, version: str, inputs_digest: str | None) -> bool:
        """Whether a version, or another one of the same inputs, was ever promoted."""
        promoted = {entry.version for entry in self.history()}
        if version in promoted or inputs_digest is None:
            return version in promoted
        date = version.partition("-")[0]  # equal inputs have an equal date, so that few are read
        return any(self.version_info(name)["run_info"].get("inputs_digest") == inputs_digest
                   for name in promoted.intersection(self.versions()) if name.startswith(f"{date}-"))

    def _check_subject(self, run_info: Mapping[str, Any]) -> None:
        """A registry serves one dataset and task: one pointer cannot stand for two."""
        subject = {name: run_info[name] for name in ("dataset", "task") if name in run_info}
        for version in self.versions()[:1]:
            known = self.version_info(version)["run_info"]
            other = {name: known[name] for name in subject if name in known}
            if any(other[name] != subject[name] for name in other):
                raise RegistryError("registry", f"models of {other}", f"a model of {subject}",
                                    "pass another registry, one for each dataset and task")

    def _store_version(
        self, folder: Path, digest: str, logical_date: str, info: Mapping[str, Any],
        extra: Mapping[str, bytes],
    ) -> str:
        """Store the files, then the ``version.json`` that makes them a version."""
        date = date_name(logical_seconds(logical_date))
        for version in self.versions():
            # The name ends with 8 digits of the digest, so that few candidates are read.
            if version.endswith(digest[:8]) and self.version_info(version)["digest"] == digest:
                return version
        version = f"{date}-{digest[:8]}"
        try:
            data = json_bytes(info)
        except (TypeError, ValueError) as error:
            raise RegistryError("verdict and run_info", "plain JSON values", str(error),
                                "pass numbers (not NaN), strings, lists and mappings") from error
        self.store.put_tree(f"versions/{version}/bundle", folder)
        manifest = f"versions/{version}/bundle/{MANIFEST}"
        stored = parse_json(manifest, self.store.read(manifest)[0]).get("digest")
        if stored != digest:
            raise RegistryError(manifest, f"a bundle with digest {digest[:12]}", f"{stored}",
                                "remove this unfinished version and publish again")
        for name, content in extra.items():
            assert "/" not in name, name
            assert name != "version.json", name
            self.store.write(f"versions/{version}/{name}", content)
        self.store.write_if(f"versions/{version}/version.json", data, ABSENT)
        return version

    def _pointer(self) -> tuple[Champion | None, str]:
        data, generation = self.store.read(POINTER)
        return (None if generation == ABSENT else Champion.parse(POINTER, data)), generation

    def _move(
        self, old: Champion | None, generation: str, version: str, previous: str | None,
        now: int, reason: str,
    ) -> bool:
        """Compare-and-swap of the pointer; False if another writer was first."""
        if old is not None:
            self._log(old)
        new = Champion(old.serial + 1 if old else 1, version, previous, now, reason)
        if not self.store.write_if(POINTER, new.to_bytes(), generation):
            return False
        self._log(new)
        return True

    def _log(self, entry: Champion) -> None:
        self.store.write_if(log_key(entry.serial), entry.to_bytes(), ABSENT)

    def _lost(self, version: str, expected: str | None) -> RegistryError:
        winner = self.champion()
        found = (f"{winner.version} (promoted at {winner.promoted_at}: {winner.reason})"
                 if winner else "none")
        return RegistryError(
            POINTER, f"champion {expected or 'none'}", found,
            f"evaluate {version} against the present champion and publish again",
        )

