"""Training that begins with the champion: where from, how far, and exactly resumable."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from model_core.errors import ArtifactError
from model_core.graph.schema import GraphSchema
from model_core.priors.co_counts import CoCounts
from model_core.records import write_record
from model_core.serving.bundle import Bundle
from model_core.storage.champion import KIND, SCHEMA_VERSION, ChampionRecord
from model_core.training import start as start_module
from model_core.training.identity import run_digest
from model_core.training.progress import SilentProgress
from model_core.training.start import Start, start_from, warm_digest
from tests.training.champions import write_bundle
from tests.training.runs import MODEL, START, TRAIN, WINDOW, run
from tests.training.test_transfer import changed

pytestmark = pytest.mark.usefixtures("one_thread")

REFIT = TRAIN.model_copy(update={"refit": True})
WARM = REFIT.model_copy(update={"warm_start": "champion", "warm_epochs": 2, "warm_patience": 9,
                                "warm_learning_rate": 0.003, "warm_shrink": 1})


def champion_record(folder, checkpoint, graph, split, state="loaded", **files):
    """What load_champion writes, with other contents of some of the bundle's files (``changed``)."""
    with write_record(folder / "champion", KIND, SCHEMA_VERSION) as (out, meta):
        meta.update(state=state, version=None, logical_date=None, promoted_at=None, problem=None)
        if state != "none":
            meta.update(version="20200101-abc", logical_date="20200101", promoted_at=1)
        if state == "loaded":
            bundle = write_bundle(checkpoint, graph, split, folder / "bundle")
            changed(bundle, out / "bundle", **files)
        if state == "unreadable":
            meta.update(problem="manifest.json: expected version 4, found version 3")
    return ChampionRecord.open(folder / "champion")


@pytest.fixture(scope="module")
def champion(inputs, tmp_path_factory):
    graph, split, _ = inputs
    folder = tmp_path_factory.mktemp("champion")
    checkpoint = run(None, folder / "checkpoint", inputs=inputs, config=REFIT)
    return champion_record(folder, checkpoint, graph, split), checkpoint


def weights(checkpoint, name="weights"):
    return load_file(checkpoint.record.file(f"{name}.safetensors"))


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_it_begins_with_what_the_champion_knew_and_says_so(inputs, champion, tmp_path):
    record, theirs = champion
    notes = []

    class Told(SilentProgress):
        def note(self, line):
            notes.append(line)

    # Steps that move nothing show what a run begins with.
    still = WARM.model_copy(update={"warm_learning_rate": 1e-12, "average_decay": None, "warm_epochs": 1})
    done = run(None, tmp_path / "c", inputs=inputs, config=still, champion=record,
               progress=Told())
    for name, began in weights(theirs, "selected").items():
        if name != "far_shift":
            torch.testing.assert_close(weights(done, "selected")[name], began, rtol=0, atol=1e-8)
    for name, began in weights(theirs).items():
        if name != "far_shift":
            torch.testing.assert_close(weights(done)[name], began, rtol=0, atol=1e-8)
    assert not torch.equal(weights(done)["seed_vector"], weights(done, "selected")["seed_vector"])
    assert torch.equal(weights(done)["prior.mean"], weights(theirs)["prior.mean"])
    start = done.meta["start"]
    assert start["champion"] == "20200101-abc"
    assert start["cold_because"] is None
    assert start["carried_over"]["items"] == {"kept": 20, "new": 0, "gone": 0, "gone_keys": []}
    assert "warm start from champion 20200101-abc" in notes
    assert theirs.meta["start"] is None


@pytest.mark.parametrize("weights_of", ["selected", "final"])
def test_a_share_of_the_weights_is_drawn_anew(inputs, champion, weights_of):
    graph, split, _ = inputs
    schema, config = GraphSchema.of(graph), MODEL.model_copy(update={"num_layers": 2})

    def begins(seed, shrink):
        start = start_from(champion[0], graph, split, config, WARM.model_copy(update={"warm_shrink": shrink}))
        return start.model(schema, config, seed, graph, weights_of).state_dict()

    theirs, initial = begins(0, 1), Start().model(schema, config, 0, graph, weights_of).state_dict()
    assert_same(theirs, weights(champion[1], "weights" if weights_of == "final" else "selected"))
    mixed, buffers = begins(0, 0.7), {"prior.mean", "prior.scale", "far_shift"}
    for name, weight in mixed.items():
        wanted = theirs[name] if name in buffers else 0.7 * theirs[name] + 0.3 * initial[name]
        torch.testing.assert_close(weight, wanted, msg=name)
    assert_same(mixed, begins(0, 0.7))
    assert not torch.equal(mixed["seed_vector"], begins(1, 0.7)["seed_vector"])


