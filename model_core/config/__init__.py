"""RunConfig: every setting of a retraining run, typed, frozen and checked."""

from model_core.config.parsing import parse_overrides, parse_section
from model_core.config.sections import (
    EvaluateConfig,
    ExportConfig,
    GateConfig,
    GraphConfig,
    Level,
    Limits,
    ModelConfig,
    QueueConfig,
    RunConfig,
    Section,
    SplitConfig,
    TrainConfig,
    WatchConfig,
)

__all__ = [
    "EvaluateConfig",
    "ExportConfig",
    "GateConfig",
    "GraphConfig",
    "Level",
    "Limits",
    "ModelConfig",
    "QueueConfig",
    "RunConfig",
    "Section",
    "SplitConfig",
    "TrainConfig",
    "WatchConfig",
    "parse_overrides",
    "parse_section",
]
