"""Removing old versions from a registry, without ever removing one that may be needed.

What stays: the champion, where rollbacks lead, the newest versions, everything young. A
version that a run or a person promotes at the same moment must not vanish under them.
Whoever promotes reads the pointer first, then looks whether the version is there, then
moves the pointer by compare-and-swap. So here ``version.json`` goes first and the pointer
is rewritten after it: a promotion that still saw the version loses the swap, and if the
promotion was first the rewrite fails and the file is put back. Only then bundles go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from model_core.errors import RegistryError
from model_core.records import MANIFEST
from model_core.storage.object_store import ABSENT
from model_core.storage.pointer import POINTER, Champion, logical_seconds, parse_json
from model_core.storage.registry import Registry
from model_core.storage.transfer import remove_tree
from model_core.storage.versions import VERSION, VERSIONS, folder_key, info_key

#: Youngest that anything is removed: an upload may be under way, a run may be about to promote.
GRACE_S = 86_400


@dataclass(frozen=True)
class Removal:
    """A version that may go.

    Attributes:
        version: Its name.
        why: ``old``, or ``unfinished`` for an upload that was never completed.
        created_at: UTC seconds; of an unfinished one when its newest file was written.
        num_bytes: What it takes.
    """

    version: str
    why: Literal["old", "unfinished"]
    created_at: int
    num_bytes: int


@dataclass(frozen=True)
class GcPlan:
    """What would be removed, and why the rest stays.

    Attributes:
        removals: What may go, oldest first.
        kept: Version to the reason.
    """

    removals: tuple[Removal, ...]
    kept: Mapping[str, str]

    @property
    def num_bytes(self) -> int:
        return sum(removal.num_bytes for removal in self.removals)


def plan_gc(registry: Registry, *, keep: int, older_than_s: int, now: int, grace_s: int = GRACE_S) -> GcPlan:
    """Which versions may go.

    Args:
        registry: Where to look.
        keep: So many of the newest versions stay, and so many champions before the present one.
        older_than_s: Only versions stored longer ago go.
        now: UTC seconds.
        grace_s: Nothing younger goes, whatever the other limits are.

    Raises:
        RegistryError: A damaged pointer or version, or limits below zero.
    """
    for name, value in (("--keep", keep), ("--older-than", older_than_s), ("grace", grace_s)):
        if value < 0:
            raise RegistryError(name, "at least 0", str(value), "pass a number that is not negative")
    names: dict[str, list[str]] = {}
    for key in registry.store.list(VERSIONS):
        folder, _, name = key.removeprefix(f"{VERSIONS}/").partition("/")
        names.setdefault(folder, []).append(name)
    # (A damaged version.json is a fault to be told, not a reason to remove the version.)
    infos = {version: registry.version_info(version) for version, files in names.items() if VERSION in files}
    newest = sorted(infos, key=lambda version: (
        logical_seconds(infos[version]["logical_date"]), infos[version]["created_at"], version), reverse=True)
    kept = dict.fromkeys(newest[:keep], f"one of the newest {keep}") | _needed(registry, keep)
    limit = max(older_than_s, grace_s)
    removals = []
    for version in names:
        if version in kept:
            continue
        if version in infos:
            created = int(infos[version]["created_at"])
            removal = Removal(version, "old", created, _num_bytes(registry, version))
        else:
            found = registry.store.list_objects(folder_key(version))
            created = max((info.modified_at or now for info in found), default=now)
            removal = Removal(version, "unfinished", created, sum(info.size for info in found))
        age_s = now - created
        if age_s < (limit if version in infos else grace_s):
            kept[version] = f"{'stored' if version in infos else 'uploaded'} {_age(age_s)} ago"
        else:
            removals.append(removal)
    return GcPlan(tuple(sorted(removals, key=lambda removal: (removal.created_at, removal.version))), kept)


def collect(registry: Registry, plan: GcPlan, *, now: int) -> GcPlan:
    """Remove what a plan names, except what has become champion since.

    Killed half-way, what is left of a version is an unfinished upload, which goes the next
    time.

    Args:
        registry: The registry that the plan was made of.
        plan: From ``plan_gc``.
        now: UTC seconds, noted in the pointer.

    Returns:
        What was removed, and what stayed.

    Raises:
        RegistryError: There is no champion yet, and versions to be removed; another writer moves
            the pointer again and again.
        StorageError: The store does not do it in time; repeating goes on there.
    """
    old = {removal.version: removal for removal in plan.removals if removal.why == "old"}
    kept = dict(plan.kept)
    infos = {version: registry.store.read(info_key(version))[0] for version in old}
    if infos and registry.champion() is None:
        raise RegistryError("registry", "a champion, before versions are removed", "none",
                            "promote a version first: relrec registry promote VERSION --reason …")
    try:
        for version in infos:
            registry.store.delete(info_key(version))
        _shut_out(registry, now)
    except BaseException:
        _put_back(registry, infos)
        raise
    for version, why in _needed(registry, 0).items():
        if version in infos:  # promoted after the plan was made
            _put_back(registry, {version: infos[version]})
            kept[version] = why
            del old[version]
    gone = []
    for removal in plan.removals:
        if removal.why == "old" and removal.version not in old:
            continue
        if registry.store.read(info_key(removal.version))[1] != ABSENT:
            kept[removal.version] = "stored again meanwhile"  # by a repeated run, or the upload was finished
            continue
        _remove(registry, removal.version)
        gone.append(removal)
    return GcPlan(tuple(gone), kept)


def _shut_out(registry: Registry, now: int) -> None:
    """Give the pointer a new generation: who read it before cannot move it any more."""
    for _ in range(5):
        data, generation = registry.store.read(POINTER)
        if generation == ABSENT:
            return
        champion = Champion.parse(POINTER, data)
        # Never the same bytes: where a generation is a digest, equal content would keep it.
        marked = dataclasses.replace(champion, collected_at=max(now, champion.collected_at + 1))
        if registry.store.write_if(POINTER, marked.to_bytes(), generation):
            return
    raise RegistryError(POINTER, "a pointer that stays for a moment", "one that others move all the time",
                        "run the same command again; nothing was removed")


def _needed(registry: Registry, keep: int) -> dict[str, str]:
    """Champion and where rollbacks lead: version to the reason."""
    needed: dict[str, str] = {}
    for number, entry in enumerate(registry.newest_first()):
        if number == 0:
            needed[entry.version] = "the champion"
            if entry.previous:
                needed.setdefault(entry.previous, "where a rollback leads")
        elif len(needed) > keep:
            break
        needed.setdefault(entry.version, "a champion before, within the kept history")
    return needed


def _remove(registry: Registry, version: str) -> None:
    remove_tree(registry.store, f"{folder_key(version)}/bundle")
    for key in registry.store.list(folder_key(version)):
        registry.store.delete(key)


def _put_back(registry: Registry, infos: Mapping[str, bytes]) -> None:
    for version, data in infos.items():
        registry.store.write_if(info_key(version), data, ABSENT)


def _num_bytes(registry: Registry, version: str) -> int:
    key = f"{folder_key(version)}/bundle/{MANIFEST}"
    data, generation = registry.store.read(key)
    files: Iterable[Mapping[str, int]] = (
        parse_json(key, data).get("files", {}).values() if generation != ABSENT else ())
    return sum(entry["bytes"] for entry in files) + len(data)


def _age(seconds: int) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{max(seconds, 0) / 3_600:.1f} hours"
