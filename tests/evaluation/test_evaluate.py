"""Evaluation as a whole: numbers, slices, verdict, record and page, with a model made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from model_core.config import GateConfig, TrainConfig
from model_core.errors import ConfigError
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.evaluate import evaluate
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.predictions import align, hit_matrix
from model_core.evaluation.ranking import from_numpy_scorer
from model_core.evaluation.record import Report
from model_core.evaluation.scoring import evaluate_scorers
from model_core.evaluation.slices import slice_targets
from model_core.evaluation.validation import map_validator
from model_core.records import file_sha256
from tests.evaluation.shop import (
    CONFIG,
    NUM_ITEMS,
    NUM_USERS,
    TEST,
    VAL,
    checkpoint,
    knows_all,
    knows_nothing,
)
from tests.factories import make_seeds


def test_the_table_has_every_split_mask_model_metric_and_k(made):
    report = made[0]
    keys = {(r["split"], r["mask"], r["model"], r["metric"], r["k"]) for r in report.metrics}
    assert len(keys) == len(report.metrics) == 2 * 3 * 6 * 6 * 3  # k: 3, 5 and the task's 4
    assert {key[2] for key in keys} == {"contextgnn", *BASELINES}
    for row in report.metrics:
        assert row["ci_low"] <= row["mean"] + 1e-12
        assert row["mean"] <= row["ci_high"] + 1e-12
        assert row["num_users"] == NUM_USERS


def test_masks_say_what_they_do_to_the_truth(made):
    facts = {(f["split"], f["mask"]): f for f in made[0].facts["truth"]}
    assert facts["test", "none"]["num_targets"] == 70
    # Seen: the repeat of the 29 users with a past is no target any more.
    assert facts["test", "seen"]["num_targets_removed"] == 29
    assert facts["test", "seen"]["num_targets"] == 41
    # Unavailable: the unborn item of ten users stays a target and is missed.
    assert facts["test", "unavailable"]["num_targets_unreachable"] == 10
    assert facts["test", "unavailable"]["num_targets"] == 70

    def recall(mask):
        return made[0].find(split="test", mask=mask, model="contextgnn", metric="recall", k=4)["mean"]

    assert recall("none") == 1.0
    assert recall("seen") == 1.0
    assert recall("unavailable") == pytest.approx((20 * 1 + 10 * 2 / 3) / 30)


def test_slices_divide_the_targets(made, world):
    graph, split = world
    slices = {(s["slice"], s["model"], s["metric"]): s for s in made[0].slices if s["split"] == "test"}
    count = {name: slices[name, "contextgnn", "map"]["num_targets"]
             for name in slice_targets(split.test, graph)}
    assert count["repeat_targets"] == 29
    assert count["new_targets"] == 41
    assert count["warm_items"] == 30
    assert count["cold_items"] == 40
    assert count["cold_users"] == 2
    assert count["warm_users"] == 68
    assert slices["repeat_targets", "past_then_popular", "recall"]["mean"] == 1.0
    assert slices["new_targets", "past_then_popular", "recall"]["mean"] < 0.2
    assert slices["repeat_targets", "contextgnn", "recall"]["num_users"] == 29


def test_per_user_values_have_the_means_of_the_table(made):
    report = made[0]
    per_user = report.per_user()
    assert per_user.num_rows == 2 * 3 * 6 * NUM_USERS
    for model in ("contextgnn", "item_knn"):
        rows = per_user.filter((pc.field("model") == model) & (pc.field("split") == "val")
                               & (pc.field("mask") == "seen"))
        wanted = report.find(split="val", mask="seen", model=model, metric="ndcg", k=5)["mean"]
        assert pc.mean(rows["ndcg_at_5"]).as_py() == pytest.approx(wanted)


def test_predictions_give_the_metric_again_whatever_their_order(made, world):
    report, split = made[0], world[1]
    table = report.predictions().filter(
        (pc.field("model") == "item_knn") & (pc.field("split") == "test") & (pc.field("mask") == "none"))
    table = table.take(np.random.default_rng(0).permutation(table.num_rows))
    items = np.full((table.num_rows, 4), -1)
    for row, listed in enumerate(table["items"].to_pylist()):
        items[row] = listed[:4]
    items = align(table["entity"].to_numpy(), table["time"].to_numpy(), items, split.test)
    values = map_at_k(hit_matrix(items, split.test, NUM_ITEMS), np.diff(split.test.item_ptr))
    wanted = report.find(split="test", mask="none", model="item_knn", metric="map", k=4)
    assert values.mean() == pytest.approx(wanted["mean"], abs=1e-12)


def test_the_verdict_promotes_the_better_and_only_the_better(made, world, tmp_path):
    verdict = made[0].verdict
    assert verdict.promote
    assert verdict.gain > 0.3
    assert verdict.gain_ci_low > 0
    assert (verdict.split, verdict.mask, verdict.metric, verdict.k) == ("test", "none", "map", 4)
    assert verdict.best_baseline in BASELINES
    assert verdict.reason.startswith("Promoted: test MAP@4")
    graph, split = world
    worse = evaluate(checkpoint(knows_nothing), graph, split, None, CONFIG, tmp_path / "report",
                     html=tmp_path / "report.html", seed=3, device="cpu")
    assert not worse.verdict.promote
    assert worse.verdict.gain < 0
    assert worse.verdict.reason.startswith("Not promoted")
    between = (made[0].verdict.gain + made[0].verdict.gain_ci_high) / 2  # the mean decides
    barred = evaluate(checkpoint(knows_all), graph, split, None, CONFIG, tmp_path / "strict",
                      html=tmp_path / "strict.html", seed=3, device="cpu",
                      gate=GateConfig(min_baseline_gain=between))
    assert not barred.verdict.promote
    stored = evaluate(checkpoint(knows_all), graph, split, None, CONFIG, tmp_path / "stored",
                      html=tmp_path / "stored.html", seed=3, device="cpu", gate=GateConfig(promote=False))
    assert not stored.verdict.promote
    assert [check.name for check in stored.verdict.checks if not check.passed] == ["allowed"]
    assert "gate.promote=false" in stored.verdict.reason


def test_the_record_opens_and_is_the_same_again(made, world, tmp_path):
    report, folder, lines = made
    again = Report.open(folder / "report", verify="digest")
    assert again.verdict == report.verdict
    assert again.logical_time == TEST
    assert any("test, item_knn: 30 users ranked" in line for line in lines)
    headline = report.headline()
    assert headline["test_map_at_4_contextgnn"] == 1.0
    assert len(headline) == 2 * 6
    graph, split = world
    second = evaluate(checkpoint(knows_all), graph, split, None, CONFIG, tmp_path / "report",
                      html=tmp_path / "report.html", seed=3, device="cpu",
                      context={"dataset": "a <b> shop", "task": "buy"})
    assert second.record.digest == report.record.digest
    assert file_sha256(tmp_path / "report.html") == file_sha256(folder / "report.html")


def test_intervals_do_not_depend_on_what_else_is_evaluated(world):
    graph, split = world
    scorers = {"a": from_numpy_scorer(knows_nothing)}
    whole = evaluate_scorers(scorers, graph, split, CONFIG, 0)
    alone = evaluate_scorers(
        scorers, graph, split, CONFIG.model_copy(update={"splits": ("test",), "masks": ("seen",)}), 0)
    wanted = [r for r in whole.rows if (r["split"], r["mask"]) == ("test", "seen")]
    assert alone.rows == wanted


def test_rows_without_targets_are_counted_and_left_out(world):
    graph, split = world
    test = make_seeds([(u, TEST, [] if u < 10 else [u % 10]) for u in range(NUM_USERS)])
    holey = SimpleNamespace(val=split.val, test=test, eval_k=4)
    config = CONFIG.model_copy(update={"splits": ("test",)})
    found = evaluate_scorers({"a": from_numpy_scorer(knows_nothing)}, graph, holey, config, 0)
    assert {row["num_users"] for row in found.rows if row["mask"] == "none"} == {20}
    assert found.at("test", "none").counts["num_rows"] == NUM_USERS
    # Under ``seen`` only the new user has a target left.
    assert {row["num_users"] for row in found.rows if row["mask"] == "seen"} == {1}


def test_an_empty_split_gives_empty_means_and_no_promotion(world, tmp_path):
    graph, split = world
    import dataclasses

    empty = dataclasses.replace(split, test=make_seeds([]), val=make_seeds([]))
    report = evaluate(checkpoint(knows_all), graph, empty, None, CONFIG, tmp_path / "report",
                      html=tmp_path / "report.html", seed=0, device="cpu")
    assert not report.verdict.promote
    assert report.verdict.gain is None
    assert {row["mean"] for row in report.metrics} == {None}
    assert "No user has a target" in (tmp_path / "report.html").read_text()


def test_asking_for_nothing_is_refused(world):
    graph, split = world
    with pytest.raises(ConfigError, match=r"evaluate\.masks"):
        evaluate_scorers({}, graph, split, CONFIG.model_copy(update={"masks": ()}), 0)


def test_k_beyond_the_catalogue_pads(world):
    graph, split = world
    config = CONFIG.model_copy(update={"ks": (50,), "masks": ("none",)})
    found = evaluate_scorers({"a": from_numpy_scorer(knows_nothing)}, graph, split, config, 0)
    items = found.at("test", "none").items["a"]
    assert items.shape == (NUM_USERS, 50)
    assert (items[:, NUM_ITEMS:] == -1).all()
    assert (np.sort(items[:, :NUM_ITEMS], axis=1) == np.arange(NUM_ITEMS)).all()


def test_the_validator_watches_a_fixed_sample_of_validation_rows(world):
    split = world[1]
    asked = []

    def scorer(entity, time):
        asked.append((entity.tolist(), set(time.tolist())))
        return torch.from_numpy(knows_all(entity.numpy(), None))

    validate = map_validator(split, TrainConfig(max_validation_rows=12, device="cpu"))
    assert validate(scorer) == 1.0
    assert validate(scorer) == 1.0
    assert asked[0] == asked[1]
    assert len(asked[0][0]) == 12
    assert asked[0][1] == {VAL}
    everybody = map_validator(split, TrainConfig(device="cpu"))
    assert everybody(from_numpy_scorer(knows_nothing)) < 0.5


def test_validation_rows_are_never_ranked_with_weights_that_know_their_labels(world, tmp_path):
    graph, split = world[:2]
    judged = checkpoint(knows_all)
    judged.scorer = lambda graph, device, weights: from_numpy_scorer(
        {"final": knows_all, "selected": knows_nothing}[weights])
    report = evaluate(judged, graph, split, None, CONFIG, tmp_path / "r", html=tmp_path / "p.html",
                      seed=0, device="cpu")
    model = judged.model_config.name
    means = {name: report.find(split=name, mask="none", model=model, metric="map", k=5)["mean"]
             for name in ("val", "test")}
    assert means["test"] > 0.9
    assert means["val"] < 0.5
