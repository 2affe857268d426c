"""Time encoder: how long before the seed time a row appeared."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AgeEncoder(nn.Module):
    """``Linear(sin, cos of the age at many frequencies)``.

    Wavelengths run geometrically from 2π days to 2π · 10,000 days.

    Args:
        channels: Width of the result.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5, on ages in days as in
    RelBench (arXiv 2407.20060).
    """

    frequency: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = -(-channels // 2)
        frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("frequency", frequency, persistent=False)
        self.linear = nn.Linear(2 * half, channels)

    def forward(self, age_days: Tensor) -> Tensor:
        """float32 [N] days to float [N, channels]."""
        angle = age_days.unsqueeze(1) * self.frequency
        return self.linear(torch.cat([torch.sin(angle), torch.cos(angle)], dim=1))
