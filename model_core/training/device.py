"""Where a run computes."""

from __future__ import annotations

import torch

from model_core.errors import ConfigError


def resolve_device(device: str) -> torch.device:
    """``auto`` becomes the GPU where there is one.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("train.device", "a device of this machine", f"{device!r} without a CUDA GPU",
                          "set train.device=auto or cpu")
    return torch.device(device)
