"""Verdict: may this model replace what is served?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_core.config import EvaluateConfig, GateConfig
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.gains import paired_gains
from model_core.evaluation.gate import (
    CHAMPION,
    Comparison,
    Reigning,
    allowed_check,
    baseline_check,
    champion_check,
    cold_user_check,
    coverage_check,
    data_check,
    incomparable_check,
    no_champion_check,
)
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.record import Check, Verdict
from model_core.evaluation.scoring import Evaluation, Ranked, json_number
from model_core.evaluation.slices import cold_rows
from model_core.graph.temporal_graph import TemporalGraph


def deciding_place(config: EvaluateConfig) -> tuple[str, str]:
    """(split, mask) that decides: test before val, no mask before any mask."""
    return ("test" if "test" in config.splits else config.splits[0],
            "none" if "none" in config.masks else config.masks[0])


def judge(
    evaluation: Evaluation,
    graph: TemporalGraph[np.ndarray],
    model: str,
    k: int,
    config: EvaluateConfig,
    seed: int,
    *,
    gate: GateConfig | None = None,
    reigning: Reigning | None = None,
    data_failures: Sequence[str] | None = None,
) -> Verdict:
    """Promote if every rule of the gate lets the model through.

    Args:
        evaluation: Holds the model, at least one of BASELINES and, where it could be scored,
            the champion under the name ``champion``.
        graph: Says how large the catalogue is and which users are without history.
        model: Name of the model that is judged.
        k: The task's cut-off.
        config: Its splits, masks and bootstrap settings.
        seed: Seed of the bootstrap.
        gate: The rules' settings; unset: the default ones.
        reigning: The champion; unset: there is none.
        data_failures: What the data watch refuses, one sentence each; None: no data watch.
    """
    gate, reigning = gate or GateConfig(), reigning or Reigning()
    split, mask = deciding_place(config)
    ranked = evaluation.at(split, mask)
    rivals = [name for name in ranked.hits if name in BASELINES]
    used = ranked.num_relevant > 0
    if not used.any():
        return Verdict(False, f"Not promoted: no user of {split} has a target to measure.", model,
                       rivals[0], "map", k, split, mask, None, None, None, reigning.version, reigning.state)

    def against(name: str, shown: str, among: np.ndarray) -> Comparison:
        gain = paired_gains(ranked, model, [name], k, config, seed, among)
        return Comparison(
            shown, _mean_map(ranked, model, k, among), _mean_map(ranked, name, k, among),
            gain=float(gain.mean[0]), low=float(gain.low[0]), high=float(gain.high[0]),
            confidence=config.confidence, num_users=len(np.unique(ranked.truth.entity[among])))

    best = max(rivals, key=lambda name: _mean_map(ranked, name, k, used))
    baseline, champion = against(best, best, used), None
    checks: list[Check | None] = []
    if reigning.version is None:
        checks.append(no_champion_check())
    elif reigning.problem is not None:
        checks.append(incomparable_check(reigning.version, reigning.problem, gate))
    else:
        champion = against(CHAMPION, f"champion {reigning.version}", used)
        cold = used & cold_rows(ranked.truth, graph)
        checks += [
            champion_check(champion, gate),
            coverage_check(_distinct(ranked, model, k), _distinct(ranked, CHAMPION, k),
                           graph.num_items, gate),
            cold_user_check(against(CHAMPION, champion.name, cold) if cold.any() else None, gate),
        ]
    checks.append(baseline_check(baseline, gate))
    if data_failures is not None:
        checks.append(data_check(data_failures))
    checks.append(allowed_check(gate))
    made = tuple(check for check in checks if check is not None)
    return Verdict(
        all(check.passed for check in made),
        _reason(made, model, f"{split} MAP@{k}", champion, baseline, reigning),
        model, best, "map", k, split, mask, *_bounds(baseline), reigning.version, reigning.state,
        *_bounds(champion), checks=made)


def _reason(
    checks: Sequence[Check], model: str, figure: str, champion: Comparison | None, baseline: Comparison,
    reigning: Reigning,
) -> str:
    failed = [check for check in checks if not check.passed]
    main = champion or baseline
    name = main.name if champion else f"the best simple baseline ({main.name})"
    text = (f"{'Not promoted' if failed else 'Promoted'}: {figure} of {model} is {main.model_map:.4f}, "
            f"that of {name} {main.other_map:.4f}; the gain is {main}")
    if champion is not None:
        text += f", over the best simple baseline ({baseline.name}) {baseline.gain:+.4f}"
    for check in failed:
        found = "" if check.found in text else f"; found {check.found}"
        text += f". Failed: {check.name} (required {check.required}{found})"
    if reigning.state == "incomparable" and failed:
        text += (". The champion stays; if this model shall replace it, promote it by hand: "
                 "relrec registry promote VERSION --reason …")
    return text + "."


def _bounds(comparison: Comparison | None) -> tuple[float | None, float | None, float | None]:
    if comparison is None:
        return None, None, None
    return json_number(comparison.gain), json_number(comparison.low), json_number(comparison.high)


def _mean_map(ranked: Ranked, name: str, k: int, rows: np.ndarray) -> float:
    return float(map_at_k(ranked.hits[name][:, :k], ranked.num_relevant)[rows].mean())


def _distinct(ranked: Ranked, name: str, k: int) -> int:
    listed = ranked.items[name][:, :k]
    return len(np.unique(listed[listed >= 0]))
