"""Candidate pairs of training rows, computed once and kept while memory allows."""

from __future__ import annotations

import numpy as np

from model_core.priors.features import Candidates, PairPriors
from model_core.split.seeds import SeedTable

#: Most memory for kept rows. Rows beyond it are computed anew at every epoch.
MAX_CACHE_BYTES = 2**28


class CachedPriors:
    """Candidates of training rows by row number.

    They depend on nothing that changes during training, so an epoch after the first one
    need not count again. Features are kept in 16 bits, to which they are rounded anyway:
    a row from the cache and one computed anew are the same.

    Args:
        priors: Computes candidates.
        train: The rows.
        max_bytes: Bound of the kept rows.
    """

    def __init__(self, priors: PairPriors, train: SeedTable, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._priors, self._train = priors, train
        self._room = max_bytes
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, rows: np.ndarray) -> Candidates:
        """Candidates of some rows, int64 [B], in the order given."""
        missing = np.array([row for row in rows.tolist() if row not in self._kept], dtype=np.int64)
        fresh: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if len(missing):
            found = self._priors(self._train.entity[missing], self._train.time[missing])
            bounds = np.searchsorted(found.seed, np.arange(len(missing) + 1))
            for place, row in enumerate(missing.tolist()):
                part = slice(bounds[place], bounds[place + 1])
                fresh[row] = found.item[part], found.feature[part]
        parts = [fresh[row] if row in fresh else self._kept[row] for row in rows.tolist()]
        for row, (item, feature) in fresh.items():
            kept = item.astype(np.int32), feature.astype(np.float16)
            size = kept[0].nbytes + kept[1].nbytes
            if size <= self._room:
                self._kept[row] = kept
                self._room -= size
        if not parts:
            return Candidates.none(self._priors.targets is not None)
        count = [len(item) for item, _ in parts]
        feature = np.empty((sum(count), parts[0][1].shape[1]), dtype=np.float32)
        np.concatenate([feature for _, feature in parts], out=feature, casting="same_kind")
        return Candidates(
            np.repeat(np.arange(len(rows)), count),
            np.concatenate([item for item, _ in parts]).astype(np.int64), feature)
