"""How hard negatives become as training goes on."""

from __future__ import annotations


def hard_fraction(
    step: int, total_steps: int, max_fraction: float, start_fraction: float = 0.1
) -> float:
    """Share of the free classes that go to hard neighbours of the positives.

    Zero at first, because a model that ranks at random learns more from easy negatives
    and hard ones include the most false negatives; then a straight line up to
    ``max_fraction`` at the last step.

    Args:
        step: Steps done, 0-based.
        total_steps: Steps of the whole training.
        max_fraction: Share at the end, in [0, 1].
        start_fraction: Part of training that sees none.

    Returns:
        A share in [0, max_fraction].

    Source: the idea is PinSage's (Ying et al. 2018), which adds one hard negative per
    epoch; a linear share does not depend on the number of epochs.

    Example:
        >>> [round(hard_fraction(step, 101, 0.5, 0.2), 3) for step in (0, 20, 60, 100, 500)]
        [0.0, 0.0, 0.25, 0.5, 0.5]
    """
    start = start_fraction * (total_steps - 1)
    length = max(total_steps - 1 - start, 1.0)
    return max_fraction * min(max((step - start) / length, 0.0), 1.0)
