"""The packages of a build, fetched on this machine and handed to the build as an image.

So the build itself needs no network: pip's own configuration of this machine (index,
mirror, proxy, certificate) is all that has to be right, and two builds see the same files.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from images.docker_cli import call
from model_core.errors import StepError

#: Builds of glibc that a base of Debian 12 or newer runs.
_MANYLINUX = ("2014", "_2_17", "_2_24", "_2_27", "_2_28", "_2_31", "_2_34", "_2_35")


def fetch_wheels(requirements: Sequence[Path], folder: Path, python: str, machine: str) -> None:
    """Download the wheels of pinned requirements; those that are there already are kept.

    Args:
        requirements: Files of pins; complete, so nothing is resolved.
        folder: Where to put the wheels.
        python: Version of the image's Python, such as ``3.11``.
        machine: Architecture of the image, such as ``x86_64``.

    Raises:
        StepError: One cannot be had as a wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [word for tag in _MANYLINUX for word in ("--platform", f"manylinux{tag}_{machine}")]
    for path in requirements:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--python-version", python, *platforms, "--platform", f"linux_{machine}",
             "--dest", str(folder), "--requirement", str(path)],
            capture_output=True, text=True)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][-2:]
            raise StepError(f"wheels of {path}", "every pinned package as a wheel", " ".join(said),
                            "check pip's index and proxy (pip config list), or pass --online")


def wheel_image(docker: str, folder: Path, wanted: Sequence[Path]) -> str:
    """Name of an image that holds the wheels of a folder that the pins name; made if it is not there."""
    pins = {line.split("==")[0].lower().replace("-", "_").replace(".", "_") + "==" + line.split("==")[1]
            for path in wanted for line in path.read_text().splitlines() if "==" in line and line[0] != "#"}
    chosen = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if f"{name.lower().replace('.', '_')}=={version.split('+')[0]}" in pins:
            chosen.append(wheel)
    key = hashlib.sha256("\n".join(wheel.name for wheel in chosen).encode()).hexdigest()[:12]
    image = f"relrec-wheels:{key}"
    if call([docker, "images", "--quiet", image]):
        return image
    archive = folder.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        for wheel in chosen:
            tar.add(wheel, wheel.name)
    call([docker, "import", str(archive), image])
    archive.unlink()
    return image
