"""The warm-start series runs every side once, resumes, and says what it measured."""

from benchmarks import warm_start
from benchmarks.warm_start import DAY_S, Series, main
from benchmarks.warm_start_table import figures, markdown
from model_core.logical_date import parse_as_of
from model_core.tables.demo import DEMO_TASK

SMALL = ("model.channels=8", "model.embedding_dim=4", "model.encoder_blocks=0", "model.num_neighbors=4",
         "train.epochs=1", "train.warm_epochs=1", "train.max_steps_per_epoch=1", "model.num_similar=4",
         "model.num_popular=4", "queue.size=16", "split.num_train_windows=3", "split.max_locality_rows=50")


def test_runs_once_resumes_and_writes_the_page(demo_dataset, tmp_path, monkeypatch, capsys):
    trained = []
    real = warm_start.train
    monkeypatch.setattr(warm_start, "train", lambda *a, **k: trained.append(k) or real(*a, **k))
    monkeypatch.setattr(warm_start, "export_bundle", without_network)
    page = tmp_path / "page.md"
    arguments = ["--dataset", str(demo_dataset), "--task", DEMO_TASK, "--from", "2023-05-20", "--work",
                 str(tmp_path / "work"), "--out", str(page), "--set", *SMALL, "--to"]
    main([*arguments, "2023-05-20"])
    assert len(trained) == 1, "the line begins with the cold model"
    main([*arguments, "2023-05-21"])
    assert len(trained) == 3
    assert trained[2]["champion"].logical_date == "2023-05-20T00:00:00Z"
    text = page.read_text()
    assert "Over 1 dates that began warm" in text
    assert text.count("| 2023-05-") == 2
    assert page.with_suffix(".svg").read_text().startswith("<svg")
    main([*arguments, "2023-05-21"])
    assert len(trained) == 3
    assert page.read_text() == text


def without_network(checkpoint, graph, split, config, out):
    """A bundle as the real one, but for the ONNX file, which takes long to make."""
    from model_core.serving.bundle import Bundle
    from tests.training.champions import write_bundle

    return Bundle.open(write_bundle(checkpoint, graph, split, out))


def test_cold_models_depend_neither_on_warm_settings_nor_on_the_line_of_dates(tmp_path, demo_dataset):
    def series(first, every_days, *settings):
        return Series(str(demo_dataset), DEMO_TASK, settings, first, every_days, tmp_path)

    one = series(0, 1)
    for other in (series(0, 1, "train.warm_epochs=9"), series(DAY_S, 1), series(0, 2)):
        assert one.key(5, "cold") == other.key(5, "cold")
        assert one.key(5, "warm") != other.key(5, "warm")
        assert one.registry.store.root != other.registry.store.root


def note(date, side, test_map, wall_s, champion=None):
    return {"date": parse_as_of(date), "side": side, "test_map": test_map, "wall_s": wall_s, "cpu_s": wall_s,
            "epochs": 3, "best_epoch": 2, "start": {"champion": champion} if side == "warm" else None}


def test_the_summary_leaves_out_the_cold_beginning():
    notes = [note("2020-01-01", "cold", 0.5, 100), note("2020-01-01", "warm", 0.1, 100),
             note("2020-01-02", "cold", 0.2, 100), note("2020-01-02", "warm", 0.21, 25, "v"),
             note("2020-01-03", "cold", 0.2, 100), note("2020-01-03", "warm", 0.23, 15, "w")]
    text = markdown(notes, ["a=1"], "By hand.", "plot.svg")
    assert "Over 2 dates that began warm: MAP warm minus cold +0.0200" in text
    assert "Training took 0.20 of the cold processor time" in text
    assert figures(notes).count("<polyline") == 4
    assert figures([each for each in notes if (each["date"], each["side"]) != (
        parse_as_of("2020-01-02"), "cold")]).count("<polyline") == 2, "no line across what was not measured"
