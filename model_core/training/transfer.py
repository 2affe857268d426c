"""Transfer: the weights of a published model, moved to the graph of another date.

A champion was trained on a graph of its day: other means and scales of numbers, other
numbers for categories, other rows for items, perhaps other columns and tables. Moved, its
weights compute on today's graph what they computed on theirs. The gate then scores the
champion on the newest window, and training may start from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model_core.config import ModelConfig
from model_core.errors import ArtifactError, ConfigError
from model_core.graph.encodings import GraphEncodings
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.scorer import ModelScorer
from model_core.priors.build import make_priors
from model_core.priors.features import feature_names
from model_core.serving.bundle import Bundle
from model_core.training.checkpoint import build_model
from model_core.training.transfer_columns import ColumnChanges, affine
from model_core.training.transfer_weights import WeightMover

#: Keys that a summary names at most.
MAX_NAMED = 20

WhichWeights = Literal["final", "selected"]


@dataclass(frozen=True)
class Transfer:
    """Weights for a graph, and what became of those of the champion.

    Attributes:
        state: State dict for ``build_model(GraphSchema.of(graph), config)``.
        config: Of the champion; ``num_layers`` is resolved.
        digest: Of the champion's bundle.
        num_kept, num_new: Items of today's catalogue that the champion knew, and others.
        gone: int64, source keys of items that the champion knew and the catalogue has no more.
        columns: Table to what became of its columns.
        new_tables, gone_tables, new_relations, gone_relations: Of one of the two graphs only.
    """

    state: dict[str, Tensor]
    config: ModelConfig
    digest: str
    num_kept: int
    num_new: int
    gone: np.ndarray
    columns: Mapping[str, ColumnChanges]
    new_tables: tuple[str, ...]
    gone_tables: tuple[str, ...]
    new_relations: tuple[str, ...]
    gone_relations: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """JSON values for records and reports; a long list of vanished items is cut."""
        def named(part: str) -> list[str]:
            return [f"{table}.{column}" for table, changes in self.columns.items()
                    for column in getattr(changes, part)]

        return {
            "items": {"kept": self.num_kept, "new": self.num_new, "gone": len(self.gone),
                      "gone_keys": self.gone[:MAX_NAMED].tolist()},
            "columns": {
                "kept": sum(changes.kept for changes in self.columns.values()),
                "changed": named("changed"), "new": named("new"), "gone": named("gone"),
                "new_values": {f"{table}.{column}": count for table, changes in self.columns.items()
                               for column, count in changes.new_values.items()},
            },
            "tables": {"new": list(self.new_tables), "gone": list(self.gone_tables)},
            "relations": {"new": list(self.new_relations), "gone": list(self.gone_relations)},
        }


def transfer(
    bundle_dir: Path | str, graph: TemporalGraph[Any], *, weights: WhichWeights = "final", seed: int = 0
) -> Transfer:
    """Move the weights of a bundle to a graph.

    Same function as nearly as weights can say: see ``moved_encoder`` for columns. Items are
    found again by their source key; a new one gets the mean of all lookup vectors and
    biases, beside what its columns say. New tables and relations have no weight in what
    is known, gone ones are left out. Not exact are values that were clipped, rows without
    features, and what new relations add to a neighbourhood.

    Args:
        bundle_dir: A bundle record; every byte is checked.
        graph: Where the weights shall work.
        weights: The shipped ones; or those from before the refit, which know no label of
            their validation window.
        seed: Of the initial weights of tables that the bundle did not know.

    Raises:
        ArtifactError: Unreadable, made by another release, a model of other tables, or one
            that knows labels of the time to be predicted.
    """
    bundle = Bundle.open(bundle_dir)
    where = _where(bundle)
    check_labels(bundle, graph, weights)
    config, encodings, features = _read(bundle, where)
    schema, old = GraphSchema.of(graph), bundle.schema
    for part in ("entity_table", "item_table"):
        if getattr(schema, part) != getattr(old, part):
            raise ArtifactError(where, f"a model whose {part} is {getattr(schema, part)!r}",
                                repr(getattr(old, part)), "train without a champion")
    if config.use_priors and config.name != "two_tower" and (
            features != list(feature_names(schema.target_events))):
        raise ArtifactError(where, "the pair features of this release, for these kinds of events", "others",
                            "train without a champion")
    if old.target_routes and graph.target_routes and old.target_routes != schema.target_routes:
        raise ArtifactError(where, f"a model whose labels speak of {list(schema.target_routes)}",
                            f"{list(old.target_routes)}", "train without a champion")
    fresh = _fresh_state(schema, config, seed, where)
    state = _load(bundle, config, weights, where)
    now = GraphEncodings.of(graph)
    if bundle.item_id.shape != (old.num_items,):
        raise ArtifactError(where, f"a key for each of {old.num_items} items",
                            f"item_id.npy of shape {bundle.item_id.shape}", "train without a champion")
    rows, gone = _item_rows(np.asarray(bundle.item_id), graph.source_keys(graph.item_table))
    mover = WeightMover(state, fresh, encodings.tables, now.tables, rows, where)
    return Transfer(
        mover.moved(schema), config, bundle.record.digest,
        int((rows >= 0).sum()), int((rows < 0).sum()), gone, mover.columns,
        tuple(t for t in schema.tables if t not in old.tables),
        tuple(t for t in old.tables if t not in schema.tables),
        tuple(r.key for r in schema.relations if r not in old.relations),
        tuple(r.key for r in old.relations if r not in schema.relations),
    )


def champion_scorer(
    bundle_dir: Path | str, graph: TemporalGraph[Any], device: str | torch.device = "cpu", *,
    weights: WhichWeights = "final",
) -> ModelScorer:
    """A published model as a function of (entity, time) on the graph of another date.

    Args:
        bundle_dir: A bundle record.
        graph: A numpy graph, or a torch graph already on ``device``.
        device: Where to compute.
        weights: The shipped ones, or those from before the refit: only they may be measured
            on validation rows.

    Returns:
        The scorer; its rows of items are those of ``graph``.

    Raises:
        ArtifactError: The champion cannot be carried over (``transfer``).
    """
    bundle = Bundle.open(bundle_dir, verify="size")
    graph = _kinds_told_apart(graph, bundle.schema.target_events)
    moved = transfer(bundle_dir, graph, weights=weights)
    if isinstance(graph.node_time[graph.entity_table], np.ndarray):
        graph = graph.to_torch(device)
    model = build_model(GraphSchema.of(graph), moved.config)
    model.load_state_dict(moved.state)
    return ModelScorer(
        model.to(device).eval(), graph, bundle.fan_out, device=device, strategy=moved.config.strategy,
        nodes_per_seed=bundle.record.meta["nodes_per_seed"],
        priors=make_priors(graph, **_prior_settings(bundle, graph)) if model.prior is not None else None,
    )


def _kinds_told_apart(graph: TemporalGraph[Any], apart: bool) -> TemporalGraph[Any]:
    """A graph as a model saw it that told events of the labels' kind from others, or did not."""
    events = graph.interactions
    if apart == (events.target is not None):
        return graph
    target = None if not apart else events.item == events.item  # all are, in numpy or torch
    return replace(graph, interactions=replace(events, target=target), target_routes=())


