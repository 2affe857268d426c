"""Random draws that depend on the step alone, so that a resumed run repeats them."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derived_seed(seed: int, purpose: str, index: int) -> int:
    """A 63-bit seed from the run's seed, a purpose and a counter.

    Hashing keeps the streams of neighbouring counters unrelated.
    """
    text = f"{seed}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator_for(
    seed: int, purpose: str, index: int, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A fresh generator for one purpose at one step or epoch."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, index))


def epoch_order(seed: int, epoch: int, num_rows: int) -> Tensor:
    """Permutation of the training rows in one epoch, int64 [num_rows], on the CPU."""
    return torch.randperm(num_rows, generator=generator_for(seed, "order", epoch))
