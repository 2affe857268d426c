"""The rules of the gate, on figures alone and through a whole evaluation."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model_core.config import GateConfig
from model_core.errors import ArtifactError, EvaluationError
from model_core.evaluation import rival
from model_core.evaluation.evaluate import evaluate
from model_core.evaluation.gate import (
    Comparison,
    baseline_check,
    champion_check,
    cold_user_check,
    coverage_check,
    data_check,
    incomparable_check,
)
from model_core.evaluation.promotion import with_bundle
from model_core.evaluation.ranking import from_numpy_scorer
from model_core.evaluation.record import Report, Verdict
from model_core.records import Record, write_record
from model_core.storage.champion import KIND, SCHEMA_VERSION, ChampionRecord
from model_core.watch.findings import Finding
from tests.evaluation.shop import CONFIG, NUM_ITEMS, checkpoint, knows_all, knows_nothing, truth_of

QUICK = CONFIG.model_copy(update={"splits": ("test",), "masks": ("none",), "num_bootstrap": 50})
VERSION = "20111118-ab12cd34"
FIGURES = st.floats(-1, 1)


def comparison(gain=0.0, low=0.0, high=0.0, num_users=100, other=0.2):
    return Comparison("x", other + gain, other, gain, low, high, 0.95, num_users)


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.tuples(FIGURES, FIGURES, FIGURES).map(sorted), FIGURES, st.floats(0, 1), st.booleans())
def test_the_champion_is_beaten_by_the_whole_interval(bounds, margin, other, relative):
    low, gain, high = bounds
    gate = GateConfig(min_gain=margin, relative=relative)
    check = champion_check(comparison(gain, low, high, other=other), gate)
    assert check.passed == (low > margin * (other if relative else 1))
    if check.passed:
        for stricter in (margin, margin + 0.1):  # more asked for never lets more in
            assert not champion_check(comparison(gain, stricter, high), GateConfig(min_gain=stricter)).passed
    raised = champion_check(comparison(gain, low + 0.1, high + 0.1, other=other), gate)
    assert raised.passed or not check.passed, "a better model is never refused where a worse one passes"


def test_a_handful_of_users_topples_no_champion():
    few = champion_check(comparison(0.5, 0.4, 0.6, num_users=29), GateConfig())
    assert not few.passed
    assert "at least 30 users" in few.required
    assert few.found.endswith("over 29")
    assert champion_check(comparison(0.5, 0.4, 0.6, num_users=30), GateConfig()).passed
    assert champion_check(comparison(0.5, 0.4, 0.6, num_users=1), GateConfig(min_users=1)).passed


def test_rows_of_one_user_are_one_user(world, tmp_path, monkeypatch):
    graph, split = world
    one = split.test.take(np.zeros(40, dtype=np.int64))
    report, _ = judged((graph, dataclasses.replace(split, test=one)), tmp_path, monkeypatch, knows_all,
                       champion(tmp_path), knows_nothing)
    verdict = report.verdict
    assert verdict.champion_gain_ci_low == pytest.approx(verdict.champion_gain), "a point"
    assert verdict.champion_gain > 0.5
    assert not verdict.promote
    assert "over 1" in verdict.reason


def test_a_model_never_beats_itself():
    assert not champion_check(comparison(), GateConfig()).passed
    assert champion_check(comparison(), GateConfig(min_gain=-1e-4)).passed


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1))
def test_coverage_may_fall_by_a_share(model, champion, loss):
    check = coverage_check(model, champion, 100, GateConfig(max_coverage_loss=loss))
    assert check.passed == (model >= (1 - loss) * champion - 1e-6)
    assert model < champion or check.passed


def test_rules_that_are_switched_off_are_not_there():
    off = GateConfig(max_coverage_loss=None, max_cold_user_loss=None)
    assert coverage_check(0, 100, 100, off) is None
    assert cold_user_check(comparison(-1, -1, -1), off) is None


@pytest.mark.parametrize(("against", "loss", "passed"), [
    (comparison(-0.1, -0.2, -0.05), 0.0, False), (comparison(-0.1, -0.2, 0.01), 0.0, True),
    (comparison(-0.1, -0.2, -0.05), 0.06, True), (comparison(-0.1, -0.2, -0.05, num_users=29), 0.0, True),
    (None, 0.0, True), (comparison(0.0, 0.0, 0.0), 0.0, True),
])
def test_cold_users_must_not_be_clearly_worse_off(against, loss, passed):
    check = cold_user_check(against, GateConfig(max_cold_user_loss=loss))
    assert check.passed == passed
    assert ("not checked" in check.found) == (against is None or against.num_users < 30)


def test_the_baseline_is_held_by_the_mean():
    assert baseline_check(comparison(0.0, -0.5, 0.5), GateConfig()).passed
    assert not baseline_check(comparison(-1e-6, -0.5, 0.5), GateConfig()).passed
    assert not baseline_check(comparison(0.01), GateConfig(min_baseline_gain=0.02)).passed


def test_failures_of_the_data_are_named():
    assert data_check([]).passed
    many = data_check(["a is gone", "b is gone", "c is gone", "d is gone"])
    assert not many.passed
    assert many.found == "a is gone; b is gone; c is gone; and 1 more"


def test_an_incomparable_champion_stays_unless_told_otherwise():
    assert not incomparable_check(VERSION, "why", GateConfig()).passed
    assert incomparable_check(VERSION, "why", GateConfig(replace_incomparable=True)).passed


def champion(tmp_path, state="loaded", problem=None):
    with write_record(tmp_path / "champion", KIND, SCHEMA_VERSION) as (folder, meta):
        if state == "loaded":
            (folder / "bundle").mkdir()
            (folder / "bundle" / "manifest.json").write_text("{}")
        meta.update(state=state, version=None if state == "none" else VERSION, promoted_at=1, problem=problem,
                    logical_date="2011-11-18T00:00:00Z")
    return ChampionRecord.open(tmp_path / "champion")


def knows_repeats(entity, time):
    scores = knows_nothing(entity, time) / 1_000
    for row, user in enumerate(entity):
        scores[row, truth_of(int(user), 0)[0]] = 1.0
    return scores


def judged(world, tmp_path, monkeypatch, model, reigning, scores=None, gate=None, config=QUICK, **arguments):
    asked = []

    def opened(bundle_dir, graph, device, *, weights):
        asked.append(weights)
        if isinstance(scores, Exception):
            raise scores
        return from_numpy_scorer(scores)

    monkeypatch.setattr(rival, "champion_scorer", opened)
    graph, split = world
    report = evaluate(checkpoint(model), graph, split, None, config, tmp_path / "report",
                      html=tmp_path / "report.html", seed=3, device="cpu", gate=gate,
                      champion=reigning, **arguments)
    return report, asked


def checks(report):
    return {check.name: check.passed for check in report.verdict.checks}


def test_a_better_model_replaces_the_champion(world, tmp_path, monkeypatch):
    report, asked = judged(world, tmp_path, monkeypatch, knows_all, champion(tmp_path), knows_repeats,
                           config=CONFIG)
    verdict = report.verdict
    assert verdict.promote
    assert (verdict.champion, verdict.champion_state) == (VERSION, "compared")
    assert 0 < verdict.champion_gain_ci_low < verdict.champion_gain < verdict.champion_gain_ci_high
    assert checks(report) == {"champion": True, "coverage": True, "cold_users": True, "baseline": True}
    assert VERSION in verdict.reason
    assert sorted(asked) == ["final", "selected"], "validation is ranked by weights that do not know it"
    row = report.find(split="test", mask="seen", model="champion", metric="map", k=4)
    assert row["num_users"] == report.find(split="test", mask="seen", model="contextgnn", metric="map",
                                           k=4)["num_users"]
    ours, theirs = (report.find(split="test", mask="none", model=name, metric="map", k=4)["mean"]
                    for name in ("contextgnn", "champion"))
    assert verdict.champion_gain == pytest.approx(ours - theirs)
    page = (tmp_path / "report.html").read_text()
    assert "cold users" in page
    assert "2011-11-18" in page
    assert "champion of a later date" in page, "the report is written before publish decides"
    assert Report.open(report.record.path).verdict == verdict


def test_a_worse_or_equal_model_leaves_the_champion(world, tmp_path, monkeypatch):
    for scores in (knows_all, knows_repeats):
        report, _ = judged(world, tmp_path, monkeypatch, knows_repeats, champion(tmp_path), scores)
        assert not report.verdict.promote
        assert not checks(report)["champion"]
        assert report.verdict.reason.startswith("Not promoted: test MAP@4")
        assert "Failed: champion" in report.verdict.reason
    assert report.verdict.champion_gain == 0.0
    report, _ = judged(world, tmp_path, monkeypatch, knows_repeats, champion(tmp_path), knows_repeats,
                       GateConfig(min_gain=-0.01, min_baseline_gain=-1))
    assert report.verdict.promote, "a margin below zero takes the fresher of two equals"


def test_a_narrower_model_is_refused_however_good(world, tmp_path, monkeypatch):
    def wide(entity, time):
        scores = np.zeros((len(entity), NUM_ITEMS), dtype=np.float32)
        for row, user in enumerate(entity):
            scores[row, (5 * np.arange(4) + user) % NUM_ITEMS] = 1.0
        return scores

    graph, split = world
    everybody = dataclasses.replace(split, test=split.test.take(np.arange(3)))
    report, _ = judged((graph, everybody), tmp_path, monkeypatch, knows_all, champion(tmp_path), wide,
                       GateConfig(max_coverage_loss=0.0, min_gain=-1, min_users=1))
    ours, theirs = (len({item for row in report.predictions().to_pylist() if row["model"] == name
                         for item in row["items"][:4]}) for name in ("contextgnn", "champion"))
    assert ours < theirs == 12
    assert checks(report) == {"champion": True, "coverage": False, "cold_users": True, "baseline": True}
    assert f"{ours} of 20 items, the champion {theirs}" in str(report.verdict.checks)


@pytest.mark.parametrize("fault", ["cannot be carried over", "scores NaN", "unreadable"])
def test_a_champion_that_cannot_be_compared_stays(world, tmp_path, monkeypatch, fault):
    def broken(entity, time):
        return np.full((len(entity), NUM_ITEMS), np.nan, dtype=np.float32)

    reigning, scores = {
        "cannot be carried over": lambda: (champion(tmp_path), ArtifactError(
            f"champion {tmp_path / 'champion' / 'bundle'}", "a model of 'users'", "'shops'", "train")),
        "scores NaN": lambda: (champion(tmp_path), broken),
        "unreadable": lambda: (champion(tmp_path, "unreadable", "bundle: schema version 3"), None),
    }[fault]()
    report, _ = judged(world, tmp_path, monkeypatch, knows_all, reigning, scores)
    verdict = report.verdict
    assert not verdict.promote
    assert (verdict.champion, verdict.champion_state) == (VERSION, "incomparable")
    assert verdict.champion_gain is None
    assert "relrec registry promote" in verdict.reason
    assert "champion" not in {row["model"] for row in report.metrics}
    assert str(tmp_path) not in str(report.facts), "where things lie for the moment is no fact"
    assert "could not be scored" in (tmp_path / "report.html").read_text()
    allowed, _ = judged(world, tmp_path, monkeypatch, knows_all, reigning, scores,
                        GateConfig(replace_incomparable=True))
    assert allowed.verdict.promote
    refused, _ = judged(world, tmp_path, monkeypatch, knows_nothing, reigning, scores,
                        GateConfig(replace_incomparable=True))
    assert not refused.verdict.promote, "the baselines decide then"


def test_scores_of_the_model_itself_are_still_a_fault(world, tmp_path, monkeypatch):
    def broken(entity, time):
        return np.full((len(entity), NUM_ITEMS), np.nan, dtype=np.float32)

    with pytest.raises(EvaluationError):
        judged(world, tmp_path, monkeypatch, broken, champion(tmp_path), knows_all)


def test_no_champion_yet(world, tmp_path, monkeypatch):
    report, asked = judged(world, tmp_path, monkeypatch, knows_all, champion(tmp_path, "none"))
    assert asked == []
    assert report.verdict.promote
    assert (report.verdict.champion, report.verdict.champion_state) == (None, "none")
    assert checks(report) == {"champion": True, "baseline": True}


def test_alarms_of_the_data_stand_in_the_way(world, tmp_path, monkeypatch):
    monkeypatch.setattr("model_core.evaluation.evaluate.write_page", lambda *_: None)
    finding = Finding("rows", "events", "", "fail", "2", "9", "events has 9 times the rows")
    watch = SimpleNamespace(failures=(finding,), record=champion(tmp_path).record)
    report, _ = judged(world, tmp_path, monkeypatch, knows_all, champion(tmp_path), knows_repeats,
                       watch=watch)
    assert not report.verdict.promote
    assert checks(report)["data"] is False
    assert finding.message in report.verdict.reason


def bundle(**changes):
    meta = {"digests": {"weights": "w" * 64, "graph": "g" * 64, "split": "s" * 64},
            "parity": {"num_users": 3, "largest_difference": 1e-6, "tolerance": 1e-4}}
    return Record(SimpleNamespace(), "bundle", 5, meta | changes, {}, "d")


PROMOTE = Verdict(True, "Promoted: it is better.", "m", "b", "map", 10, "test", "none", 0.1, 0.05, 0.2)
JUDGED = {"weights": "w" * 64, "graph": "g" * 64, "split": "s" * 64, "champion": "c" * 64}


@pytest.mark.parametrize(("changes", "found"), [
    ({"parity": {}}, "no valid proof"), ({"parity": None}, "no valid proof"),
    ({"parity": {"num_users": 0, "largest_difference": 1e-6, "tolerance": 1e-4}}, "no valid proof"),
    ({"parity": {"num_users": 3, "largest_difference": 1e-2, "tolerance": 1e-4}}, "no valid proof"),
    ({"digests": {"weights": "x" * 64}}, "another weights"),
    ({"digests": {"weights": "w" * 64, "graph": "g" * 64, "split": "x" * 64}}, "another split"),
    ({"digests": {"weights": "w" * 64, "split": "s" * 64}}, r"another graph (not named)"),
    ({"digests": None}, "another weights"),
])
def test_only_the_bundle_of_the_judged_model_is_promoted(changes, found):
    verdict = with_bundle(PROMOTE, bundle(**changes), JUDGED)
    assert not verdict.promote
    assert verdict.reason.startswith("Not promoted: it is better. Failed: bundle")
    assert found in verdict.checks[-1].found


def test_a_sound_bundle_changes_no_verdict():
    verdict = with_bundle(PROMOTE, bundle(), JUDGED)
    assert (verdict.promote, verdict.reason) == (True, PROMOTE.reason)
    assert verdict.checks[-1].passed
    refused = dataclasses.replace(PROMOTE, promote=False, reason="Not promoted: worse.")
    assert with_bundle(refused, bundle(), JUDGED).reason == "Not promoted: worse."
    assert not with_bundle(refused, bundle(), JUDGED).promote
