"""Fingerprint: which source files a run reads, so that a cache can tell them apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

from model_core.errors import DataError
from model_core.records import file_sha256, json_bytes
from model_core.storage.uri import is_remote
from model_core.tables.relbench import open_source, task_folder
from model_core.tables.remote import naming_the_source, remote_digests


@naming_the_source
def source_fingerprint(dataset: str, task: str) -> str:
    """SHA-256 over the manifests, tables and labels that a run would read.

    Content decides, not names of folders or times of files, so a moved or touched
    dataset keeps its fingerprint. It costs one sequential read of the files and parses
    none but the manifest. In an object store the checksums that the store keeps are taken,
    and only manifests are fetched; a copy of the dataset elsewhere has another fingerprint.

    Args:
        dataset: Folder with manifest.yaml, a URI of one, or a Hub spec ``org/repo[/subdir]``.
        task: Name of a task.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: The manifest, a table or the task is missing or unreadable.
    """
    source = open_source(dataset, tables=False)
    folder = task_folder(source, task)
    if is_remote(dataset):
        return hashlib.sha256(json_bytes(remote_digests(dataset, set(source.tables), task))).hexdigest()
    files: dict[str, Path] = {"manifest.yaml": source.manifest_path}
    files |= {f"db/{name}.parquet": source.table_path(name) for name in source.tables}
    files |= {f"tasks/{task}/{path.name}": path
              for pattern in ("*.yaml", "*.parquet") for path in folder.glob(pattern)}
    digests = {}
    for name, path in files.items():
        try:
            digests[name] = file_sha256(path)
        except OSError as error:
            raise DataError(str(path), "a readable file", error.strerror or str(error),
                            "write the file, or take it out of the manifest") from error
    return hashlib.sha256(json_bytes(digests)).hexdigest()
