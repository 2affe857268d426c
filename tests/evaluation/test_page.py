"""What the page and the facts behind it say of an evaluation."""

from __future__ import annotations

import html.parser

import pytest

from model_core.evaluation.baselines import BASELINES
from tests.evaluation.shop import NUM_USERS


def test_facts_hold_gains_balance_and_the_settings_of_fitted_baselines(made):
    report = made[0]
    facts, verdict = report.facts, report.verdict
    assert {(row["split"], row["baseline"]) for row in facts["gains"]} == {
        (split, name) for split in ("val", "test") for name in BASELINES}
    deciding = next(row for row in facts["gains"]
                    if (row["split"], row["baseline"]) == (verdict.split, verdict.best_baseline))
    assert (deciding["mean"], deciding["ci_low"]) == (verdict.gain, verdict.gain_ci_low)
    users = {}
    for row in facts["balance"]:
        if row["model"] == "contextgnn":
            key = row["split"], row["segment_by"]
            users[key] = users.get(key, 0) + row["num_users"]
    assert users == {(split, way): NUM_USERS for split in ("val", "test")
                     for way in ("history", "repeat_share")}
    fitted_map = report.find(split="val", mask="none", model="blend", metric="map", k=4)["mean"]
    assert facts["baselines"]["blend"]["fitted_map"] == pytest.approx(fitted_map)


class Page(html.parser.HTMLParser):
    VOID = frozenset({"meta", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.links, self.svgs, self.text = [], [], 0, []

    def handle_starttag(self, tag, attributes):
        self.links += [value for key, value in attributes if key in ("src", "href", "srcset")]
        self.svgs += tag == "svg"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"<{tag}> closed out of order"

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_says_the_numbers(made):
    report, folder, _ = made
    source = (folder / "report.html").read_text()
    page = Page()
    page.feed(source)
    text = " ".join(page.text)
    assert page.open == []
    assert page.links == []
    assert "url(" not in source
    assert "<script" not in source
    assert page.svgs == 8  # bars of val and test, two curves, and two balances of val and test each
    assert "a <b> shop" in text
    assert "users <-user_id- events -item_id-> items" in text
    assert "<b>" not in source
    for model in ("contextgnn", *BASELINES):
        assert model in text
    mean = report.find(split="test", mask="none", model="item_knn", metric="map", k=4)["mean"]
    assert f"{mean:.4f}" in text
    for row in report.facts["gains"]:
        assert f"{row['mean']:+.4f}" in text
    for row in report.facts["balance"]:
        assert row["segment"] in text
        assert f"{row['familiar_targets'] * 100:.0f} %" in text
    assert "Settings of blend, fitted on 30 validation rows" in text
    assert "Promoted" in text
    assert "16 / 8" in text
    assert "1970-05-01" in text
