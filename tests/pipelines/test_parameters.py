"""Every parameter of a compiled pipeline has a source, and every source a parameter."""

import json

import pytest

from model_core.config import RunConfig, parse_overrides
from model_core.errors import ConfigError
from pipelines.compiling import PIPELINES, documents_of, pipeline_yaml
from pipelines.parameters import pipeline_arguments, run_name_of

#: What only a run knows; the rest must come from the settings.
ASKED = {"dataset": "shop", "task": "user-item", "registry": "gs://b/r"}


def arguments(**kwargs):
    return pipeline_arguments(**{**ASKED, "config": RunConfig(), **kwargs})


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_arguments_are_the_parameters_of_the_compiled_pipeline(pipeline):
    spec = documents_of(pipeline_yaml(pipeline))[0]
    declared = spec["root"]["inputDefinitions"]["parameters"]
    values = arguments(pipeline=pipeline)
    assert set(values) == set(declared)
    kinds = {"STRING": str, "NUMBER_INTEGER": int, "BOOLEAN": bool}
    for name, entry in declared.items():
        assert type(values[name]) is kinds[entry["parameterType"]], name


def test_every_section_of_the_settings_arrives():
    """A changed setting of any section changes a parameter; one section changes no other's."""
    plain = arguments()
    for section in RunConfig.model_fields:
        assert json.loads(plain[f"{section}_config"]) == getattr(RunConfig(), section).model_dump(mode="json")
    changed = arguments(config=parse_overrides(["train.seed=7", "queue.size=9"]))
    differs = {name for name in plain if plain[name] != changed[name]}
    assert differs == {"seed", "queue_config", "train_config", "settings_digest"}


@pytest.mark.parametrize("text", ["2011-11-25", "2011-11-25T00:00:00Z", "2011-11-25T01:00:00+01:00",
                                  " 1322179200 ", "2011-11-25T00:00:00.000Z"])
def test_one_date_has_one_spelling(text):
    assert arguments(as_of=text)["as_of"] == "2011-11-25T00:00:00Z"
    assert arguments(as_of=text)["run_name"] == "retrain-user-item-20111125"


def test_names():
    assert arguments()["as_of"] == ""
    assert arguments()["run_name"] == "retrain-user-item"
    assert arguments(run_name="mine")["run_name"] == "mine"
    assert run_name_of("retrain", "t", "2011-11-25T06:30:00Z") == "retrain-t-20111125t063000"


def test_a_macro_is_no_parameter():
    with pytest.raises(ConfigError, match="unexpanded macro"):
        arguments(as_of="{{$.pipeline_job_schedule_time_utc}}")
