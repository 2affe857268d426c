"""The cost model: what each step needs in memory and time, as explicit formulas.

Memory is the peak of a step's own process in bytes, as a sum of named parts. Time is

    start-up + work: rows × seconds per row (Python, pandas, numpy),
                     FLOPs / (efficiency × measured GFLOP/s), bytes moved / bandwidth.

Constants are means over the steps of four datasets on two cores (docs/how-to/plan.md has
estimate beside measured); times of Python work are scaled by the machine's measured speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_core.planning.machine import DEFAULT_SPEED, MachineSpeed
from model_core.planning.workload import MAX_SCORES, Workload
from model_core.priors.build import num_followers
from model_core.priors.co_counts import MAX_BLOCK_PRODUCTS, MAX_ITEMS_PER_ENTITY
from model_core.priors.columns import MAX_COLUMNS
from model_core.priors.event_values import MAX_VALUES
from model_core.priors.features import FEATURES

MB = 10**6
FLOAT, INT = 4, 8

#: Resident memory once a step has imported its libraries, MB. Export traces the model.
LIBRARIES_MB = {"ingest": 300, "temporal_split": 190, "load_champion": 130, "watch_data": 190,
                "build_graph": 210, "build_negative_queue": 340, "train": 330, "evaluate": 380,
                "export_onnx": 560, "publish": 130}
#: Linux reports a child's peak as at least that of its parent; this is the local runner's.
RUNNER_MB = 260
#: Seconds until a step has started and imported, on the machine of DEFAULT_SPEED.
START_UP_S = {"ingest": 2.0, "temporal_split": 1.2, "load_champion": 1.2, "watch_data": 1.5,
              "build_graph": 2.0, "build_negative_queue": 1.8, "train": 4.0, "evaluate": 5.0,
              "export_onnx": 10.0, "publish": 2.2}

#: Bytes at the peak per byte of the tables in Arrow form: source, checked copy, one column's work.
INGEST_COPIES = 3.5
#: Bytes per user-item walk while it is joined, sorted and made distinct.
BYTES_PER_WALK = 420
#: Bytes per row of the largest table while its columns and edges are made: sort orders, masks.
BYTES_PER_BUILT_ROW = 150
#: Bytes of one product of the item-item matrix.
BYTES_PER_PRODUCT = 16
#: Seconds per row of Python-side work, at DEFAULT_SPEED.
INGEST_S, WALK_S, WATCH_S, BUILD_S = 2.0e-6, 3.0e-6, 3.0e-7, 2.5e-6
CANDIDATE_S, SAMPLED_NODE_S = 1.5e-6, 3.0e-7
#: Seconds per product of the item-item matrix, and per pair of items that go together at all.
PRODUCT_S, ITEM_PAIR_S = 5.0e-9, 8.0e-8
#: Counting what follows what, beside what goes together; and a snapshot's work beside the last one's.
FOLLOWING_SHARE, SNAPSHOT_SHARE = 0.4, 0.8

#: Copies of a [rows, items] score matrix that are alive at once, with and without gradients.
SCORE_COPIES_TRAINING, SCORE_COPIES_RANKING = 7, 5
#: Vectors of ``channels`` floats that the backward pass keeps: per distinct row and residual
#: block (norm, two matrices, mask), per distinct row besides, per node and layer (sum, norm,
#: activation) and per message.
KEPT_PER_BLOCK, KEPT_PER_ROW, KEPT_PER_NODE, KEPT_PER_MESSAGE = 5, 5, 4, 1
#: The same of ``embedding_dim`` floats per item whose columns are encoded (two blocks).
KEPT_PER_ITEM = 14
#: Steps that are in memory at once: computed, ready, being prepared.
BATCHES_ALIVE = 3
#: What allocators hold above the sum of tensors.
ALLOCATOR = 1.25
#: Share of the measured GFLOP/s that the layers reach; a backward pass costs two forward ones.
EFFICIENCY, FORWARD_AND_BACKWARD = 0.5, 3
#: Times a kept vector and a score are written or read, training.
PASSES, SCORE_PASSES = 3, 14
#: Seconds of one optimiser step that are neither: calls of some hundred small operations.
STEP_OVERHEAD_S = 0.03
#: Adam reads and writes weight, gradient and two moments.
ADAM_PASSES = 7
#: Largest cache of prior features in training (training.prior_cache).
PRIOR_CACHE_BYTES = 2**28


@dataclass(frozen=True)
class StepCost:
    """Cost of one step.

    Attributes:
        name: Step name.
        wall_s: Seconds; of training with all its epochs, which early stopping may shorten.
        parts: What fills the memory, in bytes.
    """

    name: str
    wall_s: float
    parts: Mapping[str, float]

    @property
    def bytes(self) -> float:
        return sum(self.parts.values())

    @property
    def peak_mb(self) -> float:
        """As a run measures it, in 10^6 bytes."""
        return max(self.bytes / MB, RUNNER_MB)


def step_costs(work: Workload, speed: MachineSpeed) -> tuple[StepCost, ...]:
    """Cost of every step of the retrain pipeline, in order."""
    slow = DEFAULT_SPEED.python_mops / speed.python_mops
    facts, config = work.facts, work.config
    table_bytes, walks = facts.memory_bytes, work.num_interactions
    largest = max((table.num_rows for table in facts.tables.values()), default=0)
    widest = max((table.feature_bytes(config.graph.text_dim) for table in facts.tables.values()), default=0)
    products = _item_products(work)
    pairs = min(products, MAX_BLOCK_PRODUCTS, float(facts.num_items) ** 2)
    num_eval = work.skeleton.num_val + work.skeleton.num_test
    modules = work.num_relations * work.num_layers

    def cost(name: str, seconds: float, **parts: float) -> StepCost:
        return StepCost(name, START_UP_S[name] * slow + seconds,
                        {"libraries": LIBRARIES_MB[name] * MB} | parts)

    return (
        cost("ingest", table_bytes / speed.parquet_mb_s / MB + INGEST_S * facts.num_rows * slow,
             tables=INGEST_COPIES * table_bytes),
        cost("temporal_split", WALK_S * walks * slow, interactions=BYTES_PER_WALK * walks),
        cost("load_champion", _bundle_bytes(work) / 200e6 * slow),
        cost("watch_data", (WALK_S / 3 * walks + WATCH_S * facts.num_rows) * slow,
             interactions=BYTES_PER_WALK * walks),
        cost("build_graph", (BUILD_S * facts.num_rows + WALK_S / 3 * walks) * slow
             + 2 * widest / speed.copy_gb_s / 1e9,
             columns=widest + BYTES_PER_BUILT_ROW * largest, interactions=BYTES_PER_WALK / 2 * walks),
        cost("build_negative_queue", _item_pairs_s(work) * slow,
             interactions=3 * 3 * INT * walks,
             item_pairs=BYTES_PER_PRODUCT * pairs,
             queue=2 * INT * facts.num_items + 4 * config.queue.num_hard * work.num_known_items),
        cost("train", _train_s(work, speed, slow), **_training_parts(work)),
        cost("evaluate", _rank_s(work, speed, slow, num_eval) + _baselines_s(work, speed, slow, num_eval),
             **_ranking_parts(work, config.evaluate.batch_size)),
        cost("export_onnx", (0.35 * modules) * slow
             + _rank_s(work, speed, slow, 2 * config.export.num_parity_users),
             tracing=6.5 * MB * modules, **_ranking_parts(work, config.export.num_parity_users)),
        cost("publish", _bundle_bytes(work) / 200e6 * slow),
    )


def _graph_bytes(work: Workload) -> float:
    """Columns, edges in both directions and interactions: mapped files that are read wholly."""
    text = work.config.graph.text_dim
    columns = sum(table.feature_bytes(text) for table in work.facts.tables.values())
    return columns + (2 * INT + INT / 2) * work.facts.num_edges + 3 * INT * work.num_interactions


def _item_products(work: Workload) -> float:
    """Terms of the item-item matrix: the squares of how many items the users count with."""
    facts = work.facts
    each = min(2 * work.num_interactions / max(facts.num_entities, 1), facts.num_items, MAX_ITEMS_PER_ENTITY)
    return facts.num_entities * each**2


def _item_pairs_s(work: Workload) -> float:
    """Counting how often items go together, and finding the nearest of each."""
    products = _item_products(work)
    pairs = min(products, float(work.facts.num_items) ** 2)
    return WALK_S / 3 * work.num_interactions + PRODUCT_S * products + ITEM_PAIR_S * pairs


def _nearest_bytes(work: Workload) -> float:
    """The nearest items and the followers of all known items at one moment."""
    model = work.config.model
    if not model.use_priors:
        return 0.0
    kept = model.num_similar, num_followers(work.num_known_items, model.num_following)
    # As many as are kept, or as there are at all: most items of a large catalogue have few.
    cells = sum(min(work.num_known_items * number, _item_products(work)) for number in kept)
    return cells * (INT / 2 + FLOAT) + len(kept) * work.num_known_items * 2 * INT


def _snapshots_s(work: Workload, slow: float) -> float:
    """Counting, at every snapshot, what goes with what and what follows what."""
    model = work.config.model
    kinds = (model.num_similar > 0) + FOLLOWING_SHARE * (model.num_following > 0) if model.use_priors else 0.0
    return work.num_snapshots * SNAPSHOT_SHARE * kinds * _item_pairs_s(work) * slow


def _prior_bytes(work: Workload) -> float:
    """Index of the events by user, item and column, and the nearest items at every snapshot, twice."""
    if not work.config.model.use_priors:
        return 0.0
    nearest = work.num_snapshots * _nearest_bytes(work)
    entity, item = (work.facts.tables[table] for table in (
        work.facts.task.entity_table, work.facts.task.item_table))
    columns = [min(table.num_number + table.num_category, MAX_COLUMNS) for table in (entity, item)]
    lifts = 1 + 2 * columns[0] + columns[1] if work.config.model.prior_columns else 0
    values = 3 * MAX_VALUES if work.config.model.prior_values else 0
    kinds = 1 if work.num_features == len(FEATURES) else 2  # those of the labels' kind once more
    return (12 * kinds + lifts + values) * INT * work.num_interactions + 2 * nearest


def _item_bytes(work: Workload) -> dict[str, float]:
    """Item tables with gradients and optimiser state.

    Full softmax: weight, gradient, two moments, and the vectors with their gradient. Sampled:
    weight and two moments; vectors and gradients of the classes alone. Best weights are kept
    as a copy on disk, resume states pass through memory.
    """
    items, d = work.facts.num_items, work.config.model.embedding_dim + 1
    full = work.config.train.loss == "full"
    table = FLOAT * items * work.item_width * (4 if full else 3)
    vectors = FLOAT * work.num_columns * d * 2
    encoder = FLOAT * work.num_columns * KEPT_PER_ITEM * d if work.has_item_encoder else 0
    ranking = FLOAT * items * d  # validation looks at the whole catalogue either way
    return {"item_table": table, "item_vectors": vectors + encoder + ranking}


def _kept_bytes(work: Workload, num_seeds: int, rows: Mapping[str, float]) -> float:
    """Activations that a backward pass over so many seeds needs, with so many encoded rows per table."""
    model, subgraph = work.config.model, work.subgraph
    distinct = sum(rows.values())
    vectors = (distinct * (KEPT_PER_BLOCK * model.encoder_blocks + KEPT_PER_ROW)
               + num_seeds * (subgraph.nodes * 2 + subgraph.node_layers * KEPT_PER_NODE
                              + subgraph.edge_layers * KEPT_PER_MESSAGE))
    pairs = num_seeds * work.candidates_per_seed * (
        2 * work.num_features + 6 * work.num_prior_networks * model.prior_hidden)
    return FLOAT * (vectors * model.channels + pairs)


def _batch_bytes(work: Workload, num_seeds: int) -> float:
    """A prepared batch: features of distinct rows, indices of nodes and edges, candidates."""
    text = work.config.graph.text_dim
    rows = sum(count * (FLOAT * table.width(text) + INT) for count, table in zip(
        work.distinct_rows(num_seeds).values(), work.facts.tables.values(), strict=True))
    nodes = num_seeds * (work.subgraph.nodes * (4 * INT) + work.subgraph.edges * 2 * INT)
    return rows + nodes + num_seeds * work.candidates_per_seed * (FLOAT * work.num_features + 2 * INT)


def _cached_row_bytes(work: Workload) -> float:
    """Candidates of a training row with their features in 16 bits."""
    return work.candidates_per_seed * (2 * work.num_features + 4)


def _training_parts(work: Workload) -> dict[str, float]:
    micro, rows = work.rows_per_micro_batch, work.rows_per_step
    val = _ranking_parts(work, 512)
    cache = min(PRIOR_CACHE_BYTES, work.skeleton.num_train * _cached_row_bytes(work))
    # A step's forward and backward pass, or a block of validation: whichever needs more.
    step = FLOAT * micro * work.num_columns * SCORE_COPIES_TRAINING
    # Memory is planned for rows that all differ: dropout draws masks for many of them anew.
    kept = ALLOCATOR * _kept_bytes(work, micro, work.distinct_rows(micro))
    parts = {
        "graph": _graph_bytes(work), "pair_prior": _prior_bytes(work) + cache,
        "network": 4 * FLOAT * work.num_network_weights, **_item_bytes(work),
        "scores": step, "activations": kept, "batches": BATCHES_ALIVE * _batch_bytes(work, rows),
    }
    if val["scores"] + val["activations"] > step + kept:
        parts["scores"], parts["activations"] = val["scores"], val["activations"]
    return parts


def _ranking_parts(work: Workload, batch_size: int) -> dict[str, float]:
    """Scoring the catalogue without gradients: a few live vectors per node, a block of scores."""
    facts, model = work.facts, work.config.model
    block = min(batch_size, max(MAX_SCORES // max(facts.num_items, 1), 1),
                max(work.skeleton.num_val, work.skeleton.num_test, 1))
    seeds = min(block, max(int(work.config.train.max_batch_nodes / max(work.subgraph.nodes, 1.0)), 1))
    distinct = sum(work.distinct_rows(seeds).values())
    live = (distinct * 4 + seeds * (work.subgraph.nodes * 4 + work.subgraph.edges)) * model.channels
    d = model.embedding_dim + 1
    return {
        "graph": _graph_bytes(work), "pair_prior": _prior_bytes(work) / 4,
        "item_vectors": FLOAT * facts.num_items * (work.item_width + 2 * d),
        "scores": FLOAT * block * facts.num_items * SCORE_COPIES_RANKING,
        "activations": ALLOCATOR * FLOAT * live + _batch_bytes(work, seeds),
    }


def _bundle_bytes(work: Workload) -> float:
    vectors = FLOAT * work.facts.num_items * (work.config.model.embedding_dim + 1)
    return _graph_bytes(work) + vectors + 2 * _nearest_bytes(work)


def _forward_flops(work: Workload, num_seeds: int) -> float:
    """Multiply-adds count twice. Encoders run once for rows with equal features."""
    model, text = work.config.model, work.config.graph.text_dim
    c = model.channels
    rows = work.encoded_rows(num_seeds)
    encoders = sum(rows[name] * (2 * table.width(text) * c + (4 * model.encoder_blocks + 2) * c * c)
                   for name, table in work.facts.tables.items() if table.width(text))
    layers = num_seeds * (work.subgraph.node_layers + work.subgraph.edge_layers / 2) * 2 * c * c
    width = work.num_features + model.prior_hidden
    prior = 2 * width * work.num_prior_networks * model.prior_hidden
    return encoders + layers + num_seeds * work.candidates_per_seed * prior


def _item_flops(work: Workload, num_items: int) -> float:
    d = work.config.model.embedding_dim
    item = work.facts.tables[work.facts.task.item_table]
    return num_items * (2 * item.width(work.config.graph.text_dim) * d + 10 * d * d) if (
        work.has_item_encoder) else 0.0


def _train_s(work: Workload, speed: MachineSpeed, slow: float) -> float:
    """Steps, validation after every epoch, counting candidates; the same as often in the refit."""
    train, model, rows = work.config.train, work.config.model, work.rows_per_step
    flops = speed.gflops * 1e9 * EFFICIENCY
    micro = work.rows_per_micro_batch
    pieces = rows / micro
    forward = (pieces * _forward_flops(work, micro) + _item_flops(work, work.num_columns)
               + 2.0 * rows * work.num_columns * (model.embedding_dim + 1))
    moved = (pieces * _kept_bytes(work, micro, work.encoded_rows(micro)) * PASSES
             + FLOAT * rows * work.num_columns * SCORE_PASSES
             + FLOAT * ADAM_PASSES * (work.num_network_weights
                                      + (work.facts.num_items if train.loss == "full" else work.num_columns)
                                      * work.item_width))
    sampling = SAMPLED_NODE_S * rows * work.subgraph.nodes * slow
    step = (FORWARD_AND_BACKWARD * forward / flops + moved / speed.copy_gb_s / 1e9
            + STEP_OVERHEAD_S * slow * (0.5 + 0.5 * pieces) * (1 + work.num_relations * work.num_layers / 40)
            + sampling)
    num_val = min(work.skeleton.num_val, train.max_validation_rows)
    # Rows that the cache has no room for are counted at every epoch.
    row = work.candidates_per_seed * CANDIDATE_S * slow
    seen = min(rows * work.steps_per_epoch, work.skeleton.num_train)
    kept = min(PRIOR_CACHE_BYTES / max(_cached_row_bytes(work), 1.0), seen)
    counted = (kept + num_val + train.epochs * (seen - kept)) * row
    again = 1 + work.skeleton.num_val / work.skeleton.num_train if train.refit and num_val else 0.0
    steps = train.epochs * work.steps_per_epoch * step
    return ((steps + counted) * (1 + again) + train.epochs * _rank_s(work, speed, slow, num_val)
            + _snapshots_s(work, slow))


def _rank_s(work: Workload, speed: MachineSpeed, slow: float, num_rows: int) -> float:
    """Scoring the catalogue for some rows and cutting the lists."""
    if not num_rows:
        return 0.0
    model = work.config.model
    seeds = max(min(num_rows, 512, int(work.config.train.max_batch_nodes / max(work.subgraph.nodes, 1))), 1)
    blocks = num_rows / seeds
    flops = (blocks * _forward_flops(work, seeds) + _item_flops(work, work.facts.num_items)
             + 2.0 * num_rows * work.facts.num_items * (model.embedding_dim + 1))
    moved = (FLOAT * num_rows * work.facts.num_items * 8
             + blocks * _kept_bytes(work, seeds, work.encoded_rows(seeds)))
    return (flops / (speed.gflops * 1e9 * EFFICIENCY) + moved / speed.copy_gb_s / 1e9
            + (SAMPLED_NODE_S * num_rows * work.subgraph.nodes + STEP_OVERHEAD_S * blocks
               + CANDIDATE_S * num_rows * work.candidates_per_seed) * slow)


def _baselines_s(work: Workload, speed: MachineSpeed, slow: float, num_rows: int) -> float:
    """Five baselines under every mask, item-item similarity, intervals."""
    config = work.config.evaluate
    lists = 6 * (len(config.masks) + 1)
    moved = FLOAT * num_rows * work.facts.num_items * 3 * lists
    intervals = 2e-8 * config.num_bootstrap * num_rows * 100
    return moved / speed.copy_gb_s / 1e9 + (2.0 + intervals + 2 * WALK_S * work.num_interactions) * slow
