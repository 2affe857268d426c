"""Recommender models. Each returns scores or vectors only; losses stand apart."""

from model_core.models.contextgnn.model import ContextGNN
from model_core.models.two_tower import TwoTower

#: Name in ModelConfig to class; called as ``(schema, config, num_layers)``.
MODELS: dict[str, type[ContextGNN]] = {
    "contextgnn": ContextGNN,
    "two_tower": TwoTower,
}
