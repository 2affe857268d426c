"""Versions of a registry: bundles under names, immutable once they are complete."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_core.errors import RegistryError
from model_core.logical_date import date_name
from model_core.records import MANIFEST, json_bytes, open_record
from model_core.storage.object_store import ABSENT, ObjectStore
from model_core.storage.opening import open_store
from model_core.storage.pointer import logical_seconds, parse_json

VERSIONS, VERSION = "versions", "version.json"

_KINDS: dict[str, type] = {
    "digest": str, "verdict": dict, "created_at": int, "logical_date": str, "run_info": dict,
}


class Versions:
    """The stored versions of one kind of record.

    Args:
        root: A local directory, ``file://``, ``gs://`` or ``s3://`` URI, or any object store.
        kind, schema_version: The record it holds.
    """

    def __init__(
        self, root: str | Path | ObjectStore, *, kind: str = "bundle", schema_version: int = 7
    ) -> None:
        if isinstance(root, (str, Path)):
            root = open_store(root, "--registry")
        self.store: ObjectStore = root
        self.kind, self.schema_version = kind, schema_version

    def versions(self) -> list[str]:
        """All versions, oldest logical date first."""
        found = (re.fullmatch(rf"{VERSIONS}/([^/]+)/{re.escape(VERSION)}", key)
                 for key in self.store.list(VERSIONS))
        return [match[1] for match in found if match]

    def version_info(self, version: str) -> dict[str, Any]:
        """What was stored with a version: digest, verdict, created_at, run_info.

        Raises:
            RegistryError: There is no such version, or its file is damaged.
        """
        key = info_key(version)
        data, generation = self.store.read(key)
        if generation == ABSENT:
            raise RegistryError("registry", f"one of the versions {self.versions()}", repr(version),
                                "pass a version that the registry lists")
        info = parse_json(key, data)
        wrong = [name for name, kind in _KINDS.items() if not isinstance(info.get(name), kind)]
        if wrong:
            raise RegistryError(key, f"values of {', '.join(_KINDS)}", f"no proper one of {wrong}",
                                "restore the file from a backup, or remove this version and publish again")
        return info

    def logical_time(self, version: str) -> int:
        """The moment that a version stands for, UTC seconds, even if nothing but its name is left.

        Raises:
            RegistryError: Neither its file nor its name says so.
        """
        try:
            return logical_seconds(self.version_info(version)["logical_date"])
        except RegistryError:
            return logical_seconds(version.rpartition("-")[0])

    def extra(self, version: str, name: str) -> bytes | None:
        """A file that was stored beside a version's bundle, or None."""
        data, generation = self.store.read(f"{folder_key(version)}/{name}")
        return None if generation == ABSENT else data

    def fetch(self, version: str, out: Path) -> Path:
        """Copy a version's bundle to a new directory and check every byte of it."""
        self.version_info(version)
        self.store.get_tree(f"{folder_key(version)}/bundle", out)
        open_record(out, self.kind, self.schema_version, verify="digest")
        return out

    def check_subject(self, run_info: Mapping[str, Any], listed: Sequence[str] | None = None) -> None:
        """A registry serves one dataset and task: one pointer cannot stand for two.

        Args:
            run_info: Its ``dataset`` and ``task`` are looked at, where it has them.
            listed: The versions, where they were listed already.

        Raises:
            RegistryError: It holds models of another dataset or task.
        """
        subject = {name: run_info[name] for name in ("dataset", "task") if name in run_info}
        for version in (self.versions() if listed is None else listed)[:1]:
            known = self.version_info(version)["run_info"]
            other = {name: known[name] for name in subject if name in known}
            if any(other[name] != subject[name] for name in other):
                raise RegistryError("registry", f"models of {other}", f"a model of {subject}",
                                    "pass another registry, one for each dataset and task")

    def _find(self, digest: str, listed: Sequence[str]) -> str | None:
        """The one of the listed versions that holds a bundle, or None."""
        for version in listed:
            # The name ends with 8 digits of the digest, so that few candidates are read.
            if version.endswith(digest[:8]) and self.version_info(version)["digest"] == digest:
                return version
        return None

    def _store_version(
        self, folder: Path, digest: str, logical_date: str, info: Mapping[str, Any],
        extra: Mapping[str, bytes],
    ) -> str:
        """Store the files, then the ``version.json`` that makes them a version."""
        version = f"{date_name(logical_seconds(logical_date))}-{digest[:8]}"
        try:
            data = json_bytes(info)
        except (TypeError, ValueError) as error:
            raise RegistryError("verdict and run_info", "plain JSON values", str(error),
                                "pass numbers (not NaN), strings, lists and mappings") from error
        self.store.put_tree(f"{folder_key(version)}/bundle", folder)
        manifest = f"{folder_key(version)}/bundle/{MANIFEST}"
        stored = parse_json(manifest, self.store.read(manifest)[0]).get("digest")
        if stored != digest:
            raise RegistryError(manifest, f"a bundle with digest {digest[:12]}", f"{stored}",
                                "remove this unfinished version and publish again")
        for name, content in extra.items():
            assert "/" not in name, name
            assert name != VERSION, name
            self.store.write(f"{folder_key(version)}/{name}", content)
        self.store.write_if(info_key(version), data, ABSENT)
        return version


def folder_key(version: str) -> str:
    """Where a version lies."""
    return f"{VERSIONS}/{version}"


def info_key(version: str) -> str:
    """Where the file lies that makes a version one."""
    return f"{VERSIONS}/{version}/{VERSION}"
