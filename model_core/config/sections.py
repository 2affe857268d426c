"""The sections of RunConfig, one per stage, so that a stage's cache key holds only its own settings.

All lie in one file because they are small and because they stand below every stage in the
import order.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )


def _ascending(limits: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    warn, fail = limits
    if warn is not None and fail is not None and warn > fail:
        raise ValueError("the limit to warn must not be above the one to fail")
    return limits


#: What a finding counts as.
Level = Literal["ok", "warn", "fail"]
#: Two limits of one measure, from which on it is a warning and a failure; null: never.
Limits = Annotated[
    tuple[Annotated[float, Field(ge=0)] | None, Annotated[float, Field(ge=0)] | None],
    AfterValidator(_ascending),
]


class SplitConfig(Section):
    """Which seed times become training rows."""

    num_train_windows: int | None = Field(
        None, ge=1, description="Keep only the newest training windows; all when unset."
    )
    max_locality_rows: int = Field(
        2_000, ge=1, description="Seed rows per split on which the locality score is measured."
    )


class WatchConfig(Section):
    """When changed data are a warning, and when a failure (see docs/how-to/watch-your-data.md).

    A pair holds the limits of a warning and of a failure; `null` in its place: never.
    """

    on_failure: Literal["refuse", "stop"] = Field(
        "refuse", description="After a failure: train, but promote nothing; or stop the run before training."
    )
    ignore: tuple[str, ...] = Field(
        (), description="Tables (`orders`) and columns (`orders.channel`) that are not watched."
    )
    removed: Level = Field("fail", description="What a table or column that is gone counts as.")
    added: Level = Field("warn", description="What a new table or column counts as.")
    changed: Level = Field("fail", description="What another kind, key or time column counts as.")
    freshness: Limits = Field(
        (0.25, 0.5), description="Age of the newest event at `as_of`, in label windows; a table's usual gaps "
                                 "are allowed for."
    )
    row_change: Limits = Field(
        (2.0, 4.0), description="Factor by which rows (per day, where there is time) grew or fell."
    )
    missing_keys: Limits = Field((0.5, 0.9), description="Share of a foreign key's rows that have none.")
    missing_change: Limits = Field((0.05, 0.25), description="Rise of the share of missing values.")
    category_drift: Limits = Field(
        (0.05, 0.2), description="Jensen-Shannon divergence in bits; a share p of rows that moves to a new "
                                 "value is p."
    )
    number_drift: Limits = Field(
        (0.1, 0.3), description="Kolmogorov-Smirnov distance; a share p of rows that leaves its range is p."
    )
    cold_users: Limits = Field((0.8, 0.95), description="Share of test users without any event before.")
    cold_items: Limits = Field((0.8, 0.95), description="Share of test targets without any event before.")
    cold_change: Limits = Field((0.15, 0.4), description="Rise of either share.")
    max_categories: int = Field(
        1_000, ge=2, description="A string column with more distinct values is compared by its lengths."
    )


class GraphConfig(Section):
    """How table columns become tensors."""

    text_dim: int = Field(64, ge=8, description="Width of the hashed bag of words of a text column.")
    max_categories: int = Field(
        1_000, ge=2, description="A string column with more distinct values is read as text."
    )


class QueueConfig(Section):
    """What the negative queue holds (see docs/models/negative-queue.md)."""

    size: int = Field(
        4_096, ge=1, description="Candidates sampled per time bucket, to look at and to measure; "
                                 "training draws anew at every step."
    )
    popularity_exponent: float = Field(0.75, ge=0, le=2, description="Smoothing of popularity.")
    half_life_days: float = Field(60.0, gt=0, description="Decay of past popularity, in days.")
    uniform_fraction: float = Field(0.2, gt=0, le=1, description="Share of the uniform proposal.")
    num_hard: int = Field(20, ge=0, description="Co-interaction neighbours kept per item.")


class ModelConfig(Section):
    """Architecture. Defaults are the ContextGNN authors' unless said otherwise."""

    name: Literal["contextgnn", "two_tower"] = Field("contextgnn", description="Which model.")
    channels: int = Field(128, ge=4, description="Width of node states.")
    embedding_dim: int = Field(64, ge=2, description="Width of user and item tower vectors.")
    encoder_blocks: int = Field(4, ge=0, description="Residual blocks of a table encoder.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout in table encoders.")
    num_layers: int | None = Field(
        None, ge=1, le=8,
        description="Message-passing layers; unset: the schema's hops from user to item.",
    )
    num_neighbors: int = Field(128, ge=1, description="Fan-out of hop 0; halved at every further hop.")
    max_nodes_per_seed: int = Field(
        1_024, ge=8,
        description="Fan-out is halved until the mean subgraph is no larger than this.",
    )
    strategy: Literal["last", "uniform"] = "last"
    item_vectors: Literal["lookup", "feature", "fusion"] = "fusion"
    use_pair: bool = Field(True, description="Score local items pair-wise.")
    fusion: Literal["two_level", "add", "replace"] = Field(
        "two_level",
        description="How pair scores join the tower's: their own softmax behind a gate, added to the "
                    "tower score, or in its place (the authors).",
    )
    pair_start: float = Field(
        0.0, description="Weight of the graph's pair score when training starts, beside pair priors "
                         "(learned from there; 1 without priors)."
    )
    use_priors: bool = Field(True, description="Add a logit from counts, ages, popularity and item-kNN.")
    prior_columns: bool = Field(
        True, description="Pair priors also read the columns of both tables: what users alike take, and "
                          "which values the user's own items have."
    )
    prior_values: bool = Field(
        True, description="Pair priors also read the number columns of event rows (at most 4): quantity, "
                          "price, rating of what the user took of the item."
    )
    prior_targets: bool = Field(
        True, description="Pair priors also count the labels' own kind of events apart, where users do other "
                          "things as well (purchases beside views)."
    )
    prior_hidden: int = Field(64, ge=1, description="Width of the pair prior's hidden layers.")
    prior_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the pair prior.")
    prior_networks: int = Field(
        4, ge=1, le=64, description="Networks of the pair prior, trained apart and averaged "
                                 "(two-level fusion; otherwise one)."
    )
    num_similar: int = Field(80, ge=0, description="Item-kNN candidates (and neighbours) of the pair prior.")
    num_popular: int = Field(60, ge=0, description="Recently popular candidates of the pair prior.")
    num_following: int = Field(
        40, ge=0, description="Candidates of the pair prior by what users took in a label window after what "
                              "the user has met (twice as many are kept per item, fewer in catalogues of "
                              "millions)."
    )
    item_bias: bool = Field(True, description="One learned logit per item, beside the tower.")
    use_tower: bool = Field(True, description="Score all items with the two towers.")


