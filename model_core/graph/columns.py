"""Columns to tensors: what kind each column is, fitted on the past alone.

Rules, applied to the rows that may be fitted on (time <= train cutoff; all rows of a
table without time):

- number: standardised with mean and standard deviation, clipped to [-10, 10]; missing
  becomes 0, the mean. A column that never goes below zero and reaches further than 10
  deviations is heavy-tailed: its log1p is taken first. A missing flag is added if
  values are missing among the fitted rows.
- datetime (other than the event time): years relative to the cutoff, then a number.
- boolean, and string with few distinct values that repeat: category, numbered by
  frequency; 0 is missing or unseen.
- any other string: text, a hashed bag of words of unit length.
- a column that is constant on the fitted rows is left out. Keys and the event time are
  no features: the edges and the age of a row say what they know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_core.config import GraphConfig
from model_core.graph.bags import hash_text
from model_core.graph.temporal_graph import MISSING
from model_core.tables.snapshot import Snapshot

CLIP = 10.0
SECONDS_PER_YEAR = 365.25 * 86_400

#: A string column is a category only if its values occur this often or more on average.
MIN_MEAN_REPEATS = 2.0

#: Rows whose text is hashed at once.
TEXT_ROWS = 65_536


@dataclass(frozen=True)
class EncodedTable:
    """What was written for one table.

    Attributes:
        entry: The table's part of the graph's metadata: category sizes and column names.
        statistics: Per column what was fitted, for the profile.
        vocabularies: Category column to its values, in the order of their codes 1, 2, …
    """

    entry: dict[str, Any]
    statistics: list[dict[str, Any]]
    vocabularies: dict[str, list[Any]]


def encode_table(
    snapshot: Snapshot,
    table: str,
    fit: np.ndarray,
    visible: np.ndarray,
    cutoff: int,
    config: GraphConfig,
    out: Path,
) -> EncodedTable:
    """Write number.npy, category.npy and text.npy of one table.

    Args:
        snapshot: Validated tables.
        table: Which one. Only columns of its schema are read: hidden ones are not there.
        fit: bool [n], rows that statistics and vocabularies may know.
        visible: bool [n]; all features of other rows are 0.
        cutoff: Datetimes count in years from here (UTC seconds).
        config: Width of text, largest vocabulary.
        out: Folder for the three files.
    """
    numbers: dict[str, np.ndarray] = {}
    categories: dict[str, np.ndarray] = {}
    texts: dict[str, pa.Array] = {}
    statistics: list[dict[str, Any]] = []
    vocabularies: dict[str, list[Any]] = {}
    for column, kind in snapshot.tables[table].columns.items():
        if kind in ("pkey", "fkey", "time"):
            continue
        values = snapshot.table(table, [column]).column(0)
        if kind in ("number", "datetime"):
            found = _fit_number(_float64(values, kind, cutoff), fit)
            statistic, encoded = found.statistic, found.columns
            if kind == "datetime":  # what its numbers count from
                statistic |= {"origin": cutoff}
            numbers |= {f"{column}{suffix}": array for suffix, array in encoded.items()}
        else:
            statistic, vocabulary, codes = _fit_category(values, fit, config.max_categories,
                                                         may_be_text=kind == "string")
            if statistic["kind"] == "category":
                categories[column] = codes
                vocabularies[column] = vocabulary
            elif statistic["kind"] == "text":
                texts[column] = values
        statistics.append({"column": column, **statistic})
    n = len(fit)
    _write_columns(out / "number.npy", numbers, np.float32, visible)
    _write_columns(out / "category.npy", categories, np.int64, visible)
    _write_text(out / "text.npy", texts, config.text_dim, visible, n)
    entry = {
        "category_sizes": [len(vocabularies[column]) + 1 for column in categories],
        "number_names": list(numbers),
        "category_names": list(categories),
        "text_names": list(texts),
    }
    return EncodedTable(entry, statistics, vocabularies)


@dataclass(frozen=True)
class _Number:
    """A fitted number column: its statistics, and name suffix to float32 [n]."""

    statistic: dict[str, Any]
    columns: dict[str, np.ndarray]


def _float64(values: pa.ChunkedArray, kind: str, cutoff: int) -> np.ndarray:
    """Numbers with NaN for missing or infinite; datetimes in years from the cutoff."""
    if kind == "datetime":
        values = values.cast(pa.timestamp("us")).cast(pa.int64())
    array = values.cast(pa.float64(), safe=False).to_numpy()
    if kind == "datetime":
        return (array / 1e6 - cutoff) / SECONDS_PER_YEAR
    return np.where(np.isfinite(array), array, np.nan)


def _fit_number(values: np.ndarray, fit: np.ndarray) -> _Number:
    missing = np.isnan(values)
    known = values[fit & ~missing]
    num_missing = int((missing & fit).sum())
    share = num_missing / max(int(fit.sum()), 1)
    if not len(known) or (known.min() == known.max() and not num_missing):
        return _Number({"kind": "dropped", "reason": "constant", "missing_fraction": share}, {})
    columns: dict[str, np.ndarray] = {}
    statistic: dict[str, Any] = {
        "kind": "number", "min": float(known.min()), "max": float(known.max()),
        "missing_fraction": share, "transform": "none",
    }
    if known.min() < known.max():  # else only the flag tells rows apart
        mean, std = _mean_std(known)
        if not np.isfinite(std) or (known.min() >= 0 and known.max() - mean > CLIP * std):
            statistic["transform"] = "log1p"
            values, known = _signed_log1p(values), _signed_log1p(known)
            mean, std = _mean_std(known)
        statistic |= {"mean": mean, "std": std}
        scaled = np.clip((values - mean) / max(std, np.finfo(np.float64).tiny), -CLIP, CLIP)
        columns[""] = np.where(missing, 0.0, scaled).astype(np.float32)
    if num_missing:
        columns[MISSING] = missing.astype(np.float32)
    return _Number(statistic, columns)


def _mean_std(values: np.ndarray) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean()), float(values.std())


def _signed_log1p(values: np.ndarray) -> np.ndarray:
    """log1p, mirrored below zero, where only rows after the cutoff can lie (or huge values)."""
    return np.sign(values) * np.log1p(np.abs(values))


def _fit_category(
    values: pa.ChunkedArray, fit: np.ndarray, max_categories: int, *, may_be_text: bool
) -> tuple[dict[str, Any], list[Any], np.ndarray]:
    """Kind of a string or boolean column, its vocabulary and its codes, int64 [n]."""
    encoded = _one_chunk(values).dictionary_encode()
    index = _codes(encoded)
    count = np.bincount(index[fit & (index >= 0)], minlength=len(encoded.dictionary))
    known = np.flatnonzero(count)
    num_known, num_missing = int(count.sum()), int((fit & (index < 0)).sum())
    statistic: dict[str, Any] = {
        "distinct": len(known), "missing_fraction": num_missing / max(int(fit.sum()), 1),
    }
    if len(known) + bool(num_missing) < 2 or not len(known):
        return {"kind": "dropped", "reason": "constant"} | statistic, [], index
    repeats = num_known >= MIN_MEAN_REPEATS * len(known)
    if may_be_text and not (repeats and len(known) <= max_categories):
        return {"kind": "text"} | statistic, [], index
    names = encoded.dictionary.take(pa.array(known)).to_pylist()
    order = sorted(range(len(known)), key=lambda i: (-count[known[i]], names[i]))
    code = np.zeros(len(count) + 1, dtype=np.int64)  # the last one is for missing (index -1)
    code[known[order]] = np.arange(1, len(known) + 1)
    top = [[names[i], int(count[known[i]])] for i in order[:5]]
    return {"kind": "category", "top": top} | statistic, [names[i] for i in order], code[index]


def _write_columns(
    path: Path, columns: dict[str, np.ndarray], dtype: type, visible: np.ndarray
) -> None:
    """[n, C] from C columns; zero where not visible."""
    array: np.ndarray = np.zeros((len(visible), len(columns)), dtype=dtype)
    for position, values in enumerate(columns.values()):
        array[visible, position] = values[visible]
    np.save(path, array)


def _write_text(
    path: Path, texts: dict[str, pa.ChunkedArray], dim: int, visible: np.ndarray, num_rows: int
) -> None:
    """[n, T * dim], written in pieces: text may be far wider than its table."""
    shape = (num_rows, len(texts) * dim)
    if 0 in shape:
        np.save(path, np.zeros(shape, dtype=np.float32))
        return
    array: Any = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for block, values in enumerate(texts.values()):
        for first in range(0, num_rows, TEXT_ROWS):
            piece = _one_chunk(values.slice(first, TEXT_ROWS)).dictionary_encode()
            words = hash_text(piece.dictionary.to_pylist(), dim)
            words = np.concatenate([words, np.zeros((1, dim), np.float32)])  # -1: missing
            rows = slice(first, first + len(piece))
            array[rows, block * dim : (block + 1) * dim] = words[_codes(piece)]
    array[~visible] = 0
    array.flush()


def _one_chunk(values: pa.ChunkedArray) -> pa.Array:
    whole = values.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _codes(encoded: pa.DictionaryArray) -> np.ndarray:
    """Positions in the dictionary, int64 [n]; -1 for missing."""
    return pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
