"""Somebody else's pipeline that reuses two relrec components.

It checks a dataset every night and measures how local its labels are, without training
anything. The components are loaded from the files that ``relrec components export``
writes; no relrec module is imported.
"""

from pathlib import Path

from kfp import compiler, dsl
from kfp.components import load_component_from_file


def build(specs: Path, out: Path) -> Path:
    """Compile the pipeline from exported component specs.

    Args:
        specs: Directory that ``relrec components export -o`` wrote.
        out: YAML file to write.
    """
    ingest = load_component_from_file(str(specs / "ingest" / "component.yaml"))
    temporal_split = load_component_from_file(str(specs / "temporal_split" / "component.yaml"))

    @dsl.pipeline(name="validate-nightly")
    def validate_nightly(dataset: str, task: str):
        tables = ingest(dataset=dataset, task=task)
        temporal_split(snapshot=tables.outputs["snapshot"])

    compiler.Compiler().compile(validate_nightly, str(out))
    return out


if __name__ == "__main__":
    print(build(Path("component-specs"), Path("validate-nightly.yaml")))
