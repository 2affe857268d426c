"""Results of a backfill for people and for programs."""

import csv
import re
from xml.etree import ElementTree

import pytest

from model_core.evaluation.report.time_chart import Series, time_chart
from pipelines.backfill.dates import logical_dates
from pipelines.backfill.outcome import figures_of
from pipelines.backfill.page import COLUMNS, PAGE_FILE, TABLE_FILE, write_results
from tests.pipelines.backfill.fakes import VERDICT, backfill_of, metrics_of

DATES = logical_dates("2011-11-23", "2011-11-26")


def entry(date, mean, champion=None, promoted=False):
    publication = {"version": f"{date.name}-abcd", "promoted": promoted, "champion": None, "reason": "so"}
    verdict = VERDICT | {"champion": "20111101-old" if champion else None}
    return {"date": date.text, "status": "done", "seconds": 61.2, "error": None,
            "result": figures_of(metrics_of(mean, champion), verdict, publication)
            | {"train_s": 9.0, "epochs": 2}}


ENTRIES = [entry(DATES[0], 0.3, promoted=True), entry(DATES[1], 0.31, champion=0.29),
           {"date": DATES[2].text, "status": "failed", "seconds": 3.0, "error": "ingest: <no> such file"},
           {"date": DATES[3].text, "status": "pending"}]


def test_table_and_page(tmp_path):
    write_results(tmp_path, backfill_of(tmp_path, DATES).facts, ENTRIES)
    rows = list(csv.DictReader((tmp_path / TABLE_FILE).open()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["status"] for row in rows] == ["done", "done", "failed", "pending"]
    assert (rows[1]["model_mean"], rows[1]["compared_champion"], rows[1]["compared_champion_mean"]) == (
        "0.31", "20111101-old", "0.29")
    assert (rows[0]["promoted"], rows[1]["promoted"], rows[3]["promoted"]) == ("True", "False", "")
    page = (tmp_path / PAGE_FILE).read_text()
    assert "2011-11-23 to 2011-11-26" in page
    assert "2 of 4 dates done,\n1 promoted" in page
    assert "MAP@10" in page
    assert "&lt;no&gt; such file" in page
    assert not re.search(r"(src|href)=|<script|@import|url\(", page), "nothing from outside"
    write_results(tmp_path, backfill_of(tmp_path, DATES).facts, ENTRIES)
    assert (tmp_path / PAGE_FILE).read_text() == page


def test_a_page_without_any_result(tmp_path):
    write_results(tmp_path, backfill_of(tmp_path, DATES).facts, ENTRIES[2:])
    assert "<svg" not in (tmp_path / PAGE_FILE).read_text()


def lines_of(chart):
    tree = ElementTree.fromstring(str(chart))
    drawn = [path.get("d") for path in tree.iter("path") if path.get("class") == "series accent"]
    return [[tuple(map(float, corner.split())) for corner in line[1:].split("L")]
            for line in drawn if not line.endswith("h18")], tree


def test_a_line_is_where_the_values_are_and_has_gaps():
    times = [date.seconds for date in logical_dates("2011-11-21", "2011-11-26")]
    lines, tree = lines_of(time_chart("MAP", times, [
        Series("model", "accent", [0.1, 0.2, None, 0.2, 0.1, 0.3], [0.05] * 6, [0.4] * 6)],
        [True, False, True, False, False, False], "promoted"))
    assert [len(line) for line in lines] == [2, 3]
    (x0, y0), (x1, y1) = lines[0]
    (x3, y3), (x4, y4), (x5, y5) = lines[1]
    assert y1 == y3 < y0 == y4, "higher values are higher up"
    assert y5 < y1
    assert [x4 - x3, x5 - x4, x3 - x1] == pytest.approx([x1 - x0, x1 - x0, 2 * (x1 - x0)], abs=0.3)
    assert y4 - y3 == pytest.approx(y0 - y1, abs=0.2)
    rings = [circle for circle in tree.iter("circle") if circle.get("class") == "ring"]
    assert len(rings) == 2, "one in the legend; a date without a value has none"
    assert (float(rings[1].get("cx")), float(rings[1].get("cy"))) == (x0, y0)


def test_one_date_is_a_point():
    lines, tree = lines_of(time_chart("MAP", [0], [Series("model", "accent", [0.1])]))
    assert lines == []
    assert len(list(tree.iter("circle"))) == 1
