"""SharedRows: rows that many nodes read, and what is made of them once for all readers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn


class SharedRows:
    """Float rows [R, c], with the results of what was done to them.

    Nodes of all seeds read the same rows of products or lines. What a weight makes of such
    rows depends on neither seed nor time, so one evaluation computes it once.

    Args:
        rows: float [R, c].
        lasting: Whether several batches read this object. Only then anything is remembered.
    """

    def __init__(self, rows: Tensor, *, lasting: bool = False) -> None:
        self.rows, self.lasting = rows, lasting
        self._made: dict[Hashable, SharedRows] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.rows.shape[0]

    def mapped(self, weight: Tensor) -> SharedRows:
        """``rows @ weight.T``."""
        return self._once(weight, lambda: self.rows @ weight.t())

    def updated(self, root: nn.Module, norm: nn.Module) -> SharedRows:
        """What a layer makes of nodes that receive no message, ``ReLU(norm(root(rows)))``."""
        return self._once((root, norm), lambda: torch.relu_(norm(root(self.rows))))

    def _once(self, key: Hashable, make: Callable[[], Tensor]) -> SharedRows:
        if not self.lasting:
            return SharedRows(make())
        with self._lock:  # another batch that asks at the same time waits instead of doing it again
            if key not in self._made:
                self._made[key] = SharedRows(make(), lasting=True)
            return self._made[key]
