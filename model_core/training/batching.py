"""From a step number to everything the step computes on.

Which rows a step sees, what is sampled around them and which classes compete follow
from (configuration, step) alone; preparing a step changes nothing else. So steps can be
prepared ahead in another thread, or again after a restart, with the same result.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model_core.config import ModelConfig, TrainConfig
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.classes import SampledClasses, hard_classes, sample_classes
from model_core.negatives.curriculum import hard_fraction
from model_core.negatives.drawing import Proposals
from model_core.negatives.queue import NegativeQueue
from model_core.priors.features import PairPriors
from model_core.sampling.batches import Batch, make_batch
from model_core.sampling.neighbors import sample
from model_core.split.seeds import SeedTable
from model_core.training.epoch_rows import EpochRows
from model_core.training.prior_cache import CachedPriors
from model_core.training.randomness import generator_for

#: Share of the classes that hard negatives take at the end of training.
MAX_HARD_FRACTION = 0.25
#: Batches are not made smaller than this for the sake of more steps.
MIN_BATCH_SIZE = 16
#: Training rows whose candidates give mean and scale of the prior features.
NUM_SAMPLED_ROWS = 512
#: Scores of one micro-batch: 256 MB, and a few times that in the loss.
MAX_SCORES = 2**26


@dataclass(frozen=True)
class MicroBatch:
    """Some rows of a step, sampled. B rows, P positives.

    Attributes:
        batch: Their subgraphs.
        time: int64 [B], seed times.
        positive_row: int64 [P], row of every positive.
        positive: int64 [P], its item.
        row_weight: float32 [B], mean 1 over the rows of an epoch.
    """

    batch: Batch
    time: Tensor
    positive_row: Tensor
    positive: Tensor
    row_weight: Tensor


@dataclass(frozen=True)
class Step:
    """One optimiser step, ready to compute.

    Attributes:
        number: Steps done before this one, over all epochs.
        num_rows: Seed rows of all micro-batches together.
        micro_batches: The rows, in pieces that fit into memory.
        classes: Classes of the sampled softmax; None for the full one.
    """

    number: int
    num_rows: int
    micro_batches: tuple[MicroBatch, ...]
    classes: SampledClasses | None


class StepMaker:
    """Makes any step of a run.

    Args:
        graph: Graph as tensors.
        train: Training rows. Rows without items are skipped.
        negative_queue: Candidates, used by the sampled softmax.
        model_config: Sampling strategy.
        train_config: Batch size, seed and loss.
        fan_out: Neighbours per hop.
        nodes_per_seed: Mean subgraph size, to cut micro-batches.
        device: Where the graph is.
        window_s: Label window of the task, the unit of ``recency_half_life``.
        priors: Candidate pairs, for a model that uses them.
    """

    def __init__(
        self,
        graph: TemporalGraph[Tensor],
        train: SeedTable,
        negative_queue: NegativeQueue,
        model_config: ModelConfig,
        train_config: TrainConfig,
        fan_out: tuple[int, ...],
        nodes_per_seed: float,
        device: torch.device,
        *,
        window_s: int,
        priors: PairPriors | None = None,
    ) -> None:
        self.graph, self.fan_out, self.strategy = graph, fan_out, model_config.strategy
        self.config, self.device = train_config, device
        self.train = train.take(np.flatnonzero(np.diff(train.item_ptr) > 0))
        self.batch_size = _batch_size(len(self.train), train_config)
        self.rows = EpochRows(
            _row_weight(self.train.time, window_s, train_config.recency_half_life),
            train_config.max_steps_per_epoch * self.batch_size, train_config.seed)
        self.priors = None if priors is None else CachedPriors(priors, self.train)
        num_scores = train_config.num_classes if train_config.loss == "sampled" else graph.num_items
        self.rows_per_micro_batch = min(
            max(int(train_config.max_batch_nodes / max(nodes_per_seed, 1.0)), 1),
            max(MAX_SCORES // num_scores, 1),
            self.batch_size,
        )
        self.negative_queue = negative_queue
        if train_config.loss == "sampled":
            self.proposals = Proposals.of(negative_queue, device)
            self.hard_item, self.hard_neighbor = (
                torch.from_numpy(np.array(array)).to(device)
                for array in (negative_queue.hard_item, negative_queue.hard_neighbor))

    @property
    def num_rows(self) -> int:
        """Training rows that have items."""
        return len(self.train)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __call__(self, number: int) -> Step:
        """Prepare step ``number`` (0-based over all epochs)."""
        config = self.config
        epoch, place = divmod(number, self.steps_per_epoch)
        rows = np.sort(self.rows(epoch)[place * self.batch_size : (place + 1) * self.batch_size])
        generator = generator_for(config.seed, "neighbors", number)
        micro_batches = tuple(
            self._micro_batch(rows[at : at + self.rows_per_micro_batch], generator)
            for at in range(0, len(rows), self.rows_per_micro_batch)
        )
        classes = None
        if config.loss == "sampled":
            classes = self._classes(number, self.train.time[rows], micro_batches)
        return Step(number, len(rows), micro_batches, classes)

    def sample_of_features(self) -> Tensor:
        """Candidate features of some training rows, evenly spread, float32 [M, F]."""
        assert self.priors is not None
        rows = np.unique(np.linspace(0, self.num_rows - 1, NUM_SAMPLED_ROWS).astype(np.int64))
        return torch.from_numpy(self.priors(rows).feature)

    def _micro_batch(self, rows: np.ndarray, generator: torch.Generator) -> MicroBatch:
        seeds = self.train.take(rows)
        time = torch.from_numpy(seeds.time).to(self.device)
        subgraph = sample(self.graph, torch.from_numpy(seeds.entity).to(self.device), time,
                          self.fan_out, strategy=self.strategy, generator=generator)
        row = np.repeat(np.arange(len(seeds)), np.diff(seeds.item_ptr))
        candidates = None if self.priors is None else self.priors(rows)
        return MicroBatch(make_batch(self.graph, subgraph, candidates), time,
                          torch.from_numpy(row).to(self.device),
                          torch.from_numpy(seeds.item).to(self.device),
                          torch.from_numpy(self.rows.counts[rows]).to(self.device))

    def _classes(
        self, number: int, time: np.ndarray, micro_batches: tuple[MicroBatch, ...]
    ) -> SampledClasses:
        config = self.config
        positive = torch.cat([micro.positive for micro in micro_batches])
        share = hard_fraction(number, config.epochs * self.steps_per_epoch, MAX_HARD_FRACTION)
        return sample_classes(
            self.proposals,
            positive=positive,
            local=torch.cat([items for micro in micro_batches
                             for items in (micro.batch.item, micro.batch.prior_item)]),
            bucket=torch.from_numpy(self.negative_queue.bucket_of(time)).to(self.device),
            num_classes=config.num_classes,
            generator=generator_for(config.seed, "classes", number),
            hard=hard_classes(self.hard_item, self.hard_neighbor, positive,
                              int(share * config.num_classes)),
        )


def _batch_size(num_rows: int, config: TrainConfig) -> int:
    """Smaller than asked for where an epoch would have too few steps to learn from."""
    wanted = max(-(-num_rows // config.min_steps_per_epoch), MIN_BATCH_SIZE)
    return min(config.batch_size, wanted)


def _row_weight(time: np.ndarray, window_s: int, half_life: float | None) -> np.ndarray:
    """What each row counts in the loss, float32 [n], mean 1: what users do changes."""
    if half_life is None or len(time) == 0:
        return np.ones(len(time), dtype=np.float32)
    weight = np.exp2(-(time.max() - time) / (half_life * window_s))
    return (weight / weight.mean()).astype(np.float32)


def prepared_ahead(make: Callable[[int], Step], numbers: range) -> Iterator[Step]:
    """Steps in order, the next one being prepared in a thread while one is computed.

    An error in the thread is raised here, at the step it belongs to.
    """
    ready: queue.Queue[tuple[Step | None, BaseException | None]] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(entry: tuple[Step | None, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                return ready.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for number in numbers:
                if stop.is_set():
                    return
                put((make(number), None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, name="prepare-steps", daemon=True)
    thread.start()
    try:
        for _ in numbers:
            step, error = ready.get()
            if error is not None:
                raise error
            assert step is not None
            yield step
    finally:
        stop.set()
        thread.join()
