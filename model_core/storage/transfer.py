"""Whole directories to and from a remote store, in parallel, seen only when complete.

A tree under a prefix is its files and one *index*, written last: a record's own
``manifest.json``, or ``relrec-index.json`` for any other directory. Both name every file
with size and SHA-256. Without the index there is no tree, so one that was half sent is
never taken for one; with it every byte can be checked. Sending again skips the files that
are there, which is how an interrupted upload is finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_core.errors import ArtifactError, StorageError
from model_core.records import MANIFEST, file_sha256, json_bytes
from model_core.storage.object_store import ABSENT, ObjectInfo, ObjectStore, file_digests
from model_core.storage.progress import Counter, Progress

if TYPE_CHECKING:
    from model_core.storage.cache import ContentCache

INDEX = "relrec-index.json"

#: What a file system takes for one part of a path, and a store for a whole name.
_LONGEST_PART, _LONGEST_NAME = 255, 1_024


@dataclass(frozen=True)
class TreeIndex:
    """What a stored tree holds.

    Attributes:
        name: Name of the index object, ``manifest.json`` or ``relrec-index.json``.
        data: Its bytes.
        files: File name to ``{"bytes": int, "sha256": str}``, without the index itself.
    """

    name: str
    data: bytes
    files: Mapping[str, Mapping[str, Any]]

    @property
    def num_bytes(self) -> int:
        return sum(entry["bytes"] for entry in self.files.values()) + len(self.data)


def tree_index(store: ObjectStore, prefix: str) -> TreeIndex | None:
    """The index of a stored tree, or None where there is no complete one.

    Raises:
        ArtifactError: An index that cannot be read.
    """
    for name in (MANIFEST, INDEX):
        data, generation = store.read(f"{prefix}/{name}")
        if generation != ABSENT and (files := _files_of(name, data)) is not None:
            return TreeIndex(name, data, files)
        if generation != ABSENT and name == INDEX:
            raise ArtifactError(f"{store.uri}/{prefix}/{name}", "an index of files", "something else",
                                "remove the tree and store it again")
    return None


def upload_tree(
    store: ObjectStore, prefix: str, folder: Path, progress: Progress | None = None
) -> TreeIndex:
    """Store a directory under a prefix. A complete tree that is there stays as it is.

    Args:
        store: Where to.
        prefix: Key prefix of the tree.
        folder: A record or any other directory; hidden files are left out.
        progress: Told of bytes done and bytes in all.

    Returns:
        The index of what is stored now.

    Raises:
        ArtifactError: A record's file does not have the digest that its manifest says; nothing
            is visible then.
        StorageError: The store does not take it within the deadline; repeating goes on there.
    """
    there = tree_index(store, prefix)
    if there is not None:
        return there
    index = _index_of(folder)
    present = {info.key: info for info in store.list_objects(prefix)}
    counter = Counter(progress, index.num_bytes)

    def send(name: str) -> None:
        entry, key = index.files[name], f"{prefix}/{name}"
        if (found := file_sha256(folder / name)) != entry["sha256"]:
            raise ArtifactError(str(folder / name), f"SHA-256 {entry['sha256'][:12]}…", f"{found[:12]}…",
                                "re-run the step that wrote it")
        if key in present and _is_same(store, present[key], folder / name, entry):
            counter.add(entry["bytes"])
        else:
            store.put(key, folder / name, counter.add)

    each(store, send, index.files)
    if not store.compares_and_swaps:
        store.write(f"{prefix}/{index.name}", index.data)
    elif not store.write_if(f"{prefix}/{index.name}", index.data, ABSENT):
        # Somebody else finished a tree here first. It is immutable, so theirs is the one.
        there = tree_index(store, prefix)
        if there is None or there.files != index.files:
            raise StorageError(f"{store.uri}/{prefix}", "the tree just sent", "another one",
                               "give every tree a prefix of its own")
    counter.finish()
    return index


def download_tree(
    store: ObjectStore,
    prefix: str,
    folder: Path,
    *,
    cache: ContentCache | None = None,
    progress: Progress | None = None,
) -> TreeIndex:
    """Copy a stored tree to a new directory, which appears complete and with every byte checked.

    Args:
        store: Where from.
        prefix: Key prefix of the tree.
        folder: New directory.
        cache: Files found there are not fetched; fetched ones are added.
        progress: Told of bytes done and bytes in all.

    Raises:
        StorageError: No complete tree, or what arrives is not what the index says.
    """
    index = tree_index(store, prefix)
    if index is None:
        raise StorageError(f"{store.uri}/{prefix}", f"a complete stored directory ({MANIFEST} or {INDEX})",
                           "none", "check the name; an upload that was interrupted must be finished first")
    if folder.exists():
        raise StorageError(str(folder), "no such directory yet", "one", "pass another path")
    counter = Counter(progress, index.num_bytes)
    with _appearing(folder) as temporary:
        def fetch(name: str) -> None:
            entry = index.files[name]
            fetch_file(store, f"{prefix}/{name}", temporary / name, entry["sha256"], entry["bytes"],
                       cache, counter)

        each(store, fetch, index.files)
        if index.name == MANIFEST:
            (temporary / MANIFEST).write_bytes(index.data)
    counter.finish()
    return index


def remove_tree(store: ObjectStore, prefix: str) -> None:
    """Remove a stored tree, its index first, so that what is half removed is not taken for one.

    Raises:
        StorageError: The store does not do it in time; repeating goes on there.
    """
    indexes = {f"{prefix}/{MANIFEST}", f"{prefix}/{INDEX}"}
    for key in sorted(store.list(prefix), key=lambda key: key not in indexes):
        store.delete(key)


def fetch_file(
    store: ObjectStore, key: str, path: Path, sha256: str, size: int, cache: ContentCache | None,
    counter: Counter,
) -> None:
    """Copy one object whose content is known, from the cache where it is there."""
    if cache is not None and cache.place(sha256, path):
        counter.add(size)
        return
    store.get(key, path, sha256=sha256, moved=counter.add)
    if cache is not None:
        cache.add(path, sha256)


def each(store: ObjectStore, work: Callable[[str], None], names: Iterable[str]) -> None:
    """Do the work for every name, several at once; the first fault stops what has not begun."""
    settings = getattr(store, "settings", None)
    pool = ThreadPoolExecutor(settings.parallel if settings else 1, thread_name_prefix="transfer")
    try:
        futures: list[Future] = [pool.submit(work, name) for name in names]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _is_same(store: ObjectStore, info: ObjectInfo, path: Path, entry: Mapping[str, Any]) -> bool:
    """Whether an object left by an earlier try holds the file already."""
    if info.size != entry["bytes"]:
        return False
    algorithm, _, _ = info.digest.partition(":")
    if algorithm in ("crc32c", "md5"):
        return file_digests(path, algorithm)[algorithm] == info.digest
    known = info.sha256 or getattr(store.stat(info.key), "sha256", None)
    return known == entry["sha256"]


def _index_of(folder: Path) -> TreeIndex:
    if (folder / MANIFEST).is_file():
        data = (folder / MANIFEST).read_bytes()
        files = _files_of(MANIFEST, data)
        if files is not None:
            return TreeIndex(MANIFEST, data, files)
    found = sorted(path for path in folder.rglob("*") if path.is_file()
                   and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    files = {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
             for path in found if path.name != INDEX}
    return TreeIndex(INDEX, json_bytes({"files": files}), files)


def _files_of(name: str, data: bytes) -> Mapping[str, Mapping[str, Any]] | None:
    """Files that an index names; None where it is no index (a manifest of something else)."""
    try:
        content = json.loads(data)
        files = content["files"]
        if name == MANIFEST:
            content["kind"], content["digest"]
        for file, entry in files.items():
            # An index may be written by anybody who may write to the bucket: its digests and names
            # become paths here.
            if not (isinstance(entry["bytes"], int) and entry["bytes"] >= 0
                    and re.fullmatch("[0-9a-f]{64}", entry["sha256"]) and _is_inside(file)):
                return None
            # (A plain directory may hold a manifest.json that is no record's.)
            if file == INDEX or (file == MANIFEST and name == MANIFEST):
                return None
        return files
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_inside(name: str) -> bool:
    return "\0" not in name and len(name.encode()) <= _LONGEST_NAME and all(
        part and not part.startswith(".") and len(part.encode()) <= _LONGEST_PART
        for part in name.split("/"))


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A directory under a temporary name that gets its own at the end, or vanishes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
