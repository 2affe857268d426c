"""Weights of a table encoder, moved to the columns of another graph.

The columns of a row enter a ``TableEncoder`` by one linear layer, so a change of scale and
origin of a number, another order of categories and another order of columns are changes of
that layer alone. What cannot be moved counts with its mean: a number with 0, a category
with the mean of its vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model_core.graph.encodings import TableEncodings
from model_core.graph.schema import TableFeatures
from model_core.graph.temporal_graph import MISSING
from model_core.models.contextgnn.encoder import TableEncoder

Weights = Mapping[str, Tensor]


@dataclass
class ColumnChanges:
    """What became of the columns of a table.

    Attributes:
        kept: Number of columns whose weights were carried over.
        changed: Columns that are encoded in another way and start with no weight.
        new, gone: Columns of one of the two graphs only.
        new_values: Category column to its number of values that the old graph did not know.
    """

    kept: int = 0
    changed: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new_values: dict[str, int] = field(default_factory=dict)


def moved_encoder(
    weights: Weights, old: TableEncodings, new: TableEncodings, fresh: Weights
) -> tuple[dict[str, Tensor], ColumnChanges]:
    """Weights with which an encoder gives on the new columns what it gave on the old ones.

    A number x of the old graph is a·x' + c of the new one: a goes into the column's
    weights, c into the bias. A missing value is 0 in both; where the new graph flags it, the
    flag takes c back. A category value that the old graph did not know gets the vector of code
    0, which is what the old encoder does with one. New columns start with no weight, so
    that they change nothing until they are trained.

    Args:
        weights: State of the old encoder.
        old, new: Columns of the table in the two graphs.
        fresh: State of an untrained encoder for the new columns.

    Returns:
        The state for the new columns, with the keys and shapes of ``fresh``, and what
        became of the columns.
    """
    changes = _changes(old, new)
    if "constant" in weights:
        if "constant" in fresh:
            return dict(weights), changes
        # A head that does not look says the same of every row.
        return dict(fresh) | {"head.weight": torch.zeros_like(fresh["head.weight"]),
                              "head.bias": weights["constant"]}, changes
    first = _FirstLayer.of(weights, old)
    bias = first.bias + sum((first.mean_category(column) for column in old.categories
                             if column not in new.categories), torch.zeros_like(first.bias))
    if "constant" in fresh:
        return {"constant": _rest_of_encoder(weights, bias, len(fresh["constant"]))}, changes

    state = {name: weights[name] for name in fresh if not name.startswith(("dense.", "category."))}
    columns, shift = _number_columns(first, old, new)
    bias = bias + sum(shift.values(), torch.zeros_like(bias))
    for text in new.texts:
        known = text in old.texts and old.text_dim == new.text_dim
        columns.append(first.text[text] if known else bias.new_zeros(new.text_dim, len(bias)))
    values = [_category_rows(first, old, new, column) for column in new.categories]
    if "dense.weight" in fresh:
        state |= {"dense.weight": torch.cat(columns).t(), "dense.bias": bias}
    else:  # every row has exactly one value of the first category
        values[0] = values[0] + bias
    if values:
        state["category.weight"] = torch.cat(values)
    return {name: tensor.to(fresh[name].dtype).contiguous() for name, tensor in state.items()}, changes


@dataclass(frozen=True)
class _FirstLayer:
    """The first layer of an encoder column by column, in float64; width w.

    Attributes:
        bias: [w].
        number: Column to [w].
        text: Column to [text_dim, w].
        category: Column to [size, w], code 0 first.
    """

    bias: Tensor
    number: Mapping[str, Tensor]
    text: Mapping[str, Tensor]
    category: Mapping[str, Tensor]

    @classmethod
    def of(cls, weights: Weights, columns: TableEncodings) -> _FirstLayer:
        width = len(weights["norm.weight"])
        dense = weights.get("dense.weight", torch.zeros(width, 0)).double().t()
        bias = weights.get("dense.bias", torch.zeros(width)).double()
        sizes = [len(values) + 1 for values in columns.categories.values()]
        table = weights.get("category.weight", torch.zeros(0, width)).double()
        count = len(columns.numbers)
        return cls(
            bias, dict(zip(columns.numbers, dense[:count].unbind(), strict=True)),
            dict(zip(columns.texts, _pieces(dense[count:], [columns.text_dim] * len(columns.texts)),
                     strict=True)),
            dict(zip(columns.categories, _pieces(table, sizes), strict=True)))

    def mean_category(self, column: str) -> Tensor:
        """Mean vector of a column's values; code 0's where none was known."""
        known = self.category[column][1:]
        return known.mean(dim=0) if len(known) else self.category[column][0]


def _pieces(rows: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
    return iter(rows.split(list(sizes)) if sizes else ())


def _number_columns(
    first: _FirstLayer, old: TableEncodings, new: TableEncodings
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Weights [1, w] of every number column, and what its change of origin adds to the bias."""
    weight = {name: torch.zeros_like(first.bias) for name in new.numbers}
    shift: dict[str, Tensor] = {}
    for name in new.numbers:
        moved = affine(old, new, name)
        if moved is not None:
            stretch, offset = moved
            weight[name] = stretch * first.number[name]
            shift[name] = offset * first.number[name]
    for name, added in shift.items():
        if (flag := new.flag_of(name)) is not None:
            weight[flag] = weight[flag] - added
    return [column.unsqueeze(0) for column in weight.values()], shift


