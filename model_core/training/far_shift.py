"""How far items from outside the near group may come up: chosen on validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from model_core.models.contextgnn.model import ContextGNN

#: Nothing; a factor of twenty; near items always first.
SHIFTS = (0.0, 3.0, 30.0)


def best_far_shift(
    model: ContextGNN, validate: Callable[[], float], shifts: Sequence[float] = SHIFTS
) -> float:
    """Set ``model.far_shift`` to the value with the best validation metric.

    Inside a group the order is learned from many comparisons per row. Between the groups
    it hangs on how sure the tower is of single items, and a tower trained on few rows is
    too sure: its favourites of thousands of items then enter the first places. One
    number, measured like the stopping epoch, puts that right.

    Args:
        model: In evaluation mode. One without two groups keeps its shift of 0.
        validate: Metric of the model as it is, higher is better.
        shifts: What to choose from; of equals the first.

    Returns:
        The best metric; NaN (and shift 0) where it cannot be told.
    """
    best = -math.inf
    chosen = 0.0
    for shift in shifts if model.gate is not None else (0.0,):
        model.far_shift.fill_(shift)
        value = validate()
        if not math.isfinite(value):
            chosen, best = 0.0, value
            break
        if value > best:
            chosen, best = shift, value
    model.far_shift.fill_(chosen)
    return best
