"""Proof that onnxruntime ranks as torch does, on real users, before a bundle exists.

The two sides share nothing but the graph: torch samples and scores with the trained
model; onnxruntime is fed by serving's numpy sampler and batches, as in production.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model_core.config import ExportConfig
from model_core.errors import ExportError
from model_core.serving.recommend import Recommender
from model_core.serving.top_k import top_k
from model_core.split.seeds import Split

TorchScorer = Callable[[Tensor, Tensor], Tensor]

#: Races and unstable reductions show only with several threads.
NUM_THREADS = 2
NUM_RUNS = 2


@dataclass(frozen=True)
class Parity:
    """What was compared and how close it came.

    Attributes:
        num_users: Seed rows (user, time) compared.
        num_scores: Scores compared.
        k: Length of the lists compared.
        num_list_differences: Places at which the lists differ, all between tied items.
        largest_difference: Largest score difference, relative to max(1, the user's largest
            score), rounded up to a power of ten so that it does not change from run to run.
        tolerance: What was allowed.
    """

    num_users: int
    num_scores: int
    k: int
    num_list_differences: int
    largest_difference: float
    tolerance: float


def parity_seeds(split: Split, num_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and times to compare: evenly spread over the rows of val and test.

    Returns:
        ``(entity, time)``, int64 [≤ num_users].
    """
    entity = np.concatenate([split.val.entity, split.test.entity])
    time = np.concatenate([split.val.time, split.test.time])
    rows = np.unique(np.linspace(0, len(entity) - 1, min(num_users, len(entity))).astype(np.int64))
    return entity[rows], time[rows]


def prove_parity(
    scorer: TorchScorer, recommender: Recommender, split: Split, config: ExportConfig
) -> Parity:
    """Compare onnxruntime with torch on real users at their real times.

    Two scores agree if they differ by at most ``tolerance`` times max(1, the largest
    magnitude among the user's scores): the rounding error of a dot product grows with
    its terms, not with its value. Lists agree if at every place the two items have
    scores that agree, twice the tolerance apart at most (one rounding on each side).

    Args:
        scorer: The trained model in torch.
        recommender: The exported model, with at least two threads.
        split: Its val and test rows give the users.
        config: How many users and which tolerance.

    Raises:
        ExportError: They disagree, onnxruntime disagrees with itself, or there is no user.
    """
    entity, time = parity_seeds(split, config.num_parity_users)
    if len(entity) == 0:
        raise ExportError("split", "val or test rows to compare on", "none",
                          "choose timestamps with labels in the val or test window")
    k = min(max(split.eval_k, 10), len(recommender.item_id))
    largest, num_differences = 0.0, 0
    for start in range(0, len(entity), recommender.batch_size):
        block = slice(start, start + recommender.batch_size)
        who = (entity[block], time[block])
        runs = [recommender.scores(*who) for _ in range(NUM_RUNS)]
        for run in runs[1:]:
            if not np.array_equal(run, runs[0]):
                raise ExportError(
                    "exported model", "the same scores at every run",
                    f"a difference of {np.abs(run - runs[0]).max():.2g} between two runs",
                    "report this with the model's name: an operator of its scoring path races",
                )
        with torch.no_grad():
            expected = scorer(torch.from_numpy(who[0]), torch.from_numpy(who[1])).cpu().numpy()
        if expected.shape != runs[0].shape:
            raise ExportError("exported model", f"scores of shape {expected.shape}",
                              str(runs[0].shape), "export with the graph the model was trained on")
        scale = np.maximum(1.0, np.abs(expected).max(axis=1, keepdims=True))
        difference = np.abs(runs[0] - expected) / scale
        worst = np.unravel_index(np.argmax(difference), difference.shape)
        largest = max(largest, float(difference[worst]))
        if not difference[worst] <= config.tolerance:  # also true for NaN
            raise ExportError(
                f"exported model, entity {who[0][worst[0]]} at time {who[1][worst[0]]}, item row "
                f"{worst[1]}", f"score {expected[worst]:.6g} within {config.tolerance:g}",
                f"{runs[0][worst]:.6g}", "report this with the model's name and its configuration",
            )
        num_differences += _compare_lists(
            expected, recommender, runs[0], who, k, 2 * config.tolerance * scale)
    return Parity(
        len(entity), len(entity) * len(recommender.item_id), k, num_differences,
        10.0 ** math.ceil(math.log10(max(largest, 1e-12))), config.tolerance,
    )


def _compare_lists(
    expected: np.ndarray, recommender: Recommender, found: np.ndarray,
    who: tuple[np.ndarray, np.ndarray], k: int, allowed: np.ndarray,
) -> int:
    """Number of places at which the lists differ; every one must be a tie."""
    wanted, best = top_k(expected, k)
    ids, _ = recommender.rank(found, k)
    order = np.argsort(recommender.item_id, kind="stable")
    column = order[np.searchsorted(recommender.item_id, ids, sorter=order)]
    got = np.take_along_axis(expected, column, axis=1)
    bad = np.argwhere(~(np.abs(got - best) <= allowed))
    if len(bad) or any(len(set(row)) < k for row in ids):
        row, place = bad[0] if len(bad) else (0, 0)
        raise ExportError(
            f"exported model, entity {who[0][row]} at time {who[1][row]}, place {place + 1}",
            f"item row {wanted[row, place]} (score {best[row, place]:.6g})",
            f"item row {column[row, place]} (score {got[row, place]:.6g})",
            "report this with the model's name and its configuration",
        )
    return int((column != wanted).sum())
