"""Verdict: may this model replace what is served?"""

from __future__ import annotations

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.gains import paired_gains
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.record import Verdict
from model_core.evaluation.scoring import Evaluation, json_number


def deciding_place(config: EvaluateConfig) -> tuple[str, str]:
    """(split, mask) that decides: test before val, no mask before any mask."""
    return ("test" if "test" in config.splits else config.splits[0],
            "none" if "none" in config.masks else config.masks[0])


def judge(
    evaluation: Evaluation, model: str, k: int, config: EvaluateConfig, seed: int
) -> Verdict:
    """Promote if MAP@k is at least ``config.min_gain`` above the best simple baseline.

    Args:
        evaluation: Holds the model and at least one of BASELINES.
        model: Name of the model that is judged.
        k: The task's cut-off.
        config: Its ``min_gain``, splits, masks and bootstrap settings.
        seed: Seed of the bootstrap.
    """
    split, mask = deciding_place(config)
    ranked = evaluation.at(split, mask)
    used = ranked.num_relevant > 0
    values = {name: map_at_k(hits[:, :k], ranked.num_relevant)[used]
              for name, hits in ranked.hits.items()}
    rivals = [name for name in values if name in BASELINES]
    if not used.any():
        return Verdict(False, f"Not promoted: no user of {split} has a target to measure.", model,
                       rivals[0], "map", k, split, mask, None, None, None)
    best = max(rivals, key=lambda name: values[name].mean())
    gain = paired_gains(ranked, model, [best], k, config, seed)
    mean, low, high = (float(bound[0]) for bound in gain)
    promote = mean >= config.min_gain
    clear = "clear of zero" if low > 0 or high < 0 else "an interval that includes zero"
    reason = (
        f"{'Promoted' if promote else 'Not promoted'}: {split} MAP@{k} of {model} is "
        f"{values[model].mean():.4f}, that of the best simple baseline ({best}) "
        f"{values[best].mean():.4f}; the gain of {mean:+.4f} "
        f"({config.confidence:.0%} interval {low:+.4f} to {high:+.4f}, {clear}) is "
        f"{'at least' if promote else 'less than'} the required {config.min_gain:g}."
    )
    return Verdict(promote, reason, model, best, "map", k, split, mask,
                   json_number(mean), json_number(low), json_number(high))