#: Largest catalogue with the full softmax by default: at twice as many items its scores are most of a step.
MAX_FULL_SOFTMAX_ITEMS = 50_000


class TrainConfig(Section):
    """Optimisation."""

    seed: int = Field(0, ge=0, lt=2**31)
    loss: Literal["auto", "full", "sampled"] = Field(
        "auto", description="Softmax over the whole catalogue (full), or over the queue's classes (sampled): "
                            "then item tables are updated row by row and cost does not grow with the "
                            "catalogue. auto: sampled above 50,000 items.",
    )
    num_classes: int = Field(16_384, ge=2, description="Classes per step of the sampled softmax.")
    mask_known_positives: bool | None = Field(
        None, description="Whether a row's other positives are left out of a positive's partition; "
                          "unset: with the sampled loss only (the full one is the authors').",
    )
    batch_size: int = Field(512, ge=1, description="Most seed rows per optimiser step.")
    min_steps_per_epoch: int = Field(
        40, ge=1, description="Batches are made smaller (down to 16 rows) to have so many steps per epoch."
    )
    recency_half_life: float | None = Field(
        8.0, gt=0, description="Age, in label windows, at which a training row counts half as much as "
                               "the newest; unset: all count alike."
    )
    max_batch_nodes: int = Field(
        400_000, ge=1_000,
        description="A step is cut into micro-batches of about this many sampled nodes.",
    )
    learning_rate: float = Field(1e-3, gt=0)
    lr_gamma: float = Field(1.0, gt=0, le=1, description="Learning-rate factor per epoch.")
    weight_decay: float = Field(
        0.0, ge=0, description="L2 decay of the weights; with the sampled loss not of the item tables."
    )
    average_decay: float | None = Field(
        0.98, ge=0, lt=1, description="Moving average of the weights, which is what is validated and "
                                      "shipped; unset: the weights themselves."
    )
    choose_far_shift: bool = Field(
        True, description="Choose on validation how far items outside the near group may come up "
                          "(two-level fusion only)."
    )
    epochs: int = Field(30, ge=1)
    max_steps_per_epoch: int = Field(2_000, ge=1)
    early_stopping_delta: float | None = Field(
        None, ge=0,
        description="Stop at once when validation MAP falls this far below the best "
                    "(the authors: 0.001); unset: only patience counts.",
    )
    patience: int = Field(8, ge=1, description="Stop after this many epochs without a better MAP.")
    refit: bool = Field(
        True, description="Train once more for the best number of epochs with the validation labels "
                          "added, before test: the newest labels say most about the next window."
    )
    max_validation_rows: int = Field(10_000, ge=1)
    warm_start: Literal["none", "champion"] = Field(
        "none", description="Begin with initial weights, or with the champion's, carried over to today's "
                            "graph (docs/how-to/warm-start.md); without a champion to start from: cold."
    )
    warm_epochs: int = Field(4, ge=1, description="Most epochs of a warm start, in place of epochs.")
    warm_patience: int = Field(2, ge=1, description="The same for patience.")
    warm_learning_rate: float = Field(1e-3, gt=0, description="The same for learning_rate.")
    warm_shrink: float = Field(
        0.7, gt=0, le=1, description="Share of the champion's weights that a warm start keeps, the rest are "
                                     "initial ones; 1 keeps all, and overfits within some nights."
    )
    warm_windows: int | None = Field(
        None, ge=1, description="A warm start trains on the newest label windows only; all when unset."
    )
    checkpoint_every_steps: int = Field(
        50, ge=1, description="Steps between resume states; more where writing one takes long."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU if there is one.")
    bf16: bool = Field(True, description="bfloat16 autocast, on GPU only.")

    def for_catalogue(self, num_items: int) -> TrainConfig:
        """The same, with the loss decided."""
        if self.loss != "auto":
            return self
        return self.model_copy(update={"loss": "full" if num_items <= MAX_FULL_SOFTMAX_ITEMS else "sampled"})


class EvaluateConfig(Section):
    """Ranking metrics and their intervals."""

    ks: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (5, 10, 20), description="Cut-offs, besides the task's own k."
    )
    masks: tuple[Literal["none", "seen", "unavailable"], ...] = Field(
        ("none", "seen", "unavailable"), min_length=1, description="Named masks to report."
    )
    splits: tuple[Literal["val", "test"], ...] = Field(
        ("val", "test"), min_length=1, description="Windows to rank; test decides if it is there."
    )
    batch_size: int = Field(512, ge=1)
    num_bootstrap: int = Field(1_000, ge=1)
    confidence: float = Field(0.95, gt=0, lt=1)
    num_knn_neighbors: int = Field(80, ge=1)
    half_life_days: float | None = Field(
        None, gt=0,
        description="Decay of the recent-popularity baseline; unset: a quarter of the label window.",
    )