def test_weights_keep_the_scale_that_they_were_trained_with(inputs, champion, tmp_path):
    graph, split, _ = inputs
    other = {}
    for name in ("weights", "selected"):
        state = weights(champion[1], name)
        other[f"{name}__safetensors"] = save(state | {"prior.mean": state["prior.mean"] + 1})
    record = champion_record(tmp_path, champion[1], graph, split, **other)
    done = run(None, tmp_path / "c", inputs=inputs, config=WARM, champion=record)
    for name in ("weights", "selected"):
        assert torch.equal(weights(done, name)["prior.mean"], weights(champion[1], name)["prior.mean"] + 1)


def test_a_bundle_says_which_labels_its_weights_know(inputs, champion):
    _, split, _ = inputs
    times = json.loads((champion[0].bundle_dir / "manifest.json").read_bytes())["meta"]["times"]
    assert times["labels_until"] == {"selected": split.val_time, "final": split.val_time + split.window_s}
    assert times["chosen_until"] == split.val_time + split.window_s


@pytest.mark.parametrize("refit", [True, False])
def test_only_a_refit_asks_what_the_shipped_weights_know(inputs, champion, tmp_path, refit):
    graph, split, _ = inputs
    record = champion_record(tmp_path, champion[1], graph, split, times={
        "labels_until": {"selected": split.val_time, "final": graph.last_time + 1}})
    start = start_from(record, graph, split, MODEL.model_copy(update={"num_layers": 2}),
                       WARM.model_copy(update={"refit": refit}))
    assert start.is_warm != refit
    assert not refit or "after the test time" in start.reason


def test_its_own_epochs_patience_rate_and_windows_are_in_force(inputs, champion, tmp_path):
    record, _ = champion
    done = run(None, tmp_path / "c", inputs=inputs, champion=record,
               config=WARM.model_copy(update={"warm_windows": 2, "epochs": 9}))
    assert [entry["epoch"] for entry in done.curves] == [1, 2]
    assert {entry["learning_rate"] for entry in done.curves} == {0.003}
    assert done.meta["refit"]["num_rows"] == 3 * 30
    assert done.curves[-1]["step"] == 2 * 4, "60 rows of two windows"
    assert done.train_config.epochs == 9
    tired = run(None, tmp_path / "t", inputs=inputs, champion=record, validate=lambda scorer: 0.5,
                config=WARM.model_copy(update={"warm_epochs": 8, "warm_patience": 1}))
    assert len(tired.curves) == 2


def test_item_pairs_are_counted_for_its_windows_only(inputs, champion, tmp_path, monkeypatch):
    counted, until = [], CoCounts.until
    monkeypatch.setattr(CoCounts, "until", lambda *args: counted.append(args[-1]) or until(*args))
    run(None, tmp_path / "c", inputs=inputs, champion=champion[0],
        config=WARM.model_copy(update={"warm_windows": 2, "warm_epochs": 1}))
    assert counted == [START + window * WINDOW for window in (2, 3, 4)]


def test_it_learns_from_where_the_champion_stood(inputs, champion, tmp_path):
    record, theirs = champion
    done = run(None, tmp_path / "c", inputs=inputs, champion=record, config=WARM)
    assert done.curves[0]["loss"] < theirs.curves[0]["loss"] - 0.2


@pytest.mark.parametrize("state", ["none", "unreadable"])
def test_without_a_champion_it_starts_cold_and_says_why(inputs, tmp_path, state):
    graph, split, _ = inputs
    record = champion_record(tmp_path, None, graph, split, state)
    done = run(None, tmp_path / "c", inputs=inputs, champion=record,
               config=WARM.model_copy(update={"refit": False}))
    plain = run(None, tmp_path / "p", inputs=inputs)
    assert_same(weights(done), weights(plain))
    assert done.meta["start"]["champion"] is None
    assert {"none": "no champion", "unreadable": "found version 3"}[state] in (
        done.meta["start"]["cold_because"])


def test_a_cold_run_does_not_look_at_the_champion(inputs, champion, tmp_path):
    record, _ = champion
    assert_same(weights(run(None, tmp_path / "c", inputs=inputs, champion=record)),
                weights(run(None, tmp_path / "p", inputs=inputs)))
    assert warm_digest(record, TRAIN) is None


