"""KFP's local step cache, made safe: what is damaged, gone or out of date is no hit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp import dsl
from kfp.local import cache

from model_core.errors import RelrecError
from model_core.records import MANIFEST, verify_record
from model_core.storage.registry import Registry

if TYPE_CHECKING:
    from pipelines.targets.session import Session


class CheckedCache(cache.LocalCache):
    """KFP's local cache, but a damaged or vanished artifact is a miss, and hits are reported."""

    session: Session

    def compute_key(self, component_name: str, *args: Any, **kwargs: Any) -> str:
        kwargs |= {"arguments": {name: _content(value) for name, value in kwargs["arguments"].items()}}
        if (staging := self.session.staging) is not None:
            # Another machine has another folder, but the same steps.
            kwargs |= {name: staging.without_folder(self._serialize_value_for_key(kwargs[name]))
                       for name in ("full_command", "arguments", "env_vars") if kwargs.get(name)}
        key = super().compute_key(component_name, *args, **kwargs)
        self._names = getattr(self, "_names", {})
        self._names[key] = component_name.removeprefix("comp-").replace("-", "_")
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        outputs = super().get(key)
        if outputs is None or not all(is_intact(Path(a.uri)) for a in _artifacts(outputs).values()):
            outputs = self._get_remote(key)
        elif self.session.staging is not None:
            self.session.staging.store_artifacts(a.uri for a in _artifacts(outputs).values())
            self.put(key, outputs)
        if outputs is None:
            return None
        run = self.session.run_of(self._names[key])
        run.status, run.cached = "succeeded", True
        run.outputs = {name: artifact.uri for name, artifact in _artifacts(outputs).items()}
        self.session.listener(run)
        return outputs

    def put(self, key: str, outputs: dict[str, Any]) -> None:
        super().put(key, outputs)
        if self.session.staging is not None:
            self.session.staging.keep_entry(key, self._serialize_outputs(outputs))

    def _get_remote(self, key: str) -> dict[str, Any] | None:
        """Outputs that another machine left under a remote root; their bytes stay there for now."""
        staging = self.session.staging
        entry = staging.entry(key) if staging is not None else None
        if staging is None or entry is None:
            return None
        outputs = self._deserialize_outputs(entry)
        uris = [artifact.uri for artifact in _artifacts(outputs).values()]
        if not all(staging.holds(uri) for uri in uris):
            return None
        acting = [uri for uri in uris if Path(uri).name == "publication"]
        return outputs if all(is_intact(staging.fetch(uri)) for uri in acting) else None


def _content(argument: Any) -> Any:
    """What a step's key holds of one argument: of a record its digest, not where it lies.

    A step that runs every time, such as load_champion, then invalidates nothing while what it
    writes stays the same.
    """
    digest = argument.metadata.get("digest") if isinstance(argument, dsl.Artifact) else None
    if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest):
        return {"record": digest}
    return argument


def _artifacts(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if hasattr(value, "uri")}


def is_intact(path: Path) -> bool:
    """Whether a cached output can still be used."""
    if not path.exists():
        return False
    try:
        if (path / MANIFEST).is_file():
            verify_record(path)
        elif path.name == "publication":
            # Publishing acts on a registry outside the cache: if that is in another state by
            # now (a version gone, a rollback), publish again, which changes nothing twice.
            publication = json.loads(path.read_bytes())
            registry = Registry(publication["registry"])
            registry.version_info(publication["version"])
            champion = registry.champion()
            return (champion.version if champion else None) == publication["champion"]
    except (RelrecError, ValueError, KeyError):
        return False
    return True
