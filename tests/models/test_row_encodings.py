"""Encodings that are kept equal those of the batch at hand, within the memory allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_core.models import row_encodings
from model_core.models.contextgnn.gnn import module_key
from model_core.models.row_encodings import RowEncodings
from tests.factories import Rows, make_graph
from tests.models.graphs import NOW, batch_of, catalogue, retail_graph, small_model

GRAPH = retail_graph()
TENSORS = GRAPH.to_torch()
BATCHES = [batch_of(GRAPH, users, [NOW] * len(users)) for users in ([0, 1], [1, 2, 3], [0, 1], [4, 5])]


def counted(model):
    """Rows that each encoder was given, in all."""
    seen = dict.fromkeys(model.tables, 0)
    for table in model.tables:
        def hook(_, inputs, table=table):
            seen[table] += len(inputs[0])
        model.encoder[module_key(table)].register_forward_pre_hook(hook)
    return seen


@pytest.mark.parametrize("max_bytes", [2**20, 1_000, 0])
def test_scores_are_those_without(max_bytes):
    model = small_model(GRAPH)
    vectors = catalogue(model, GRAPH)
    encodings = RowEncodings(model, TENSORS, max_bytes)
    with torch.no_grad():
        for batch in BATCHES:
            known = encodings.put_into(batch)
            torch.testing.assert_close(model(known, vectors), model(batch, vectors))
    assert (sum(encodings._used.values()) > 0) == (max_bytes > 0)
    assert sum(encodings._used.values()) * 12 * 4 <= max_bytes


def test_each_row_is_encoded_once(monkeypatch):
    """Tables without time as a whole, or no more than what was met."""
    monkeypatch.setattr(row_encodings, "WHOLE_TABLE", 0)
    model = small_model(GRAPH)
    seen = counted(model)
    encodings = RowEncodings(model, TENSORS)
    with torch.no_grad():
        for batch in BATCHES:
            model.read_out(encodings.put_into(batch))
    for table in model.tables:
        rows = torch.cat([batch.row[table] for batch in BATCHES])
        assert seen[table] == len(torch.unique(rows)) <= len(rows)
    assert seen["lines"] > 0


def test_tables_without_time_are_encoded_as_a_whole():
    """Once, before more of them is met; what layers make of them is then that of one object."""
    model = small_model(GRAPH)
    seen = counted(model)
    encodings = RowEncodings(model, TENSORS)
    with torch.no_grad():
        found = [encodings.put_into(batch).encoded for batch in BATCHES]
        assert seen["items"] == GRAPH.num_items + 1  # and a row of zeros
        assert seen["lines"] < GRAPH.num_nodes["lines"]
        assert all(one["items"][0] is found[0]["items"][0] for one in found)
        assert found[0]["items"][0].lasting
        assert not found[0]["lines"][0].lasting


def test_layers_treat_rows_of_whole_tables_once():
    """Rows of the last hop go through the first layers with the first batch only."""
    model = small_model(GRAPH)
    encodings = RowEncodings(model, TENSORS)
    rows = []
    model.gnn.layers[0].root[module_key("items")].register_forward_pre_hook(
        lambda _, inputs: rows.append(len(inputs[0])))
    with torch.no_grad():
        for batch in BATCHES:
            model.read_out(encodings.put_into(batch))
    assert rows.count(GRAPH.num_items + 1) == 1


def test_a_whole_table_is_charged_for_what_layers_make_of_it():
    model = small_model(GRAPH)
    charged = (GRAPH.num_items + 1) * 12 * 4 * row_encodings.COPIES_OF_WHOLE
    with torch.no_grad():
        for allowed, whole in ((charged, True), (charged - 1, False)):
            encodings = RowEncodings(model, TENSORS, 10 * charged)
            encodings._room = allowed
            encodings._has("items", BATCHES[0].row["items"])
            assert ("items" in encodings._whole) == whole
            assert (encodings._room == 0) == whole


def test_a_table_without_room_is_encoded_with_every_block(monkeypatch):
    """The bound is met to the byte: one byte less, and the last new rows stay out."""
    monkeypatch.setattr(row_encodings, "WHOLE_TABLE", 0)
    model = small_model(GRAPH)
    whole = RowEncodings(model, TENSORS)
    with torch.no_grad():
        for batch in BATCHES:
            whole.put_into(batch)
        used = sum(whole._used.values()) * 12 * 4
        for allowed, complete in ((used, True), (used - 1, False)):
            encodings = RowEncodings(model, TENSORS, allowed)
            found = [encodings.put_into(batch) for batch in BATCHES]
            assert all(set(b.encoded) == set(model.tables) for b in found) == complete


def test_encodings_are_those_of_each_row():
    """Rows come in other orders and numbers, over a buffer that grows."""
    model = small_model(GRAPH)
    encodings = RowEncodings(model, TENSORS)
    with torch.no_grad():
        for users in ([3], [2, 3], [0, 3, 9, 11], [1, 2, 5, 7, 8, 10], [3, 4, 6]):
            batch = batch_of(GRAPH, users, [NOW] * len(users))
            for table, (found, row_of) in encodings.put_into(batch).encoded.items():
                columns = batch.number[table], batch.category[table], batch.text[table]
                slow = model.encoder[module_key(table)](*columns)
                torch.testing.assert_close(found.rows[row_of], slow[batch.row_of[table]])


def test_a_row_that_is_later_than_its_seed_is_not_the_row_itself():
    """A user seen before its row exists has zeros for features, and no one else's encoding."""
    graph = make_graph(
        {"users": Rows(2, np.array([50, 500]), {}, np.array([[1.0, 2.0], [3.0, -1.0]])),
         "items": Rows(3, None, {}, np.array([[0.5], [1.5], [-2.0]])),
         "events": Rows(2, np.array([60, 600]), {
             "user_id": ("users", np.array([0, 1])), "item_id": ("items", np.array([0, 2]))})},
        "users", "items", [(0, 0, 60), (1, 2, 600)])
    model = small_model(graph, num_layers=2)
    vectors = catalogue(model, graph)
    encodings = RowEncodings(model, graph.to_torch())
    with torch.no_grad():
        for users, times in (([1], [700]), ([1], [100]), ([0, 1], [100, 100]), ([1], [700])):
            batch = batch_of(graph, users, times, num_layers=2)
            assert (-1 in batch.row["users"].tolist()) == (100 in times)
            torch.testing.assert_close(
                model(encodings.put_into(batch), vectors), model(batch, vectors))
