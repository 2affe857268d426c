"""Every component's Kubeflow face says the same as the step it starts."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

from components._step import Input, Output
from pipelines.compiling import STEPS, export_components

PARAMETER_TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "BOOLEAN": bool}


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("specs")
    return {path.parent.name: yaml.safe_load(path.read_text().split("---\n# platform")[0])
            for path in export_components(folder)}


def _main(step):
    return getattr(importlib.import_module(f"components.{step}.__main__"), step)


@pytest.mark.parametrize("step", STEPS)
def test_signature_matches(step, specs):
    (component,) = specs[step]["components"].values()
    main = _main(step)
    hints = get_type_hints(main)
    hints.pop("return")
    inputs, outputs = component.get("inputDefinitions", {}), component["outputDefinitions"]
    face = {name: PARAMETER_TYPES[entry["parameterType"]]
            for name, entry in inputs.get("parameters", {}).items()}
    face |= dict.fromkeys(inputs.get("artifacts", {}), Input)
    face |= dict.fromkeys(outputs["artifacts"], Output)
    assert face == hints


@pytest.mark.parametrize("step", STEPS)
def test_defaults_match(step, specs):
    (component,) = specs[step]["components"].values()
    defaults = {name: entry.get("defaultValue")
                for name, entry in component.get("inputDefinitions", {}).get("parameters", {}).items()}
    for name, parameter in inspect.signature(_main(step)).parameters.items():
        if name in defaults:
            expected = None if parameter.default is inspect.Parameter.empty else parameter.default
            assert defaults[name] == expected, name


@pytest.mark.parametrize("step", STEPS)
def test_descriptions_match_and_cover_every_parameter(step):
    module = importlib.import_module(f"components.{step}.component")
    tree_doc = _docstring_in_source(Path(module.__file__), step)
    main = _main(step)
    assert inspect.cleandoc(tree_doc) == inspect.getdoc(main)
    for name in inspect.signature(main).parameters:
        assert f"\n    {name}: " in inspect.getdoc(main), name


def _docstring_in_source(path, function):
    import ast

    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return ast.get_docstring(node)
    raise AssertionError(f"{function} is not defined in {path}")


@pytest.mark.parametrize("step", STEPS)
def test_container_runs_this_step_in_a_pinned_image(step, specs):
    (executor,) = specs[step]["deploymentSpec"]["executors"].values()
    container = executor["container"]
    assert container["command"] == ["python3", "-m", f"components.{step}"]
    assert container["args"] == ["--executor-input", "{{$}}"]
    name, _, tag = container["image"].rpartition(":")
    assert name
    assert tag
    assert tag != "latest"


@pytest.mark.parametrize("step", ["ingest", "train"])
def test_help_documents_the_step(step):
    done = subprocess.run([sys.executable, "-m", f"components.{step}", "--help"],
                          capture_output=True, text=True, check=True)
    for name in inspect.signature(_main(step)).parameters:
        assert "--" + name.replace("_", "-") in done.stdout
