"""Tables of finished runs pair what belongs together."""

from benchmarks.datasets import tables


def run(seed, test, wall_s=10.0, dataset="/data/shop"):
    rows = [{"split": split, "mask": mask, "metric": "map", "k": k, "model": model, "mean": value,
             "ci_low": value - 0.01, "ci_high": value + 0.01}
            for k, shift in ((10, 0.0), (20, 0.5)) for mask in ("none", "seen")
            for split, model, value in (("val", "contextgnn", test + shift - 0.05), ("val", "blend", 0.1),
                                        ("test", "contextgnn", test + shift), ("test", "blend", 0.15))]
    return {"dataset": dataset, "task": "buys", "model": "contextgnn", "metrics": rows,
            "seeds": {"train": seed}, "steps": [{"name": "train", "wall_s": wall_s, "peak_mb": 100.0 + seed}],
            "verdict": {"k": 10, "best_baseline": "blend", "gain": test - 0.15, "gain_ci_low": 0.01,
                        "gain_ci_high": 0.09}}


def test_seeds_share_rows_and_gains_have_their_own():
    text = tables([run(0, 0.2), run(1, 0.22, wall_s=30.0), run(2, 0.24, wall_s=11.0),
                   run(0, 0.3, dataset="/data/film")])
    assert "| shop, buys (k = 10) | **contextgnn** | 0.1700 ± 0.0200 | 0.2200 ± 0.0200 | 0, 1, 2 |" in text
    assert "| shop, buys (k = 10) | blend | 0.1000 | 0.1500 |  |" in text
    assert "| film, buys (k = 10) | **contextgnn** | 0.2500 | 0.3000 | 0 |" in text
    assert "| shop | 1 | 0.1700 | 0.2200 | 0.2100 to 0.2300 | blend | +0.0700 | +0.0100 to +0.0900 |" in text
    assert "| shop | train | 11.0 | 102 |" in text
    assert text.index("**contextgnn**") < text.index("| blend |")
