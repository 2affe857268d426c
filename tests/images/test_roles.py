"""Roles, steps, Dockerfiles and code agree."""

import ast
import importlib
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from components._images import ROLES as NAMES
from components._images import image
from images.roles import FOLDER, read_roles
from images.subsets import closure, read_lock
from pipelines.compiling import STEPS

ROLES = read_roles()
DOCKERFILES = {name: (FOLDER / name / "Dockerfile").read_text() for name in ROLES}


def test_roles_are_those_of_the_components():
    assert sorted(ROLES) == sorted(NAMES)


@pytest.mark.parametrize("step", STEPS)
def test_the_image_of_a_step_has_its_command(step):
    source = Path(importlib.import_module(f"components.{step}.component").__file__).read_text()
    (role,) = re.findall(r'image=image\("(\w+)"\)', source)
    assert step in ROLES[role].steps
    assert step in ROLES["cpu"].steps  # the local docker runner may take it for the role gpu


@pytest.mark.parametrize("name", ROLES)
def test_dockerfile(name):
    text = DOCKERFILES[name]
    (base,) = re.findall(r"^ARG BASE=(.*)$", text, flags=re.MULTILINE)
    assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base), "a default base is pinned by digest"
    assert "ENTRYPOINT" not in text  # KFP appends the step's command to it
    assert re.findall(r"^USER (.*)$", text, flags=re.MULTILINE)[-1] == "10001:0"
    assert "latest" not in text
    assert f"images/{name}/requirements.txt" in text
    assert f"sh /install.sh {name}" in text
    for word in ("title", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{word}=" in text
    assert f'title="{ROLES[name].title}"' in text
    assert not re.search(r"(?i)^(ARG|ENV).*(token|secret|password)", text, flags=re.MULTILINE)


def test_nothing_but_sources_goes_to_the_engine():
    lines = (FOLDER.parent / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {line for line in rules if line.startswith("!")} == {"!images", "!model_core", "!components"}


def _imports(folder):
    for path in (FOLDER.parent / folder).rglob("*.py"):
        if path.name == "component.py":
            continue  # the Kubeflow face is not run in a container
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield node.module.split(".")[0]


def test_cpu_holds_every_package_that_the_code_imports():
    held = set(closure(ROLES["cpu"].packages, read_lock()))
    owners = packages_distributions()
    ours = {"model_core", "components"}
    for module in {*_imports("model_core"), *_imports("components")} - set(sys.stdlib_module_names) - ours:
        names = {re.sub(r"[-_.]+", "-", name).lower() for name in owners[module]}
        assert names & held, f"{module}: add its package to images/roles.toml"


def test_publish_and_serving_need_only_what_serve_holds():
    held = set(closure(ROLES["serve"].packages, read_lock()))
    ours = {"model_core", "components", "pipelines", "images", "tests"}
    foreign = sorted({module for module, names in packages_distributions().items()
                      if not {re.sub(r"[-_.]+", "-", name).lower() for name in names} & held}
                     - ours - set(sys.stdlib_module_names))
    code = (
        "import sys\n"
        f"for name in {[m for m in foreign if m.isidentifier() and not m.startswith('_')]!r}:\n"
        "    sys.modules[name] = None\n"
        "import components.publish.__main__, model_core.evaluation.record, model_core.storage.registry\n"
        "import model_core.serving.recommend, model_core.serving.session, onnxruntime\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FOLDER.parent)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("role", NAMES)
def test_image_names(role):
    assert re.fullmatch(rf"ghcr\.io/relrec/relrec-{role}:[\w.-]+-[0-9a-f]{{12}}", image(role))
