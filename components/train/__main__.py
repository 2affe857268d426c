"""What the train step runs."""

import sys
from pathlib import Path

from components._images import code_digest
from components._step import Input, Metadata, Output, run_step, termination_deferred


def train(
    graph: Input,
    split: Input,
    negative_queue: Input,
    champion: Input,
    checkpoint: Output,
    tensorboard: Output,
    metrics: Output,
    model_config: str = "{}",
    train_config: str = "{}",
    checkpoint_root: str = "",
) -> Metadata:
    """Train a recommender; killed and started again, it resumes and ends with the same weights.

    Args:
        graph: Temporal graph (record: graph).
        split: Seed rows (record: split).
        negative_queue: Negative candidates (record: negative_queue).
        champion: What a warm start begins with; an empty record will do (record: champion).
        checkpoint: Best weights by validation MAP, with curves (record: checkpoint).
        tensorboard: TensorBoard log directory.
        metrics: Validation MAP, epochs and speed.
        model_config: JSON of ModelConfig; its name picks the model.
        train_config: JSON of TrainConfig.
        checkpoint_root: Directory or URI that outlives the step, for resume states. Empty: no resume.
    """
    from model_core.config import ModelConfig, TrainConfig, parse_section
    from model_core.evaluation.validation import map_validator
    from model_core.graph.temporal_graph import TemporalGraph
    from model_core.logical_date import date_name
    from model_core.negatives.queue import NegativeQueue
    from model_core.split.seeds import Split
    from model_core.storage.champion import ChampionRecord
    from model_core.training.identity import run_digest
    from model_core.training.mirror import resume_states
    from model_core.training.start import warm_digest
    from model_core.training.trainer import train as fit

    opened_graph = TemporalGraph.open(graph, verify="digest")
    opened_split = Split.open(split, verify="digest")
    queue = NegativeQueue.open(negative_queue, verify="digest")
    reigning = ChampionRecord.open(champion, verify="digest")
    model = parse_section(ModelConfig, model_config)
    settings = parse_section(TrainConfig, train_config)
    # A state that other code made must not be resumed.
    # The date is for people who look for a run's states; the rest tells runs of one date apart.
    digest = run_digest(opened_graph, opened_split, queue, model, settings,
                        warm_digest(reigning, settings))
    run_key = f"{date_name(opened_split.logical_time)}-{digest[:16]}-{code_digest()}"
    with resume_states(checkpoint_root, run_key, Path(checkpoint).parent) as (
            state_dir, mirror), termination_deferred() as asked:
        trained = fit(
            opened_graph, opened_split, queue, model, settings, Path(checkpoint),
            champion=reigning, state_dir=state_dir, mirror=mirror, stop=asked,
            validate=map_validator(opened_split, settings),
            tensorboard_dir=Path(tensorboard),
        )
    last = trained.curves[-1]
    summary = {name: value for name, value in (
        ("val_map", trained.meta["best_val_map"]), ("best_epoch", trained.meta["best_epoch"]),
        ("epochs", trained.meta["num_epochs"]), ("seeds_per_s", last["seeds_per_s"]),
    ) if value is not None}
    return {"checkpoint": {"digest": trained.record.digest, **summary}, "metrics": summary}


if __name__ == "__main__":
    sys.exit(run_step(train))
