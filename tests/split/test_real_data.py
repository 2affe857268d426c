"""Known facts of public datasets, where they are at hand."""

import dataclasses

import numpy as np
import pytest

from model_core.config import SplitConfig
from model_core.split.temporal import temporal_split
from model_core.tables.ingest import ingest
from model_core.tables.interactions import find_interactions
from model_core.tables.routes import described
from model_core.tables.snapshot import SPLITS


def repeat_share(seeds, interactions):
    """Share of all label items that the entity had met at or before the seed time."""
    entity, item, time = interactions
    span = int(item.max()) + 1
    label = np.repeat(seeds.entity, np.diff(seeds.item_ptr)) * span + seeds.item
    at = np.repeat(seeds.time, np.diff(seeds.item_ptr))
    pair = entity * span + item
    hits = sum(int(np.isin(label[at == t], pair[time <= t]).sum()) for t in np.unique(seeds.time))
    return hits / len(label)


def test_rows_and_repeat_rates(real_data, tmp_path):
    """Customers of rel-retail come back to products at rates known from its documentation."""
    task = "customer-product-purchase"
    snapshot = ingest(str(real_data("rel-retail")), task, tmp_path / "snapshot")
    split = temporal_split(snapshot, SplitConfig(max_locality_rows=100), tmp_path / "split")
    assert tuple(len(getattr(split, s)) for s in SPLITS) == (12312, 1013, 888)
    assert split.target_routes == split.routes
    interactions = find_interactions(snapshot, snapshot.test_time)
    found = [repeat_share(seeds, interactions) for seeds in (split.val, split.test)]
    assert found == pytest.approx([0.379, 0.439], abs=6e-4)
    for check in split.certificate["checks"]:
        if check["name"].startswith("label items are confirmed"):
            assert check["ok"], check


def test_stored_labels_equal_those_of_the_sql(real_data, tmp_path):
    snapshot = ingest(str(real_data("rel-f1")), "driver-circuit-compete", tmp_path / "snapshot")
    stored = temporal_split(snapshot, SplitConfig(), tmp_path / "stored")
    files = {name: entry for name, entry in snapshot.record.files.items()
             if not name.startswith("labels/")}
    unlabelled = dataclasses.replace(
        snapshot, record=dataclasses.replace(snapshot.record, files=files))
    made = temporal_split(unlabelled, SplitConfig(), tmp_path / "made")
    assert made.label_source == "sql"
    assert [described(route) for route in made.target_routes] == [
        "drivers <-driverId- results -raceId-> races -circuitId-> circuits"]
    assert len(made.routes) == 3
    for split in SPLITS:
        a, b = getattr(stored, split), getattr(made, split)
        for part in ("time", "entity", "item_ptr", "item"):
            assert np.array_equal(getattr(a, part), getattr(b, part))
