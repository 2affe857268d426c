"""Balance of familiar and new against plain Python, and gains against each baseline."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.config import EvaluateConfig
from model_core.evaluation.balance import measure_balance, segment_rows
from model_core.evaluation.gains import measure_gains, paired_gains
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.ranking import from_numpy_scorer
from model_core.evaluation.scoring import evaluate_scorers
from model_core.evaluation.verdict import judge
from tests.factories import make_seeds, make_shop

NUM_USERS, NUM_ITEMS, K = 6, 9, 3
CONFIG = EvaluateConfig(ks=(K,), masks=("none",), splits=("test",), num_bootstrap=60)

events = st.lists(
    st.tuples(st.integers(0, NUM_USERS - 1), st.integers(0, NUM_ITEMS - 1), st.integers(0, 12)),
    max_size=60,
).map(lambda found: sorted(set(found), key=lambda e: (e[2], e[0], e[1])))
rows = st.dictionaries(
    st.tuples(st.integers(0, NUM_USERS - 1), st.sampled_from([3, 9])),
    st.lists(st.integers(0, NUM_ITEMS - 1), max_size=4), min_size=1, max_size=10,
).map(lambda found: make_seeds([(*key, items) for key, items in found.items()]))


def ranked_by(graph, test, **scorers):
    split = SimpleNamespace(test=test, eval_k=K)
    return evaluate_scorers(scorers, graph, split, CONFIG, 0).at("test", "none")


def noise(seed):
    fixed = np.random.default_rng(seed).random((NUM_USERS, NUM_ITEMS)).astype(np.float32)
    return from_numpy_scorer(lambda entity, time: fixed[entity])


def history_name(distinct):
    return next(name for least, name in ((21, "21 or more"), (6, "6 to 20"), (1, "1 to 5"), (0, "none"))
                if distinct >= least)


def share_name(num_events, num_distinct):
    if not num_events:
        return "no past"
    repeats = num_events - num_distinct
    if not repeats:
        return "never"
    return ("up to 1/4" if 4 * repeats < num_events
            else "1/4 to 1/2" if 2 * repeats < num_events else "1/2 or more")


@settings(max_examples=60, deadline=None)
@given(events, rows)
def test_segments_and_shares_are_those_of_a_slow_count(happened, seeds):
    graph = make_shop(happened, NUM_USERS, NUM_ITEMS)
    ranked = ranked_by(graph, seeds, model=noise(1), other=noise(2))
    expected = {}
    for row in range(len(seeds)):
        truth = seeds.items_of(row).tolist()
        past = [i for u, i, t in happened if u == seeds.entity[row] and t <= seeds.time[row]]
        if not truth:
            continue
        places = {"history": history_name(len(set(past))),
                  "repeat_share": share_name(len(past), len(set(past)))}
        for way, name in places.items():
            for model in ("model", "other"):
                listed = ranked.items[model][row].tolist()
                value = map_at_k(np.array([[i in truth for i in listed]]), np.array([len(truth)]))[0]
                expected.setdefault((way, name, model), []).append((
                    np.mean([i in past for i in truth]), np.mean([i in past for i in listed]), value))
    found = {(row["segment_by"], row["segment"], row["model"]): row
             for row in measure_balance(ranked, graph, K, CONFIG, 0)}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        targets, listed, mean_ap = np.mean(values, axis=0)
        row = found[key]
        assert row["num_users"] == len(values)
        assert row["familiar_targets"] == pytest.approx(targets)
        assert row["familiar_listed"] == pytest.approx(listed)
        assert row["map"] == pytest.approx(mean_ap)
        assert row["ci_low"] - 1e-9 <= row["map"] <= row["ci_high"] + 1e-9


def test_bounds_of_the_segments():
    happened = [(0, item, 1) for item in range(5)] + [(1, item, 1) for item in range(6)]
    happened += [(2, item, 1) for item in range(20)] + [(3, item, 1) for item in range(21)]
    happened += [(4, 0, time) for time in range(1, 3)]  # one repeat of two events
    happened += [(5, item, 1) for item in range(3)] + [(5, 0, 2)]  # one of four
    graph = make_shop(happened, 7, 21)
    seeds = make_seeds([(user, 5, [0]) for user in range(7)])
    found = segment_rows(seeds, graph)
    assert [found["history"].names[i] for i in found["history"].place] == [
        "1 to 5", "6 to 20", "6 to 20", "21 or more", "1 to 5", "1 to 5", "none"]
    assert [found["repeat_share"].names[i] for i in found["repeat_share"].place] == [
        "never", "never", "never", "never", "1/2 or more", "1/4 to 1/2", "no past"]
    before = make_seeds([(user, 0, [0]) for user in range(7)])  # nothing has happened yet
    assert set(segment_rows(before, graph)["history"].place) == {0}
    assert set(segment_rows(before, graph)["repeat_share"].place) == {0}


@pytest.fixture(scope="module")
def three_models():
    """The model is right for most users, one baseline for some; the other copies the model."""
    rng = np.random.default_rng(0)
    num_users = 60
    test = make_seeds([(user, 9, [user % NUM_ITEMS]) for user in range(num_users)])
    graph = make_shop([(0, 0, 1)], num_users, NUM_ITEMS)

    def scorer(right):
        scores = np.zeros((num_users, NUM_ITEMS), dtype=np.float32)
        scores[np.arange(num_users), np.arange(num_users) % NUM_ITEMS] = np.where(right, 1, -1)
        return from_numpy_scorer(lambda entity, time: scores[entity])

    right = rng.random(num_users) < 0.7
    split = SimpleNamespace(test=test, eval_k=K)
    return evaluate_scorers(
        {"model": scorer(right), "popularity": scorer(right & (rng.random(num_users) < 0.5)),
         "item_knn": scorer(right)}, graph, split, CONFIG, 0)


def test_each_gain_is_paired(three_models):
    ranked = three_models.at("test", "none")
    weak, same = measure_gains(ranked, "model", ["popularity", "item_knn"], K, CONFIG, 4)
    assert (same["mean"], same["ci_low"], same["ci_high"]) == (0.0, 0.0, 0.0)
    means = {row["model"]: row["mean"] for row in three_models.rows
             if (row["metric"], row["k"]) == ("map", K)}
    assert weak["mean"] == pytest.approx(means["model"] - means["popularity"])
    assert 0 < weak["ci_low"] < weak["mean"] < weak["ci_high"]
    assert weak["num_users"] == 60


def test_a_gain_does_not_depend_on_the_other_baselines_and_is_that_of_the_verdict(three_models):
    ranked = three_models.at("test", "none")
    together = paired_gains(ranked, "model", ["popularity", "item_knn"], K, CONFIG, 4)
    alone = paired_gains(ranked, "model", ["popularity"], K, CONFIG, 4)
    assert [float(part[0]) for part in together] == [float(part[0]) for part in alone]
    verdict = judge(three_models, make_shop([(0, 0, 1)], 60, NUM_ITEMS), "model", K, CONFIG, 4)
    rows = {row["baseline"]: row for row in measure_gains(
        ranked, "model", ["popularity", "item_knn"], K, CONFIG, 4)}
    best = rows[verdict.best_baseline]
    assert (verdict.gain, verdict.gain_ci_low, verdict.gain_ci_high) == (
        best["mean"], best["ci_low"], best["ci_high"])


def test_without_users_there_is_no_gain_and_no_segment():
    graph = make_shop([(0, 0, 1)], NUM_USERS, NUM_ITEMS)
    ranked = ranked_by(graph, make_seeds([(0, 3, [])]), model=noise(1), other=noise(2))
    (row,) = measure_gains(ranked, "model", ["other"], K, CONFIG, 0)
    assert (row["mean"], row["ci_low"], row["ci_high"], row["num_users"]) == (None, None, None, 0)
    assert list(measure_balance(ranked, graph, K, CONFIG, 0)) == []