def _prior_settings(bundle: Bundle, graph: TemporalGraph[Any]) -> dict[str, Any]:
    """Values of events in the bundle's scale; those that cannot be put into it count as not there."""
    scales = value_scales(bundle, graph)
    names = [name if name in scales else None for name in bundle.prior_settings["values"]]
    return {**bundle.prior_settings, "values": names, "value_scales": scales}


def value_scales(bundle: Bundle, graph: TemporalGraph[Any]) -> dict[str, tuple[float, float]]:
    """(a, c) of the number columns ``table.column`` whose values x in the bundle's graph are a · x' + c."""
    old, new = _read(bundle, _where(bundle))[1].tables, GraphEncodings.of(graph).tables
    return {
        f"{table}.{column}": scale for table in old.keys() & new.keys() for column in new[table].numbers
        if (scale := affine(old[table], new[table], column)) is not None}


def check_labels(bundle: Bundle, graph: TemporalGraph[Any], weights: WhichWeights) -> None:
    """No model may be measured on, or chosen by, labels that it knows.

    Raises:
        ArtifactError: The weights know labels after the graph's last time, or the selected
            ones know labels after its cutoff.
    """
    times = bundle.record.meta["times"]
    limits = {"test": (max(times["labels_until"][weights], times["chosen_until"]), graph.last_time)}
    if weights == "selected":
        limits["validation"] = times["labels_until"]["selected"], graph.cutoff
    for window, (known, limit) in limits.items():
        if known > limit:
            raise ArtifactError(
                _where(bundle), f"a model that knows no labels after the {window} time "
                f"{np.datetime64(limit, 's')}", f"labels until {np.datetime64(known, 's')}",
                "take the champion of an earlier logical date",
            )


def _where(bundle: Bundle) -> str:
    return f"champion {bundle.record.path}"


def _read(bundle: Bundle, where: str) -> tuple[ModelConfig, GraphEncodings, list[str]]:
    """Configuration, encodings and pair features of a bundle."""
    try:
        config = ModelConfig(**json.loads(bundle.record.file("config.json").read_bytes())["model"])
        stored = json.loads(bundle.record.file("encodings.json").read_bytes())
        encodings, features = GraphEncodings.from_json(stored["tables"]), stored["pair_features"]
        for name, table in bundle.schema.tables.items():
            if not encodings.tables[name].fits(table):
                raise ValueError(f"columns of table {name!r} in encodings.json and schema.json differ")
        return config, encodings, features
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ArtifactError(where, "settings of this release", repr(error),
                            "train without a champion") from error


def _fresh_state(schema: GraphSchema, config: ModelConfig, seed: int, where: str) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return build_model(schema, config).state_dict()
        except ConfigError as error:
            raise ArtifactError(where, "a model that can be built for this graph", error.fault,
                                "train without a champion") from error


def _load(bundle: Bundle, config: ModelConfig, weights: WhichWeights, where: str) -> dict[str, Tensor]:
    before_refit = weights == "selected" and "selected.safetensors" in bundle.record.files
    name = "selected.safetensors" if before_refit else "weights.safetensors"
    try:
        state = load_file(bundle.record.file(name))
    except SafetensorError as error:
        raise ArtifactError(where, f"readable weights in {name}", repr(error),
                            "train without a champion") from error
    with torch.device("meta"):
        wanted = build_model(bundle.schema, config).state_dict()
    for key in sorted(wanted.keys() | state.keys()):
        shapes = [tuple(part[key].shape) if key in part else None for part in (wanted, state)]
        if shapes[0] != shapes[1]:
            raise ArtifactError(where, f"weights as its settings say ({key} of shape {shapes[0]})",
                                f"shape {shapes[1]}", "train without a champion")
        if not state[key].isfinite().all():
            raise ArtifactError(where, "finite weights", f"others in {key}", "train without a champion")
    return state


def _item_rows(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Old row of every new item, int64 [n] with -1 for none; and the keys that are gone."""
    order = np.argsort(old, kind="stable")
    place = np.searchsorted(old, new, sorter=order)
    row = order[np.minimum(place, len(old) - 1)]
    return np.where(old[row] == new, row, -1), np.setdiff1d(old, new)
