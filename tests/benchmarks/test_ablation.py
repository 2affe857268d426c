"""The ablation runs every row once, resumes, and pairs seeds."""

import json

import pytest

from benchmarks import ablation
from benchmarks.ablation import DEFAULT, ROWS, append, plan_runs, read_log
from benchmarks.ablation_table import markdown
from model_core.config import parse_overrides
from model_core.errors import ConfigError
from model_core.tables.demo import DEMO_TASK

SMALL = ("model.channels=8", "model.embedding_dim=4", "model.encoder_blocks=0", "model.num_neighbors=4",
         "train.epochs=1", "train.max_steps_per_epoch=1", "model.num_similar=4", "model.num_popular=4",
         "queue.size=16", "split.num_train_windows=3", "split.max_locality_rows=50")


@pytest.mark.parametrize("row", ROWS)
def test_settings_of_every_row_are_valid_and_say_something(row):
    description, settings = ROWS[row]
    assert description
    assert parse_overrides(settings)
    assert (row == DEFAULT) == (not settings)


def test_order_is_seed_by_seed_and_default_first(tmp_path):
    runs = plan_runs([(tmp_path / "a", "t"), (tmp_path / "b", "t")], ["pair only"], [5, 6], [])
    assert [(run.seed, run.row, run.dataset.name) for run in runs] == [
        (seed, row, name) for seed in (5, 6) for row in (DEFAULT, "pair only") for name in "ab"]
    with pytest.raises(ConfigError, match="nonsense"):
        plan_runs([(tmp_path, "t")], ["nonsense"], [0], [])


def test_rows_with_the_same_settings_share_a_run(tmp_path):
    runs = plan_runs([(tmp_path, "t")], ["item vectors: fusion", "item vectors: lookup"], [0], [])
    key = {run.row: run.key for run in runs}
    assert key["item vectors: fusion"] == key[DEFAULT] != key["item vectors: lookup"]


def test_runs_once_resumes_and_writes_the_table(demo_dataset, tmp_path, monkeypatch, capsys):
    trained = []
    real = ablation.train
    monkeypatch.setattr(ablation, "train", lambda *a, **k: trained.append(1) or real(*a, **k))
    out, cache = tmp_path / "ablation.md", tmp_path / "cache"
    arguments = ["--datasets", f"{demo_dataset}:{DEMO_TASK}", "--cache", str(cache), "--out", str(out),
                 "--set", *SMALL, "--rows", "tower only", "--seeds"]
    ablation.main([*arguments, "0"])
    assert len(trained) == 2
    text = out.read_text()
    assert "| tower only | no pair score `model.use_pair=false` |" in text
    assert "s_1 = " in text
    assert "test MAP" not in text
    assert not any("test_map" in note for note in read_log(cache / "runs.jsonl").values())

    # Killed within a line: that run alone is done again, from its finished checkpoint's state or anew.
    log = cache / "runs.jsonl"
    lines = log.read_text().splitlines()
    log.write_text(lines[0] + "\n" + lines[1][:40])
    ablation.main([*arguments, "0"])
    assert len(trained) == 3
    assert [json.loads(line)["row"] for line in log.read_text().splitlines() if line.endswith("}")] == [
        DEFAULT, "tower only"]

    ablation.main([*arguments, "0", "--with-test"])  # now with the refit
    assert len(trained) == 5
    notes = list(read_log(log).values())[-2:]
    assert all(0 <= note["test_map"] <= 1 for note in notes)
    assert "test MAP" in out.read_text()
    ablation.main([*arguments, "0", "--with-test"])
    assert len(trained) == 5
    assert "3/" not in capsys.readouterr().out


def test_one_window_earlier_the_test_rows_stay_unseen(demo_dataset, tmp_path):
    arguments = ["--datasets", f"{demo_dataset}:{DEMO_TASK}", "--cache", str(tmp_path / "c"), "--out",
                 str(tmp_path / "a.md"), "--seeds", "0", "--rows", "no refit", "--set", *SMALL]
    ablation.main([*arguments, "--earlier"])
    text = (tmp_path / "a.md").read_text()
    assert "next window MAP" in text
    assert "test MAP" not in text
    run = plan_runs([(demo_dataset, DEMO_TASK)], [DEFAULT], [0], SMALL, earlier=True)[0]
    earlier, split = (ablation.prepare(each, tmp_path / "c").split
                      for each in (run, run._replace(earlier=False)))
    assert earlier.val_time == earlier.val.time.max() == split.train.time.max() > earlier.train.time.max()
    assert earlier.test is split.val or (earlier.test.entity == split.val.entity).all()
    assert len(earlier.train) + len(earlier.val) == len(split.train)


def test_what_a_dataset_does_not_allow_is_a_row_of_its_own(demo_dataset, tmp_path):
    ablation.main(["--datasets", f"{demo_dataset}:{DEMO_TASK}", "--cache", str(tmp_path / "c"), "--out",
                   str(tmp_path / "a.md"), "--seeds", "0", "--rows", DEFAULT, "--set", *SMALL,
                   "model.num_layers=1", "model.use_tower=false"])
    assert "not possible: model.use_pair, model.use_tower" in (tmp_path / "a.md").read_text()


def test_differences_are_paired_by_seed():
    def note(row, seed, value):
        return {"dataset": "d", "task": "t", "row": row, "seed": seed, "status": "done", "val_map": value,
                "settings": ["x.y=2", *["a.b=1"] * (row == "new")], "best_epoch": 2, "cpu_s": 10.0,
                "locality": {"s_1": 0.25, "s_2": 0.25, "s_3": 0.5}}

    notes = [note(DEFAULT, 0, 0.2), note(DEFAULT, 1, 0.3), note("new", 0, 0.25), note("new", 1, 0.37),
             note("new", 2, 0.9)]
    text = markdown(notes, {DEFAULT: ("as it is", ()), "new": ("changed", ("a.b=1",)), "none": ("", ())},
                    DEFAULT, "here")
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| 0.2500 ± 0.0707 |  | 2 | 10 | 0, 1 |" in rows[DEFAULT]
    # Seed 2 has no default to be compared with: it counts for the mean, not for the difference.
    assert "| +0.0600 ± 0.0141 |" in rows["new"]
    assert "| 0.5067 ± " in rows["new"]
    assert "none" not in rows
    assert "here Settings of all rows: `x.y=2`." in text
    assert "s_1 = 0.250, s_2 = 0.250, s_3 = 0.500" in text


def test_the_log_survives_a_torn_line(tmp_path):
    log = tmp_path / "runs.jsonl"
    append(log, {"key": "a", "value": 1})
    with open(log, "a") as stream:
        stream.write('{"key": "b", "val')
    append(log, {"key": "c", "value": 3})
    append(log, {"key": "a", "value": 4})
    assert {key: note["value"] for key, note in read_log(log).items()} == {"a": 4, "c": 3}
