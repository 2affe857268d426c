"""Softmax cross-entropy over the catalogue, full or on sampled classes.

For every positive of a row, ``logsumexp(scores of the row) - score of the positive``;
summed over positives. Callers divide by the rows of the whole batch, so that gradients
of micro-batches add up exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_core.models.contextgnn.fusion import ABSENT, Apart, log_partition, looked_up


def softmax_loss(
    scores: Tensor,
    positive_row: Tensor,
    positive_column: Tensor,
    *,
    masked: Tensor | None = None,
    log_q: Tensor | None = None,
    positives_compete: bool = True,
    row_weight: Tensor | None = None,
    apart: Apart | None = None,
) -> Tensor:
    """Multi-positive cross-entropy, summed over all positives of the batch.

    One function serves both losses. With every item as a column it is the full softmax.
    With a sample of items as columns and ``log_q`` it is the sampled softmax: a drawn
    column stands for 1/q of its kind in the partition, so its logit becomes
    ``score - log_q``. Columns that are there for certain carry ``log_q = 0``; with all
    columns certain the two losses are the same number.

    A row's own positives always count once, as they are: they are neither masked (even
    where an item's own time says that it is not born yet) nor corrected (an accidental
    hit, a positive that was also drawn, must not be pushed down as 1/q negatives).

    Args:
        scores: float [B, C], raw scores.
        positive_row: int64 [P], row of every positive; (row, column) pairs are distinct.
        positive_column: int64 [P], its column.
        masked: bool [B, C] (or broadcastable), columns that are not negatives of a row,
            for example items not yet born.
        positives_compete: Whether a row's other positives stand in the partition of each of
            its positives, as in the authors' loss. False: a known positive is never a
            negative, so each positive competes with the row's negatives and itself alone.
            (Scores that are already normalised by group, as two-level fusion makes them,
            keep known positives in the partitions of their groups.)
        row_weight: float [B], what each row counts; unset, all count 1.
        log_q: float [C] (or [B, C]), log of the probability that a column is in the sample.
        apart: What each of K networks says, of which ``scores`` is the mean. The loss is then the
            mean of their K losses: one loss of the mean would teach them to rely on each other.

    Returns:
        Scalar float32, the sum over positives. Divide it by the number of rows.

    Source: arXiv 2411.19513 (loss of ContextGNN); Bengio and Senécal 2008 and Yi et al.
    2019 for the logQ correction. Deviation: unborn items are masked.

    Example:
        >>> scores = torch.zeros(1, 4)
        >>> round(softmax_loss(scores, torch.tensor([0]), torch.tensor([2])).item(), 4)
        1.3863
    """
    scores = scores.float()
    weight = scores.new_ones(()) if row_weight is None else row_weight[positive_row]
    positive = scores[positive_row, positive_column]
    if masked is not None or log_q is not None:
        correction = torch.zeros_like(scores, requires_grad=False)
        if log_q is not None:
            correction -= log_q
        if masked is not None:
            correction.masked_fill_(masked, -torch.inf)
        correction[positive_row, positive_column] = 0.0
        scores = scores + correction
    others = scores
    if not positives_compete:
        known = torch.zeros_like(scores, dtype=torch.bool)
        known[positive_row, positive_column] = True
        # Finite, so that a row without any negative has a gradient of zero, not NaN.
        others = scores.masked_fill(known | torch.isneginf(scores), ABSENT)
    if apart is None:
        partition = torch.logsumexp(others, dim=1)[positive_row]
    else:
        partition = _partitions(others, apart)[positive_row]
        place = positive_row * scores.shape[1] + positive_column
        positive = positive[:, None] + looked_up(apart.delta, apart.place, place, scores.numel())[0]
    if not positives_compete:
        partition = torch.logaddexp(partition, positive)
    each = partition - positive
    return (weight * (each if apart is None else each.mean(dim=1))).sum()


def _partitions(scores: Tensor, apart: Apart) -> Tensor:
    """Log of the sum of exp over a row, by every network, float [B, K]."""
    flat = scores.reshape(-1)
    far = torch.logsumexp(flat.scatter(0, apart.place, ABSENT).reshape(scores.shape), dim=1)
    near = flat.index_select(0, apart.place)[:, None] + apart.delta
    return torch.logaddexp(far[:, None], log_partition(near, apart.times, apart.seed, len(scores)))


def unborn(item_birth: Tensor, seed_time: Tensor) -> Tensor:
    """Items whose own time is later than the seed's: they cannot be negatives.

    Args:
        item_birth: int64 [C], UTC seconds; UNTIMED where items carry no time.
        seed_time: int64 [B].

    Returns:
        bool [B, C].
    """
    return item_birth.unsqueeze(0) > seed_time.unsqueeze(1)
