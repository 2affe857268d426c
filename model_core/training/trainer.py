"""The training loop: epochs of deterministic steps, validation, early stopping."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_core.config import ModelConfig, TrainConfig
from model_core.errors import ConfigError, DataError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.scorer import ModelScorer
from model_core.negatives.queue import NegativeQueue
from model_core.priors.build import make_priors, most_snapshots, thinned
from model_core.sampling.neighbors import fan_out_for
from model_core.split.seeds import Split
from model_core.training.averaging import WeightAverage
from model_core.training.batching import StepMaker, prepared_ahead
from model_core.training.checkpoint import Checkpoint, build_model, write_checkpoint
from model_core.training.far_shift import SHIFTS, best_far_shift
from model_core.training.identity import graph_digest, run_digest
from model_core.training.optimizer import SplitAdam
from model_core.training.progress import Progress, ProgressPrinter, StepEvent
from model_core.training.randomness import derived_seed
from model_core.training.state import Counters, StateStore
from model_core.training.step import StepRunner

Scorer = Callable[[Tensor, Tensor], Tensor]


def train(
    graph: TemporalGraph[np.ndarray],
    split: Split,
    queue: NegativeQueue,
    model_config: ModelConfig,
    train_config: TrainConfig,
    out: Path,
    *,
    state_dir: Path | None = None,
    validate: Callable[[Scorer], float],
    progress: Progress | None = None,
    tensorboard_dir: Path | None = None,
) -> Checkpoint:
    """Train a model and write the weights with the best validation metric.

    Step s of a run with seed k does the same wherever and whenever it is done: the order
    of an epoch, sampling, negatives and dropout derive from (k, epoch) or (k, s). With
    ``state_dir`` a run that was killed at any moment goes on where its last state was
    written, and on the CPU, with the same number of threads, ends with the same weights
    to the bit.

    Training stops early when the validation metric does not improve for ``patience``
    epochs, or at once when it falls ``early_stopping_delta`` below the best. The authors
    stop at a fall of 0.001; where a validation window has few users that is noise.

    Args:
        graph: The numpy graph; it is put on the device here.
        split: Its training rows.
        queue: Item birth times, and the candidates of the sampled softmax.
        model_config: Which model; unset ``num_layers`` becomes the graph's hops.
        train_config: Optimisation.
        out: Where the checkpoint goes.
        state_dir: Where resume states go; None for a run that cannot be resumed.
        validate: Metric of a scorer, higher is better; NaN where nothing can be said
            (then the last epoch counts as the best).
        progress: Where to report; standard error by default.
        tensorboard_dir: Where to log scalars; needs the ``tensorboard`` package.

    Returns:
        The checkpoint, opened.

    Raises:
        DataError: No training row has an item.
        TrainingError: The loss is not finite.
        ConfigError: Settings that do not fit the graph.
    """
    progress = progress or ProgressPrinter()
    device = resolve_device(train_config.device)
    tensors = graph.to_torch(device)
    schema = GraphSchema.of(graph)
    model_config = model_config.model_copy(
        update={"num_layers": model_config.num_layers or graph.hops})
    assert model_config.num_layers is not None
    torch_train = [torch.from_numpy(np.array(a)).to(device)
                   for a in (split.train.entity, split.train.time)]
    fan_out, nodes_per_seed = fan_out_for(
        tensors, model_config.num_layers, model_config.num_neighbors,
        model_config.max_nodes_per_seed, *torch_train)
    model = _fresh_model(schema, model_config, train_config.seed)
    priors, prior_settings = None, None
    if model.prior is not None:
        prior_settings = {
            "window_s": split.window_s, "num_similar": model_config.num_similar,
            "num_popular": model_config.num_popular}
        most = most_snapshots(len(np.unique(graph.interactions.item)), model_config.num_similar)
        snapshot_times = [*thinned(split.train.time, most).tolist(), split.val_time]
        priors = make_priors(graph, **prior_settings, snapshot_times=snapshot_times)
    make = StepMaker(tensors, split.train, queue, model_config, train_config, fan_out,
                     nodes_per_seed, device, window_s=split.window_s, priors=priors)
    if make.num_rows == 0:
        raise DataError("split, training rows", "at least one with an item", "none",
                        "widen the task's time range or keep more training windows")

    if model.prior is not None:
        progress.note("counting what users and items did before each training window")
        model.prior.standardise(make.sample_of_features())
    model = model.to(device)
    optimizer = SplitAdam(model, train_config)
    store = StateStore(state_dir, run_digest(graph, split, queue, model_config, train_config))
    average = WeightAverage(model, optimizer, train_config.average_decay)
    counters = store.restore(model, optimizer, average)
    if counters.step:
        progress.note(f"resumed after step {counters.step}")
    progress.note(
        f"{model_config.name}: {model_config.num_layers} layers, fan-out "
        f"{'/'.join(map(str, fan_out))}, {nodes_per_seed:.0f} nodes per seed, "
        f"{sum(p.numel() for p in model.parameters()):,} weights, on {device}")
    birth = torch.from_numpy(np.array(queue.item_birth)).to(device)
    run_step = StepRunner(model, optimizer, tensors, birth, train_config, device)

    def score_now() -> float:
        model.eval()
        value = best_far_shift(model, lambda: float(validate(ModelScorer(
            model, tensors, fan_out, device=device, strategy=model_config.strategy,
            nodes_per_seed=nodes_per_seed, max_batch_nodes=train_config.max_batch_nodes,
            priors=priors))), SHIFTS if train_config.choose_far_shift else SHIFTS[:1])
        model.train()
        return value

    with _tensorboard(tensorboard_dir, counters.step) as log:
        for entry in counters.curves:  # a resumed run logs to a new place: say again what was
            _log_epoch(log, entry)
        loop = _Loop(counters, make, run_step, optimizer, average, store, train_config, progress, log)
        loop.run(score_now)

    best_step = counters.best_step
    assert best_step is not None
    best = next(entry for entry in counters.curves if entry["step"] == best_step)
    return write_checkpoint(
        out, weights=store.load_best(best_step), model_config=model_config,
        train_config=train_config, schema=schema, fan_out=fan_out, curves=counters.curves,
        training={
            "best_epoch": best["epoch"], "best_val_map": best["val_map"],
            "num_epochs": len(counters.curves), "num_steps": counters.step,
            "num_parameters": sum(p.numel() for p in model.parameters()),
            "nodes_per_seed": nodes_per_seed, "device": device.type, "priors": prior_settings,
            "graph": graph_digest(graph), "split": split.record.digest,
            "queue": queue.record.digest,
        },
    )


class _Loop:
    """Steps and epochs over one set of counters."""

    def __init__(self, counters: Counters, make: StepMaker, run_step: StepRunner,
                 optimizer: SplitAdam, average: WeightAverage, store: StateStore, config: TrainConfig,
                 progress: Progress, log: Callable[[str, float, int], None]) -> None:
        self.counters, self.make, self.run_step = counters, make, run_step
        self.optimizer, self.average = optimizer, average
        self.store, self.config = store, config
        self.progress, self.log = progress, log
        self.total = config.epochs * make.steps_per_epoch

    def run(self, score_now: Callable[[], float]) -> None:
        """Until all epochs are done or training stops early."""
        counters, per_epoch = self.counters, self.make.steps_per_epoch
        self.run_step.model.train()
        while not counters.finished:
            epoch = counters.step // per_epoch
            lr = self.config.learning_rate * self.config.lr_gamma**epoch
            self.optimizer.set_learning_rate(lr)
            self._steps(epoch, range(counters.step, (epoch + 1) * per_epoch))
            with self.average.applied():
                self._end_epoch(epoch, lr, score_now())
            self._save()

    def _save(self) -> None:
        self.store.save(self.counters, self.run_step.model, self.optimizer, self.average)

    def _steps(self, epoch: int, numbers: range) -> None:
        counters, began, rows = self.counters, time.perf_counter(), 0
        earlier_s = counters.epoch_wall_s
        for step in prepared_ahead(self.make, numbers):
            loss = self.run_step(step)
            counters.step += 1
            self.average.update(counters.step)
            rows += step.num_rows
            counters.epoch_loss += loss * step.num_rows
            counters.epoch_rows += step.num_rows
            spent_s = time.perf_counter() - began
            counters.epoch_wall_s = earlier_s + spent_s
            done = counters.step - numbers.start
            self.progress.step(StepEvent(
                counters.step, self.total, epoch + 1, self.config.epochs, loss, rows / spent_s,
                (self.total - counters.step) * spent_s / done))
            self.log("train/loss", loss, counters.step)
            if (counters.step % self.config.checkpoint_every_steps == 0
                    and counters.step < numbers.stop and self.store.is_due):
                self._save()

    def _end_epoch(self, epoch: int, lr: float, value: float) -> None:
        counters, config = self.counters, self.config
        entry: dict[str, Any] = {
            "epoch": epoch + 1, "step": counters.step,
            "loss": counters.epoch_loss / max(counters.epoch_rows, 1), "learning_rate": lr,
            "val_map": value if math.isfinite(value) else None,
            "seeds_per_s": counters.epoch_rows / max(counters.epoch_wall_s, 1e-9),
            "wall_s": counters.epoch_wall_s, "peak_mb": peak_mb(),
        }
        counters.curves.append(entry)
        counters.epoch_loss, counters.epoch_rows, counters.epoch_wall_s = 0.0, 0, 0.0
        best = counters.best_value
        fell = False
        if not math.isfinite(value) or best is None or value > best:
            counters.best_value = value if math.isfinite(value) else best
            counters.best_step, counters.epochs_without_gain = counters.step, 0
            self.store.save_best(counters.step, self.run_step.model)
        else:
            counters.epochs_without_gain += 1
            delta = config.early_stopping_delta
            fell = delta is not None and value < best - delta
        counters.finished = (
            counters.step >= self.total or fell
            or counters.epochs_without_gain >= config.patience)
        _log_epoch(self.log, entry)
        self.progress.note(
            f"epoch {epoch + 1}/{config.epochs}: loss {entry['loss']:.4f}, validation MAP "
            f"{value:.4f}, {entry['seeds_per_s']:.0f} seeds/s, peak {entry['peak_mb']:.0f} MB"
            + (", stopping early" if counters.finished and counters.step < self.total else ""))


def _log_epoch(log: Callable[[str, float, int], None], entry: dict[str, Any]) -> None:
    for tag, name in (("val/map", "val_map"), ("train/learning_rate", "learning_rate"),
                      ("train/seeds_per_s", "seeds_per_s")):
        if entry[name] is not None:
            log(tag, entry[name], entry["step"])


def resolve_device(device: str) -> torch.device:
    """``auto`` becomes the GPU where there is one.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("train.device", "a device of this machine", f"{device!r} without a CUDA GPU",
                          "set train.device=auto or cpu")
    return torch.device(device)


def peak_mb() -> float:
    """Most memory this process has held, in MB: of the GPU where it used one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _fresh_model(schema: GraphSchema, config: ModelConfig, seed: int):
    """Initial weights follow from the seed; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights", 0))
        return build_model(schema, config)


@contextmanager
def _tensorboard(folder: Path | None, step: int):
    """Yields ``log(name, value, step)``, which does nothing without a folder."""
    if folder is None:
        yield lambda name, value, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), purge_step=step + 1)
    try:
        yield writer.add_scalar
    finally:
        writer.close()
