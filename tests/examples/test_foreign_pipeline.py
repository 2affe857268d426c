"""Exported components work in a pipeline that is not ours."""

from examples.validate_nightly import build
from model_core.split.seeds import Split
from pipelines.compiling import export_components
from pipelines.targets.process import run_pipeline


def test_two_components_in_a_foreign_pipeline(tmp_path, demo_dataset):
    from model_core.tables.demo import DEMO_TASK

    list(export_components(tmp_path / "specs"))
    yaml = build(tmp_path / "specs", tmp_path / "foreign.yaml")
    steps = run_pipeline(yaml, {"dataset": str(demo_dataset), "task": DEMO_TASK}, tmp_path / "root",
                         ("ingest", "temporal_split"))
    assert [step.status for step in steps] == ["succeeded", "succeeded"], steps
    assert len(Split.open(steps[1].outputs["split"]).train) > 0
