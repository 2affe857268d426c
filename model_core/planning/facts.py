"""What a plan may know of a dataset: its manifests, parquet footers and a few rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model_core.config import GraphConfig
from model_core.errors import DataError
from model_core.tables.relbench import Source, SourceTable, open_source, read_task, task_folder
from model_core.tables.remote import naming_the_source
from model_core.tables.snapshot import SPLITS, TaskSpec

#: Rows of a table that are decoded to see how wide its values are.
HEAD_ROWS = 5_000
#: A string column of the head is a category if its values repeat so often (as in graph.columns).
MIN_MEAN_REPEATS = 2.0


@dataclass(frozen=True)
class TableFacts:
    """One table as its parquet footer and its first rows show it.

    Attributes:
        num_rows: From the footer.
        memory_bytes: All of it as Arrow arrays: bytes per row of the head times rows.
        disk_bytes: Size of the file.
        num_number, num_category, num_text: Feature columns by kind, as ``build_graph`` will
            probably make them (times count as numbers; missing flags are not counted).
        num_codes: Distinct values of the category columns, of the head only.
        source: Keys and time column.
        equal_rows: How many of the first rows differ in any feature: (rows, distinct) of half the
            head and of all of it.
    """

    num_rows: int
    memory_bytes: int
    disk_bytes: int
    num_number: int
    num_category: int
    num_text: int
    num_codes: int
    source: SourceTable
    equal_rows: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    def feature_bytes(self, text_dim: int) -> int:
        """Bytes of the column tensors: float32 numbers and text, int64 categories and time."""
        per_row = 4 * self.num_number + 8 * self.num_category + 4 * self.num_text * text_dim + 8
        return self.num_rows * per_row

    def distinct_features(self, num_rows: float) -> float:
        """Rows with different features among so many: the head's growth carried on (Heaps' law)."""
        (_, few), (rows, distinct) = self.equal_rows
        if not distinct or num_rows <= 1:
            return num_rows
        growth = min(max(math.log2(distinct / few), 0.0), 1.0) if few else 1.0
        return min(distinct * (num_rows / rows) ** growth, num_rows)

    def width(self, text_dim: int) -> int:
        """Inputs of the table's encoder."""
        return self.num_number + self.num_category + self.num_text * text_dim


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset and a task.

    Attributes:
        source: Folder and manifest.
        task: The task.
        tables: Table name to facts.
        label_rows: Split to stored label rows; empty where SQL makes the labels.
        label_files: Split to the file that holds them.
    """

    source: Source
    task: TaskSpec
    tables: Mapping[str, TableFacts]
    label_rows: Mapping[str, int]
    label_files: Mapping[str, Path]

    @property
    def num_items(self) -> int:
        return self.tables[self.task.item_table].num_rows

    @property
    def num_entities(self) -> int:
        return self.tables[self.task.entity_table].num_rows

    @property
    def num_rows(self) -> int:
        return sum(table.num_rows for table in self.tables.values())

    @property
    def memory_bytes(self) -> int:
        return sum(table.memory_bytes for table in self.tables.values())

    @property
    def num_edges(self) -> int:
        """Upper bound: every foreign key of every row, both directions."""
        return 2 * sum(table.num_rows * len(table.source.fkeys) for table in self.tables.values())


@naming_the_source
def look_at(dataset: str, task: str, config: GraphConfig, *, stored_labels: bool = True) -> DatasetFacts:
    """Read manifests, footers and the first rows of every table.

    Args:
        dataset: Folder or Hub spec.
        task: Name of a recommendation task.
        config: For the largest vocabulary of a category column.
        stored_labels: Whether labels stored with the dataset count (a logical date unsets them).

    Raises:
        DataError: No such dataset or task, or a file that is missing or no parquet.
    """
    source = open_source(dataset)
    spec = read_task(source, task)
    tables = {name: _table(source.table_path(name), table, spec, name, config)
              for name, table in source.tables.items()}
    folder = task_folder(source, task)
    files = {split: folder / f"{split}.parquet" for split in SPLITS}
    stored = stored_labels and all(path.is_file() for path in files.values())
    rows = {split: _open(path).metadata.num_rows for split, path in files.items()} if stored else {}
    return DatasetFacts(source, spec, tables, rows, files if stored else {})


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(str(path), "a parquet file", f"{type(error).__name__}: {error}".splitlines()[0],
                        "write the table again, or run relrec validate for more") from error


def _table(
    path: Path, source: SourceTable, task: TaskSpec, name: str, config: GraphConfig
) -> TableFacts:
    file = _open(path)
    declared = [column for column in (source.pkey, source.time_col, *source.fkeys) if column]
    for column in declared:
        if column not in file.schema_arrow.names:
            raise DataError(f"{path}, column {column!r}", "a column that the manifest names",
                            f"columns {file.schema_arrow.names}", "correct the manifest or the table")
    num_rows = file.metadata.num_rows
    head = next(file.iter_batches(HEAD_ROWS), None)
    kinds = {"number": 0, "category": 0, "text": 0}
    num_codes, features = 0, []
    removed = {column for table, column in task.remove_columns if table == name}
    for field in file.schema_arrow:
        if field.name in declared or field.name in removed:
            continue
        kind, distinct = _kind(field.type, head.column(field.name) if head else None, config)
        kinds[kind] += 1
        num_codes += distinct
        features.append(field.name)
    per_row = head.nbytes / head.num_rows if head and head.num_rows else 0.0
    return TableFacts(num_rows, int(per_row * num_rows), path.stat().st_size, kinds["number"],
                      kinds["category"], kinds["text"], num_codes, source, _equal_rows(head, features))


def _equal_rows(
    head: pa.RecordBatch | None, features: list[str]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """``TableFacts.equal_rows``; columns of lists are left aside."""
    if head is None or not head.num_rows:
        return (0, 0), (0, 0)
    table = pa.Table.from_batches([head])
    table = table.select([name for name in features if not pa.types.is_nested(table.schema.field(name).type)])

    def distinct(num_rows: int) -> tuple[int, int]:
        some = table.slice(0, num_rows)
        return num_rows, some.group_by(some.column_names).aggregate([]).num_rows if some.num_columns else 1

    return distinct(max(head.num_rows // 2, 1)), distinct(head.num_rows)


def _kind(kind: pa.DataType, head: pa.Array | None, config: GraphConfig) -> tuple[str, int]:
    """Probable kind of a feature column, and distinct values of a category."""
    if pa.types.is_boolean(kind):
        return "category", 2
    is_text = (pa.types.is_string(kind) or pa.types.is_large_string(kind)
               or pa.types.is_dictionary(kind) or pa.types.is_list(kind))
    if not is_text:
        return "number", 0
    if head is None or pa.types.is_list(kind):
        return "text", 0
    distinct = len(head.unique())
    if distinct <= config.max_categories and distinct * MIN_MEAN_REPEATS <= len(head):
        return "category", distinct
    return "text", 0
