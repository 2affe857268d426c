"""Routes of a plan: by the tables that the task's SQL names."""

from types import SimpleNamespace

import pytest

from model_core.planning.routes import likely_routes

FORUM = {
    "users": {},
    "posts": {"owner_id": "users"},
    "comments": {"user_id": "users", "post_id": "posts"},
    "votes": {"user_id": "users", "post_id": "posts"},
    "badges": {"user_id": "users"},
}


def tables_of_routes(sql, keys=FORUM):
    facts = SimpleNamespace(
        tables={name: SimpleNamespace(source=SimpleNamespace(fkeys=fkeys)) for name, fkeys in keys.items()},
        task=SimpleNamespace(entity_table="users", item_table="posts", sql=sql))
    return [[hop.dst for hop in route] for route in likely_routes(facts)]


@pytest.mark.parametrize(("sql", "more"), [
    (None, []),
    ("SELECT owner_id FROM posts", []),
    ("SELECT user_id FROM badges", []),  # leads to no post
    ("SELECT c.user_id FROM comments c JOIN posts p ON p.id = c.post_id", [["comments", "posts"]]),
    ("SELECT user_id FROM comments UNION SELECT user_id FROM votes",
     [["comments", "posts"], ["votes", "posts"]]),
    ("SELECT comments_user_id FROM posts", []),  # a name within a name
    ("SELECT comments FROM posts -- not FROM comments\n/* JOIN votes */", []),  # a column, a remark
    ('select user_id from posts, "Comments" c', [["comments", "posts"]]),
])
def test_tables_that_the_query_names_are_on_a_route(sql, more):
    assert tables_of_routes(sql) == [["posts"], *more]


def test_tables_of_a_shortest_route_bring_no_other():
    keys = FORUM | {"posts": {}}
    sql = "SELECT user_id, post_id FROM comments"
    assert tables_of_routes(sql, keys) == [["comments", "posts"], ["votes", "posts"]]