@pytest.mark.parametrize(("change", "reason"), [
    ({"model": {"channels": 32}}, "model.channels = 32"),
    ({"model": {"use_priors": False}}, "model.use_priors = False"),
    ({"split": {"window_s": 86_400}}, "label window of 86400 s"),
    ({"graph": {"last_time": 0}}, "after the test time"),
    ({"graph": {"cutoff": 0}}, "after the validation time"),
    ({"graph": {"item_table": "events"}}, "item_table"),
])
def test_a_champion_that_does_not_fit_is_left_alone(inputs, champion, change, reason):
    record, _ = champion
    graph, split, _ = inputs
    graph = replace(graph, **change.get("graph", {}))
    split = replace(split, **change.get("split", {}))
    model = MODEL.model_copy(update={"num_layers": 2} | change.get("model", {}))
    start = start_from(record, graph, split, model, WARM)
    assert not start.is_warm
    assert reason in start.reason
    same = start_from(record, *inputs[:2], MODEL.model_copy(update={"num_layers": 2, "dropout": 0.5}), WARM)
    assert same.is_warm


def test_a_damaged_bundle_is_left_alone(inputs, champion, tmp_path):
    graph, split, _ = inputs
    record = champion_record(tmp_path, champion[1], graph, split)
    path = record.bundle_dir / "selected.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    start = start_from(record, graph, split, MODEL.model_copy(update={"num_layers": 2}), WARM)
    assert "SHA-256" in start.reason


def test_the_champion_is_part_of_what_a_state_belongs_to(inputs, champion, tmp_path):
    record, _ = champion
    graph, split, queue = inputs
    none = champion_record(tmp_path, None, graph, split, "none")
    digests = {run_digest(graph, split, queue, MODEL, WARM, warm_digest(each, WARM))
               for each in (record, none, None)}
    assert len(digests) == 3


class StopAt(SilentProgress):
    def __init__(self, last):
        self.left = last

    def step(self, event):
        self.left -= 1
        if self.left == 0:
            raise InterruptedError


@pytest.mark.parametrize("last", [3, 15])
def test_interrupted_anywhere_it_ends_with_the_same_bits(inputs, champion, tmp_path, last):
    """12 steps in two epochs, then 8 an epoch once more."""
    whole = run(None, tmp_path / "w", inputs=inputs, config=WARM, champion=champion[0])
    options = {"inputs": inputs, "config": WARM, "champion": champion[0], "state_dir": tmp_path / "s"}
    with pytest.raises(InterruptedError):
        run(None, tmp_path / "c", progress=StopAt(last), **options)
    resumed = run(None, tmp_path / "c", **options)
    for name in ("selected", "weights"):
        assert_same(weights(whole, name), weights(resumed, name))


def test_no_metric_means_the_last_epoch(inputs, champion, tmp_path):
    done = run(None, tmp_path / "c", inputs=inputs, config=WARM, champion=champion[0],
               validate=lambda scorer: math.nan)
    assert done.meta["best_epoch"] == 2
    assert np.isnan(done.meta["best_val_map"] or math.nan)


def test_other_columns_of_events_are_another_pair_prior(inputs, champion):
    """The slot of the quantity must not suddenly hold the price."""
    record, _ = champion
    graph, split, _ = inputs
    events = graph.columns["events"]
    price = np.ones((graph.num_nodes["events"], 1), np.float32)
    wider = replace(events, number=price, number_names=("price",))
    graph = replace(graph, columns={**graph.columns, "events": wider}, record=None)
    start = start_from(record, graph, split, MODEL.model_copy(update={"num_layers": 2}), WARM)
    assert "pair priors that read the event columns ['events.price'], found []" in start.reason


def test_an_event_column_in_another_form_is_another_input(inputs, champion, monkeypatch):
    record, _ = champion
    monkeypatch.setattr(start_module, "value_columns", lambda graph: ["events.price"])
    bundle = Bundle.open(record.bundle_dir, verify="size")
    bundle = replace(bundle, prior_settings={**bundle.prior_settings, "values": ["events.price"]})
    with pytest.raises(ArtifactError, match="another form of"):
        start_module._check_values(bundle, inputs[0], MODEL)
    monkeypatch.setattr(start_module, "value_scales", lambda bundle, graph: {"events.price": (1.0, 0.0)})
    start_module._check_values(bundle, inputs[0], MODEL)
