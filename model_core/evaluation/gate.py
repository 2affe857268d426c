"""The gate: rules that a model must pass to become champion, one function each.

They see figures only, so that every rule can be read, and tested, without a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_core.config import GateConfig
from model_core.evaluation.record import ChampionState, Check

#: Name under which the champion is ranked beside model and baselines.
CHAMPION = "champion"


@dataclass(frozen=True)
class Reigning:
    """The champion as evaluation met it.

    Attributes:
        version: Of the champion as of the run's logical date; None where there is none.
        problem: Why it could not be scored, or None.
    """

    version: str | None = None
    problem: str | None = None

    @property
    def state(self) -> ChampionState:
        if self.version is None:
            return "none"
        return "compared" if self.problem is None else "incomparable"


@dataclass(frozen=True)
class Comparison:
    """The model against another on the same users.

    Attributes:
        name: Of the other: a baseline, or a champion's version.
        model_map, other_map: Mean MAP of each.
        gain, low, high: Mean of the difference, and its paired bootstrap interval.
        confidence: Of the interval.
        num_users: How many were measured; one with several rows is one.
    """

    name: str
    model_map: float
    other_map: float
    gain: float
    low: float
    high: float
    confidence: float
    num_users: int

    def __str__(self) -> str:
        return f"{self.gain:+.4f} ({self.confidence:.0%} interval {self.low:+.4f} to {self.high:+.4f})"


def champion_check(against: Comparison, gate: GateConfig) -> Check:
    """Better than the champion: the whole interval lies above the margin, and rests on enough users."""
    margin = gate.min_gain * (against.other_map if gate.relative else 1.0)
    share = f" ({gate.min_gain:+.1%} of its MAP)" if gate.relative and gate.min_gain else ""
    required = f"gain in MAP over {against.name}: lower bound above {_number(margin)}{share}"
    if against.num_users < gate.min_users:
        return Check("champion", False, f"{required}, of at least {gate.min_users:,} users",
                     f"{against} over {against.num_users:,}")
    return Check("champion", against.low > margin, required, str(against))


def no_champion_check() -> Check:
    """Nothing to beat: the baselines alone decide."""
    return Check("champion", True, "nothing: no champion stands for an earlier date",
                 "the baselines decide")


def incomparable_check(version: str, problem: str, gate: GateConfig) -> Check:
    """A champion that cannot be scored on this window stays, unless the settings say otherwise."""
    return Check("champion", gate.replace_incomparable,
                 f"gain in MAP over {version}, or gate.replace_incomparable=true",
                 f"it cannot be compared: {problem}")


def baseline_check(against: Comparison, gate: GateConfig) -> Check:
    """Not worse than the best simple baseline: the mean decides."""
    return Check("baseline", against.gain >= gate.min_baseline_gain,
                 f"mean gain in MAP over {against.name}: at least {gate.min_baseline_gain:g}", str(against))


def coverage_check(model: int, champion: int, num_items: int, gate: GateConfig) -> Check | None:
    """The lists name about as much of the catalogue as the champion's.

    Args:
        model, champion: Distinct items in the lists of each.
        num_items: Size of the catalogue.
        gate: Its ``max_coverage_loss``.
    """
    if gate.max_coverage_loss is None:
        return None
    least = (1.0 - gate.max_coverage_loss) * champion
    return Check(
        "coverage", model >= least - 1e-9 * champion,
        f"at least {1.0 - gate.max_coverage_loss:.0%} of the distinct items that the champion lists",
        f"{model:,} of {num_items:,} items, the champion {champion:,}")


def cold_user_check(against: Comparison | None, gate: GateConfig) -> Check | None:
    """Users without history are not clearly worse off than with the champion.

    Args:
        against: The champion, on users without history that have a target; None where there is none.
        gate: Its ``max_cold_user_loss`` and ``min_cold_users``.
    """
    if gate.max_cold_user_loss is None:
        return None
    required = f"MAP of users without history: not clearly below the champion's by more than " \
               f"{gate.max_cold_user_loss:g}"
    num_users = against.num_users if against else 0
    if against is None or num_users < gate.min_cold_users:
        return Check("cold_users", True, required,
                     f"not checked: {num_users} such users, fewer than {gate.min_cold_users}")
    return Check("cold_users", against.high >= -gate.max_cold_user_loss, required,
                 f"{against} over {num_users:,} users")


def allowed_check(gate: GateConfig) -> Check | None:
    """The run may promote at all; no rule unless that is switched off."""
    return None if gate.promote else Check("allowed", False, "gate.promote=true", "gate.promote=false")


def data_check(failures: Sequence[str]) -> Check:
    """No failure in the data watch.

    Args:
        failures: One sentence each.
    """
    found = "no failure" if not failures else "; ".join(failures[:3]) + (
        f"; and {len(failures) - 3} more" if len(failures) > 3 else "")
    return Check("data", not failures, "no failure in the data watch", found)


def _number(value: float) -> str:
    return f"{value:+.4f}" if value else "0"
