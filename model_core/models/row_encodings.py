"""RowEncodings: rows of tables are encoded once for all blocks of an evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.gnn import module_key
from model_core.models.contextgnn.model import ContextGNN
from model_core.models.contextgnn.rows import SharedRows
from model_core.sampling.batches import Batch

#: Most memory for the encodings of all tables, of which their buffers take up to twice as
#: much. Rows beyond it are encoded with every block.
MAX_ENCODING_BYTES = 2**27
#: A whole table is charged this many times: what the layers make of its rows is kept too.
COPIES_OF_WHOLE = 10
#: A table without time is encoded as a whole where it has at most so many times the rows of a block.
WHOLE_TABLE = 4


class RowEncodings:
    """Encodings of the rows that were met so far.

    Without dropout a row's encoding depends on the row alone, and blocks of users share
    most of the catalogue and many lines of equal numbers. A table without time, of which a
    block needs much, is encoded as a whole, and what the layers make of its rows is then
    remembered too (``SharedRows``). Encodings are those of a model at one moment: make a new object when
    its weights change.

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
        #: Table to its number of distinct rows.
        self._num_distinct: dict[str, int] = {}
        #: Tables that are encoded as a whole.
        self._whole: dict[str, SharedRows] = {}

    def put_into(self, batch: Batch) -> Batch:
        """The batch with encodings of its distinct rows (``Batch.encoded``), where there is room."""
        encoded = {}
        for table in self._model.tables:
            row = batch.row[table]
            row = torch.where(row < 0, self._graph.num_nodes[table], row)
            if not len(row) or not self._has(table, row):
                continue
            place, row_of = self._place[table][row], batch.row_of[table]
            if table in self._whole:
                encoded[table] = self._whole[table], place.long()[row_of]
            else:
                encoded[table] = SharedRows(self._buffer[table].index_select(0, place)), row_of
        return replace(batch, encoded=encoded)

    def _has(self, table: str, row: Tensor) -> bool:
        """Encode what is missing of some rows; False where there is no room."""
        num_rows = self._graph.num_nodes[table]
        if table in self._whole:
            return True
        if table not in self._place:
            self._place[table] = torch.full((num_rows + 1,), -1, dtype=torch.int32, device=row.device)
        if not self._model.schema.tables[table].timed and self._encode_whole(table, len(row)):
            self._whole[table] = SharedRows(self._buffer[table][: self._used[table]], lasting=True)
            return True
        return self._encode(table, row)

    def _encode_whole(self, table: str, asked: int) -> bool:
        """Encode all distinct rows, and the row of zeros, if so many are worth it and have room."""
        num_rows, twin = self._graph.num_nodes[table], self._graph.columns[table].twin
        if table not in self._num_distinct:
            self._num_distinct[table] = num_rows if twin is None else int(
                (twin == torch.arange(num_rows, device=twin.device)).sum())
        count = self._num_distinct[table]
        size = (count + 1) * self._model.config.channels * 4
        if count > WHOLE_TABLE * asked or COPIES_OF_WHOLE * size > self._room:
            return False
        every = torch.arange(num_rows, device=self._place[table].device)
        every = every if twin is None else every[twin == every]
        self._room -= (COPIES_OF_WHOLE - 1) * size
        return self._encode(table, torch.cat([every, every.new_full((1,), num_rows)]))

    def _encode(self, table: str, row: Tensor) -> bool:
        place = self._place[table]
        new = row[place[row] < 0]
        if len(new):
            size = len(new) * self._model.config.channels * 4
            if size > self._room:
                return False
            self._room -= size
            columns = self._graph.columns[table]
            known = new.clamp(max=len(columns.number) - 1)
            features = [part[known] for part in (columns.number, columns.category, columns.text)]
            for part in features:
                part[new == self._graph.num_nodes[table]] = 0
            fresh = self._model.encoder[module_key(table)](*features)
            first = self._append(table, fresh)
            place[new] = torch.arange(
                first, first + len(new), dtype=torch.int32, device=row.device)
        return True

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
