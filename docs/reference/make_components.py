"""Write docs/reference/components.md from the components' specs. A test checks that it is up to date."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from components._step import documentation
from pipelines.compiling import STEPS, export_components

HEAD = """# Components

Every step of the pipeline is a container component that works without the others. This page is written by
`python docs/reference/make_components.py` from the specs that `relrec components export` writes.

A step runs in three ways, all tested:

- **In a Kubeflow pipeline of your own**: load its `component.yaml` with
  `kfp.components.load_component_from_file`. [One component in your pipeline](../how-to/reuse-a-component.md)
  has a whole example.
- **As a container**: `docker run IMAGE temporal-split --snapshot DIR --split DIR`; `--help` after the step's
  name lists its flags. Parameters and artifacts are flags of the same name, with dashes; an artifact is a
  path.
- **As a command**, where relrec is installed:
  `python -m components.temporal_split --snapshot DIR --split DIR`.

Artifacts are directories or files; a *record* carries a manifest with a schema version and digests, and is
checked when opened. Exit codes: 0 done, 2 a fault that you can mend (the message says how), 1 a bug, 143
ended by SIGTERM.
"""

_KINDS = {"STRING": "text", "NUMBER_INTEGER": "integer", "NUMBER_DOUBLE": "number",
          "BOOLEAN": "true or false"}


def components_page() -> str:
    """The page as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        specs = {path.parent.name: next(yaml.safe_load_all(path.read_text()))
                 for path in export_components(Path(folder))}
    lines = [HEAD]
    for step in STEPS:
        lines += _section(step, specs[step])
    return "\n".join(lines)


def _section(step: str, spec: dict[str, Any]) -> list[str]:
    (component,) = spec["components"].values()
    inputs, outputs = component.get("inputDefinitions", {}), component["outputDefinitions"]
    # Kubeflow's spec drops what a docstring says of outputs, so descriptions come from the step.
    summary, descriptions = documentation(getattr(import_module(f"components.{step}.__main__"), step))
    rows = [(name, f"reads {_artifact(entry)}", "") for name, entry in inputs.get("artifacts", {}).items()]
    for name, entry in inputs.get("parameters", {}).items():
        default = f"`{_default(entry)!r}`" if "defaultValue" in entry else "required"
        rows.append((name, _KINDS[entry["parameterType"]], default))
    rows += [(name, f"writes {_artifact(entry)}", "") for name, entry in outputs["artifacts"].items()]
    return [f"## {step.replace('_', '-')}", "", " ".join(summary.split()), "",
            "| name | kind | default | what |", "|---|---|---|---|",
            *(f"| `{name}` | {kind} | {default} | {descriptions[name]} |"
              for name, kind, default in rows), ""]


def _default(entry: dict[str, Any]) -> Any:
    value = entry["defaultValue"]
    return int(value) if entry["parameterType"] == "NUMBER_INTEGER" else value


def _artifact(entry: dict[str, Any]) -> str:
    return entry["artifactType"]["schemaTitle"].removeprefix("system.")


if __name__ == "__main__":
    Path(__file__).with_name("components.md").write_text(components_page())
