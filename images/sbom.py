"""The bill of materials of an image: its Python packages and those of the distribution."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from images.docker_cli import call

_QUERY = r"${Package}\t${Version}\t${Architecture}\n"


def write_sbom(docker: str, image: str, role: str, out: Path) -> int:
    """Write ``out`` in CycloneDX JSON; return the number of components.

    The build lists the Python packages (cyclonedx-bom, ``/usr/share/sbom`` in the image);
    the packages of a Debian or Ubuntu base are added from the image's own database.
    """
    run = [docker, "run", "--rm", "--network", "none", "--entrypoint"]
    bom = json.loads(call([*run, "cat", image, f"/usr/share/sbom/relrec-{role}.cdx.json"]))
    release = call([*run, "cat", image, "/etc/os-release"]).splitlines()
    distribution = dict(line.split("=", 1) for line in release if "=" in line).get("ID", "debian").strip('"')
    packages = call([*run, "dpkg-query", image, "--show", f"--showformat={_QUERY}"]).splitlines()
    components: list[dict[str, Any]] = bom.setdefault("components", [])
    for line in packages:
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/{distribution}/{name}@{version}?arch={architecture}"
        components.append(
            {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    bom.setdefault("metadata", {})["component"] = {"type": "container", "bom-ref": image, "name": image}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(bom, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out)
    return len(components)
