"""Proposals made by hand, for tests that need no queue record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_core.graph.temporal_graph import UNTIMED
from model_core.negatives.drawing import Proposals


def make_proposals(
    popular: Sequence[np.ndarray], uniform_fraction: float = 0.3, birth: np.ndarray | None = None
) -> Proposals:
    """Bucket b at time 10·(b + 1), with the given popular weights, float [num_items] each."""
    num_items = len(popular[0])
    birth = np.full(num_items, UNTIMED) if birth is None else np.asarray(birth)
    bucket_time = 10 * np.arange(1, len(popular) + 1)
    items, cumulative, fraction, ptr = [], [], [], [0]
    for bucket, (weight, time) in enumerate(zip(popular, bucket_time, strict=True)):
        weight = np.where(birth <= time, weight, 0.0)
        there = np.flatnonzero(weight > 0)
        items.append(there)
        cumulative.append(bucket + np.cumsum(weight[there] / weight.sum()) if len(there) else [])
        fraction.append(uniform_fraction if len(there) else 1.0)
        ptr.append(ptr[-1] + len(there))
    return Proposals.from_arrays({
        "bucket_time": bucket_time,
        "num_born": (birth[None] <= bucket_time[:, None]).sum(1),
        "uniform_fraction": np.asarray(fraction), "popular_ptr": np.asarray(ptr),
        "popular_item": np.concatenate(items).astype(np.int32),
        "popular_cumulative": np.concatenate(cumulative).astype(np.float64),
        "item_order": np.argsort(birth, kind="stable").astype(np.int32), "item_birth": birth,
    })


def dense(popular: np.ndarray, born: np.ndarray, uniform_fraction: float) -> np.ndarray:
    """The same distribution written out, float64 [num_items]."""
    weight = np.where(born, popular, 0.0)
    uniform = born / born.sum()
    if weight.sum() == 0:
        return uniform
    return (1 - uniform_fraction) * weight / weight.sum() + uniform_fraction * uniform
