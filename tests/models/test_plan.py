from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.plan import plan_layers, tables_per_hop
from tests.factories import make_shop
from tests.models.graphs import retail_graph


def sent_tables(plan):
    return {(relation.src, relation.dst): hops for relation, hops in plan.edge_hops.items()}


def test_shop_with_two_layers():
    schema = GraphSchema.of(make_shop([(0, 0, 1)], 1, 1))
    assert tables_per_hop(schema, 2) == [{"users"}, {"events"}, {"users", "items"}]
    inputs, (first, last) = plan_layers(schema, 2, read_items=True)
    assert inputs == {"users": 3, "items": 3, "events": 2}
    # Items are first reached at hop 2, where nothing is drawn: only what is walked
    # backwards, from the events that reached them, enters them.
    assert last.node_hops == {"users": 1, "items": 3}
    assert sent_tables(last) == {("events", "users"): 1}
    assert {(r.dst, r.src): hops for r, hops in last.back_hops.items()} == {("events", "items"): 2}
    assert first.back_hops == {}
    assert first.node_hops == {"users": 1, "items": 3, "events": 2}
    assert sent_tables(first) == {("events", "users"): 1, ("users", "events"): 2, ("items", "events"): 2}


def test_without_item_readout_items_are_inputs_only():
    schema = GraphSchema.of(make_shop([(0, 0, 1)], 1, 1))
    inputs, (first, last) = plan_layers(schema, 2, read_items=False)
    assert inputs["items"] == 3
    assert last.node_hops == {"users": 1}
    assert "items" not in first.node_hops


def test_intermediate_items_receive_messages_in_the_last_layer():
    schema = GraphSchema.of(make_shop([(0, 0, 1)], 1, 1))
    _, plans = plan_layers(schema, 4, read_items=True)
    assert sent_tables(plans[-1])["events", "items"] == 3


def test_out_of_reach_items_are_not_planned():
    _, plans = plan_layers(GraphSchema.of(retail_graph()), 1, read_items=True)
    assert "items" not in plans[-1].node_hops
