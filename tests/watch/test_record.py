"""The record of the data watch: what is written comes back, worst first."""

import pytest

from model_core.errors import ArtifactError
from model_core.records import write_record
from model_core.watch.findings import Finding
from model_core.watch.record import KIND, SCHEMA_VERSION, DataWatch, write_data_watch


def finding(level, table="orders", column=""):
    return Finding("rows", table, column, level, "10", "1", "Fewer rows.", 0.1)


def test_roundtrip_and_order(tmp_path):
    findings = [finding("ok"), finding("warn"), finding("fail", "views", "seconds"), finding("ok", "views")]
    write_data_watch(tmp_path / "watch", findings, {"a": 1}, reference="20230501-abc", on_failure="stop")
    watch = DataWatch.open(tmp_path / "watch", verify="digest")
    assert [entry.level for entry in watch.findings] == ["fail", "warn", "ok", "ok"]
    assert watch.failures == (findings[2],)
    assert watch.warnings == (findings[1],)
    assert [entry.table for entry in watch.findings[2:]] == ["orders", "views"]
    assert (watch.reference, watch.on_failure) == ("20230501-abc", "stop")
    assert watch.record.meta["counts"] == {"fail": 1, "warn": 1, "ok": 2}
    assert watch.statistics_file.read_bytes() == b'{\n "a": 1\n}\n'
    assert (findings[2].place, findings[0].place) == ("views.seconds", "orders")
    assert finding("ok", "").place == "dataset"


def test_unreadable_findings_are_refused(tmp_path):
    with write_record(tmp_path / "watch", KIND, SCHEMA_VERSION) as (folder, meta):
        (folder / "findings.json").write_text('[{"rule": 1}]')
        meta.update(reference=None, on_failure="refuse")
    with pytest.raises(ArtifactError, match="findings"):
        DataWatch.open(tmp_path / "watch")
