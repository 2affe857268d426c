"""A scheduled pipeline is the one that runs here, but for where the logical date comes from."""

import difflib

import pytest
from google.protobuf import json_format
from kfp import dsl
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from model_core.errors import ConfigError
from pipelines.compiling import documents_of, pipeline_yaml
from pipelines.resources import PRESETS
from pipelines.targets.logical_date import SCHEDULE_TIME, with_schedule_time


@pytest.fixture(scope="module", params=["laptop", "small_gpu"])
def plain(request):
    return pipeline_yaml("retrain", resources=PRESETS[request.param])


def test_the_schedule_time_is_the_only_difference(plain):
    scheduled = with_schedule_time(plain)
    before, after = (documents_of(text) for text in (plain, scheduled))
    date = before[0]["root"]["dag"]["tasks"]["ingest"]["inputs"]["parameters"]
    assert date["as_of"] == {"componentInputParameter": "as_of"}
    # What Kubeflow resolves: the constant of a task's input that equals the placeholder exactly.
    date["as_of"] = {"runtimeValue": {"constant": dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER}}
    assert after == before
    changed = [line for line in difflib.ndiff(plain.splitlines(), scheduled.splitlines())
               if line[0] in "+-"]
    assert [line[0] for line in sorted(changed)] == ["+", "+", "-"], changed


def test_the_cluster_can_read_it(plain):
    spec = documents_of(with_schedule_time(plain))[0]
    parsed = json_format.ParseDict(spec, PipelineSpec())
    value = parsed.root.dag.tasks["ingest"].inputs.parameters["as_of"].runtime_value
    assert value.constant.string_value == SCHEDULE_TIME == dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER


def test_no_other_step_is_given_the_date(plain):
    """It would be a second truth; they read it from the artifacts."""
    tasks = documents_of(plain)[0]["root"]["dag"]["tasks"]
    takes = {name for name, task in tasks.items() if any(
        entry.get("componentInputParameter") == "as_of"
        for entry in task["inputs"].get("parameters", {}).values())}
    assert takes == {"ingest"}


def test_refused(plain):
    with pytest.raises(ConfigError, match="0 such inputs"):
        with_schedule_time(with_schedule_time(plain))
