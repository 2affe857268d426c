"""The model card: what a bundle is, on one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from model_core.config import ModelConfig, TrainConfig
from model_core.export.parity import Parity
from model_core.graph.schema import GraphSchema
from model_core.split.seeds import Split


@dataclass(frozen=True)
class CardFacts:
    """What the card states.

    Attributes:
        model_config, train_config: As trained.
        schema: The graph it was trained on.
        split: Windows and numbers of rows.
        num_parameters: Trained numbers.
        fan_out: Neighbours per node and relation at each hop.
        parity: The proof of the export.
        metrics: Rows ``{split, mask, model, metric, k, mean, ci_low, ci_high, num_users}``.
        digests: What it was made from and of, name to digest.
        refit: Rows and last label of the refit (Checkpoint.meta); None without one.
        start: What a warm start began with (Checkpoint.meta); None where none was asked for.
    """

    model_config: ModelConfig
    train_config: TrainConfig
    schema: GraphSchema
    split: Split
    num_parameters: int
    fan_out: tuple[int, ...]
    parity: Parity
    metrics: Sequence[Mapping[str, Any]]
    digests: Mapping[str, str]
    refit: Mapping[str, Any] | None = None
    start: Mapping[str, Any] | None = None


def model_card(facts: CardFacts) -> str:
    """The card as Markdown. Equal facts give equal text: it holds no clock time."""
    schema, split, model = facts.schema, facts.split, facts.model_config
    return "\n".join([
        f"# {model.name}: {schema.entity_table} → {schema.item_table}",
        "",
        f"Ranks all {schema.num_items:,} rows of `{schema.item_table}` for a row of "
        f"`{schema.entity_table}` at a moment t: which of them will it link to within "
        f"{split.window_s / 86_400:g} days after t?",
        "",
        "## Model",
        "",
        *_table(("property", "value"), [
            ("architecture", model.name),
            ("parameters", f"{facts.num_parameters:,}"),
            ("item vectors", model.item_vectors),
            ("neighbours per relation, hop by hop", " / ".join(map(str, facts.fan_out))),
            ("sampling when served", "the newest neighbours"),
            ("trained with strategy", model.strategy),
            ("file", "`model.onnx`, float32; inputs are the fields of a batch and the item vectors"),
        ]),
        "",
        "## Data",
        "",
        *_table(("rows", "seed times", "number"), [
            (name, _span(seeds.time), f"{len(seeds):,}")
            for name, seeds in (("train", split.train), ("val", split.val), ("test", split.test))
        ]),
        "",
        f"Logical date: {_moment(split.logical_time)}"
        f"{'' if split.as_of is not None else ' (the test seed time, for a run without as_of)'}.",
        "",
        f"Tables: {', '.join(f'`{name}`' for name in schema.tables)}. Inputs are rows with time "
        "≤ t; labels lie in (t, t + window]. Statistics and vocabularies know rows up to "
        f"{_moment(split.train_cutoff)}. Labels: {split.label_source}.",
        *_start(facts.start),
        *_refit(facts.refit, facts.start),
        "",
        "## Quality",
        "",
        *_quality(facts.metrics, split.eval_k),
        "",
        "## Proof of export",
        "",
        f"onnxruntime, fed by the serving sampler, against torch on {facts.parity.num_users:,} real "
        f"users: scores within {facts.parity.largest_difference:g} "
        f"(allowed {facts.parity.tolerance:g}) of each user's largest score or 1; the first "
        f"{facts.parity.k} places equal but for ties.",
        "",
        "## Intended use and limits",
        "",
        "- For ranking the catalogue it was trained on. A new item needs a new run.",
        "- Scores order items for one user; they are no probabilities and do not compare users.",
        "- It learns from logged behaviour and repeats its biases, popularity first of all.",
        "- Quality was measured on the windows above; it is not known for later ones.",
        *(["- Trained with uniformly drawn neighbours but served, and proven, with the newest."]
          if model.strategy != "last" else []),
        "",
        "## Training configuration",
        "",
        *_table(("key", "value"), [
            (f"{section}.{key}", f"{value}")
            for section, config in (("model", model), ("train", facts.train_config))
            for key, value in config.model_dump(mode="json").items()
        ]),
        "",
        "## Digests (SHA-256)",
        "",
        *_table(("of", "digest"), [(name, f"`{digest}`") for name, digest in facts.digests.items()]),
        "",
    ])


def _start(start: Mapping[str, Any] | None) -> list[str]:
    if start is None:
        return []
    if start["champion"] is None:
        return ["", f"Training began with initial weights: {start['cold_because']}."]
    items = start["carried_over"]["items"]
    return ["", f"Training began with the weights of version `{start['champion']}`, carried over to this "
            f"graph: {items['kept']:,} items kept, {items['new']:,} new, {items['gone']:,} gone."]


def _refit(refit: Mapping[str, Any] | None, start: Mapping[str, Any] | None) -> list[str]:
    begin = "those of the champion" if start and start["champion"] else "the start"
    return [] if refit is None else [
        "",
        f"After validation had chosen the number of epochs, the weights were trained from {begin} on "
        f"training and validation rows ({refit['num_rows']:,}; labels until "
        f"{_moment(refit['labels_until'])}). Validation figures are of the weights from before that.",
    ]


def _quality(metrics: Sequence[Mapping[str, Any]], eval_k: int) -> list[str]:
    """One table per split, unmasked, at the task's own k; the report has the rest."""
    rows = [row for row in metrics if row["mask"] == "none" and row["k"] == eval_k]
    if not rows:
        return ["No metrics were passed to the export."]
    lines = []
    names = list(dict.fromkeys(row["metric"] for row in rows))
    for split in dict.fromkeys(row["split"] for row in rows):
        cells = {(row["model"], row["metric"]): f"{row['mean']:.4f} "
                 f"({row['ci_low']:.4f} to {row['ci_high']:.4f})"
                 for row in rows if row["split"] == split}
        users = max(row["num_users"] for row in rows if row["split"] == split)
        lines += [
            f"{split}, {users:,} users, no mask, k = {eval_k}, mean (interval):", "",
            *_table(("model", *names), [
                (model, *(cells.get((model, name), "") for name in names))
                for model in dict.fromkeys(model for model, _ in cells)
            ]), "",
        ]
    return lines[:-1]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(times: Any) -> str:
    if len(times) == 0:
        return "none"
    first, last = _moment(times.min()), _moment(times.max())
    return first if first == last else f"{first} to {last}"
