"""Start: what training begins with, initial weights or those of the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model_core.config import ModelConfig, TrainConfig
from model_core.errors import ArtifactError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.model import ContextGNN
from model_core.priors.event_values import value_columns
from model_core.serving.bundle import Bundle
from model_core.split.seeds import Split
from model_core.storage.champion import ChampionRecord
from model_core.training.checkpoint import build_model
from model_core.training.randomness import derived_seed
from model_core.training.transfer import WhichWeights, check_labels, transfer, value_scales

#: Settings in which a model may differ from the champion that it starts from: they change no weight.
FREE = frozenset({"dropout", "prior_dropout", "num_neighbors", "max_nodes_per_seed", "strategy",
                  "pair_start", "num_similar", "num_popular", "num_following"})


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        version: Champion that it begins with; None for a cold start.
        digest: Of the champion's bundle; None for a cold start.
        reason: Why a run that was to start warm starts cold; None otherwise.
        summary: What became of the champion's items and columns (``Transfer.summary``).
        champion: The champion's record; None for a cold start.
        selected: Weights of the champion that know no label of the validation window.
        shrink: Share of the champion's weights that is kept (``train.warm_shrink``).
    """

    version: str | None = None
    digest: str | None = None
    reason: str | None = None
    summary: Mapping[str, Any] | None = None
    champion: ChampionRecord | None = None
    selected: Mapping[str, Tensor] | None = None
    shrink: float = 1.0

    @property
    def is_warm(self) -> bool:
        return self.champion is not None

    def facts(self) -> dict[str, Any]:
        """JSON values for the checkpoint, the model card and the report."""
        return {"champion": self.version, "bundle": self.digest, "cold_because": self.reason,
                "carried_over": self.summary}

    def model(
        self, schema: GraphSchema, config: ModelConfig, seed: int, graph: TemporalGraph[Any],
        weights: WhichWeights,
    ) -> ContextGNN:
        """The model before its first step.

        A warm one has ``shrink`` times the champion's weights plus the rest of initial ones. A
        model that is trained on and on from where it stood learns the same labels night after
        night and soon generalises worse than a fresh one; with a share of its weights drawn anew
        it does not, and still needs few epochs (shrink and perturb: Ash and Adams 2020, arXiv
        1910.08475; here the perturbation is the model's own initialisation).

        Args:
            schema, config: Of the model.
            seed: Of initial weights; the caller's random state is left as it was.
            graph: Where it trains, for a warm start.
            weights: Of the champion: ``selected`` where validation rows are to be measured.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "weights", 0))
            model = build_model(schema, config)
        if self.champion is not None:
            state = self.selected
            if weights == "final" or state is None:
                assert self.champion.bundle_dir is not None
                state = transfer(self.champion.bundle_dir, graph, weights=weights, seed=seed).state
            with torch.no_grad():
                for name, initial in model.named_parameters():
                    initial.lerp_(state[name], self.shrink)
            model.load_state_dict({**state, **dict(model.named_parameters())})
        return model


def warm_digest(champion: ChampionRecord | None, config: TrainConfig) -> str | None:
    """Digest of the champion that a run depends on; None where it depends on none."""
    return None if champion is None or config.warm_start == "none" else champion.record.digest


def start_from(
    champion: ChampionRecord | None, graph: TemporalGraph[Any], split: Split, model_config: ModelConfig,
    train_config: TrainConfig,
) -> Start:
    """Decide how training begins.

    A nightly run must not fail for want of a champion, so where a warm start is asked for
    and there is none to start from, the run starts cold and says why.

    Args:
        champion: As of the run's logical date; None where a caller has no registry.
        graph, split: What the run trains on.
        model_config: With ``num_layers`` resolved.
        train_config: Says whether to start warm.
    """
    if train_config.warm_start == "none":
        return Start()
    if champion is None or champion.state == "none":
        return Start(reason="there is no champion of an earlier date")
    if champion.bundle_dir is None:
        return Start(reason=f"champion {champion.version} is unreadable ({champion.problem})")
    try:
        bundle = Bundle.open(champion.bundle_dir, verify="size")
        _check_window(bundle, split)
        if train_config.refit:
            check_labels(bundle, graph, "final")
        moved = transfer(champion.bundle_dir, graph, weights="selected", seed=train_config.seed)
        _check_settings(moved.config, model_config, champion)
        _check_values(bundle, graph, model_config)
    except ArtifactError as error:
        return Start(reason=f"champion {champion.version}: expected {error.expected}, found {error.found}")
    return Start(champion.version, moved.digest, None, moved.summary(), champion, moved.state,
                 train_config.warm_shrink)


def _check_window(bundle: Bundle, split: Split) -> None:
    known = bundle.record.meta["times"]["window_s"]
    if known != split.window_s:
        raise ArtifactError("champion", f"a label window of {split.window_s} s", f"{known} s",
                            "train without a champion")


def _check_values(bundle: Bundle, graph: TemporalGraph[Any], config: ModelConfig) -> None:
    """The pair prior has learned what stands in which slot, and in which form."""
    if bundle.neighbors is None:
        return
    known, ours = bundle.prior_settings["values"], list(value_columns(graph)) if config.prior_values else []
    if known != ours:
        raise ArtifactError("champion", f"pair priors that read the event columns {ours}", repr(known),
                            "train without a champion")
    if changed := set(known) - value_scales(bundle, graph).keys():
        raise ArtifactError("champion", "the event columns of its pair prior encoded as they were",
                            f"another form of {sorted(changed)}", "train without a champion")


def _check_settings(theirs: ModelConfig, ours: ModelConfig, champion: ChampionRecord) -> None:
    for name in ModelConfig.model_fields:
        mine, old = getattr(ours, name), getattr(theirs, name)
        if name not in FREE and mine != old:
            raise ArtifactError(f"champion {champion.version}", f"model.{name} = {mine!r}", repr(old),
                                "train without a champion, or with its settings")
