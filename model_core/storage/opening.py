"""From a URI to the store that holds it."""

from __future__ import annotations

from pathlib import Path

from model_core.storage.local import LocalStore
from model_core.storage.object_store import ObjectStore
from model_core.storage.settings import StorageSettings
from model_core.storage.uri import Location, parse_location


def open_store(
    place: str | Path | Location, where: str = "path", settings: StorageSettings | None = None
) -> ObjectStore:
    """The object store below a path or URI. Nothing is contacted before the first call.

    Args:
        place: A local directory, ``file://``, ``gs://``, ``s3://`` or another fsspec URL.
        where: Name of the setting it came from, for error messages.
        settings: Limits of requests; unset: those of the environment.

    Raises:
        ConfigError: It is no usable path or URI, or no installed package knows the scheme.

    Example:
        >>> open_store("gs://bucket/models").uri
        'gs://bucket/models'
    """
    location = place if isinstance(place, Location) else parse_location(place, where)
    if location.is_local:
        return LocalStore(Path(location.path))
    if location.scheme == "gs":
        from model_core.storage.gcs import GcsStore

        return GcsStore(location, settings)
    if location.scheme == "s3":
        from model_core.storage.s3 import S3Store

        return S3Store(location, settings)
    from model_core.storage.filesystem import FilesystemStore, check_scheme

    check_scheme(location, where)
    return FilesystemStore(location, settings)
