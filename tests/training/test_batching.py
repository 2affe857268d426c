"""Steps beyond the order of rows: batch size, weights of rows, candidates of the pair prior."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import model_core.training.run as training_run
from model_core.config import TrainConfig
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import UNTIMED
from model_core.losses.softmax import softmax_loss
from model_core.priors.build import make_priors, thinned
from model_core.training.batching import MIN_BATCH_SIZE, NUM_SAMPLED_ROWS, _batch_size, _row_weight
from model_core.training.checkpoint import build_model
from model_core.training.prior_cache import CachedPriors
from model_core.training.randomness import epoch_order
from model_core.training.step import StepRunner
from tests.factories import DAY
from tests.training.runs import MODEL, NUM_ITEMS, TRAIN, run
from tests.training.test_trainer import maker


@pytest.mark.parametrize(("num_rows", "asked", "least_steps", "expected"), [
    (100_000, 512, 40, 512),  # enough rows: as asked
    (20_480, 512, 40, 512),  # exactly 40 steps
    (20_440, 512, 40, 511),
    (1_000, 512, 40, 25),
    (1_001, 512, 40, 26),
    (640, 512, 40, 16),
    (100, 512, 40, 16),  # never below 16 for the sake of steps
    (0, 512, 40, 16),
    (100, 8, 40, 8),  # unless asked for
    (1_000, 512, 1, 512),
    (300, 512, 1, 300),
])
def test_batches_shrink_where_an_epoch_would_have_few_steps(num_rows, asked, least_steps, expected):
    config = TrainConfig(batch_size=asked, min_steps_per_epoch=least_steps)
    assert _batch_size(num_rows, config) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50_000), st.integers(1, 1_024), st.integers(1, 100))
def test_the_batch_size_is_the_largest_that_gives_the_steps(num_rows, asked, least_steps):
    config = TrainConfig(batch_size=asked, min_steps_per_epoch=least_steps)
    size = _batch_size(num_rows, config)
    assert 1 <= size <= asked
    if size > MIN_BATCH_SIZE:  # one more row per step would be too many, or is not asked for
        assert size == asked or (num_rows - 1) // (size - 1) + 1 > least_steps
    elif size < MIN_BATCH_SIZE:
        assert size == asked


def test_steps_have_the_smaller_size_and_see_every_row(inputs):
    steps = maker(inputs, batch_size=64, min_steps_per_epoch=5)
    assert steps.batch_size == 18
    assert steps.steps_per_epoch == 5
    assert [steps(number).num_rows for number in range(5)] == [18] * 5
    assert maker(inputs, batch_size=64, min_steps_per_epoch=1).steps_per_epoch == 2


def test_recency_weights_by_hand():
    time = np.array([0, 10, 20]) * DAY
    weight = _row_weight(time, 10 * DAY, half_life=1.0)
    assert weight.dtype == np.float32
    assert weight == pytest.approx(np.array([0.25, 0.5, 1.0]) / (1.75 / 3))
    assert _row_weight(time, 10 * DAY, None).tolist() == [1, 1, 1]
    assert _row_weight(time[:0], 10 * DAY, 1.0).shape == (0,)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=30), st.floats(0.05, 100))
def test_recency_weights_have_mean_one_and_halve_per_half_life(times, half_life):
    time = np.sort(np.asarray(times))
    window_s = 30 * DAY
    weight = _row_weight(time, window_s, half_life).astype(float)
    assert weight.mean() == pytest.approx(1, rel=1e-5)
    assert (np.diff(weight) >= 0).all()
    age = (time[-1] - time) / window_s
    assert weight == pytest.approx(weight[-1] * 0.5 ** (age / half_life), rel=1e-5, abs=1e-12)


def test_weights_go_with_their_rows_into_the_loss(inputs):
    graph, _, queue = inputs
    steps = maker(inputs, rows_per_micro_batch=7, recency_half_life=0.5)
    of_time = {int(t): w for t, w in zip(steps.train.time, steps.rows.counts, strict=True)}
    assert len(set(of_time.values())) == 3  # three training windows, four times apart
    assert max(of_time.values()) == pytest.approx(16 * min(of_time.values()))
    assert steps.rows.counts.mean() == pytest.approx(1)
    assert set(maker(inputs, recency_half_life=None).rows.counts.tolist()) == {1.0}

    step = steps(0)
    for micro in step.micro_batches:
        assert micro.row_weight.tolist() == [of_time[t] for t in micro.time.tolist()]
    torch.manual_seed(0)
    one_network = MODEL.model_copy(update={"dropout": 0.0, "prior_networks": 1})
    model = build_model(GraphSchema.of(graph), one_network).train()
    tensors = graph.to_torch()
    birth = torch.tensor(queue.item_birth)
    assert int(birth.max()) == UNTIMED
    value = StepRunner(model, torch.optim.SGD(model.parameters(), lr=0.0), tensors, birth, TRAIN,
                       torch.device("cpu"))(step)
    expected = 0.0
    with torch.no_grad():
        vectors = model.item_vectors(tensors.columns["items"])
        for micro in step.micro_batches:
            scores = model(micro.batch, vectors, torch.Generator())
            for row, item in zip(micro.positive_row.tolist(), micro.positive.tolist(), strict=True):
                weight = of_time[int(micro.time[row])]
                expected += weight * float(torch.logsumexp(scores[row], 0) - scores[row, item])
            plain = softmax_loss(scores, micro.positive_row, micro.positive)
            assert plain.isfinite()
    assert value == pytest.approx(expected / step.num_rows, rel=1e-5)


def test_a_step_has_the_candidates_of_its_rows(inputs):
    graph, split, _ = inputs
    direct = make_priors(graph, split.window_s, MODEL.num_similar, MODEL.num_popular)
    steps = maker(inputs)
    for number in (0, 3, 0):  # the second time from the cache
        rows = np.sort(epoch_order(0, 0, 90)[number * 16 : (number + 1) * 16].numpy())
        expected = direct(split.train.entity[rows], split.train.time[rows])
        batch = steps(number).micro_batches[0].batch
        assert len(expected.item) > 16
        for part in ("seed", "item", "feature"):
            assert np.array_equal(getattr(batch, f"prior_{part}"), getattr(expected, part)), part


def test_micro_batches_carry_the_candidates_in_order(inputs):
    """Those of a step, whether it is cut into pieces or not."""
    whole = maker(inputs)(2).micro_batches[0].batch
    pieces = maker(inputs, rows_per_micro_batch=6)(2).micro_batches
    assert len(pieces) == 3
    seed = torch.cat([micro.batch.prior_seed + 6 * at for at, micro in enumerate(pieces)])
    assert torch.equal(seed, whole.prior_seed)
    for part in ("prior_item", "prior_feature"):
        assert torch.equal(torch.cat([getattr(m.batch, part) for m in pieces]), getattr(whole, part))
    none = maker(inputs, priors=False)(2).micro_batches[0].batch
    assert none.prior_item.shape == (0,)


def test_classes_hold_the_candidates(inputs):
    """A candidate outside the sample would be scored in training by nothing at all."""
    step = maker(inputs, loss="sampled", num_classes=NUM_ITEMS + 5)(0)
    candidates = torch.cat([micro.batch.prior_item for micro in step.micro_batches]).unique()
    assert torch.isin(candidates, step.classes.item).all()


def test_steps_with_candidates_do_not_depend_on_the_cache(inputs):
    one, other = maker(inputs), maker(inputs)
    one(0)
    other.priors = CachedPriors(other.priors._priors, other.train, max_bytes=0)
    for number in (4, 0, 1):
        for a, b in zip(one(number).micro_batches, other(number).micro_batches, strict=True):
            assert torch.equal(a.batch.prior_feature, b.batch.prior_feature)
            assert torch.equal(a.batch.prior_item, b.batch.prior_item)


def test_training_starts_with_the_spread_of_its_own_candidates(inputs, tmp_path):
    """Mean and scale come from training rows, before the first step, and are stored."""
    graph, split, _ = inputs
    checkpoint = run(None, tmp_path / "c", inputs=inputs, config=TRAIN.model_copy(update={"epochs": 1}))
    times = [*thinned(split.train.time).tolist(), split.val_time]
    feature = torch.from_numpy(make_priors(
        graph, split.window_s, MODEL.num_similar, MODEL.num_popular, times,
    )(split.train.entity, split.train.time).feature)
    assert len(split.train) < NUM_SAMPLED_ROWS  # so that all rows are in the sample
    model = checkpoint.load_model()
    torch.testing.assert_close(model.prior.mean, feature.mean(dim=0), rtol=1e-4, atol=1e-5)
    spread = feature.std(dim=0, correction=0)
    torch.testing.assert_close(model.prior.scale, torch.where(spread > 1e-3, spread, 1.0),
                               rtol=1e-4, atol=1e-5)
    assert (spread > 1e-3).sum() > 30


def test_validation_sees_similarity_no_later_than_its_time(inputs, tmp_path, monkeypatch):
    """Snapshots of a run: thinned training times and the validation time, nothing later."""
    seen = []
    original = training_run.make_priors

    def watch(*args, snapshot_times, **kwargs):
        seen.append((snapshot_times, original(*args, snapshot_times=snapshot_times, **kwargs)))
        return seen[-1][1]

    monkeypatch.setattr(training_run, "make_priors", watch)
    run(None, tmp_path / "c", inputs=inputs, config=TRAIN.model_copy(update={"epochs": 1}))
    (times, priors), = seen
    split = inputs[1]
    assert max(times) == split.val_time
    assert set(priors.neighbors(split.val.time).time.tolist()) <= set(times)


def test_a_model_without_priors_trains_without_counting(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "make_priors", lambda *args, **kwargs: pytest.fail("counted"))
    for name, settings_ in (("contextgnn", {"use_priors": False}), ("two_tower", {})):
        model = MODEL.model_copy(update={"name": name} | settings_)
        checkpoint = run(None, tmp_path / name, model=model, inputs=inputs,
                         config=TRAIN.model_copy(update={"epochs": 1}))
        assert checkpoint.priors(inputs[0]) is None
        assert checkpoint.meta["priors"] is None


def test_a_scorer_without_the_priors_it_needs_is_refused(inputs):
    from model_core.models.scorer import ModelScorer

    graph, *_ = inputs
    with pytest.raises(AssertionError, match="pair priors"):
        ModelScorer(build_model(GraphSchema.of(graph), MODEL), graph.to_torch(), (8, 4))


def test_rows_without_items_keep_no_weight(inputs):
    graph, split, queue = inputs
    train = split.train
    kept = np.arange(len(train)) % 3 > 0
    count = np.diff(train.item_ptr) * kept
    item = train.item[np.repeat(kept, np.diff(train.item_ptr))]
    some = dataclasses.replace(train, item_ptr=np.concatenate([[0], np.cumsum(count)]), item=item)
    steps = maker((graph, dataclasses.replace(split, train=some), queue), recency_half_life=0.5)
    assert steps.num_rows == len(steps.rows.counts) == kept.sum()
    assert steps.rows.counts.mean() == pytest.approx(1)
    found = steps.priors(np.arange(steps.num_rows))
    direct = make_priors(graph, split.window_s, MODEL.num_similar, MODEL.num_popular)
    assert np.array_equal(found.feature, direct(train.entity[kept], train.time[kept]).feature)
