"""RowEncodings: rows of tables are encoded once for all blocks of an evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.gnn import module_key
from model_core.models.contextgnn.model import ContextGNN
from model_core.sampling.batches import Batch

#: Most memory for the encodings of all tables, of which their buffers take up to twice as
#: much. Rows beyond it are encoded with every block.
MAX_ENCODING_BYTES = 2**27


class RowEncodings:
    """Encodings of the rows that were met so far.

    Without dropout a row's encoding depends on the row alone, and blocks of users share
    most of the catalogue and many lines of equal numbers. Encodings are those of a model
    at one moment: make a new object when its weights change.

    Args:
        model: In evaluation mode whenever it is asked.
        graph: The graph as tensors.
        max_bytes: Most memory for encodings, without what their buffers have to spare.
    """

    def __init__(
        self, model: ContextGNN, graph: TemporalGraph[Tensor], max_bytes: int = MAX_ENCODING_BYTES
    ) -> None:
        self._model, self._graph = model, graph
        self._room = max_bytes
        #: Table to the place of every row among the encodings, int32, -1 where it has none; the
        #: row behind the last one stands for a row of zeros.
        self._place: dict[str, Tensor] = {}
        #: Table to encodings, with room for more behind the first ``_used``.
        self._buffer: dict[str, Tensor] = {}
        self._used: dict[str, int] = {}

    def put_into(self, batch: Batch) -> Batch:
        """The batch with encodings of its distinct rows (``Batch.encoded``), where there is room."""
        encoded = {}
        for table in self._model.tables:
            found = self._of(table, batch)
            if found is not None:
                encoded[table] = found
        return replace(batch, encoded=encoded)

    def _of(self, table: str, batch: Batch) -> Tensor | None:
        num_rows, row = self._graph.num_nodes[table], batch.row[table]
        if len(row) == 0:
            return None
        row = torch.where(row < 0, num_rows, row)
        if table not in self._place:
            self._place[table] = torch.full((num_rows + 1,), -1, dtype=torch.int32, device=row.device)
        place = self._place[table]
        new = (place[row] < 0).nonzero().squeeze(1)
        if len(new):
            size = len(new) * self._model.config.channels * 4
            if size > self._room:
                return None
            self._room -= size
            columns = (batch.number[table], batch.category[table], batch.text[table])
            fresh = self._model.encoder[module_key(table)](*(part[new] for part in columns))
            first = self._append(table, fresh)
            place[row[new]] = torch.arange(
                first, first + len(new), dtype=torch.int32, device=row.device)
        return self._buffer[table].index_select(0, place[row])

    def _append(self, table: str, fresh: Tensor) -> int:
        """Add encodings of a table; returns where they begin. Doubles a buffer that is full."""
        first = self._used.get(table, 0)
        end = self._used[table] = first + len(fresh)
        buffer = self._buffer.get(table)
        if buffer is None or end > len(buffer):
            larger = fresh.new_empty((max(end, 2 * first), fresh.shape[1]))
            if buffer is not None:
                larger[:first] = buffer[:first]
            buffer = self._buffer[table] = larger
        buffer[first:end] = fresh
        return first
