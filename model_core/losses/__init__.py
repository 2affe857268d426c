"""Loss functions on raw scores; models and sampling know nothing of them."""

from model_core.losses.softmax import softmax_loss, unborn

__all__ = ["softmax_loss", "unborn"]
