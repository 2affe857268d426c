"""Column kinds and what is fitted, on hand-made columns."""

import numpy as np
import pandas as pd
import pytest

from model_core.config import GraphConfig
from model_core.graph.columns import SECONDS_PER_YEAR, encode_table, hash_text
from tests.graph.snapshots import Frame, seconds, write_snapshot

CUTOFF, LAST = 8, 9  # of twelve rows at times 1..12, eight are fitted on and nine visible


def encode(tmp_path, column, values, **config):
    n = len(values)
    tables = {
        "users": Frame(pd.DataFrame({"user_id": [0]}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": [0]}), "item_id"),
        "rows": Frame(pd.DataFrame({"user_id": [0] * n, "item_id": [0] * n, column: values,
                                    "at": seconds(range(1, n + 1))}),
                      None, "at", {"user_id": "users", "item_id": "items"}),
    }
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=CUTOFF, test_time=LAST, window_s=1)
    time = snapshot.times("rows")
    table = encode_table(snapshot, "rows", time <= CUTOFF, time <= LAST, CUTOFF, GraphConfig(**config),
                         tmp_path)
    (statistic,) = table.statistics
    arrays = {part: np.load(tmp_path / f"{part}.npy") for part in ("number", "category", "text")}
    return table, statistic, arrays


def test_numbers_are_standardised_with_fitted_rows_only(tmp_path):
    values = [1, 2, 3, 4, 5, 6, 7, 8, 1000, 1, 1, 1]
    table, statistic, arrays = encode(tmp_path, "x", values)
    known = np.arange(1.0, 9.0)
    assert statistic["mean"] == known.mean()
    assert statistic["std"] == known.std()
    expected = (known - known.mean()) / known.std()
    np.testing.assert_allclose(arrays["number"][:8, 0], expected, rtol=1e-6)
    assert arrays["number"][8, 0] == 10  # clipped
    assert not arrays["number"][9:].any()  # later than the last time: nothing is known of them
    assert table.entry["number_names"] == ["x"]
    assert arrays["number"].dtype == np.float32


@pytest.mark.parametrize("late", [np.nan, 3.0])
def test_a_missing_flag_exists_iff_fitted_rows_miss_values(tmp_path, late):
    table, _, arrays = encode(tmp_path, "x", [1, 2, 1, 2, 1, 2, 1, 2, late, late, late, late])
    assert table.entry["number_names"] == ["x"]
    assert arrays["number"][8, 0] == (0 if np.isnan(late) else pytest.approx(3.0))
    table, statistic, arrays = encode(tmp_path, "x", [1, 2, np.nan, np.inf, 1, 2, 1, 2, late, 1, 1, 1])
    assert table.entry["number_names"] == ["x", "x:missing"]
    assert arrays["number"][:9, 1].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, float(np.isnan(late))]
    assert arrays["number"][2, 0] == 0
    assert statistic["missing_fraction"] == 0.25


def test_a_heavy_tail_takes_a_logarithm(tmp_path):
    n = 200
    values = np.concatenate([np.arange(1, n), [1e6]])
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(n), "x": values, "y": -values}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": [0], "user_id": [0], "at": seconds([0])}), "item_id",
                       "at", {"user_id": "users"}),
    }
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=8, test_time=9, window_s=1)
    every = np.ones(n, dtype=bool)
    table = encode_table(snapshot, "users", every, every, 8, GraphConfig(), tmp_path)
    assert [s["transform"] for s in table.statistics] == ["log1p", "none"]  # y is negative
    logs = np.log1p(values)
    number = np.load(tmp_path / "number.npy")
    np.testing.assert_allclose(number[:, 0], (logs - logs.mean()) / logs.std(), rtol=1e-5, atol=1e-6)
    assert number[-1, 1] == -10


@pytest.mark.parametrize("values", [[5] * 8 + [1, 2, 3, 4], [np.nan] * 8 + [1.0] * 4,
                                    ["a"] * 8 + ["b"] * 4, [None] * 8 + ["b"] * 4,
                                    [True] * 8 + [False] * 4])
