"""Every baseline wins the worlds it can win, and fails those it cannot."""

from __future__ import annotations

import pytest

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.ranking import rank
from tests.conformance.making import mean_average_precision
from tests.conformance.worlds import WORLDS


@pytest.fixture(scope="module")
def test_map(tmp_path_factory):
    """(world, baseline) to test MAP, beside each world."""
    found = {}
    for name, make in WORLDS.items():
        world = make(tmp_path_factory.mktemp(name) / "split")
        found[name] = world, {
            baseline: mean_average_precision(
                rank(factory(world.graph, world.split, EvaluateConfig()), world.split.test, 10),
                world.split.test)
            for baseline, factory in BASELINES.items()
        }
    return found


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("baseline", BASELINES)
def test_lands_where_theory_says(test_map, world, baseline):
    made, value = test_map[world]
    least, most = made.expected[baseline]
    assert least <= value[baseline] <= most


def test_own_past_wins_where_users_only_rebuy(test_map):
    world, value = test_map["rebuy"]
    assert value["past_then_popular"] > 0.8 * world.oracle
    assert value["past_then_popular"] > 4 * max(value["popularity"], value["recent_popularity"])


def test_popularity_wins_where_only_popularity_matters(test_map):
    world, value = test_map["popularity"]
    assert max(value, key=value.get) in ("popularity", "recent_popularity")
    assert value["popularity"] > 0.8 * world.oracle
    assert value["popularity"] > 3 * world.chance


def test_only_taste_helps_on_the_checkerboard(test_map):
    world, value = test_map["checkerboard"]
    assert value["item_knn"] > 1.5 * world.chance
    assert value["item_knn"] > 1.5 * max(value["popularity"], value["recent_popularity"])
    assert value["past_then_popular"] < world.chance


def test_the_fitted_blend_is_near_the_best_in_every_world(test_map):
    for world, value in test_map.values():
        others = max(map_ for name, map_ in value.items() if name != "blend")
        assert value["blend"] > 0.9 * min(others, world.oracle)
