"""Rank the whole catalogue for every seed, block by block.

Nothing about the batch size, the device or the order of rows may change a list: raw
scores are compared as they are, and equal scores are ordered by item id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from model_core.errors import EvaluationError
from model_core.evaluation.masks import Mask, NoMask
from model_core.split.seeds import SeedTable

#: Scores of one block; ranking holds them a few times over.
MAX_SCORES = 2**26


class Scorer(Protocol):
    """Scores every item for a block of seeds: models, exported bundles and baselines alike."""

    def __call__(self, entity: torch.Tensor, time: torch.Tensor, /) -> torch.Tensor:
        """Raw scores, float [B, num_items]; higher is better, -inf means never.

        Args:
            entity: int64 [B], rows of the entity table.
            time: int64 [B], seed times in UTC seconds; nothing later may be used.
        """
        ...


@runtime_checkable
class StagedScorer(Scorer, Protocol):
    """A scorer in two stages, so that a block can be prepared while the one before is scored.

    ``scorer(entity, time)`` equals ``scorer.score(scorer.prepare(entity, time))``.
    """

    def prepare(self, entity: torch.Tensor, time: torch.Tensor, /) -> Any:
        """What ``score`` takes. Called in another thread; may depend on nothing but the seeds."""
        ...

    def score(self, prepared: Any, /) -> torch.Tensor:
        """Raw scores as of ``__call__``, in memory that the caller may write to."""
        ...


NumpyScorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def from_numpy_scorer(scorer: NumpyScorer) -> Scorer:
    """Let a scorer on numpy arrays, such as an onnxruntime session, be ranked."""

    def score(entity: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(scorer(entity.cpu().numpy(), time.cpu().numpy())).to(entity.device)

    return score


def top_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Best k items of every row: by score, highest first, then by item id.

    ``torch.topk`` alone picks any of the items that tie at place k, differently on
    different devices. Rows with such a tie are cut again: all items above the k-th
    score, then the smallest ids at it.

    Args:
        scores: float [B, N] without NaN, +inf or -0.0; -inf is never listed.
        k: Places, at least 1.

    Returns:
        int64 [B, k], padded with -1 where a row has fewer items.

    Example:
        >>> top_k(torch.tensor([[1.0, 3.0, 1.0, 1.0]]), 2)
        tensor([[1, 0]])
    """
    num_rows, num_items = scores.shape
    width = min(k, num_items)
    if num_rows == 0 or width == 0:
        return torch.full((num_rows, k), -1, dtype=torch.int64, device=scores.device)
    value, item = torch.topk(scores, min(width + 1, num_items), dim=1)
    if width < num_items:
        threshold = value[:, width - 1 : width]
        tied = (threshold == value[:, width:]).squeeze(1) & (threshold.squeeze(1) > -torch.inf)
        rows = tied.nonzero().squeeze(1)
        item = item[:, :width].clone()
        if len(rows):
            row_scores, row_threshold = scores[rows], threshold[rows]
            above, at = row_scores > row_threshold, row_scores == row_threshold
            room = width - above.sum(dim=1, keepdim=True)
            chosen = above | (at & (at.cumsum(dim=1, dtype=torch.int32) <= room))
            item[rows] = chosen.nonzero()[:, 1].view(len(rows), width)
    item = item.sort(dim=1).values
    value = scores.gather(1, item)
    value, order = value.sort(dim=1, descending=True, stable=True)
    item = item.gather(1, order).masked_fill(value == -torch.inf, -1)
    return torch.nn.functional.pad(item, (0, k - width), value=-1)


def _checked(
    scores: torch.Tensor, entity: torch.Tensor, time: torch.Tensor, *, own: bool
) -> torch.Tensor:
    """Scores that may be written to, in which -0.0 has become 0.0.

    Args:
        scores: Of a scorer, for the given seeds.
        own: Whether they may be changed as they are; otherwise a copy is made.
    """
    if scores.ndim != 2 or len(scores) != len(entity):
        raise EvaluationError("scorer", f"scores of shape [{len(entity)}, num_items]",
                              f"shape {list(scores.shape)}", "return one row of scores per seed")
    if not scores.is_floating_point() or scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    if scores.numel() and not bool(scores.amax() < torch.inf):  # NaN is the largest, compares false
        bad = ~(scores < torch.inf)
        row, item = (int(i) for i in bad.nonzero()[0])
        raise EvaluationError(
            f"scorer, entity {int(entity[row])} at time {int(time[row])}, item {item}",
            "finite scores (or -inf for never)",
            f"{float(scores[row, item])} ({int(bad.sum())} such scores in this block)",
            "find where the model's numbers blow up; a lower learning rate often helps",
        )
    return scores.add_(0.0) if own else scores + 0.0


