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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from model_core.errors import RegistryError
from model_core.logical_date import date_text
from model_core.records import open_record
from model_core.storage.object_store import ABSENT
from model_core.storage.pointer import LOG, POINTER, Champion, log_key, logical_seconds
from model_core.storage.versions import Versions

__all__ = ["UNCOMPARED", "Champion", "Publication", "Registry"]

#: For ``judged_against``: the verdict was measured against no champion, and any may be replaced.
UNCOMPARED = ""


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


class Registry(Versions):
    """Versions of one kind of record, and which of them is the champion."""

    def publish(
        self,
        bundle_dir: Path | str,
        *,
        verdict: Mapping[str, Any],
        logical_date: str,
        run_info: Mapping[str, Any],
        now: int,
        judged_against: str | None = UNCOMPARED,
        extra: Mapping[str, bytes] | None = None,
        who: str = "",
    ) -> Publication:
        """Store a bundle under a version and promote it if the verdict says so.

        Promotion is refused where the champion stands for a later date, or for the same one
        without having been compared. Publishing again changes nothing: an equal bundle is the
        same version, and a version that was champion before (and was replaced or rolled back
        since) does not come back by a repeated run. Nor does one of the same inputs, for a GPU
        may give it other bits. A run killed half-way is finished by repeating it.

        Args:
            bundle_dir: The bundle record; every byte is checked first.
            verdict: Holds ``promote`` (bool) and ``reason`` (str).
            logical_date: Date the model stands for, such as ``2011-11-25``.
            run_info: Small JSON values kept with the version; ``dataset`` and ``task`` among
                them must be those of the versions already there, ``inputs_digest`` tells a
                repeated run, and ``run_name`` goes into the log.
            now: UTC seconds, stored as ``created_at`` and ``promoted_at``.
            judged_against: Champion that the verdict was measured against, None where there was
                none; another one that reigns by now is not replaced.
            extra: Small files to keep beside the bundle of a new version, by name.
            who: Who runs this, for the log.

        Raises:
            RegistryError: No ``promote`` in the verdict, a bad date, models of another dataset
                or task in the registry, a damaged pointer, or
                another writer moved the pointer first (the message says to what).
            ArtifactError: The bundle is damaged.
        """
        if not isinstance(verdict.get("promote"), bool):
            raise RegistryError("verdict", "a key 'promote', true or false", repr(dict(verdict)),
                                "pass the verdict that evaluate wrote")
        seconds = logical_seconds(logical_date)
        record = open_record(bundle_dir, self.kind, self.schema_version, verify="digest")
        listed = self.versions()
        self.check_subject(run_info, listed)
        known = self._find(record.digest, listed)
        version = known or self._store_version(record.path, record.digest, logical_date, {
            "digest": record.digest, "verdict": dict(verdict), "created_at": now,
            "logical_date": logical_date, "run_info": dict(run_info),
        }, extra or {})
        champion, generation = self._pointer()
        self.version_info(version)  # asked after the pointer was read: see ``registry_gc``
        before = champion.version if champion else None
        reason = str(verdict.get("reason") or "the verdict gives no reason")
        if not verdict["promote"]:
            return Publication(version, False, before, before, reason)
        # What was removed and is stored again may have been champion before.
        is_new = known is None and not (champion and champion.collected_at)
        if self._was_champion(version, run_info.get("inputs_digest"), is_new=is_new):
            return Publication(version, False, before, before, "it was promoted before")
        if before is not None:
            refusal = self._precedence(before, seconds, logical_date, judged_against)
            if refusal:
                return Publication(version, False, before, before, refusal)
        if judged_against not in (UNCOMPARED, before):
            raise self._lost(version, judged_against)
        run = str(run_info.get("run_name") or "")
        if not self._move(champion, generation, version, before, now=now, reason=reason, who=who, run=run,
                          action="publish"):
            winner = self.champion()
            if winner is None or winner.version != version:
                raise self._lost(version, before)
            return Publication(version, False, version, before, "another writer promoted it")
        return Publication(version, True, version, before, reason)

    def _was_champion(self, version: str, inputs_digest: str | None, *, is_new: bool) -> bool:
        """Whether a version, or another one of the same inputs, was ever promoted."""
        date = version.partition("-")[0]  # equal inputs have an equal date, so that few are read
        # Listed anew: another run of the same inputs may have stored its version meanwhile.
        listed = self.versions() if inputs_digest is not None else ()
        alike = {name for name in listed if name.startswith(f"{date}-") and name != version
                 and self.version_info(name)["run_info"].get("inputs_digest") == inputs_digest}
        alike |= set() if is_new else {version}
        return bool(alike) and any(entry.version in alike for entry in self.newest_first())

    def _precedence(
        self, reigning: str, seconds: int, logical_date: str, judged_against: str | None
    ) -> str | None:
        """Why the champion's date lets no other model in its place, or None."""
        moment = self.logical_time(reigning)
        if moment > seconds:
            return (f"the champion {reigning} stands for a later date ({date_text(moment)}) than this model "
                    f"({logical_date})")
        if moment == seconds and judged_against not in (UNCOMPARED, reigning):
            return (f"the champion {reigning} stands for the same date ({logical_date}) and was not compared "
                    "with this model; run the same command again to do so")
        return None

    def promote(self, version: str, *, reason: str, who: str, now: int) -> Champion:
        """Make a version champion by hand, whatever its date and its verdict.

        Args:
            version: One that the registry lists; nothing happens if it is champion already.
            reason: Why, for the log.
            who: Who does it, for the log.
            now: UTC seconds.

        Returns:
            The pointer.

        Raises:
            RegistryError: No such version, no reason, or another writer moved the pointer.
        """
        if not reason.strip():
            raise RegistryError("--reason", "why the version shall be champion", "nothing",
                                "pass --reason; it goes into the registry's log")
        champion, generation = self._pointer()
        self.version_info(version)
        if champion is not None and champion.version == version:
            return champion
        before = champion.version if champion else None
        if not self._move(champion, generation, version, before, now=now, reason=reason, who=who, run="",
                          action="promote"):
            raise self._lost(version, before)
        return self._present()

    def rollback(self, *, now: int, reason: str = "rolled back", who: str = "") -> Champion:
        """Move the pointer back to the champion before; repeated, further back.

        One write, whatever the size of the model.

        Args:
            now: UTC seconds.
            reason: Why, for the log.
            who: Who does it, for the log.

        Returns:
            The pointer.

        Raises:
            RegistryError: There is none before, or another writer moved the pointer.
        """
        champion, generation = self._pointer()
        target = self.rollback_target(champion)
        assert champion is not None
        before = self._previous_of(target)
        if not self._move(champion, generation, target, before, now=now, reason=reason, who=who, run="",
                          action="rollback"):
            raise self._lost(target, champion.version)
        return self._present()

    def _previous_of(self, target: str) -> str | None:
        """Where a further rollback leads: the champion that the target once replaced."""
        standing = list(islice(self._standing(), 2))
        if len(standing) > 1 and standing[1].version == target:
            return standing[1].previous
        # Old entries do not say that they were rollbacks; no version became champion twice then.
        return next((entry.previous for entry in self.newest_first() if entry.version == target), None)

    def _standing(self) -> Iterator[Champion]:
        """Promotions that no rollback took back, the present champion's first."""
        taken_back = 0
        for entry in self.newest_first():
            if entry.action == "rollback":
                taken_back += 1
            elif taken_back:
                taken_back -= 1
            else:
                yield entry

    def rollback_target(self, champion: Champion | None) -> str:
        """The version that a rollback from a pointer would go to.

        Raises:
            RegistryError: There is none before, or it was removed.
        """
        if champion is None or champion.previous is None:
            raise RegistryError(POINTER, "a champion before the present one", "none",
                                "promote another version: relrec registry promote VERSION --reason …")
        self.version_info(champion.previous)
        return champion.previous

    def champion(self) -> Champion | None:
        """The champion, or None where nothing was ever promoted.

        Raises:
            RegistryError: The pointer is not readable.
        """
        return self._pointer()[0]

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

    def _present(self) -> Champion:
        moved = self.champion()
        assert moved is not None
        return moved

    def _pointer(self) -> tuple[Champion | None, str]:
        data, generation = self.store.read(POINTER)
        return (None if generation == ABSENT else Champion.parse(POINTER, data)), generation

    def _move(
        self, old: Champion | None, generation: str, version: str, previous: str | None, *,
        now: int, reason: str, who: str, run: str, action: str,
    ) -> bool:
        """Compare-and-swap of the pointer; False if another writer was first."""
        if old is not None:
            self._log(old)
        new = Champion(old.serial + 1 if old else 1, version, previous, now, reason, who, run, action,
                       collected_at=old.collected_at if old else 0)
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
            POINTER, f"champion {expected or 'none'}, which {version} was compared with", found,
            "run the same command again: the model is then compared with the champion that reigns now; it "
            f"is stored, and can be promoted by hand: relrec registry promote {version} --reason …",
        )