class GateConfig(Section):
    """What a model must show to become champion (see docs/how-to/roll-back.md).

    Figures are of the deciding split and mask, at the task's k.
    """

    promote: bool = Field(
        True, description="Whether a run may promote at all; false stores every version and promotes none."
    )
    min_gain: float = Field(
        0.0, description="Gain in MAP over the champion that the lower bound of the paired interval must "
                         "exceed; a negative one lets a model in that is at most so much worse."
    )
    relative: bool = Field(False, description="min_gain is a share of the champion's MAP.")
    min_users: int = Field(
        30, ge=1, description="With fewer users to measure the champion stays: the bootstrap interval of a "
                              "handful is far too narrow, and that of one user is a point."
    )
    min_baseline_gain: float = Field(
        0.0, description="Least mean gain in MAP over the best simple baseline."
    )
    max_coverage_loss: float | None = Field(
        0.2, ge=0, le=1, description="Share of the champion's catalogue coverage (distinct items in the "
                                     "lists) that may be lost; unset: not checked."
    )
    max_cold_user_loss: float | None = Field(
        0.0, ge=0, description="Loss in MAP of users without history beyond which the whole paired interval "
                               "must not lie; unset: not checked."
    )
    min_cold_users: int = Field(30, ge=1, description="With fewer of them cold users are not checked.")
    replace_incomparable: bool = Field(
        False, description="Let the baselines decide where the champion cannot be scored on this window "
                           "(other schema, unreadable); otherwise it stays."
    )


class ExportConfig(Section):
    """ONNX export and its parity proof."""

    num_parity_users: int = Field(256, ge=1)
    tolerance: float = Field(1e-4, gt=0, description="Largest score difference, onnxruntime to torch.")


class RunConfig(Section):
    """All sections of one run."""

    split: SplitConfig = SplitConfig()
    watch: WatchConfig = WatchConfig()
    graph: GraphConfig = GraphConfig()
    queue: QueueConfig = QueueConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    export: ExportConfig = ExportConfig()
