"""An encoder moved to other columns says of every row what it said before."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.encodings import GraphEncodings, NumberEncoding, TableEncodings
from model_core.graph.schema import TableFeatures
from model_core.models.contextgnn.encoder import TableEncoder
from model_core.training.transfer_columns import moved_encoder

WIDTH, OUT = 8, 6


def encoder_for(columns: TableEncodings, seed: int = 0) -> TableEncoder:
    torch.manual_seed(seed)
    sizes = tuple(len(values) + 1 for values in columns.categories.values())
    features = TableFeatures(len(columns.numbers), sizes, len(columns.texts) * columns.text_dim, False)
    return TableEncoder(features, WIDTH, OUT, num_blocks=1, dropout=0.0).eval()


def encode(columns: TableEncodings, raw: dict, encoder: TableEncoder) -> torch.Tensor:
    """Raw values as build_graph encodes them, through an encoder."""
    rows = len(next(iter(raw.values())))
    number, category, text = [], [], []
    for name, encoding in columns.numbers.items():
        values = raw[name.removesuffix(":missing")]
        if encoding is None:
            number.append(np.isnan(values).astype(float))
            continue
        values = values - encoding.origin
        if encoding.transform == "log1p":
            values = np.log1p(values)
        number.append(np.nan_to_num((values - encoding.mean) / encoding.std))
    for name, values in columns.categories.items():
        code = {value: place for place, value in enumerate(values, start=1)}
        category.append([code.get(value, 0) for value in raw[name]])
    for name in columns.texts:
        text.append(raw[name])
    with torch.no_grad():
        return encoder(
            torch.tensor(np.stack(number, 1) if number else np.zeros((rows, 0)), dtype=torch.float32),
            torch.tensor(np.stack(category, 1) if category else np.zeros((rows, 0)), dtype=torch.int64),
            torch.tensor(np.concatenate(text, 1) if text else np.zeros((rows, 0)), dtype=torch.float32))


def moved_to(old: TableEncodings, new: TableEncodings, encoder: TableEncoder):
    target = encoder_for(new, seed=1)
    state, changes = moved_encoder(encoder.state_dict(), old, new, target.state_dict())
    target.load_state_dict(state)
    return target, changes


@st.composite
def table_and_two_encodings(draw):
    """Raw rows, and two ways to encode them that differ in everything but clipping."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = 6
    raw, numbers, categories, texts = {}, ({}, {}), ({}, {}), ([], [])
    for place in range(draw(st.integers(0, 3))):
        name, dated = f"n{place}", draw(st.booleans())
        raw[name] = rng.normal(40.0 if dated else 2.0, 1.0, rows)
        if not dated:
            raw[name] = np.abs(raw[name])
        transform = "none" if dated else draw(st.sampled_from(["none", "log1p"]))
        with_missing = draw(st.booleans())
        for side in numbers:
            origin = float(rng.uniform(39, 41)) if dated else 0.0
            side[name] = NumberEncoding(transform, float(rng.normal()), float(rng.uniform(0.2, 4)), origin)
        if with_missing:
            raw[name][rng.integers(rows)] = np.nan
            numbers[1][f"{name}:missing"] = None
            if draw(st.booleans()):  # else the old graph had met none: such a row counts with the mean
                numbers[0][f"{name}:missing"] = None
    for place in range(draw(st.integers(0, 2))):
        values = list("abcd"[: draw(st.integers(1, 4))])
        raw[f"c{place}"] = np.array([*values, "never met", None], dtype=object)[
            rng.integers(len(values) + 2, size=rows)]
        known = values if draw(st.booleans()) else values[:1]
        categories[0][f"c{place}"] = tuple(rng.permutation(known).tolist())
        categories[1][f"c{place}"] = tuple(rng.permutation(values).tolist())
    for place in range(draw(st.integers(0, 2))):
        raw[f"t{place}"] = rng.normal(size=(rows, 3))
        for side in texts:
            side.append(f"t{place}")
    raw["n"] = np.zeros(rows)
    numbers[0]["n"] = numbers[1]["n"] = NumberEncoding("none", 0.0, 1.0)
    if draw(st.booleans()):
        numbers[1].pop("n")
        raw["n"][:] = 0.0  # its mean: what a column that is gone counts with
    order = draw(st.booleans())
    old, new = (TableEncodings(numbers[side], categories[side],
                               tuple(reversed(texts[side]) if order and side else texts[side]), 3)
                for side in (0, 1))
    return raw, old, new


@settings(max_examples=60, deadline=None)
@given(table_and_two_encodings())
def test_the_same_rows_get_the_same_encodings(case):
    raw, old, new = case
    encoder = encoder_for(old)
    target, changes = moved_to(old, new, encoder)
    expected, found = encode(old, raw, encoder), encode(new, raw, target)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not changes.changed
    assert not changes.new


def test_equal_encodings_change_no_bit():
    columns = TableEncodings({"a": NumberEncoding("none", 1.0, 3.0), "a:missing": None},
                             {"c": ("x", "y")}, ("t",), 4)
    encoder = encoder_for(columns)
    state, changes = moved_encoder(encoder.state_dict(), columns, columns, encoder.state_dict())
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert (changes.kept, changes.changed, changes.new, changes.gone) == (3, [], [], [])


def columns_of(numbers=(), categories=(), texts=(), dim=3, transform="none") -> TableEncodings:
    return TableEncodings({name: NumberEncoding(transform, 0.5, 2.0) for name in numbers},
                          dict.fromkeys(categories, ("x", "y")), tuple(texts), dim)


