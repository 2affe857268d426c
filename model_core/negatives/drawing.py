"""Draws from the queue's proposals, and the probability of every draw.

One step of training draws as many items as the softmax has free classes, out of
catalogues of millions, so nothing here costs a pass over the catalogue: a draw is one
binary search, a probability one per bucket.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model_core.negatives.queue import NegativeQueue

#: Buckets that one step's draws come from, at most; a probability costs a search in each.
MAX_MIXED = 8


@dataclass(frozen=True)
class Proposals:
    """The proposals of all buckets, on one device. T buckets, n popular entries in all.

    Attributes:
        bucket_time: int64 [T].
        num_born: int64 [T], items born by the bucket's time: the first so many of ``item_order``.
        uniform_fraction: float64 [T], weight of the uniform component.
        popular_ptr: int64 [T + 1], a bucket's part of the next two.
        popular_item: int32 [n], ascending within a bucket.
        popular_cumulative: float64 [n], bucket number plus cumulative probability of the
            popular component: ascending over all buckets, so one search serves them all.
            Its steps *are* the probabilities, hence draws and corrections agree exactly.
        item_order: int32 [num_items], items by birth.
        item_birth: int64 [num_items].
    """

    bucket_time: Tensor
    num_born: Tensor
    uniform_fraction: Tensor
    popular_ptr: Tensor
    popular_item: Tensor
    popular_cumulative: Tensor
    item_order: Tensor
    item_birth: Tensor

    @classmethod
    def of(cls, queue: NegativeQueue, device: str | torch.device = "cpu") -> Proposals:
        """The proposals of a queue record; on the CPU they share the mapped memory."""
        return cls.from_arrays(
            {name: getattr(queue, name) for name in cls.__dataclass_fields__}, device)

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], device: str | torch.device = "cpu"
    ) -> Proposals:
        """From arrays named as the attributes are."""
        with warnings.catch_warnings():  # mapped arrays are read-only; we never write to them
            warnings.simplefilter("ignore", UserWarning)
            return cls(**{
                name: torch.from_numpy(np.asarray(arrays[name])).to(device)
                for name in cls.__dataclass_fields__})

    @property
    def num_buckets(self) -> int:
        return len(self.bucket_time)

    def draw(self, bucket: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One item per entry, each from its bucket's proposal, independently.

        Args:
            bucket: int64 [M].
            generator: Source of randomness; numbers are drawn on its device and moved.

        Returns:
            ``(item, is_popular)``: int64 [M] and bool [M], which component a draw is from.
        """
        device = bucket.device
        component, place = torch.rand(
            (2, len(bucket)), dtype=torch.float64, generator=generator, device=generator.device,
        ).to(device)
        is_popular = component >= self.uniform_fraction[bucket]
        born = self.num_born[bucket]
        position = torch.minimum((place * born).long(), born - 1)  # a product may round up
        item = self.item_order[position].long()
        if len(self.popular_item):
            first, end = self.popular_ptr[bucket], self.popular_ptr[bucket + 1]
            found = torch.searchsorted(self.popular_cumulative, bucket + place, right=True)
            # An empty bucket has nothing popular and the result is not used.
            found = torch.minimum(torch.maximum(found, first), end - 1).clamp(min=0)
            item = torch.where(is_popular, self.popular_item[found].long(), item)
        return item, is_popular

    def probability(self, bucket: int, item: Tensor) -> Tensor:
        """q of some items under one bucket.

        Args:
            bucket: Which.
            item: int64 [n]; sorted items are found faster.

        Returns:
            float64 [n]; 0 for items not born by the bucket's time.
        """
        share, born = self.uniform_fraction[bucket], self.num_born[bucket]
        uniform = torch.where(self.item_birth[item] <= self.bucket_time[bucket], share / born, 0.0)
        first, end = (int(bound) for bound in self.popular_ptr[bucket : bucket + 2])
        if first == end:
            return uniform
        place = torch.searchsorted(self.popular_item[first:end], item.int())
        place = place.clamp_(max=end - first - 1) + first
        below = self.popular_cumulative[(place - 1).clamp(min=0)]
        below = torch.where(place == first, float(bucket), below)
        popular = torch.where(
            self.popular_item[place] == item, self.popular_cumulative[place] - below, 0.0)
        return (1 - share) * popular + uniform

    def mixture(self, bucket: Tensor, item: Tensor) -> Tensor:
        """q of some items when a row of the batch is chosen first, then an item of its bucket.

        Args:
            bucket: int64 [B], bucket of every row (see ``mixed_buckets``).
            item: int64 [n].

        Returns:
            float64 [n], Σ_b (rows in b / B) · q_b(item).
        """
        present, count = torch.unique(bucket, return_counts=True)
        total = torch.zeros(len(item), dtype=torch.float64, device=item.device)
        for b, rows in zip(present.tolist(), count.tolist(), strict=True):
            total += rows / len(bucket) * self.probability(b, item)
        return total


def mixed_buckets(bucket: Tensor, most: int = MAX_MIXED) -> Tensor:
    """Buckets that a batch draws from: its rows' own ones, or few that stand for them.

    All rows of a step compete over the same classes, so a row need not draw from its own
    bucket. Where a batch spans more than ``most`` buckets, its rows in order of time are
    cut into that many equal groups and each group draws from its newest bucket. The newest
    bucket of the batch always stays, so every item that some row's bucket can draw keeps
    a chance. Nothing here is random: the correction stays exact.

    Args:
        bucket: int64 [B].

    Returns:
        int64 [B], ascending.

    Example:
        >>> mixed_buckets(torch.tensor([5, 1, 2, 9]), most=2)
        tensor([2, 2, 9, 9])
    """
    ordered = bucket.sort().values
    if len(torch.unique_consecutive(ordered)) <= most:
        return ordered
    place = torch.arange(len(ordered), device=bucket.device)
    group = place * most // len(ordered)
    end = torch.div((group + 1) * len(ordered) - 1, most, rounding_mode="floor")
    return ordered[end]
