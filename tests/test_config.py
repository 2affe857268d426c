"""Settings are typed, frozen and checked; errors list what is valid."""

from typing import get_args

import pytest
from pydantic import ValidationError

from model_core.config import ModelConfig, RunConfig, TrainConfig, parse_overrides, parse_section
from model_core.errors import ConfigError


def test_overrides_reach_their_section():
    config = parse_overrides(["train.epochs=3", "model.item_vectors=lookup", "evaluate.ks=[1,2]",
                              "model.num_layers=null"])
    assert config.train.epochs == 3
    assert config.model.item_vectors == "lookup"
    assert config.evaluate.ks == (1, 2)
    assert config.model.num_layers is None


def test_config_survives_json():
    config = parse_overrides(["train.seed=7"])
    assert parse_section(RunConfig, config.model_dump_json()) == config


@pytest.mark.parametrize(("pair", "message"), [
    ("train.epoch=3", "'epochs'"),
    ("trian.epochs=3", "'train'"),
    ("train.epochs=0", "greater than or equal to 1"),
    ("train.epochs=many", "valid integer"),
    ("epochs=3", "section.key=value"),
    ("train.epochs", "section.key=value"),
    ("train.learning_rate=1e400", "finite"),
    ("evaluate.ks=[-1]", "greater than or equal to 1"),
    ("evaluate.masks=[]", "at least 1"),
    ("train.device=banana", "'auto', 'cpu' or 'cuda'"),
    ("model.name=nonsense", "'two_tower'"),
    ("model.item_vectors=both", "'lookup', 'feature' or 'fusion'"),
])
def test_bad_overrides_say_what_is_valid(pair, message):
    with pytest.raises(ConfigError, match="Fix: ") as error:
        parse_overrides([pair])
    assert message in str(error.value)


def test_every_model_has_a_name_in_the_settings():
    from model_core.models import MODELS

    assert set(get_args(ModelConfig.model_fields["name"].annotation)) == set(MODELS)


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"chanels": 1}'])
def test_bad_json_sections(text):
    with pytest.raises(ConfigError):
        parse_section(ModelConfig, text)


def test_the_loss_follows_the_catalogue_unless_it_is_given():
    assert [TrainConfig().for_catalogue(n).loss for n in (50_000, 50_001)] == ["full", "sampled"]
    for loss in ("full", "sampled"):
        assert {TrainConfig(loss=loss).for_catalogue(n).loss for n in (5, 10**6)} == {loss}


def test_sections_are_frozen():
    with pytest.raises(ValidationError):
        TrainConfig().epochs = 3
