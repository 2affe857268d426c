"""TrainingRun: graph, sampling and settings of a run, and how a model is fitted to some rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_core.config import ModelConfig, TrainConfig
from model_core.errors import DataError, Stopped
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.model import ContextGNN
from model_core.models.scorer import MAX_READOUT_BYTES, ModelScorer
from model_core.negatives.queue import NegativeQueue
from model_core.priors.build import make_priors, most_snapshots, num_known_items, thinned
from model_core.priors.event_values import value_columns
from model_core.priors.features import PairPriors
from model_core.sampling.neighbors import fan_out_for
from model_core.sampling.seed_batches import MAX_KEPT_BYTES
from model_core.split.seeds import SeedTable, Split
from model_core.storage.champion import ChampionRecord
from model_core.training.averaging import WeightAverage
from model_core.training.batching import StepMaker
from model_core.training.checkpoint import build_model
from model_core.training.device import resolve_device
from model_core.training.far_shift import SHIFTS, best_far_shift
from model_core.training.loop import Log, Loop, log_epoch
from model_core.training.optimizer import SplitAdam
from model_core.training.progress import Progress, noted
from model_core.training.start import Start, start_from
from model_core.training.state import Counters, StateStore
from model_core.training.step import StepRunner
from model_core.training.transfer import WhichWeights

Scorer = Callable[[Tensor, Tensor], Tensor]


@dataclass
class TrainingRun:
    """What the fits of one run share.

    Attributes:
        tensors: The graph on the device.
        train_config: As it is in force: of a warm start with its own epochs, patience and rate.
        start: What the fits begin with.
        num_parameters: Weights of the model, once one was made.
    """

    tensors: TemporalGraph[Tensor]
    schema: GraphSchema
    queue: NegativeQueue
    model_config: ModelConfig
    train_config: TrainConfig
    fan_out: tuple[int, ...]
    nodes_per_seed: float
    device: torch.device
    window_s: int
    prior_settings: Mapping[str, Any] | None
    priors: PairPriors | None
    snapshot_times: Sequence[int]
    progress: Progress
    start: Start
    num_parameters: int = 0

    @classmethod
    def of(
        cls, graph: TemporalGraph[np.ndarray], split: Split, queue: NegativeQueue,
        model_config: ModelConfig, train_config: TrainConfig, progress: Progress,
        champion: ChampionRecord | None = None,
    ) -> TrainingRun:
        device = resolve_device(train_config.device)
        tensors = graph.to_torch(device)
        num_layers = model_config.num_layers or graph.hops
        seeds = [torch.from_numpy(np.array(part)).to(device)
                 for part in (split.train.entity, split.train.time)]
        fan_out, nodes_per_seed = fan_out_for(
            tensors, num_layers, model_config.num_neighbors, model_config.max_nodes_per_seed, *seeds)
        schema, priors = GraphSchema.of(graph), None
        moments: list[int] = []
        settings: dict[str, Any] | None = None
        with torch.device("meta"):
            uses_priors = build_model(schema, model_config).prior is not None
        if uses_priors:
            settings = {"window_s": split.window_s, "num_similar": model_config.num_similar,
                        "num_popular": model_config.num_popular,
                        "num_following": model_config.num_following,
                        "columns": model_config.prior_columns, "targets": model_config.prior_targets,
                        "values": list(value_columns(graph)) if model_config.prior_values else []}
            most = most_snapshots(num_known_items(graph.interactions),
                                  model_config.num_similar, model_config.num_following)
            kept = thinned(split.train.time, most, train_config.recency_half_life)
            moments = [*kept.tolist(), split.val_time]
            priors = make_priors(graph, **settings, snapshot_times=moments)
        model_config = model_config.model_copy(update={"num_layers": num_layers})
        start = start_from(champion, graph, split, model_config, train_config)
        if start.is_warm:
            train_config = train_config.model_copy(update={
                "epochs": train_config.warm_epochs, "patience": train_config.warm_patience,
                "learning_rate": train_config.warm_learning_rate})
            progress.note(f"warm start from champion {start.version}")
        elif start.reason is not None:
            progress.note(f"cold start: {start.reason}")
        return cls(
            tensors, schema, queue, model_config, train_config, fan_out,
            nodes_per_seed, device, split.window_s, settings, priors, moments, progress, start)

    def fit(
        self, rows: SeedTable, epochs: int, store: StateStore,
        score: Callable[[ContextGNN], float], log: Log, stop: Callable[[], bool] = lambda: False,
        weights: WhichWeights = "selected",
    ) -> Counters:
        """Train from the start, or from the newest state; the best weights are in the store.

        Args:
            rows: Label rows; those without items are skipped.
            epochs: Most epochs.
            store: Of this fit alone.
            score: Metric of the averaged weights after an epoch; sets the far shift.
            log: Takes scalars.
            stop: Whether to end now.
            weights: Of the champion, to begin a warm start with.

        Raises:
            Stopped: ``stop`` said so; the state is written.
        """
        config, progress = self.train_config, self.progress
        model = self.start.model(self.schema, self.model_config, config.seed, self.tensors, weights)
        self.num_parameters = sum(p.numel() for p in model.parameters())
        make = StepMaker(
            self.tensors, rows, self.queue, self.model_config, config, self.fan_out,
            self.nodes_per_seed, self.device, window_s=self.window_s, priors=self.priors)
        if make.num_rows == 0:
            raise DataError("split, training rows", "at least one with an item", "none",
                            "widen the task's time range or keep more training windows")
        if model.prior is not None:
            self._count_item_pairs(make.train.time, stop)
            if not self.start.is_warm:  # its weights belong to the scale that they were trained with
                model.prior.standardise(make.sample_of_features())
        model = model.to(self.device)
        optimizer = SplitAdam(model, config)
        average = WeightAverage(model, optimizer, config.average_decay)
        counters = store.restore(model, optimizer, average)
        if counters.step:
            progress.note(f"resumed after step {counters.step}")
        progress.note(
            f"{self.model_config.name}: {self.model_config.num_layers} layers, fan-out "
            f"{'/'.join(map(str, self.fan_out))}, {self.nodes_per_seed:.0f} nodes per seed, "
            f"{self.num_parameters:,} weights, {make.num_rows:,} rows, on {self.device}")
        if config.loss == "sampled":
            progress.note(f"softmax over {config.num_classes:,} of {self.schema.num_items:,} items a step")
        if len(make.rows) < make.num_rows:
            progress.note(f"{len(make.rows):,} rows an epoch, drawn by what they count")
        birth = torch.from_numpy(np.array(self.queue.item_birth)).to(self.device)
        run_step = StepRunner(model, optimizer, self.tensors, birth, config, self.device)
        for entry in counters.curves:  # a resumed run logs to a new place: say again what was
            log_epoch(log, entry)

        def score_now() -> float:
            model.eval()
            value = score(model)
            model.train()
            return value

        Loop(counters, make, run_step, optimizer, average, store, config, progress, log,
             epochs, stop).run(score_now)
        return counters

    def _count_item_pairs(self, times: np.ndarray, stop: Callable[[], bool]) -> None:
        """Which items go together at the snapshots that rows of these times, and validation, look at.

        That takes minutes where there are millions of events.
        """
        assert self.priors is not None
        self.progress.note("counting what users and items did before each training window")
        first = np.searchsorted(self.snapshot_times, times.min(), side="right") - 1
        for time in noted(self.snapshot_times[max(int(first), 0) :], "moments", self.progress):
            for source in (self.priors.neighbors, self.priors.followers):
                if stop():
                    raise Stopped("stopped while counting; what was saved before is kept")
                source(np.array([time]))

    def validation(self, validate: Callable[[Scorer], float]) -> Callable[[ContextGNN], float]:
        """The validation metric of a model; batches of the rows are kept from epoch to epoch."""
        scorer: ModelScorer | None = None
        shifts = SHIFTS if self.train_config.choose_far_shift else SHIFTS[:1]

        def score(model: ContextGNN) -> float:
            nonlocal scorer
            scorer = scorer or ModelScorer(
                model, self.tensors, self.fan_out, device=self.device,
                strategy=self.model_config.strategy, nodes_per_seed=self.nodes_per_seed,
                max_batch_nodes=self.train_config.max_batch_nodes, priors=self.priors,
                kept_bytes=MAX_KEPT_BYTES)
            # Shifts differ in nothing else, so that their readouts are the same.
            current = scorer.renewed(model, max_readout_bytes=MAX_READOUT_BYTES)
            return best_far_shift(model, lambda: float(validate(current)), shifts)

        return score
