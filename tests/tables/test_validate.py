"""Bad input: one clear error each, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_core.errors import DataError
from model_core.tables.ingest import ingest
from model_core.tables.validate import validate_dataset
from tests.tables import bad_datasets, bad_tasks  # noqa: F401  (they register their cases)
from tests.tables.shop import TASK, good_draft
from tests.tables.spoiling import CASES, write_spoiled


def test_at_least_thirty_kinds():
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_one_clear_error_and_nothing_written(tmp_path: Path, name: str):
    spoil, where, message = CASES[name]
    folder = write_spoiled(tmp_path / "data", spoil)
    task = "no-such-task" if name == "unknown_task" else TASK
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        ingest(str(folder), task, tmp_path / "snapshot")
    error = caught.value
    assert where in str(error)
    assert message in str(error)
    assert all((error.where, error.expected, error.found, error.fix))
    assert "\n" not in str(error)
    assert len(str(error)) < 900
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(DataError) as again:
        validate_dataset(str(folder), task)
    assert str(again.value) == str(error)


def test_good_dataset_passes(tmp_path: Path):
    report = validate_dataset(str(good_draft().write(tmp_path / "data")), TASK)
    assert report.warnings == ()
    assert report.counts == {}
    assert report.task_names == (TASK,)
    assert set(report.num_labels) == {"train", "val", "test"}
    assert report.time_ranges["events"] == (report.min_time, report.max_time)


def test_dataset_alone_can_be_checked(tmp_path: Path):
    folder = good_draft().write(tmp_path / "data")
    (folder / "tasks" / TASK / "manifest.yaml").write_text("- broken")
    report = validate_dataset(str(folder), None)
    assert report.task is None
    assert list(report.tables) == ["users", "items", "events"]


@pytest.mark.parametrize("dataset", ["./nowhere", "/nowhere/at/all", "shop", ""])
def test_missing_dataset(dataset: str):
    with pytest.raises(DataError, match=r"manifest\.yaml"):
        validate_dataset(dataset, None)


def test_dataset_is_a_file(tmp_path: Path):
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="found a file"):
        validate_dataset(str(tmp_path / "data"), None)


@pytest.mark.parametrize("task", ["", "..", "../tasks/user-item", "/etc", "a/b"])
def test_task_names_stay_in_the_folder(tmp_path: Path, task: str):
    folder = good_draft().write(tmp_path / "data")
    with pytest.raises(DataError, match="one of"):
        validate_dataset(str(folder), task)
