"""ReLU and inverted dropout in one step, with cheap masks.

Drawing one float per element dominates a training step on a CPU. A decision needs
far fewer bits, so random 64-bit integers are cut into eight bytes, and an element is
kept where its byte is not below a threshold. The rate is therefore a multiple of 1/256
(0.2 becomes 51/256 = 0.1992), and the kept elements are scaled by the exact inverse of
the rate in force, so that the expectation is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

_INT64_MIN = -(2**63)


def dropped_bytes(rate: float) -> int:
    """How many of the 256 byte values mean "drop"; between 0 and 255."""
    return min(round(rate * 256), 255)


def keep_mask(shape: torch.Size, rate: float, like: Tensor, generator: torch.Generator) -> Tensor:
    """1 where an element is kept, 0 where it is dropped, in the dtype of ``like``.

    Args:
        shape: Shape of the mask.
        rate: Share of dropped elements, rounded to 1/256.
        like: Gives device and dtype.
        generator: Lives on the device of ``like``.
    """
    num_elements = shape.numel()
    words = torch.empty(-(-num_elements // 8), dtype=torch.int64, device=like.device)
    words.random_(_INT64_MIN, None, generator=generator)  # all 64 bits, unlike random_()
    cut = words.view(torch.uint8)[:num_elements].view(shape)
    mask = torch.empty(shape, dtype=like.dtype, device=like.device)
    return torch.ge(cut, dropped_bytes(rate), out=mask)


class _ReluDropout(torch.autograd.Function):
    """The output alone tells what to let through: it is positive exactly there."""

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        out = torch.mul(x, mask).relu_().mul_(scale)
        ctx.save_for_backward(out)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, out, 0).mul_(ctx.scale), None, None


def relu_dropout(
    x: Tensor, rate: float, training: bool, generator: torch.Generator | None
) -> Tensor:
    """``dropout(relu(x))``; plain ReLU outside training.

    Args:
        x: float, any shape.
        rate: Share of dropped elements, rounded to 1/256.
        training: Whether to drop at all.
        generator: Source of the mask; required where elements are dropped, because
            an implicit global generator could not be resumed exactly.

    Raises:
        ValueError: Training without a generator.
    """
    if not training or dropped_bytes(rate) == 0:
        return torch.relu(x)
    if generator is None:
        raise ValueError("dropout in training mode needs a torch.Generator (got None)")
    scale = 256 / (256 - dropped_bytes(rate))
    return _ReluDropout.apply(x, keep_mask(x.shape, rate, x, generator), scale)
