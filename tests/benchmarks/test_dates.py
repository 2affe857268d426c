"""Tables of logical dates pair what belongs together."""

import pytest

from benchmarks.dates import tables


def run(date, seed, model, users=20, blend=0.15):
    rows = [{"split": split, "mask": mask, "metric": metric, "k": k, "model": name, "mean": value + shift,
             "num_users": users}
            for split, of_split in (("val", 0.3), ("test", 0.0))
            for mask, of_mask in (("none", 0.0), ("seen", 0.1))
            for metric, k, of_metric in (("map", 10, 0.0), ("map", 20, 0.4), ("ndcg", 10, 0.5))
            for name, value in (("blend", blend), ("contextgnn", model))
            for shift in (of_split + of_mask + of_metric,)]
    return {"dataset": "/data/shop", "task": "buys", "logical_date": f"{date}T00:00:00Z",
            "seeds": {"train": seed}, "verdict": {"k": 10}, "metrics": rows}


def test_a_row_per_date_and_their_mean():
    runs = [run("2020-02-01", 0, 0.10, users=7), run("2020-01-01", 0, 0.30), run("2020-01-01", 1, 0.32),
            run("2020-02-01", 1, 0.14, users=7)]
    none, seen = tables(runs).split("\n\n")
    assert none.splitlines() == [
        "| shop, buys, mask none (k = 10), logical date | users | contextgnn | blend |", "|---|---|---|---|",
        "| 2020-01-01 | 20 | **0.3100 ± 0.0141** | 0.1500 |",
        "| 2020-02-01 | 7 | 0.1200 ± 0.0283 | **0.1500** |",
        "| mean |  | **0.2150 ± 0.0212** | 0.1500 |"]
    assert "| 2020-02-01 | 7 | 0.2200 ± 0.0283 | **0.2500** |" in seen


def test_models_stand_in_the_order_of_their_mean():
    assert "| users | blend | contextgnn |" in tables([run("2020-01-01", 0, 0.10)])


def test_a_date_without_a_seed_is_named():
    with pytest.raises(ValueError, match=r"no run of \[\('2020-02-01T00:00:00Z', 1\)\]"):
        tables([run("2020-01-01", 0, 0.1), run("2020-01-01", 1, 0.1), run("2020-02-01", 0, 0.1)])
