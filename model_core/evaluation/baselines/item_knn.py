"""Item-kNN: items that the users of one's own items also met."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy import sparse

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines.per_time import PerTimeScorer, ScoreEntities
from model_core.evaluation.baselines.popularity import window_position
from model_core.evaluation.ranking import Scorer, top_k
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.split.seeds import Split

#: Products of one chunk of the item-item matrix: about 0.5 GB at most.
_CHUNK_PRODUCTS = 20_000_000
#: A block counts as full when more than one in this many of its cells is not zero.
_FULL_BLOCK = 4


def make(graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig) -> Scorer:
    """Score = Σ over the user's items of the cosine to the item, over its nearest neighbours.

    Cosine of the item columns of the 0/1 user-item matrix up to the seed time; an item
    is not its own neighbour (Sarwar et al., 2001; Deshpande and Karypis, 2004). Items
    without any similarity to the user's past follow by popularity of the last label
    window, so that users without history get popular items.
    """

    def prepare(known: Interactions[np.ndarray], time: int) -> ScoreEntities:
        met = sparse.csr_array(
            (np.ones(len(known.item), dtype=np.float32), (known.entity, known.item)),
            shape=(graph.num_entities, graph.num_items),
        )
        met.sum_duplicates()
        met.data[:] = 1.0
        similar = nearest_items(met, config.num_knn_neighbors)
        popular = -window_position(known, time, split.window_s, graph.num_items).astype(np.float32)

        def score(entity: np.ndarray) -> np.ndarray:
            scores = (met[entity] @ similar).toarray()
            return np.where(scores > 0, scores, popular)

        return score

    return PerTimeScorer(graph.interactions, graph.num_items, prepare)


def nearest_items(met: sparse.csr_array, num_neighbors: int) -> sparse.csr_array:
    """Cosine similarity of every item to its nearest items.

    Args:
        met: 0/1 float32 [num_entities, num_items].
        num_neighbors: Kept per item; ties go to the smaller item id.

    Returns:
        float32 [num_items, num_items], row i holds the neighbours of item i.
    """
    num_items = met.shape[1]
    norm = np.sqrt(np.asarray(met.sum(axis=0)).ravel())
    columns = met.tocsc() @ sparse.diags_array((1.0 / np.maximum(norm, 1.0)).astype(np.float32))
    rows = columns.T.tocsr()
    columns = columns.tocsr()
    # An upper bound on the entries of each row of the product decides where to cut.
    products = np.asarray(rows.astype(bool).astype(np.int64) @ np.diff(met.indptr)).ravel()
    chunk_of = np.cumsum(products) // _CHUNK_PRODUCTS
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(chunk_of)) + 1, [num_items]])
    parts = [
        _largest_per_row(rows[first:last] @ columns, first, num_neighbors)
        for first, last in pairwise(bounds.tolist())
    ]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_array((0, 0), dtype=np.float32)


def _largest_per_row(block: sparse.csr_array, first_row: int, count: int) -> sparse.csr_array:
    """The largest ``count`` entries of each row, its own column left out; ties to the smaller column."""
    row, column, value = _dense_largest(block, first_row, count) if _is_full(block) else (
        _sparse_largest(block, first_row, count))
    return sparse.csr_array((value, (row, column)), shape=block.shape)


def _is_full(block: sparse.csr_array) -> bool:
    """Small catalogues give blocks so full that selecting beats sorting, by far."""
    return block.nnz * _FULL_BLOCK > block.shape[0] * block.shape[1]


def _dense_largest(
    block: sparse.csr_array, first_row: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = torch.from_numpy(block.toarray())
    own = torch.arange(len(scores))
    scores[own, own + first_row] = 0.0
    column = top_k(scores.masked_fill(scores <= 0.0, -torch.inf), count)
    row, place = (column >= 0).nonzero(as_tuple=True)
    column = column[row, place]
    return row.numpy(), column.numpy(), scores[row, column].numpy()


def _sparse_largest(
    block: sparse.csr_array, first_row: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    block.sort_indices()
    entries = block.tocoo()
    apart = entries.coords[1] != entries.coords[0] + first_row
    row, column, value = entries.coords[0][apart], entries.coords[1][apart], entries.data[apart]
    # Cosines are positive, so their bits order like they do: one integer key sorts by
    # (row, value descending), and a stable sort keeps equal values in column order.
    descending = np.int64(2**31 - 1) - value.view(np.int32)
    order = np.argsort((row.astype(np.int64) << 32) | descending, kind="stable")
    row, column, value = row[order], column[order], value[order]
    nearest = np.arange(len(row)) - np.searchsorted(row, row) < count
    return row[nearest], column[nearest], value[nearest]
