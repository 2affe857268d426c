"""Distinct keys and who has which: without sorting where there is a faster way."""

from __future__ import annotations

import torch
from torch import Tensor

#: Where there are more cells than this per key, sorting is the faster way.
MAX_CELLS_PER_KEY = 8


def distinct(key: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    """``torch.unique(key, return_inverse=True)``.

    Args:
        key: int64 [n], within ``range(num_cells)``.
        num_cells: Marks take nine bytes per cell, where keys are dense among them.

    Returns:
        Ascending distinct keys, int64 [m], and the place of every key among them, int64 [n].

    Example:
        >>> distinct(torch.tensor([4, 1, 4]), 5)
        (tensor([1, 4]), tensor([1, 0, 1]))
    """
    if bool((key[1:] >= key[:-1]).all()):  # as most keys of a sampler come
        found, place = torch.unique_consecutive(key, return_inverse=True)
        return found, place
    if num_cells > MAX_CELLS_PER_KEY * len(key):
        return torch.unique(key, return_inverse=True)
    marked = torch.zeros(num_cells, dtype=torch.bool, device=key.device)
    marked[key] = True
    found = marked.nonzero().squeeze(1)
    place = torch.empty(num_cells, dtype=torch.int64, device=key.device)
    place[found] = torch.arange(len(found), device=key.device)
    return found, place[key]
