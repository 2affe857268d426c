"""What names suggest: ``customer_id`` in ``orders`` points into ``customers``."""

from __future__ import annotations

import re

USER_WORDS = ("customer", "user", "client", "member", "visitor", "account", "person", "buyer", "shopper",
              "reader", "listener", "patient", "student", "driver", "subscriber", "household", "player")
ITEM_WORDS = ("product", "item", "movie", "article", "sku", "song", "track", "book", "film",
              "title", "course", "recipe", "ad", "video", "artist", "game", "offer", "material",
              "circuit", "place", "venue")
#: How much a table of this name looks like the events that a recommender should predict.
EVENT_WORDS = {
    "purchase": 1.0, "order": 1.0, "transaction": 1.0, "sale": 1.0, "invoice": 1.0, "rating": 1.0,
    "review": 0.9, "booking": 1.0, "line": 1.0, "play": 0.9, "listen": 0.9, "watch": 0.9, "checkin": 0.9,
    "interaction": 0.8, "event": 0.8, "loan": 0.9, "result": 0.6, "cart": 0.6, "click": 0.5, "view": 0.4,
    "impression": 0.3, "visit": 0.4, "session": 0.3, "search": 0.2, "log": 0.4,
}
TIME_WORDS = ("time", "timestamp", "ts", "date", "datetime", "at", "on", "day", "when", "created", "epoch",
              "occurred", "since", "until", "updated", "datum", "tijd", "moment")
#: A time of this name says when the row itself came to be.
BIRTH_OF_ROW = ("created", "signup", "signed", "registered", "registration", "joined", "join", "added",
                "launch", "launched", "introduced", "listed", "opened", "since")
_KEY_SUFFIXES = ("identifier", "uuid", "guid", "code", "number", "key", "ref", "num", "no", "nr", "pk", "id")
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def words(name: str) -> list[str]:
    """Lower-case words of a name: ``"orderLine_ID"`` has order, line and id."""
    return [word.lower() for word in _WORDS.findall(name)]


def singular(word: str) -> str:
    """``"categories"`` to ``"category"``, ``"boxes"`` to ``"box"``; other words stay."""
    if word in ("series", "species"):
        return word
    if word.endswith("ies") and len(word) > 4 and word[:-1] not in ("movie", "cookie", "calorie"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def plural(word: str) -> str:
    """``"category"`` to ``"categories"``: the name of a table made from a column."""
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def is_code(column: str) -> bool:
    """Whether values of a column of this name are codes, even where they look like numbers."""
    return bool(set(words(column)) & {"zip", "zipcode", "postcode", "postal", "phone", "isbn", "ean", "iban"})


def table_stem(table: str) -> str:
    """A table's name as one singular word: ``"order_lines"`` is ``"orderline"``."""
    parts = words(table)
    return "".join([*parts[:-1], singular(parts[-1])]) if parts else table.lower()


def key_base(column: str) -> str:
    """A key column's name without what marks it as key: ``"customerId"`` is ``"customer"``."""
    parts = words(column)
    while len(parts) > 1 and parts[-1] in _KEY_SUFFIXES:
        parts = parts[:-1]
    if len(parts) == 1:
        for suffix in _KEY_SUFFIXES:
            if len(parts[0]) > len(suffix) + 2 and parts[0].endswith(suffix) and suffix not in ("no", "nr"):
                return parts[0].removesuffix(suffix)
    return "".join([*parts[:-1], singular(parts[-1])]) if parts else column.lower()


def looks_like_key(column: str) -> bool:
    """Whether a name ends as keys do."""
    parts = words(column)
    return bool(parts) and (parts[-1] in (*_KEY_SUFFIXES, "sku", "isbn", "ean", "asin")
                            or key_base(column) != table_stem(column))


def key_score(table: str, column: str) -> float:
    """How much the name says that this column is the table's own key, 0 to 1."""
    joined, stem, base = "".join(words(column)), table_stem(table), key_base(column)
    if looks_like_key(column) and base == stem:
        return 1.0
    if joined in ("id", "key", "uuid", "guid", "pk", "identifier") or table_stem(column) == stem:
        return 0.9
    if looks_like_key(column):
        return 0.7 if base and (stem.endswith(base) or stem.startswith(base)) else 0.5
    return 0.0


def fkey_score(column: str, target: str, target_key: str) -> float:
    """How much the names say that ``column`` points into table ``target``, 0 to 1."""
    base, stem = key_base(column), table_stem(target)
    joined, target_joined = "".join(words(column)), "".join(words(target_key))
    if base == stem or (joined == target_joined and target_joined not in ("id", "key", "uuid", "code")):
        return 1.0
    if len(stem) > 2 and base.endswith(stem):
        return 0.8
    if len(base) > 2 and (stem.endswith(base) or key_base(target_key) == base):
        return 0.7
    for family in (USER_WORDS, ITEM_WORDS):
        if base in family and stem in family and looks_like_key(column):
            return 0.6
    return 0.0


def role_score(table: str, family: tuple[str, ...]) -> float:
    """1 if the table's last word is in the family, ½ if another word is."""
    parts = [singular(word) for word in words(table)]
    if not parts:
        return 0.0
    return 1.0 if parts[-1] in family else 0.5 if set(parts) & set(family) else 0.0


def is_thing(table: str) -> bool:
    """Whether a table of this name holds users or items."""
    return max(role_score(table, USER_WORDS), role_score(table, ITEM_WORDS)) == 1.0


def event_score(table: str) -> float:
    """How much the name says that rows are events worth predicting, 0 to 1."""
    return max((EVENT_WORDS.get(singular(word), 0.0) for word in words(table)), default=0.0)
