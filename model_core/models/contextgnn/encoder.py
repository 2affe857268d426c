"""Table encoder: the columns of a row become one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_core.graph.schema import TableFeatures
from model_core.models.contextgnn.dropout import dropped_bytes, relu_dropout


class ResidualBlock(nn.Module):
    """``x + Linear(Dropout(ReLU(Linear(LayerNorm(x)))))``."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        hidden = relu_dropout(self.enter(self.norm(x)), self.dropout, self.training, generator)
        return x + self.leave(hidden)


class TableEncoder(nn.Module):
    """A residual network over numbers, categories and text of one table.

    It runs over distinct rows; callers gather. The columns enter through one linear
    layer, in which a category is a one-hot vector, that is, a learned vector per value.
    A table without columns gets one learned vector for all of its rows.

    Args:
        features: Widths of the table's columns.
        width: Width of the hidden layers.
        out: Width of the result.
        num_blocks: Residual blocks.
        dropout: Dropout rate in the blocks.

    Source: the ResNet of Gorishniy et al. 2021 (arXiv 2106.11959), which RelBench uses
    as its column encoder. Deviations: LayerNorm instead of BatchNorm, so that a row's
    encoding does not depend on the batch; one dropout per block; columns are added up
    after one linear map instead of being concatenated after one map each.
    """

    first_code: Tensor

    def __init__(
        self, features: TableFeatures, width: int, out: int, num_blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_dense = features.num_number + features.num_text
        self.num_categories = len(features.category_sizes)
        self.constant: nn.Parameter | None = None
        #: Whether equal rows are encoded differently in training.
        self.has_dropout = False
        if not self.num_dense and not self.num_categories:
            self.constant = nn.Parameter(torch.randn(out))
            return
        self.dense = nn.Linear(self.num_dense, width) if self.num_dense else None
        self.category = nn.Embedding(sum(features.category_sizes), width) if (
            self.num_categories) else None
        first = torch.tensor((0, *features.category_sizes[:-1]), dtype=torch.int64).cumsum(0)
        self.register_buffer("first_code", first[: self.num_categories], persistent=False)
        self.has_dropout = num_blocks > 0 and dropped_bytes(dropout) > 0
        self.blocks = nn.ModuleList(ResidualBlock(width, dropout) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out)

    def forward(
        self, number: Tensor, category: Tensor, text: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Encode R rows.

        Args:
            number: float32 [R, F].
            category: int64 [R, C], codes below the category sizes.
            text: float32 [R, T].
            generator: For dropout; needed in training only.

        Returns:
            float [R, out].
        """
        if self.constant is not None:
            return self.constant.expand(number.shape[0], -1)
        parts = []
        if self.dense is not None:
            parts.append(self.dense(torch.cat([number, text], dim=1)))
        if self.category is not None:
            code = category + self.first_code
            parts += [self.category(code[:, column]) for column in range(self.num_categories)]
        x = parts[0]
        for part in parts[1:]:
            x = x + part
        for block in self.blocks:
            x = block(x, generator)
        return self.head(torch.relu(self.norm(x)))
