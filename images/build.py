"""``make images``: lint, build, measure and record the images of the steps.

The record (``build/images.json``) holds name, id, size, build time and start time of
every image; ``images.push`` and the tests in ``tests/docker`` read it.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from components._images import RECIPE_LABEL, code_digest, image, recipe_digest
from images.docker_cli import call, find_docker
from images.roles import FOLDER, Role, read_roles
from images.sbom import write_sbom
from images.wheels import fetch_wheels, wheel_image
from model_core.errors import RelrecError, StepError
from model_core.records import json_bytes, write_atomically
from model_core.version import __version__

ROOT = FOLDER.parent
RECORD = Path("build/images.json")
#: Longest time to the first line of a step that needs no torch.
MAX_FIRST_LINE_S = 3.0


@dataclass(frozen=True)
class BuiltImage:
    """One built image.

    Attributes:
        name: As the steps name it.
        id: Of the engine.
        base: What it was built from.
        size_mb: As the engine counts it, 10^6 bytes.
        build_s: Seconds of docker build.
        first_line_s: Median seconds from docker run to the first line of a step without torch.
        components: Entries of its SBOM.
        sbom: Its file.
    """

    name: str
    id: str
    base: str
    size_mb: float
    build_s: float
    first_line_s: float
    components: int
    sbom: str


def revision() -> str:
    """Commit of the working tree, ``-dirty`` where files differ from it, ``unknown`` outside git."""
    try:
        commit = call(["git", "-C", str(ROOT), "rev-parse", "HEAD"])
        return commit + ("-dirty" if call(["git", "-C", str(ROOT), "status", "--porcelain"]) else "")
    except (RelrecError, OSError):
        return "unknown"


def lint(roles: Sequence[Role]) -> None:
    """Check the Dockerfiles with hadolint.

    Raises:
        StepError: It finds something, or is not installed.
    """
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        raise StepError("make images", "hadolint", "it is not installed",
                        "pip install -r images/requirements-build.txt")
    call([hadolint, *(str(role.folder / "Dockerfile") for role in roles)], shown=True)


def build(docker: str, role: Role, *, base: str = "", online: bool = False, ca: str = "",
          network: str = "") -> BuiltImage:
    """Build one image under the name that the steps use.

    Args:
        docker: The docker command.
        role: What to build.
        base: Base image; empty for the Dockerfile's default.
        online: Let pip reach its index during the build instead of fetching wheels before it.
        ca: Certificate file for a proxy, given to the build as a secret.
        network: Network of the build; by default ``none`` where the wheels are fetched before it.
    """
    name = image(role.name)
    used = base or _default_base(role)
    arguments = ["--build-arg", f"VERSION={__version__}", "--build-arg", f"REVISION={revision()}",
                 "--label", f"{RECIPE_LABEL}={recipe_digest()}"]
    if base:
        arguments += ["--build-arg", f"BASE={base}"]
    if not online:
        # The gpu base brings no Python of its own; Ubuntu 24.04 has 3.12.
        probe = [docker, "run", "--rm", "--network", "none", "--entrypoint", "python3", used, "-c",
                 "import platform; print('.'.join(platform.python_version_tuple()[:2]))"]
        python = call(probe) if base or role.name != "gpu" else "3.12"
        wanted = [role.folder / "requirements.txt", FOLDER / "requirements-build.txt"]
        # Two builds of torch share a version, so they do not share a folder.
        folder = ROOT / "build" / f"wheels-{python}{'-cuda' if role.name == 'gpu' else ''}"
        fetch_wheels(wanted, folder, python, platform.machine())
        arguments += ["--build-arg", f"WHEELHOUSE={wheel_image(docker, folder, wanted)}"]
    if online or network:
        arguments += ["--network", network or "default"]
    elif base or role.name != "gpu":
        arguments += ["--network", "none"]
    if ca:
        arguments += ["--secret", f"id=ca,src={ca}"]
    print(f"building {name} from {used}", flush=True)
    started = time.monotonic()
    call([docker, "build", "--progress=plain", *arguments, "--tag", name,
          "--file", str(role.folder / "Dockerfile"), str(ROOT)],
         environment={"DOCKER_BUILDKIT": "1"}, log=ROOT / "build" / f"{role.name}.log")
    build_s = time.monotonic() - started
    sbom = ROOT / "build" / f"{role.name}.cdx.json"
    components = write_sbom(docker, name, role.name, sbom)
    identifier, size = call([docker, "inspect", "--format", "{{.Id}} {{.Size}}", name]).split()
    return BuiltImage(
        name=name, id=identifier, base=used, size_mb=round(int(size) / 1e6, 1), build_s=round(build_s, 1),
        first_line_s=first_line_s(docker, name, role), components=components,
        sbom=str(sbom.relative_to(ROOT)),
    )


def _default_base(role: Role) -> str:
    for line in (role.folder / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("ARG BASE="):
            return line.removeprefix("ARG BASE=")
    raise AssertionError(f"{role.folder}/Dockerfile has no ARG BASE")


#: Arguments with which a step says its first line, and then fails for want of inputs.
FIRST_LINE_ARGUMENTS = {
    "temporal_split": ["--snapshot", "/nowhere", "--split", "/tmp/x"],
    "publish": ["--bundle", "/nowhere", "--report", "/nowhere", "--data-watch", "/nowhere",
                "--registry", "/tmp/r", "--publication", "/tmp/p"],
}


def first_line_s(docker: str, name: str, role: Role, repeats: int = 3) -> float:
    """Median seconds from ``docker run`` to the first line of a step that needs no torch."""
    step = role.first_line_of
    inputs = FIRST_LINE_ARGUMENTS[step]
    seconds = []
    for _ in range(repeats):
        started = time.monotonic()
        process = subprocess.Popen(
            [docker, "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp",
             "--cap-drop", "ALL", name, step.replace("_", "-"), *inputs],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds.append(time.monotonic() - started)
        process.communicate()
        if not line.startswith(step.replace("_", "-")):
            raise StepError(f"image {name}", f"a line of the step {step}", repr(line), "see docker run")
    return round(statistics.median(seconds), 2)


def check(role: Role, built: BuiltImage) -> None:
    """Refuse an image that has grown too large or starts too slowly.

    Raises:
        StepError: It has.
    """
    if built.size_mb > role.max_mb:
        raise StepError(f"image {role.name}", f"at most {role.max_mb} MB", f"{built.size_mb} MB",
                        "look at its layers with docker history, trim in images/install.sh")
    if built.first_line_s > MAX_FIRST_LINE_S:
        raise StepError(f"image {role.name}", f"a first line within {MAX_FIRST_LINE_S} s",
                        f"{built.first_line_s} s", "look for imports at module level (python -X importtime)")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``make images``."""
    roles = read_roles()
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__.split("\n")[0])
    parser.add_argument("roles", nargs="*", default=["cpu", "serve"], metavar="ROLE", help="cpu, serve, gpu")
    parser.add_argument("--base", default="", help="base image instead of the Dockerfile's")
    parser.add_argument("--ca", default="", help="certificate file of a proxy, as a build secret")
    parser.add_argument("--network", default="", help="network of the build: none, host, default")
    parser.add_argument("--online", action="store_true", help="let pip reach its index during the build")
    options = parser.parse_args(argv)
    try:
        if unknown := set(options.roles) - set(roles):
            parser.error(f"unknown roles {sorted(unknown)}; there are {sorted(roles)}")
        docker = find_docker()
        chosen = [roles[name] for name in options.roles]
        lint(chosen)
        built = {}
        for role in chosen:
            built[role.name] = build(docker, role, base=options.base, online=options.online,
                                     ca=options.ca, network=options.network)
            shown = built[role.name]
            print(f"{role.name}: {shown.size_mb:,.0f} MB (at most {role.max_mb:,}), built in "
                  f"{shown.build_s:.0f} s, first line after {shown.first_line_s:.2f} s, "
                  f"{shown.components} SBOM entries", flush=True)
            check(role, shown)
    except RelrecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_atomically(ROOT / RECORD, json_bytes({
        "version": __version__, "revision": revision(), "code_digest": code_digest(),
        "recipe": recipe_digest(),
        "engine": call([docker, "version", "--format", "{{.Server.Version}}"]),
        "images": {name: asdict(entry) for name, entry in built.items()},
    }))
    print(f"wrote {RECORD}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