def rows_per_block(batch_size: int, num_items: int) -> int:
    """Seeds per block: as asked for, or so few that a block's scores take 256 MB.

    Example:
        >>> rows_per_block(256, 4_000), rows_per_block(256, 10_000_000)
        (256, 6)
    """
    return min(batch_size, max(MAX_SCORES // max(num_items, 1), 1))


def rank_masks(
    scorer: Scorer,
    seeds: SeedTable,
    k: int,
    masks: Mapping[str, Mask],
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Rank under several masks with one scoring pass.

    The next block is prepared in a thread while one is scored: its masks, and the first
    stage of a ``StagedScorer``.

    Args:
        scorer: Scores the whole catalogue.
        seeds: Whom to rank for, and when.
        k: Length of the lists.
        masks: Mask name to mask.
        batch_size: Seeds per block; bounds memory, changes no list.
        device: Where the seeds are handed to the scorer and the scores are ranked.
        progress: Called with (rows done, rows in all) after every block.

    Returns:
        Mask name to int64 [n, k], best first, padded with -1; rows as in ``seeds``.

    Raises:
        EvaluationError: Scores of a wrong shape, NaN or +inf.
    """
    if k < 1:
        raise EvaluationError("k", "at least 1", str(k), "ask for at least one item")
    ranked = {name: np.full((len(seeds), k), -1, dtype=np.int64) for name in masks}
    staged = scorer if isinstance(scorer, StagedScorer) else None

    def prepare(first: int) -> _Block:
        rows = slice(first, first + batch_size)
        entity, time = seeds.entity[rows], seeds.time[rows]
        hidden = {name: tuple(torch.from_numpy(part).to(device) for part in mask(entity, time))
                  for name, mask in masks.items()}
        # Arrays of a record are read-only, which torch warns of.
        who, when = (torch.from_numpy(np.array(part)).to(device) for part in (entity, time))
        return _Block(rows, who, when, hidden, staged.prepare(who, when) if staged else None)

    for block in _one_ahead(prepare, range(0, len(seeds), batch_size)):
        entity, time = block.entity, block.time
        with torch.no_grad():
            scores = (staged.score(block.prepared) if staged else scorer(entity, time)).to(device)
            scores = _checked(scores, entity, time, own=staged is not None)
            for name, (row, item) in block.hidden.items():
                kept = scores[row, item]
                scores[row, item] = -torch.inf
                ranked[name][block.rows] = top_k(scores, k).cpu().numpy()
                scores[row, item] = kept
        if progress:
            progress(min(block.rows.stop, len(seeds)), len(seeds))
    return ranked


@dataclass(frozen=True)
class _Block:
    """Some seeds, with the pairs that each mask hides and the scorer's first stage."""

    rows: slice
    entity: torch.Tensor
    time: torch.Tensor
    hidden: Mapping[str, tuple[torch.Tensor, ...]]
    prepared: Any


Prepared = TypeVar("Prepared")


def _one_ahead(prepare: Callable[[int], Prepared], numbers: Sequence[int]) -> Iterator[Prepared]:
    """``map(prepare, numbers)``, always one further than what is being worked on."""
    if not numbers:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="prepare-block") as thread:
        ahead = thread.submit(prepare, numbers[0])
        for number in numbers[1:]:
            ready = ahead.result()
            ahead = thread.submit(prepare, number)
            yield ready
        yield ahead.result()


def rank(
    scorer: Scorer,
    seeds: SeedTable,
    k: int,
    *,
    mask: Mask | None = None,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Rank under one mask (none by default). See ``rank_masks``."""
    masks = {"": mask or NoMask()}
    return rank_masks(scorer, seeds, k, masks, batch_size=batch_size, device=device)[""]