RAW = {"a": np.array([1.0, 2.0, np.nan]), "b": np.array([3.0, -1.0, 2.0]),
       "c": np.array(["x", "y", None], dtype=object), "d": np.array(["y", "y", "x"], dtype=object),
       "t": np.ones((3, 3))}


@pytest.mark.parametrize("new", [
    columns_of("ab", "c"), columns_of("a", "cd"), columns_of("ba", "dc", "t"), columns_of("a", "c", "t"),
])
def test_new_columns_change_nothing_yet_but_can_be_learned(new):
    old = columns_of("a", "c")
    encoder = encoder_for(old)
    target, changes = moved_to(old, new, encoder)
    torch.testing.assert_close(encode(new, RAW, target), encode(old, RAW, encoder))
    assert len(changes.new) == sum(map(len, (new.numbers, new.categories, new.texts))) - 2
    sizes = [len(values) + 1 for values in new.categories.values()]
    number = torch.randn(3, len(new.numbers) + 3 * len(new.texts))
    out = target(number[:, : len(new.numbers)], torch.ones(3, len(sizes), dtype=torch.int64),
                 number[:, len(new.numbers):])
    out.square().sum().backward()
    assert (target.dense.weight.grad.abs().sum(dim=0) > 0).all()


def test_a_first_column_leaves_the_constant_as_it_was_and_back():
    nothing, some = columns_of(), columns_of("a", "c")
    constant = encoder_for(nothing)
    target, changes = moved_to(nothing, some, constant)
    torch.testing.assert_close(encode(some, RAW, target), constant.constant.expand(3, -1))
    assert changes.new == ["a", "c"]

    encoder = encoder_for(some)
    target, changes = moved_to(some, nothing, encoder)
    with torch.no_grad():  # the mean of a number, and of the vectors of both values
        x = encoder.dense.bias + encoder.category.weight[1:].mean(dim=0)
        for block in encoder.blocks:
            x = block(x[None], None)
        expected = encoder.head(torch.relu(encoder.norm(x)))
    torch.testing.assert_close(target.constant[None], expected)
    assert changes.gone == ["a", "c"]


def test_without_numbers_a_shift_goes_into_the_categories():
    old, new = columns_of("a", "cd"), columns_of("", "dc")
    encoder = encoder_for(old)
    target, changes = moved_to(old, new, encoder)
    at_mean = RAW | {"a": np.full(3, 0.5)}
    torch.testing.assert_close(encode(new, RAW, target), encode(old, at_mean, encoder))
    assert changes.gone == ["a"]


@pytest.mark.parametrize(("new", "changed"), [
    (columns_of("a", "c", transform="log1p"), ["a"]),
    (columns_of("a", "", "c"), ["c"]),
    (columns_of("ca", ""), ["c"]),
    (TableEncodings({"a": NumberEncoding("none", 0.5, 2e9)}, {"c": ("x", "y")}, (), 3), ["a"]),
    (TableEncodings({"a": NumberEncoding("none", 0.5, float("inf"))}, {"c": ("x", "y")}, (), 3), ["a"]),
])
def test_a_column_of_another_kind_starts_without_weight(new, changed):
    old = columns_of("a", "c")
    target, changes = moved_to(old, new, encoder_for(old))
    assert changes.changed == changed
    assert (changes.new, changes.gone) == ([], [])
    raw = RAW | {"c": np.ones((3, 3)) if "c" in new.texts else np.zeros(3) if "c" in new.numbers
                 else RAW["c"]}
    other = dict(raw)
    other[changed[0]] = np.roll(raw[changed[0]], 1, axis=0) + 1
    torch.testing.assert_close(encode(new, raw, target), encode(new, other, target))


def test_text_of_another_width_is_another_column():
    old, new = columns_of("a", "", "t", dim=3), columns_of("a", "", "t", dim=4)
    _, changes = moved_to(old, new, encoder_for(old))
    assert changes.changed == ["t"]


def test_a_log_of_years_does_not_bear_another_cutoff():
    old, new = (NumberEncoding("log1p", 0.5, 2.0, origin) for origin in (40.0, 41.0))
    assert old.in_terms_of(new) is None
    assert old.in_terms_of(old) == (1.0, 0.0)
    assert NumberEncoding("none", 0.5, 2.0, 40.0).in_terms_of(
        NumberEncoding("none", -0.5, 4.0, 41.0)) == (2.0, 0.0)


def test_encodings_survive_json():
    columns = GraphEncodings({"t": TableEncodings(
        {"b": NumberEncoding("log1p", 1.0, 2.0, 3.0), "b:missing": None, "a": None},
        {"z": (True, False), "c": ("x",)}, ("u", "t"), 64)})
    again = GraphEncodings.from_json(columns.to_json())
    assert again == columns
    assert list(again.tables["t"].numbers) == ["b", "b:missing", "a"]


def test_a_category_of_which_no_value_was_known_can_go():
    old = TableEncodings({"a": NumberEncoding("none", 0.5, 2.0)}, {"c": ()}, (), 3)
    new = columns_of("a")
    encoder = encoder_for(old)
    target, changes = moved_to(old, new, encoder)
    nothing = {"a": RAW["a"], "c": np.array([None] * 3, dtype=object)}
    torch.testing.assert_close(encode(new, RAW, target), encode(old, nothing, encoder))
    assert changes.gone == ["c"]
