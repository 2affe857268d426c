"""A champion on the graph of another date: the same scores, or a clear refusal."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save

from model_core.errors import ArtifactError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.records import json_bytes, open_record, write_record
from model_core.serving.bundle import KIND, SCHEMA_VERSION
from model_core.tables.demo import DEMO_TASK
from model_core.tables.routes import Hop
from model_core.training.checkpoint import build_model
from model_core.training.transfer import champion_scorer, transfer
from tests.export.untrained import seeds_of, untrained
from tests.factories import DAY, Rows, make_graph, with_targets
from tests.training.champions import dated_graph, scores, write_bundle


@pytest.fixture(scope="module")
def dates(demo_dataset, demo_snapshot, tmp_path_factory):
    """Graph and split of a date and of one six days later; a champion of the first."""
    folder = tmp_path_factory.mktemp("dates")
    worlds = []
    for name, days in (("then", 6), ("now", 0)):
        as_of = demo_snapshot.max_time - days * DAY
        worlds.append(dated_graph(demo_dataset, DEMO_TASK, as_of, folder / name))
    graph, split = worlds[0]
    # Ranges that pair priors make of columns are those of the graph, and no weights.
    checkpoint = untrained(graph, folder / "checkpoint", (16, 8), prior_columns=False)
    return worlds, checkpoint, write_bundle(checkpoint, graph, split, folder / "bundle")


def test_on_its_own_graph_it_is_the_checkpoint(dates):
    ((graph, split), _), checkpoint, bundle = dates
    moved = transfer(bundle, graph)
    for name, tensor in checkpoint.load_model().state_dict().items():
        assert torch.equal(moved.state[name], tensor), name
    summary = moved.summary()
    assert summary["items"] == {"kept": graph.num_items, "new": 0, "gone": 0, "gone_keys": []}
    assert summary["columns"] | {"kept": 0} == {
        "kept": 0, "changed": [], "new": [], "gone": [], "new_values": {}}
    seeds = split.test.entity, split.test.time
    assert np.array_equal(scores(champion_scorer(bundle, graph), *seeds),
                          scores(checkpoint.scorer(graph), *seeds))


def test_on_a_later_graph_it_scores_what_it_scored(dates):
    ((then, split), (now, _)), checkpoint, bundle = dates
    before, after = then.record.meta["statistics"], now.record.meta["statistics"]
    assert before["customers"] != after["customers"], "datetimes count from another cutoff"
    assert before["order_lines"] != after["order_lines"]
    assert now.cutoff > then.cutoff
    seeds = split.test.entity, split.test.time
    expected = scores(checkpoint.scorer(then), *seeds)
    found = scores(champion_scorer(bundle, now), *seeds)
    assert (then.node_time[then.item_table] <= then.last_time).all(), "others have no columns then"
    np.testing.assert_allclose(found, expected, rtol=3e-4, atol=3e-4)
    # Values of events are rounded to 16 bits behind the change of scale, a few of them the other way.
    assert np.isclose(found, expected, rtol=3e-6, atol=3e-6).mean() > 0.98
    assert expected.std(axis=1).min() > 0.1
    unmoved = build_model(GraphSchema.of(now), checkpoint.model_config)
    unmoved.load_state_dict(checkpoint.load_model().state_dict())
    # Unmoved weights read other numbers: the test above would notice.
    wrong = champion_scorer(bundle, now).renewed(unmoved.eval())
    assert np.abs(scores(wrong, *seeds) - expected).max() > 2e-4


def small(num_items=6, *, keep=None, tables=(), number=None, entity="users"):
    """A shop in memory; ``keep``: its items by their number in a larger one."""
    rng = np.random.default_rng(3)
    events, num_users = 120, 8
    user, item = rng.integers(0, num_users, events), rng.integers(0, num_items, events)
    time = np.sort(rng.integers(0, 100 * DAY, events))
    feature = rng.normal(size=(num_items, 2)) if number is None else number
    if keep is not None:
        place = {key: row for row, key in enumerate(keep)}
        here = np.array([i in place for i in item])
        user, time = user[here], time[here]
        item = np.array([place[i] for i in item[here]])
        feature = feature[list(keep)]
    rows = {
        "users": Rows(num_users, number=rng.normal(size=(num_users, 1))),
        "items": Rows(len(feature), number=feature),
        "events": Rows(len(user), time, {"user_id": ("users", user), "item_id": ("items", item)}),
    }
    rows |= dict(tables)
    return make_graph(rows, entity, "items", [*zip(user.tolist(), item.tolist(), time.tolist(), strict=True)])


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("champion")
    graph = small()
    split = seeds_of(graph, folder / "split")
    checkpoint = untrained(graph, folder / "checkpoint", (8, 4))
    return graph, checkpoint, write_bundle(checkpoint, graph, split, folder / "bundle")


def keyed(graph: TemporalGraph, keys) -> TemporalGraph:
    """The graph, its items under other source keys."""
    class Keyed(TemporalGraph):
        def source_keys(self, table):
            return np.array(keys) if table == "items" else super().source_keys(table)

    return Keyed(**{field.name: getattr(graph, field.name) for field in dataclasses.fields(graph)})


SEEDS = np.array([0, 3, 7]), np.full(3, 90 * DAY)


def test_items_are_found_by_key_in_any_order_new_ones_are_neutral_gone_ones_named(champion):
    graph, checkpoint, bundle = champion
    state = checkpoint.load_model().state_dict()
    shuffled = keyed(graph, [5, 0, 9, 1, 2, 8])  # 3 and 4 are gone, 8 and 9 are new
    moved = transfer(bundle, shuffled)
    lookup = moved.state["items.lookup.weight"]
    assert torch.equal(lookup[[0, 1, 3, 4]], state["items.lookup.weight"][[5, 0, 1, 2]])
    torch.testing.assert_close(lookup[2], state["items.lookup.weight"].mean(dim=0))
    assert torch.equal(lookup[2], lookup[5])
    assert torch.equal(moved.state["item_bias.bias.weight"][0], state["item_bias.bias.weight"][5])
    assert moved.summary()["items"] == {"kept": 4, "new": 2, "gone": 2, "gone_keys": [3, 4]}
    champion_scorer(bundle, shuffled)(*map(torch.from_numpy, SEEDS))


def test_scores_of_items_in_another_order(champion):
    graph, checkpoint, bundle = champion
    order = [3, 1, 0, 5, 4, 2]
    found = scores(champion_scorer(bundle, keyed(small(keep=order), order)), *SEEDS)
    expected = scores(checkpoint.scorer(graph), *SEEDS)
    np.testing.assert_allclose(found, expected[:, order], rtol=1e-3, atol=1e-3)


def test_new_tables_change_nothing_yet_gone_ones_are_named(champion, tmp_path):
    graph, checkpoint, bundle = champion
    rng = np.random.default_rng(0)
    reviews = {"reviews": Rows(40, np.sort(rng.integers(0, 80 * DAY, 40)), {
        "user_id": ("users", rng.integers(0, 8, 40)), "shelf": ("shelves", rng.integers(0, 3, 40))},
        number=rng.normal(size=(40, 1))), "shelves": Rows(3)}
    richer = small(tables=reviews.items())
    moved = transfer(bundle, richer)
    assert moved.new_tables == ("reviews", "shelves")
    assert "reviews__rev_reviews_user_id__users" not in moved.new_relations
    assert len(moved.new_relations) == 4
    expected = scores(checkpoint.scorer(graph), *SEEDS)
    np.testing.assert_allclose(scores(champion_scorer(bundle, richer), *SEEDS), expected,
                               rtol=1e-3, atol=1e-3)

    split = seeds_of(richer, tmp_path / "split")
    rich = write_bundle(untrained(richer, tmp_path / "checkpoint", (8, 4)), richer, split,
                        tmp_path / "bundle")
    poorer = transfer(rich, graph)
    assert (poorer.gone_tables, len(poorer.gone_relations)) == (("reviews", "shelves"), 4)
    champion_scorer(rich, graph)(*map(torch.from_numpy, SEEDS))


def test_a_new_column_changes_nothing_yet(champion):
    graph, checkpoint, bundle = champion
    table = graph.columns["items"]
    wider = dataclasses.replace(graph, columns=dict(graph.columns) | {"items": dataclasses.replace(
        table, number=np.concatenate([np.full((6, 1), 3.0, np.float32), table.number], axis=1),
        number_names=("weight", *table.number_names))})
    np.testing.assert_allclose(scores(champion_scorer(bundle, wider), *SEEDS),
                               scores(checkpoint.scorer(graph), *SEEDS), rtol=1e-4, atol=1e-4)
    # Columns of items are read by two encoders, but named once.
    assert transfer(bundle, wider).summary()["columns"]["new"] == ["items.weight"]


@pytest.mark.parametrize("settings", [
    {"item_vectors": "feature"}, {"item_vectors": "lookup", "fusion": "add", "item_bias": False},
    {"use_tower": False}, {"use_priors": False}, {"name": "two_tower"},
])
def test_every_variant_can_be_carried_over(tmp_path, settings):
    graph = small()
    split = seeds_of(graph, tmp_path / "split")
    checkpoint = untrained(graph, tmp_path / "checkpoint", (8, 4), **settings)
    bundle = write_bundle(checkpoint, graph, split, tmp_path / "bundle")
    expected = scores(checkpoint.scorer(graph), *SEEDS)
    assert np.array_equal(scores(champion_scorer(bundle, graph), *SEEDS), expected)


@pytest.mark.parametrize("item_vectors", ["fusion", "lookup"])
def test_the_first_column_of_items_changes_nothing_yet(tmp_path, item_vectors):
    plain = small(number=np.zeros((6, 0)))
    split = seeds_of(plain, tmp_path / "split")
    checkpoint = untrained(plain, tmp_path / "checkpoint", (8, 4), item_vectors=item_vectors)
    bundle = write_bundle(checkpoint, plain, split, tmp_path / "bundle")
    table = dataclasses.replace(plain.columns["items"], number=np.ones((6, 1), np.float32),
                                number_names=("price",))
    richer = dataclasses.replace(plain, columns=dict(plain.columns) | {"items": table})
    np.testing.assert_allclose(scores(champion_scorer(bundle, richer), *SEEDS),
                               scores(checkpoint.scorer(plain), *SEEDS), rtol=1e-4, atol=1e-4)


def changed(bundle, out, **files):
    """A whole bundle with other contents."""
    record = open_record(bundle, KIND, SCHEMA_VERSION)
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        meta.update(record.meta)
        for name, content in files.items():
            if name == "times":
                meta["times"] = record.meta["times"] | content
            else:
                path = folder / name.replace("__", ".")
                path.write_bytes(content if isinstance(content, bytes) else json_bytes(content))
    return out


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(("files", "message"), [
    ({"config__json": {"model": {"name": "of another release"}}}, "settings of this release"),
    ({"config__json": {"model": {"channels": 32, "num_layers": 2}}}, "as its settings say"),
    ({"encodings__json": b"{"}, "settings of this release"),
    ({"weights__safetensors": b"no tensors"}, "readable weights"),
    ({"encodings__json": {"tables": [], "pair_features": []}}, "settings of this release"),
    ({"item_id__npy": _npy(np.arange(5))}, "a key for each of 6 items"),
    ({"item_id__npy": _npy(np.zeros((6, 2), np.int64))}, "a key for each of 6 items"),
    ({"times": {"chosen_until": 2**41}}, "after the test time"),
    ({"times": {"labels_until": {"final": 2**41, "selected": 0}}}, "after the test time"),
])
def test_unusable_champions_are_refused(champion, tmp_path, files, message):
    graph, _, bundle = champion
    with pytest.raises(ArtifactError, match=message):
        champion_scorer(changed(bundle, tmp_path / "bundle", **files), graph)


def test_weights_that_are_no_numbers_are_refused(champion, tmp_path):
    graph, checkpoint, bundle = champion
    state = checkpoint.load_model().state_dict()
    state["items.lookup.weight"][2, 0] = float("nan")
    with pytest.raises(ArtifactError, match=r"finite weights.*items\.lookup\.weight"):
        transfer(changed(bundle, tmp_path / "bundle", weights__safetensors=save(state)), graph)


def test_what_cannot_be_built_is_said_with_one_fix(tmp_path):
    graph = small()
    checkpoint = untrained(graph, tmp_path / "checkpoint", (8, 4), item_vectors="feature")
    bundle = write_bundle(checkpoint, graph, seeds_of(graph, tmp_path / "split"), tmp_path / "bundle")
    with pytest.raises(ArtifactError, match="no feature columns") as refused:
        transfer(bundle, small(number=np.zeros((6, 0))))
    assert str(refused.value).count("Fix:") == 1


def test_columns_and_pair_features_must_be_those_of_the_weights(champion, tmp_path):
    graph, _, bundle = champion
    stored = json.loads((bundle / "encodings.json").read_bytes())
    other = stored | {"pair_features": ["another"]}
    with pytest.raises(ArtifactError, match="pair features"):
        transfer(changed(bundle, tmp_path / "features", encodings__json=other), graph)
    stored["tables"]["items"]["numbers"].pop()
    with pytest.raises(ArtifactError, match="columns of table 'items'"):
        transfer(changed(bundle, tmp_path / "columns", encodings__json=stored), graph)


def test_a_champion_that_knew_one_kind_of_events_does_not_read_two(champion):
    graph, _, bundle = champion
    two = with_targets(graph, np.arange(len(graph.interactions.time)) % 2 == 0)
    with pytest.raises(ArtifactError, match="pair features"):
        transfer(bundle, two)


def test_a_champion_is_compared_all_the_same_when_kinds_of_events_come_or_go(champion, tmp_path):
    """It reads the graph as the one that it was trained on: with one kind, or with two."""
    graph, _, bundle = champion
    where = np.arange(len(graph.interactions.time)) % 2 == 0
    two = with_targets(graph, where)
    np.testing.assert_array_equal(scores(champion_scorer(bundle, two), *SEEDS),
                                  scores(champion_scorer(bundle, graph), *SEEDS))
    split = seeds_of(two, tmp_path / "split")
    later = write_bundle(untrained(two, tmp_path / "checkpoint", (8, 4)), two, split, tmp_path / "bundle")
    all_of_them = scores(champion_scorer(later, with_targets(graph, where | True)), *SEEDS)
    np.testing.assert_array_equal(scores(champion_scorer(later, graph), *SEEDS), all_of_them)
    assert np.abs(scores(champion_scorer(later, two), *SEEDS) - all_of_them).max() > 1e-3


def test_a_champion_whose_labels_spoke_of_other_events_is_another_model(champion, tmp_path):
    graph = champion[0]
    routes = (Hop("users", "user_id", "events", False),), (Hop("users", "buyer_id", "events", False),)
    then, now = (dataclasses.replace(with_targets(graph, graph.interactions.item % 2 == 0),
                                     routes=routes, target_routes=(route,)) for route in routes)
    split = seeds_of(then, tmp_path / "split")
    bundle = write_bundle(untrained(then, tmp_path / "checkpoint", (8, 4)), then, split, tmp_path / "bundle")
    assert np.isfinite(scores(champion_scorer(bundle, then), *SEEDS)).all()
    with pytest.raises(ArtifactError, match="labels speak of"):
        champion_scorer(bundle, now)


def test_a_damaged_one_and_none_at_all(champion, tmp_path):
    graph, _, bundle = champion
    with pytest.raises(ArtifactError, match="a bundle record"):
        transfer(tmp_path / "nothing", graph)
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "weights.safetensors").write_bytes(bytes((copy / "weights.safetensors").stat().st_size))
    with pytest.raises(ArtifactError, match="SHA-256"):
        transfer(copy, graph)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    (copy / "manifest.json").write_bytes(json_bytes(manifest | {"schema_version": SCHEMA_VERSION - 1}))
    with pytest.raises(ArtifactError, match=f"schema version {SCHEMA_VERSION}"):
        transfer(copy, graph)


def test_another_entity_table_is_another_model(champion):
    graph, _, bundle = champion
    other = dataclasses.replace(graph, entity_table="events")
    with pytest.raises(ArtifactError, match="entity_table is 'events'"):
        transfer(bundle, other)


def test_weights_that_know_validation_labels_must_not_be_measured_there(champion, tmp_path):
    graph, _, bundle = champion
    then = changed(bundle, tmp_path / "bundle", times={
        "labels_until": {"selected": 80 * DAY, "final": 90 * DAY}, "chosen_until": 90 * DAY})
    now = dataclasses.replace(graph, cutoff=81 * DAY, last_time=91 * DAY)
    transfer(then, now)
    transfer(then, now, weights="selected")
    transfer(then, dataclasses.replace(now, cutoff=79 * DAY))
    with pytest.raises(ArtifactError, match="after the validation time"):
        transfer(then, dataclasses.replace(now, cutoff=79 * DAY), weights="selected")
    for weights in ("selected", "final"):
        with pytest.raises(ArtifactError, match="after the test time 1970-03-31"):
            transfer(then, dataclasses.replace(now, last_time=89 * DAY), weights=weights)
