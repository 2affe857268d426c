"""Labels tell by which foreign keys users meet items."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.config import GraphConfig, SplitConfig
from model_core.graph.build import build_graph
from model_core.split.label_routes import confirmed_labels, label_routes
from model_core.split.temporal import temporal_split
from model_core.tables.interactions import find_interactions, num_walks
from model_core.tables.routes import simple_routes
from tests.factories import make_seeds
from tests.graph.snapshots import Frame, seconds, write_snapshot

VAL, TEST, WINDOW = 60, 80, 10
POSTS = [(1, 0), (2, 0), (3, 1), (35, 1), (36, 2)]  # (time, who wrote it)
COMMENTS = [(11, 0, 2), (12, 1, 0), (21, 0, 0), (31, 2, 1), (41, 2, 4), (65, 0, 1), (85, 1, 2)]
#: Labels that speak of comments, as (time, user, posts).
COMMENTED = [(10, 0, [2]), (10, 1, [0]), (20, 0, [0]), (30, 2, [1]), (40, 2, [4])]
#: Labels that speak of what users write.
WRITTEN = [(30, 1, [3]), (30, 2, [4])]


def forum(folder, train=COMMENTED, comments=COMMENTS, **more):
    time, writer = zip(*POSTS, strict=True)
    at, user, post = zip(*comments, strict=True)
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(3)}), "user_id"),
        "posts": Frame(pd.DataFrame({"post_id": range(5), "owner_id": writer, "at": seconds(time)}),
                       "post_id", "at", {"owner_id": "users"}),
        "comments": Frame(pd.DataFrame({"user_id": user, "post_id": post, "at": seconds(at)}),
                          None, "at", {"user_id": "users", "post_id": "posts"}),
        **more,
    }
    labels = {"train": train, "val": [(VAL, 0, [1])], "test": [(TEST, 1, [2])]}
    return write_snapshot(folder / "snapshot", tables, val_time=VAL, test_time=TEST, window_s=WINDOW,
                          item=("posts", "post_id"), labels=labels)


def seeds_of(labels):
    return make_seeds([(user, time, posts) for time, user, posts in labels])


def tables_of(routes):
    return [[hop.dst for hop in route] for route in routes]


def both(found):
    """Tables of all routes, and of those that the labels speak of."""
    return tables_of(found.routes), tables_of(found.target)


def test_a_longer_route_is_taken_where_labels_speak_of_it(tmp_path):
    found = label_routes(forum(tmp_path), seeds_of(COMMENTED))
    assert both(found) == ([["posts"], ["comments", "posts"]], [["comments", "posts"]])


def test_the_shortest_are_enough_where_they_confirm_the_labels(tmp_path):
    assert both(label_routes(forum(tmp_path, WRITTEN), seeds_of(WRITTEN))) == ([["posts"]], [["posts"]])


def test_labels_that_no_route_confirms_leave_the_shortest(tmp_path):
    nowhere = [(10, 2, [0]), (40, 0, [3])]
    assert both(label_routes(forum(tmp_path, nowhere), seeds_of(nowhere))) == ([["posts"]], [["posts"]])


def test_of_routes_that_confirm_the_same_the_one_that_says_less_is_taken(tmp_path):
    """Every comment also leaves a line in the history, and so do other things."""
    lines = [*COMMENTS, (11, 2, 3), (21, 2, 2), (31, 0, 3)]
    at, user, post = zip(*lines, strict=True)
    history = Frame(pd.DataFrame({"user_id": user, "post_id": post, "at": seconds(at)}),
                    None, "at", {"user_id": "users", "post_id": "posts"})
    snapshot = forum(tmp_path, history=history)
    assert both(label_routes(snapshot, seeds_of(COMMENTED))) == (
        [["posts"], ["comments", "posts"]], [["comments", "posts"]])


def test_a_second_route_is_added_for_labels_that_the_first_does_not_confirm(tmp_path):
    votes = [(13, 2, 2), (22, 1, 1)]
    at, user, post = zip(*votes, strict=True)
    table = Frame(pd.DataFrame({"user_id": user, "post_id": post, "at": seconds(at)}),
                  None, "at", {"user_id": "users", "post_id": "posts"})
    labels = [*COMMENTED, (10, 2, [2]), (20, 1, [1])]
    found = label_routes(forum(tmp_path, votes=table), seeds_of(labels))
    assert both(found) == ([["posts"], ["comments", "posts"], ["votes", "posts"]],
                           [["comments", "posts"], ["votes", "posts"]])


def test_of_shortest_routes_those_that_labels_speak_of_are_the_targets(tmp_path):
    """A shop with views and purchases: both are history, labels are purchases."""
    views = [(9, 0, 2), (9, 1, 0), (11, 2, 4), (12, 1, 3), (19, 0, 0), (40, 2, 4), (85, 1, 1)]
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(3)}), "user_id"),
        "posts": Frame(pd.DataFrame({"post_id": range(5)}), "post_id"),
    }
    for name, events in (("views", views), ("purchases", COMMENTS)):
        at, user, post = zip(*events, strict=True)
        tables[name] = Frame(pd.DataFrame({"user_id": user, "post_id": post, "at": seconds(at)}),
                             None, "at", {"user_id": "users", "post_id": "posts"})
    snapshot = write_snapshot(
        tmp_path / "snapshot", tables, val_time=VAL, test_time=TEST, window_s=WINDOW,
        item=("posts", "post_id"),
        labels={"train": COMMENTED, "val": [(VAL, 0, [1])], "test": [(TEST, 1, [2])]})
    split = temporal_split(snapshot, SplitConfig(), tmp_path / "split")
    assert (tables_of(split.routes), tables_of(split.target_routes)) == (
        [["views", "posts"], ["purchases", "posts"]], [["purchases", "posts"]])
    met = build_graph(snapshot, split, GraphConfig(), tmp_path / "graph").interactions
    bought = met.targets()
    assert set(zip(bought.time.tolist(), bought.entity.tolist(), bought.item.tolist(), strict=True)) == {
        event for event in COMMENTS if event[0] <= TEST}
    assert len(met.time) == len([event for event in (*COMMENTS, *views) if event[0] <= TEST])


def test_a_route_by_which_everybody_meets_everything_is_none(tmp_path):
    """All users and all posts of one place: of rows there are few, of walks many."""
    size = 60
    at = np.arange(size) % 50 + 1
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(size), "place_id": 0}), "user_id", None,
                       {"place_id": "places"}),
        "places": Frame(pd.DataFrame({"place_id": [0]}), "place_id"),
        "posts": Frame(pd.DataFrame({"post_id": range(size), "owner_id": 0, "at": seconds(at * 0)}),
                       "post_id", "at", {"owner_id": "users"}),
        "visits": Frame(pd.DataFrame({"place_id": 0, "post_id": range(size), "at": seconds(at)}),
                        None, "at", {"place_id": "places", "post_id": "posts"}),
    }
    labels = [(10, user, [user + 10]) for user in range(1, 4)]
    assert all(10 < at[posts[0]] <= 10 + WINDOW for _, _, posts in labels)
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=VAL, test_time=TEST, window_s=WINDOW,
                              item=("posts", "post_id"))
    assert tables_of(label_routes(snapshot, seeds_of(labels)).routes) == [["posts"]]


def test_later_rows_do_not_make_a_route_long(tmp_path):
    """Of two routes that confirm the same the one with fewer rows up to the validation time is taken."""
    def chosen(folder, late):
        tables = {"users": Frame(pd.DataFrame({"user_id": range(3)}), "user_id"),
                  "posts": Frame(pd.DataFrame({"post_id": range(5)}), "post_id")}
        more = [(12, 2, 3)]
        for name, events in (("likes", [*COMMENTS, *more]), ("comments", [*COMMENTS, *late])):
            at, user, post = zip(*events, strict=True)
            tables[name] = Frame(pd.DataFrame({"user_id": user, "post_id": post, "at": seconds(at)}),
                                 None, "at", {"user_id": "users", "post_id": "posts"})
        snapshot = write_snapshot(folder, tables, val_time=VAL, test_time=TEST, window_s=WINDOW,
                                  item=("posts", "post_id"))
        return tables_of(label_routes(snapshot, seeds_of(COMMENTED)).target)

    late = [(TEST + 100 + k, k % 3, k % 5) for k in range(5)]
    assert chosen(tmp_path / "a", []) == chosen(tmp_path / "b", late) == [["comments", "posts"]]


def test_a_route_that_confirms_by_chance_is_none(tmp_path):
    """Whoever visits a shop is near all that it stocks: near the labels, and near anything else."""
    rng = np.random.default_rng(0)
    num, at = 40, np.arange(400) % 50 + 1
    labels = [(10, user, [(7 * user) % num]) for user in range(num)]
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(num)}), "user_id"),
        "posts": Frame(pd.DataFrame({"post_id": range(num), "owner_id": 0, "at": seconds([0] * num)}),
                       "post_id", "at", {"owner_id": "users"}),
        "shops": Frame(pd.DataFrame({"shop_id": range(4)}), "shop_id"),
        "visits": Frame(pd.DataFrame({"user_id": rng.integers(0, num, 400),
                                      "shop_id": rng.integers(0, 4, 400), "at": seconds(at)}),
                        None, "at", {"user_id": "users", "shop_id": "shops"}),
        "stock": Frame(pd.DataFrame({"shop_id": rng.integers(0, 4, 32), "post_id": rng.integers(0, num, 32)}),
                       None, None, {"shop_id": "shops", "post_id": "posts"}),
    }
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=VAL, test_time=TEST, window_s=WINDOW,
                              item=("posts", "post_id"))
    fkeys = {name: table.fkeys for name, table in snapshot.tables.items()}
    (chance,) = (route for route in simple_routes(fkeys, "users", "posts", 4) if len(route) == 4)
    met = find_interactions(snapshot, VAL, [chance])
    assert confirmed_labels(seeds_of(labels), met, WINDOW).mean() > 0.1
    assert num_walks(snapshot, chance, VAL) < 10 * snapshot.tables["visits"].num_rows
    assert tables_of(label_routes(snapshot, seeds_of(labels)).routes) == [["posts"]]


def test_a_gain_below_the_least_is_none_however_alike(tmp_path):
    """Of 49 labels comments confirm four, votes one: a fiftieth is too little for a route."""
    tables = {"users": Frame(pd.DataFrame({"user_id": range(49)}), "user_id"),
              "posts": Frame(pd.DataFrame({"post_id": range(5)}), "post_id")}
    for name, users in (("comments", [7, 8, 9, 10]), ("votes", [11])):
        tables[name] = Frame(pd.DataFrame({"user_id": users, "post_id": 0, "at": seconds([25] * len(users))}),
                             None, "at", {"user_id": "users", "post_id": "posts"})
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=VAL, test_time=TEST, window_s=WINDOW,
                              item=("posts", "post_id"))
    labels = [(20, user, [user % 5 if user > 11 else 0]) for user in range(49)]
    assert tables_of(label_routes(snapshot, seeds_of(labels)).target) == [["comments", "posts"]]


def test_empty_tables_and_ids_that_point_nowhere_do_no_harm(tmp_path):
    cities = Frame(pd.DataFrame({"city_id": pd.array([], "Int64")}), "city_id")
    trips = Frame(pd.DataFrame({"user_id": [0], "city_id": pd.array([-1], "Int64"), "at": seconds([5])}),
                  None, "at", {"user_id": "users", "city_id": "cities"})
    tours = Frame(pd.DataFrame({"city_id": pd.array([-1], "Int64"), "post_id": [1], "at": seconds([5])}),
                  None, "at", {"city_id": "cities", "post_id": "posts"})
    snapshot = forum(tmp_path, cities=cities, trips=trips, tours=tours)
    assert both(label_routes(snapshot, seeds_of(COMMENTED))) == (
        [["posts"], ["comments", "posts"]], [["comments", "posts"]])
    strange = seeds_of([*COMMENTED, (10, -1, [2]), (20, 99, [0])])
    assert tables_of(label_routes(snapshot, strange).target) == [["comments", "posts"]]


def test_rows_after_the_validation_time_decide_nothing(tmp_path):
    later = [(VAL + 1, 0, [1])]
    snapshot = forum(tmp_path, comments=[*COMMENTS[:-2], (VAL + 5, 0, 1)])
    assert tables_of(label_routes(snapshot, seeds_of(later)).routes) == [["posts"]]


def test_the_graph_and_its_depth_follow_the_split(tmp_path):
    snapshot = forum(tmp_path)
    split = temporal_split(snapshot, SplitConfig(), tmp_path / "split")
    assert tables_of(split.routes) == [["posts"], ["comments", "posts"]]
    confirmed = [check for check in split.certificate["checks"]
                 if check["name"].startswith("label items are confirmed")]
    assert [check["count"] for check in confirmed] == [0, 0, 0]
    graph = build_graph(snapshot, split, GraphConfig(), tmp_path / "graph")
    assert graph.hops == 2
    met = graph.interactions
    found = set(zip(met.entity.tolist(), met.item.tolist(), met.time.tolist(), strict=True))
    assert found == ({(who, row, at) for row, (at, who) in enumerate(POSTS)}
                     | {(who, post, at) for at, who, post in COMMENTS if at <= TEST})


triples = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 30))


@settings(max_examples=60, deadline=None)
@given(st.lists(triples, max_size=12), st.lists(st.tuples(
    st.integers(0, 2), st.sampled_from([0, 10, 20]), st.sets(st.integers(0, 3), min_size=1)),
    min_size=1, max_size=6, unique_by=lambda row: row[:2]))
def test_confirmed_labels_are_those_that_happened_in_the_window(events, rows):
    seeds = make_seeds([(entity, time, sorted(items)) for entity, time, items in rows])
    events = sorted(set(events), key=lambda event: (event[2], event[0], event[1]))
    columns = tuple(np.asarray([event[k] for event in events], dtype=np.int64) for k in range(3))
    found = confirmed_labels(seeds, columns, WINDOW)
    expected = [any(e == seeds.entity[row] and i == item and seeds.time[row] < t <= seeds.time[row] + WINDOW
                    for e, i, t in events)
                for row in range(len(seeds)) for item in seeds.items_of(row)]
    assert found.tolist() == expected
