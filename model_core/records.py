"""Records: what one stage hands to the next, and how it lies on disk.

A record is a directory of payload files (parquet, npy, safetensors, json, onnx)
beside one ``manifest.json`` that names the record's kind, schema version, producer,
metadata, and the size and SHA-256 of every payload. It is written under a temporary
name and renamed, so that a half-written record is never seen, and checked when
opened. Nothing is ever pickled. No clock time goes into a manifest: equal content
gives an equal digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from model_core.errors import ArtifactError
from model_core.version import __version__

MANIFEST = "manifest.json"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as lowercase hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no NaN, the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Write one file so that a reader sees either the old or the new content."""
    with appearing_file(path) as stream:
        stream.write(data)


@contextmanager
def appearing_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream to a file that appears, or is replaced, whole when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Record:
    """An opened record.

    Attributes:
        path: Its directory.
        kind: What it is, for example ``"split"``.
        schema_version: Version of its on-disk layout.
        meta: Small JSON values that describe it.
        files: Payload file name to ``{"bytes": int, "sha256": str}``.
        digest: SHA-256 over kind, schema version, meta and payload digests.
    """

    path: Path
    kind: str
    schema_version: int
    meta: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    digest: str

    def file(self, name: str) -> Path:
        """Path of a payload file.

        Raises:
            ArtifactError: If the record has no such file.
        """
        if name not in self.files:
            raise ArtifactError(
                str(self.path), f"a payload file {name!r}", f"only {sorted(self.files)}",
                "re-run the step that wrote this record",
            )
        return self.path / name


def _digest(kind: str, schema_version: int, meta: Mapping, files: Mapping) -> str:
    content = {
        "kind": kind,
        "schema_version": schema_version,
        "meta": meta,
        "files": {name: entry["sha256"] for name, entry in files.items()},
    }
    return hashlib.sha256(json_bytes(content)).hexdigest()


@contextmanager
def write_record(path: Path | str, kind: str, schema_version: int) -> Iterator[tuple[Path, dict]]:
    """Write a record atomically.

    Yields a temporary directory for the payload files and a dict to fill with
    metadata. On a clean exit payloads are hashed, the manifest is written and the
    directory is renamed to ``path`` (replacing a record already there); on an
    exception nothing is left behind.

    Example:
        >>> import tempfile, pathlib
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "demo"
        >>> with write_record(target, "demo", 1) as (folder, meta):
        ...     _ = (folder / "hello.txt").write_text("hi")
        ...     meta["rows"] = 1
        >>> open_record(target, "demo", 1).meta["rows"]
        1
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    meta: dict[str, Any] = {}
    try:
        yield folder, meta
        os.chmod(folder, 0o755)
        files = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                # safetensors writes 0600 whatever the umask; another user's step must read it.
                os.chmod(file, 0o644)
                name = file.relative_to(folder).as_posix()
                files[name] = {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        manifest = {
            "kind": kind,
            "schema_version": schema_version,
            "producer": {"name": "relrec", "version": __version__},
            "meta": meta,
            "files": files,
            "digest": _digest(kind, schema_version, meta, files),
        }
        (folder / MANIFEST).write_bytes(json_bytes(manifest))
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        os.replace(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def open_record(
    path: Path | str,
    kind: str,
    schema_version: int,
    verify: Literal["size", "digest"] = "size",
) -> Record:
    """Open a record and check it.

    Args:
        path: Its directory.
        kind: The kind the caller needs.
        schema_version: The layout version the caller reads.
        verify: ``"size"`` checks that every payload is there with its size (cheap);
            ``"digest"`` also hashes every payload (steps do this on their inputs).

    Raises:
        ArtifactError: Missing, damaged, another kind or another version.
    """
    path = Path(path)
    again = "re-run the step that wrote it"
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise ArtifactError(str(path), f"a {kind} record with a {MANIFEST}", "none", again)
    try:
        manifest = json.loads(manifest_path.read_bytes())
        found_kind, found_version = manifest["kind"], manifest["schema_version"]
        meta, files, digest = manifest["meta"], manifest["files"], manifest["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(str(manifest_path), "a readable manifest", repr(error), again) from error
    if found_kind != kind:
        raise ArtifactError(str(path), f"a {kind} record", f"a {found_kind} record",
                            f"pass the artifact of the step that writes a {kind}")
    if found_version != schema_version:
        raise ArtifactError(
            str(path), f"schema version {schema_version}", f"version {found_version}",
            "re-run the step that wrote it with this release of relrec",
        )
    if digest != _digest(kind, schema_version, meta, files):
        raise ArtifactError(str(manifest_path), f"content with digest {digest[:12]}",
                            "another content", again)
    for name, entry in files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            found = "no file" if size is None else f"{size} bytes"
            raise ArtifactError(str(file), f"{entry['bytes']} bytes", found, again)
        if verify == "digest" and (sha256 := file_sha256(file)) != entry["sha256"]:
            raise ArtifactError(str(file), f"SHA-256 {entry['sha256'][:12]}…", f"{sha256[:12]}…", again)
    return Record(path, kind, schema_version, meta, files, digest)


def verify_record(path: Path | str) -> Record:
    """Open a record of whatever kind and version, and check every byte of it.

    Raises:
        ArtifactError: Missing or damaged.
    """
    try:
        manifest = json.loads((Path(path) / MANIFEST).read_bytes())
        kind, schema_version = manifest["kind"], manifest["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(str(path), f"a record with a readable {MANIFEST}", repr(error),
                            "re-run the step that wrote it") from error
    return open_record(path, kind, schema_version, verify="digest")