def test_a_column_constant_on_fitted_rows_is_left_out(tmp_path, values):
    table, statistic, arrays = encode(tmp_path, "x", values)
    assert statistic["kind"] == "dropped"
    assert [array.shape for array in arrays.values()] == [(12, 0)] * 3
    assert not any(table.entry.values())


def test_a_constant_that_is_sometimes_missing_keeps_its_flag(tmp_path):
    table, _, arrays = encode(tmp_path, "x", [5, np.nan] * 4 + [5, 5, 5, 5])
    assert table.entry["number_names"] == ["x:missing"]
    assert arrays["number"][:9, 0].tolist() == [0, 1] * 4 + [0]


def test_categories_are_numbered_by_frequency_then_value(tmp_path):
    values = ["b", "a", "c", "c", "b", "c", None, "a", "c", "z", "z", "z"]
    table, statistic, arrays = encode(tmp_path, "x", values)
    assert table.vocabularies["x"] == ["c", "a", "b"]
    assert table.entry["category_sizes"] == [4]
    assert arrays["category"][:, 0].tolist() == [3, 2, 1, 1, 3, 1, 0, 2, 1, 0, 0, 0]
    assert statistic["top"] == [["c", 3], ["a", 2], ["b", 2]]


def test_an_unseen_category_is_zero(tmp_path):
    _, _, arrays = encode(tmp_path, "x", ["a", "b"] * 4 + ["new"] * 4)
    assert arrays["category"][8, 0] == 0


def test_booleans_are_categories(tmp_path):
    table, _, arrays = encode(tmp_path, "x", pd.array([True, True, None, False, True] + [True] * 7,
                                                      "boolean"))
    assert table.vocabularies["x"] == [True, False]
    assert arrays["category"][:5, 0].tolist() == [1, 1, 0, 2, 1]


@pytest.mark.parametrize(("values", "config"), [
    (list("abcdefgh") + ["a"] * 4, {}),  # hardly repeats among fitted rows
    (["a", "b", "c", "a", "b", "c", "a", "b"] + ["a"] * 4, {"max_categories": 2}),
])
def test_other_strings_are_text(tmp_path, values, config):
    words = [f"{value} word" for value in values]
    table, statistic, arrays = encode(tmp_path, "x", words, **config)
    assert statistic["kind"] == "text"
    assert table.entry["text_names"] == ["x"]
    assert arrays["text"].shape == (12, 64)
    np.testing.assert_allclose(np.linalg.norm(arrays["text"][:9], axis=1), 1, rtol=1e-6)
    assert not arrays["text"][9:].any()


def test_equal_text_is_equal_and_missing_text_is_zero(tmp_path, monkeypatch):
    monkeypatch.setattr("model_core.graph.columns.TEXT_ROWS", 5)  # several pieces
    values = ["red mug", "blue mug", None, "Mug, red!", "one", "two", "red mug", "", "four", "x", "y", "z"]
    _, _, arrays = encode(tmp_path, "x", values, text_dim=16)
    text = arrays["text"]
    assert (text[0] == text[3]).all()
    assert (text[0] == text[6]).all()
    assert (text[0] != text[1]).any()
    assert not text[2].any()
    assert not text[7].any()
    assert (text[:9] == hash_text([value or "" for value in values[:9]], 16)).all()


def test_datetimes_count_in_years_from_the_cutoff(tmp_path):
    years = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    _, statistic, arrays = encode(tmp_path, "x", seconds(CUTOFF + np.array(years) * SECONDS_PER_YEAR))
    assert statistic["mean"] == pytest.approx(3.5)
    assert (statistic["min"], statistic["max"]) == (0, pytest.approx(7))
    assert arrays["number"][0, 0] == pytest.approx(-3.5 / np.std(years[:8]))


def test_whole_numbers_beyond_float_precision_pass(tmp_path):
    _, _, arrays = encode(tmp_path, "x", [2**62 + i for i in range(12)])
    assert np.isfinite(arrays["number"]).all()


def test_values_near_the_largest_float_stay_finite(tmp_path):
    _, statistic, arrays = encode(tmp_path, "x", [1.7e308, -1.7e308, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert statistic["transform"] == "log1p"
    assert np.isfinite(arrays["number"]).all()
