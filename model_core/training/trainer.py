"""Training: the epochs that validation chooses, then the same once more with its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from model_core.config import ModelConfig, TrainConfig
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.model import ContextGNN
from model_core.negatives.queue import NegativeQueue
from model_core.split.seeds import SeedTable, Split
from model_core.storage.champion import ChampionRecord
from model_core.training.checkpoint import Checkpoint, write_checkpoint
from model_core.training.identity import graph_digest, run_digest
from model_core.training.mirror import StateMirror
from model_core.training.progress import Progress, ProgressPrinter
from model_core.training.run import Scorer, TrainingRun
from model_core.training.start import warm_digest
from model_core.training.state import StateStore


def train(
    graph: TemporalGraph[np.ndarray],
    split: Split,
    queue: NegativeQueue,
    model_config: ModelConfig,
    train_config: TrainConfig,
    out: Path,
    *,
    champion: ChampionRecord | None = None,
    state_dir: Path | None = None,
    mirror: StateMirror | None = None,
    stop: Callable[[], bool] = lambda: False,
    validate: Callable[[Scorer], float],
    progress: Progress | None = None,
    tensorboard_dir: Path | None = None,
) -> Checkpoint:
    """Train a model, with as many epochs as validation likes best, and write its weights.

    What is validated, kept and shipped is the moving average of the weights
    (``WeightAverage``), and the metric is that of the best far shift (``far_shift``).
    Training stops early when it does not improve for ``patience`` epochs, or at once when
    it falls ``early_stopping_delta`` below the best. The authors stop at a fall of 0.001;
    where a validation window has few users that is noise.

    With ``refit`` a second model is then trained from the start for the best number of
    epochs on training and validation rows together: the newest labels say most about the
    next window. Its labels end with the validation window, before the test time. The
    weights from before it stay in the checkpoint, for they alone may be measured on
    validation rows.

    With ``warm_start`` both fits begin with the champion's weights: the first with those
    from before its refit, which know no label of today's validation window, the second with
    those that it shipped.

    Step s of a run with seed k does the same wherever and whenever it is done: the order
    of an epoch, sampling, negatives and dropout derive from (k, epoch) or (k, s). With
    ``state_dir`` a run that was killed at any moment goes on where its last state was
    written, and on the CPU, with the same number of threads, ends with the same weights
    to the bit.

    Args:
        graph: The numpy graph; it is put on the device here.
        split: Its training rows, and the validation rows for the refit.
        queue: Item birth times, and the candidates of the sampled softmax.
        model_config: Which model; unset ``num_layers`` becomes the graph's hops.
        train_config: Optimisation.
        out: Where the checkpoint goes.
        champion: As of the run's logical date, for a warm start.
        state_dir: Where resume states go; None for a run that cannot be resumed.
        mirror: Keeps copies of them in an object store, and brings them back at the start.
        stop: Asked after every step whether to end now.
        validate: Metric of a scorer, higher is better; NaN where nothing can be said
            (then the last epoch counts as the best).
        progress: Where to report; standard error by default.
        tensorboard_dir: Where to log scalars; needs the ``tensorboard`` package.

    Returns:
        The checkpoint, opened.

    Raises:
        DataError: No training row has an item.
        TrainingError: The loss is not finite.
        Stopped: ``stop`` said so. The state is written; a repeated call goes on there.
        ConfigError: Settings that do not fit the graph.
    """
    progress = progress or ProgressPrinter()
    train_config = train_config.for_catalogue(graph.num_items)
    run = TrainingRun.of(graph, split, queue, model_config, train_config, progress, champion)
    guard = run_digest(graph, split, queue, run.model_config, train_config,
                       warm_digest(champion, train_config))
    known = _newest(split.train, train_config.warm_windows) if run.start.is_warm else split.train

    with _tensorboard(tensorboard_dir) as log:
        store = StateStore(state_dir, guard, mirror)
        counters = run.fit(
            known, run.train_config.epochs, store, run.validation(validate), log, stop)
        best_step = counters.best_step
        assert best_step is not None
        best = next(entry for entry in counters.curves if entry["step"] == best_step)
        again, refit = store, None
        rows = _refit_rows(known, split) if train_config.refit else None
        if rows is not None:
            store.settle()  # counting for the refit may be stopped
            progress.note(f"once more, {best['epoch']} epochs with the validation labels")
            again = StateStore(None if state_dir is None else state_dir / "refit", guard,
                               None if mirror is None else mirror.child("refit"))
            refitted = run.fit(rows, best["epoch"], again, _keeping(store.load_best(best_step)),
                               lambda name, value, step: log(f"refit/{name}", value, step), stop,
                               weights="final")
            refit = {"num_rows": int((np.diff(rows.item_ptr) > 0).sum()), "num_steps": refitted.step,
                     "wall_s": sum(entry["wall_s"] for entry in refitted.curves),
                     "labels_until": split.val_time + split.window_s}
        for kept in {store, again}:  # should the checkpoint get lost, another attempt finds a finished run
            kept.settle()

    return write_checkpoint(
        out, weights=again.load_best(best_step if refit is None else refit["num_steps"]),
        selected=None if refit is None else store.load_best(best_step),
        model_config=run.model_config, train_config=train_config, schema=run.schema,
        fan_out=run.fan_out, curves=counters.curves,
        training={
            "logical_time": split.logical_time,
            "best_epoch": best["epoch"], "best_val_map": best["val_map"],
            "num_epochs": len(counters.curves), "num_steps": counters.step,
            "num_parameters": run.num_parameters, "refit": refit,
            "nodes_per_seed": run.nodes_per_seed, "device": run.device.type,
            "priors": run.prior_settings,
            "start": None if train_config.warm_start == "none" else run.start.facts(),
            "graph": graph_digest(graph), "split": split.record.digest,
            "queue": queue.record.digest,
        },
    )


def _newest(rows: SeedTable, num_windows: int | None) -> SeedTable:
    """Rows of the newest seed times."""
    if num_windows is None or not len(rows):
        return rows
    return rows.take(np.flatnonzero(rows.time >= np.unique(rows.time)[-num_windows:][0]))


def _refit_rows(known: SeedTable, split: Split) -> SeedTable | None:
    """Training and validation rows; None where the latter have no labels from before the test."""
    if len(split.val.item) == 0 or split.val_time + split.window_s > split.test_time:
        return None
    return SeedTable.joined(known, split.val)


def _keeping(selected: Mapping[str, Tensor]) -> Callable[[ContextGNN], float]:
    """No metric, so that the last epoch is the best, and the far shift that was chosen before."""
    far_shift = selected["far_shift"].clone()

    def score(model: ContextGNN) -> float:
        model.far_shift.copy_(far_shift)
        return math.nan

    return score


@contextmanager
def _tensorboard(folder: Path | None):
    """Yields ``log(name, value, step)``, which does nothing without a folder."""
    if folder is None:
        yield lambda name, value, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    try:
        yield writer.add_scalar
    finally:
        writer.close()
