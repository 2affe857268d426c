"""Steps and epochs, one after the other, until the end or an early one."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from model_core.config import TrainConfig
from model_core.errors import Stopped
from model_core.training.averaging import WeightAverage
from model_core.training.batching import StepMaker, prepared_ahead
from model_core.training.optimizer import SplitAdam
from model_core.training.progress import Progress, StepEvent
from model_core.training.state import Counters, StateStore
from model_core.training.step import StepRunner

#: ``log(name, value, step)``.
Log = Callable[[str, float, int], None]


class Loop:
    """Steps and epochs over one set of counters.

    Args:
        counters: Where the run stands; changed in place.
        make: Makes the steps.
        run_step: Computes them.
        optimizer, average: What a step updates beside the weights.
        store: Where states and the best weights go.
        config: Learning rate, patience, how often a state is written.
        progress: Where to report.
        log: Scalars for TensorBoard.
        epochs: Most epochs; those of ``config`` decide the curriculum all the same.
        stop: Whether to end now; asked after every step. A state is written first.
    """

    def __init__(self, counters: Counters, make: StepMaker, run_step: StepRunner,
                 optimizer: SplitAdam, average: WeightAverage, store: StateStore, config: TrainConfig,
                 progress: Progress, log: Log, epochs: int,
                 stop: Callable[[], bool] = lambda: False) -> None:
        self.counters, self.make, self.run_step = counters, make, run_step
        self.optimizer, self.average = optimizer, average
        self.store, self.config = store, config
        self.progress, self.log = progress, log
        self.epochs, self.total, self.stop = epochs, epochs * make.steps_per_epoch, stop

    def run(self, score_now: Callable[[], float]) -> None:
        """Until all epochs are done or training stops early."""
        try:
            self._epochs(score_now)
        except BaseException:
            # A line that stays, so that the live one does not run into what is said of the end.
            self.progress.note(f"ended in step {self.counters.step + 1}")
            raise

    def _epochs(self, score_now: Callable[[], float]) -> None:
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
            if self.stop() and not counters.finished:
                raise Stopped(f"stopped after epoch {epoch + 1}; {self.store.settle()}")

    def _save(self) -> None:
        self.store.save(self.counters, self.run_step.model, self.optimizer, self.average)

    def _save_if_due(self) -> None:
        step = self.counters.step
        if self.stop():
            self._save()
            raise Stopped(f"stopped after step {step}; {self.store.settle()}")
        if step % self.config.checkpoint_every_steps == 0 and self.store.is_due:
            self._save()

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
                counters.step, self.total, epoch + 1, self.epochs, loss, rows / spent_s,
                (self.total - counters.step) * spent_s / done))
            self.log("train/loss", loss, counters.step)
            if counters.step < numbers.stop:  # the state of an epoch's end follows validation
                self._save_if_due()

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
        log_epoch(self.log, entry)
        self.progress.note(
            f"epoch {epoch + 1}/{self.epochs}: loss {entry['loss']:.4f}, "
            + (f"validation MAP {value:.4f}, " if math.isfinite(value) else "")
            + f"{entry['seeds_per_s']:.0f} seeds/s, peak {entry['peak_mb']:.0f} MB"
            + (", stopping early" if counters.finished and counters.step < self.total else ""))


def log_epoch(log: Log, entry: dict[str, Any]) -> None:
    for tag, name in (("val/map", "val_map"), ("train/learning_rate", "learning_rate"),
                      ("train/seeds_per_s", "seeds_per_s")):
        if entry[name] is not None:
            log(tag, entry[name], entry["step"])


def peak_mb() -> float:
    """Most memory this process has held, in MB: of the GPU where it used one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
