"""``make push``: tag images by version and commit, push them, write down their digests.

``relrec compile retrain --images build/pins.json`` pins those.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from components._images import code_digest, recipe_digest
from images.build import RECORD, ROOT
from images.docker_cli import call, find_docker
from model_core.errors import ConfigError, RelrecError
from model_core.records import json_bytes, write_atomically

PINS = Path("build/pins.json")


def push(docker: str, name: str, repository: str, tags: Sequence[str]) -> str:
    """Push an image under every tag; return ``repository@sha256:…``.

    Args:
        docker: The docker command.
        name: Local name.
        repository: Where to, such as ``registry.example.org/team/relrec-cpu``.
        tags: Such as the version and the commit.

    Raises:
        StepError: The registry refuses it.
        ConfigError: The registry gave no digest.
    """
    for tag in tags:
        call([docker, "tag", name, f"{repository}:{tag}"])
        call([docker, "push", f"{repository}:{tag}"])
    digests = json.loads(call([docker, "inspect", "--format", "{{json .RepoDigests}}", name]))
    for pinned in digests:
        if re.fullmatch(re.escape(repository) + "@sha256:[0-9a-f]{64}", pinned):
            return pinned
    raise ConfigError(repository, "a digest from the registry", repr(digests), "push again")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``make push``."""
    parser = argparse.ArgumentParser(prog="python -m images.push", description=__doc__.split("\n")[0])
    parser.add_argument("registry", help="registry and folder, such as registry.example.org/team")
    parser.add_argument("--allow-dirty", action="store_true",
                        help="push images of a working tree with uncommitted changes")
    options = parser.parse_args(argv)
    try:
        if not (ROOT / RECORD).is_file():
            raise ConfigError("make push", f"{RECORD}", "none", "run make images first")
        record = json.loads((ROOT / RECORD).read_bytes())
        if (record["code_digest"], record.get("recipe")) != (code_digest(), recipe_digest()):
            raise ConfigError("make push", f"images of this code ({code_digest()})", record["code_digest"],
                              "run make images again")
        if not re.fullmatch("[0-9a-f]{40}", record["revision"]) and not options.allow_dirty:
            raise ConfigError("make push", "images of a commit", f"revision {record['revision']}",
                              "commit and run make images again, or pass --allow-dirty")
        docker = find_docker()
        tags = [record["version"], f"{record['version']}-{record['revision'][:12]}"]
        registry = options.registry.rstrip("/")
        pins = {}
        for role, entry in record["images"].items():
            pins[role] = push(docker, entry["name"], f"{registry}/relrec-{role}", tags)
            print(f"pushed {pins[role]}", flush=True)
    except RelrecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_atomically(ROOT / PINS, json_bytes({
        key: record[key] for key in ("version", "revision", "code_digest")
    } | {"images": pins}))
    print(f"wrote {PINS}; use it with relrec compile retrain --images {PINS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