def affine(old: TableEncodings, new: TableEncodings, name: str) -> tuple[float, float] | None:
    """Old number = a · new + c; None where the column is not the same."""
    if name not in old.numbers:
        return None
    before, now = old.numbers[name], new.numbers[name]
    if before is None or now is None:
        return (1.0, 0.0) if before is now else None
    return before.in_terms_of(now)


def _category_rows(
    first: _FirstLayer, old: TableEncodings, new: TableEncodings, column: str
) -> Tensor:
    """Vectors of a category column, [size, w]."""
    size = len(new.categories[column]) + 1
    if column not in old.categories:
        return first.bias.new_zeros(size, len(first.bias))
    code = {value: number for number, value in enumerate(old.categories[column], start=1)}
    rows = [0, *(code.get(value, 0) for value in new.categories[column])]
    return first.category[column][torch.tensor(rows)]


def _rest_of_encoder(weights: Weights, entered: Tensor, out: int) -> Tensor:
    """What an encoder makes of one vector behind its first layer."""
    width = len(entered)
    num_blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    encoder = TableEncoder(TableFeatures(1, (), 0, False), width, out, num_blocks, dropout=0.0)
    rest = {name: tensor for name, tensor in weights.items() if not name.startswith(("dense", "category"))}
    encoder.load_state_dict(rest | {"dense.weight": torch.zeros(width, 1), "dense.bias": entered.float()})
    with torch.no_grad():
        nothing = torch.zeros(1, 0)
        return encoder.eval()(torch.zeros(1, 1), nothing.long(), nothing)[0]


def _changes(old: TableEncodings, new: TableEncodings) -> ColumnChanges:
    changes, before = ColumnChanges(), _kinds(old)
    now = _kinds(new)
    for name, kind in now.items():
        if name not in before:
            changes.new.append(name)
        elif before[name] != kind or (
                kind == "number" and affine(old, new, name) is None) or (
                kind == "text" and old.text_dim != new.text_dim):
            changes.changed.append(name)
        else:
            changes.kept += 1
    changes.gone = [name for name in before if name not in now]
    for name, values in new.categories.items():
        if name in old.categories and (unknown := set(values) - set(old.categories[name])):
            changes.new_values[name] = len(unknown)
    return changes


def _kinds(columns: TableEncodings) -> dict[str, str]:
    """Column to its kind. A flag beside its number is no column; one alone is."""
    kinds = {name: "number" for name in columns.numbers if not (
        name.endswith(MISSING) and name.removesuffix(MISSING) in columns.numbers)}
    return kinds | dict.fromkeys(columns.categories, "category") | dict.fromkeys(columns.texts, "text")
