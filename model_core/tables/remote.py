"""Datasets in object stores: fetched once into the local cache, told apart without fetching."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from model_core.errors import DataError, RelrecError
from model_core.records import file_sha256, json_bytes
from model_core.storage.cache import ContentCache
from model_core.storage.object_store import ObjectInfo, ObjectStore
from model_core.storage.opening import open_store
from model_core.storage.progress import Counter, ProgressLines
from model_core.storage.transfer import each
from model_core.storage.uri import is_remote, parse_location
from model_core.tables.manifest import MANIFEST_FILE

F = TypeVar("F", bound=Callable[..., Any])

#: A dataset's folder in the cache.
_IN_CACHE = re.compile(r"\S*/trees/dataset-[0-9a-f]{32}")
#: What belongs to a dataset; anything else under the prefix is left where it is.
_PART_OF_DATASET = re.compile(r"manifest\.yaml|db/[^/]+\.parquet|tasks/[^/]+/[^/]+\.(yaml|parquet)")
#: Of these no bytes of tables or labels are needed.
_MANIFEST = re.compile(r"(.*/)?[^/]+\.yaml")


def naming_the_source(function: F) -> F:
    """For functions of a dataset: their errors name its URI and not the cache it was fetched to."""

    @functools.wraps(function)
    def named(dataset: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(dataset, *args, **kwargs)
        except RelrecError as error:
            if not is_remote(dataset) or not _IN_CACHE.search(error.where):
                raise
            where = _IN_CACHE.sub(lambda found: dataset.rstrip("/"), error.where)
            raise type(error)(where, error.expected, error.found, error.fix) from error

    return named  # type: ignore[return-value]


def fetch_dataset(uri: str, *, tables: bool = True, cache: ContentCache | None = None) -> Path:
    """A local folder with a dataset's content; it stays while this process lives.

    Files that the cache has are not fetched: an object is known by its URI, generation, size and
    checksum. What arrives is checked against the checksum that the store keeps.

    Args:
        uri: Where the dataset's manifest.yaml lies, for example ``gs://bucket/shop``.
        tables: Whether to fetch tables and labels, too, and not the manifests alone.
        cache: Where to keep it; unset: the cache of the environment.

    Raises:
        DataError: There is no manifest.yaml.
        StorageError: The store cannot be read.
    """
    store = open_store(uri, "--dataset")
    wanted = [info for info in list_dataset(store) if tables or _MANIFEST.fullmatch(info.key)]
    keep = ContentCache.from_environment() if cache is None else cache
    line = ProgressLines(f"fetching {parse_location(uri).name}")

    def build(folder: Path) -> None:
        counter = Counter(line, sum(info.size for info in wanted))
        by_key = {info.key: info for info in wanted}
        each(store, lambda key: _fetch(store, by_key[key], folder / key, keep, counter), by_key)
        counter.finish()

    digest = hashlib.sha256(json_bytes([_identity(store, info) for info in wanted])).hexdigest()
    return keep.tree(f"dataset-{digest[:32]}", build)


def list_dataset(store: ObjectStore) -> list[ObjectInfo]:
    """The objects that make up a dataset.

    Raises:
        DataError: No manifest.yaml among them.
    """
    found = [info for info in store.list_objects("") if _PART_OF_DATASET.fullmatch(info.key)]
    if not any(info.key == MANIFEST_FILE for info in found):
        raise DataError(f"dataset {store.uri}", f"a folder with a {MANIFEST_FILE}",
                        f"{len(found)} files of a dataset, but not that one",
                        "pass the URI of a RelBench-v3 folder")
    return found


def _fetch(store: ObjectStore, info: ObjectInfo, path: Path, cache: ContentCache, counter: Counter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = _identity(store, info)
    known = cache.known(identity)
    if known is not None and cache.place(known, path):
        counter.add(info.size)
        return
    got = store.get(info.key, path, moved=counter.add)
    sha256 = file_sha256(path)
    cache.add(path, sha256)
    if got.generation == info.generation:
        cache.remember(identity, sha256)


def _identity(store: ObjectStore, info: ObjectInfo) -> str:
    return f"{store.uri}/{info.key} {info.generation} {info.size} {info.digest}"


def remote_digests(uri: str, names: set[str], task: str) -> dict[str, str]:
    """Digest and size of the objects that a run of one task reads, without reading them.

    Args:
        uri: The dataset.
        names: Its tables.
        task: The task.

    Raises:
        DataError: A table that the manifest names is not there.
    """
    store = open_store(uri, "--dataset")
    found = {info.key: info for info in list_dataset(store)}
    keys = {MANIFEST_FILE} | {f"db/{name}.parquet" for name in names}
    keys |= {key for key in found if key.startswith(f"tasks/{task}/")}
    for key in sorted(keys - found.keys()):
        raise DataError(f"{store.uri}/{key}", "an object", "none",
                        "write the file, or take it out of the manifest")
    # A checksum says the same wherever a copy lies; where a store has none its generation must do.
    return {key: f"{found[key].size} {found[key].digest or found[key].generation}" for key in keys}
