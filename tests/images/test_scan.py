"""A scan that could not look anything up is not a pass."""

import json

import pytest

from images.scan import FOUND, NOT_SCANNED, Finding, main, read_audit

CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1"}]}


@pytest.mark.parametrize(("entries", "code"), [
    ([CLEAN], 0), ([SKIPPED], NOT_SCANNED), ([CLEAN, SKIPPED], NOT_SCANNED), ([CLEAN, BAD], FOUND),
    ([BAD, SKIPPED], FOUND), ([], NOT_SCANNED),
])
def test_outcomes(entries, code):
    assert read_audit(json.dumps({"dependencies": entries}), "").exit_code == code


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}"])
def test_no_answer_is_not_scanned(text):
    finding = read_audit(text, "Traceback\nConnectionError: no network\n")
    assert finding.exit_code == NOT_SCANNED
    assert "no network" in finding.error


def test_the_worst_outcome_counts_and_is_told(capsys):
    outcomes = {"cpu": Finding(1, {}, ()), "gpu": Finding(0, {"a": "why"}, ()),
                "serve": Finding(1, {}, ("c 2: X",))}
    assert main(["cpu"], lambda path: outcomes[path.parent.name]) == 0
    assert main(["cpu", "gpu"], lambda path: outcomes[path.parent.name]) == NOT_SCANNED
    assert "NOT SCANNED" in capsys.readouterr().out
    assert main([], lambda path: outcomes[path.parent.name]) == FOUND
    assert "VULNERABLE c 2: X" in capsys.readouterr().out
