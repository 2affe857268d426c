"""Candidates and features as their names define them: loops over raw events, nothing shared.

Ages are in label windows. Events at the seed time itself are known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.priors.worlds import Event, Seed, code_columns, event_values, ordered


def neighbors(
    events: Sequence[Event], time: int, count: int, max_items: int = 2_500
) -> dict[int, dict[int, np.float32]]:
    """Item to its nearest items and their cosines, nearest first, equal ones by item."""
    users: dict[int, set[int]] = {}
    for user in {entity for entity, _, _ in events}:
        newest: list[int] = []
        for entity, item, when in reversed(ordered(events)):
            if entity == user and when <= time and item not in newest:
                newest.append(item)
        for item in newest[:max_items]:
            users.setdefault(item, set()).add(user)
    near = {}
    for one, fans in users.items():
        cosine = {}
        for other, others in users.items():
            if other != one and fans & others:
                # In 32 bits: two equal cosines may differ there by rounding, which is no tie.
                norm = np.sqrt(np.float32(len(fans))) * np.sqrt(np.float32(len(others)))
                cosine[other] = np.float32(len(fans & others)) / norm
        best = sorted(cosine, key=lambda item: (-cosine[item], item))[:count]
        if best:
            near[one] = {item: cosine[item] for item in best}
    return near


def followers(
    events: Sequence[Event], time: int, count: int, window_s: int, max_items: int = 2_500,
    max_windows: int = 16,
) -> dict[int, dict[int, np.float32]]:
    """Item to the items that are taken most in a window after it, nearest first, equal ones by item."""
    def newest(user: int, after: int, until: int) -> set[int]:
        items: list[int] = []
        for entity, item, when in reversed(ordered(events)):
            if entity == user and after < when <= until and item not in items:
                items.append(item)
        return set(items[:max_items])

    before, taken, both = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    for number in range(max_windows):
        end = time - number * window_s
        for user in {entity for entity, _, when in events if end - window_s < when <= end}:
            past, now = newest(user, -10**9, end - window_s), newest(user, end - window_s, end)
            if any(when <= end - window_s for _, _, when in events):
                before.update(past)
                taken.update(now)
                both.update((i, j) for i in past for j in now)
    found = {}
    for one in before:
        cosine = {
            other: np.float32(n) / (np.sqrt(np.float32(before[one])) * np.sqrt(np.float32(taken[other])))
            for (i, other), n in both.items() if i == one and other != one}
        if best := sorted(cosine, key=lambda item: (-cosine[item], item))[:count]:
            found[one] = {item: cosine[item] for item in best}
    return found


@dataclass
class Past:
    """What is known of one seed's user at its time: (item, age) of its events, oldest first."""

    events: list[tuple[int, float]]

    @classmethod
    def of(cls, events: Sequence[Event], seed: Seed, window_s: int, max_events: int = 10**9) -> Past:
        entity, time = seed
        own = [(item, (time - when) / window_s) for e, item, when in ordered(events)
               if e == entity and when <= time]
        return cls(own[-max_events:])

    @property
    def items(self) -> set[int]:
        return {item for item, _ in self.events}

    def ages(self, item: int | None = None) -> list[float]:
        return [age for i, age in self.events if item is None or i == item]

    @property
    def num_baskets(self) -> int:
        return len(set(self.ages()))


def knn_scores(
    past: Past, near: dict[int, dict[int, np.float32]], half_life: float, max_items: int = 256
) -> dict[int, float]:
    """Item to the sum of its cosines with the user's items, each weighed by its age."""
    newest = sorted(past.items, key=lambda item: (min(past.ages(item)), item))[:max_items]
    total: Counter[int] = Counter()
    for own in newest:
        for other, cosine in near.get(own, {}).items():
            total[other] += 0.5 ** (min(past.ages(own)) / half_life) * float(cosine)
    return dict(total)


def popular(events: Sequence[Event], time: int, window_s: int, count: int) -> list[int]:
    """Most frequent items of (time - window, time], ties by all history, then by item."""
    recent = Counter(item for _, item, when in set(events) if time - window_s < when <= time)
    ever = Counter(item for _, item, when in set(events) if when <= time)
    return sorted(recent, key=lambda item: (-recent[item], -ever[item], item))[:count]


def pair_features(past: Past, item: int) -> dict[str, float]:
    ages = past.ages(item)
    names = ["pair_met", "pair_count", "pair_age_last", "pair_age_first", "pair_interval",
             "pair_age_last_to_interval", "pair_share_of_baskets", "pair_age_since_user",
             "pair_share_of_events", *(f"pair_count_half_life_{h}" for h in ("0.5", "2", "8", "32")),
             "pair_count_window_1", "pair_count_window_4"]
    if not ages:
        return dict.fromkeys(names, 0.0)
    first, last, count = max(ages), min(ages), len(ages)
    interval = (first - last) / (count - 1) if count > 1 else 0.0
    return {
        "pair_met": 1.0,
        "pair_count": math.log1p(count),
        "pair_age_last": math.log1p(last),
        "pair_age_first": math.log1p(first),
        "pair_interval": math.log1p(interval),
        "pair_age_last_to_interval": math.log((last + 0.1) / (interval + 0.1)) if count > 1 else 0.0,
        "pair_share_of_baskets": count / past.num_baskets,
        "pair_age_since_user": math.log1p(last - min(past.ages())),
        "pair_share_of_events": count / len(past.events),
        **{f"pair_count_half_life_{h:g}": math.log1p(sum(0.5 ** (age / h) for age in ages))
           for h in (0.5, 2, 8, 32)},
        **{f"pair_count_window_{w}": math.log1p(sum(age < w for age in ages)) for w in (1, 4)},
    }


def value_features(
    events: Sequence[Event], seed: Seed, item: int, max_events: int = 10**9
) -> dict[str, float]:
    """Newest value of the pair, and its mean above that of the user (+ 2 zeros) and the item (+ 5 zeros)."""
    entity, time = seed
    of_event = event_values(ordered(events))
    known = [event for event in of_event if event[2] <= time]
    own = [event for event in known if event[0] == entity][-max_events:]
    found = {}
    for slot in range(4):
        def values(of: Sequence[Event], slot: int = slot) -> list[float]:
            pairs = [of_event[event][slot] if slot < 2 else math.nan for event in of]
            return [value for value in pairs if not math.isnan(value)]

        pair = values([event for event in own if event[1] == item])
        user, everybody = values(own), values([event for event in known if event[1] == item])
        mean = sum(pair) / max(len(pair), 1)
        found |= {
            f"value_{slot + 1}_last": pair[-1] if pair else 0.0,
            f"value_{slot + 1}_above_user": mean - sum(user) / (len(user) + 2) if pair else 0.0,
            f"value_{slot + 1}_above_item": mean - sum(everybody) / (len(everybody) + 5) if pair else 0.0,
        }
    return found


def knn_features(
    past: Past, item: int, near: dict, max_items: int = 256, kind: str = "knn"
) -> dict[str, float]:
    found = {}
    for name, half_life in (("inf", math.inf), ("8", 8.0), ("1", 1.0)):
        scores = knn_scores(past, near, half_life, max_items)
        score = scores.get(item, 0.0)
        found[f"{kind}_score_half_life_{name}"] = math.sqrt(score)
        # Scores so old that they are nothing at all are not compared.
        found[f"{kind}_relative_half_life_{name}"] = score / max(1e-9, *scores.values(), 0.0)
    plain = knn_scores(past, near, math.inf, max_items).get(item, 0.0)
    return found | {f"{kind}_score_per_item": plain / max(len(past.items), 1)}


def item_features(events: Sequence[Event], item: int, time: int, window_s: int) -> dict[str, float]:
    known = [(entity, when) for entity, i, when in set(events) if i == item and when <= time]
    ages = [(time - when) / window_s for _, when in known]

    def within(width: float) -> int:
        """Windows are cut to whole seconds."""
        return sum(time - when < int(width * window_s) for _, when in known)

    users = {entity for entity, _ in known}
    return {
        **{f"item_count_window_{w:g}": math.log1p(within(w)) for w in (0.25, 1, 2, 4, 16)},
        "item_count": math.log1p(len(known)),
        "item_age_last": math.log1p(min(ages)),
        "item_age_first": math.log1p(max(ages)),
        "item_trend_short": math.log((within(1) + 1) / (within(4) / 4 + 1)),
        "item_trend_long": math.log((within(4) + 1) / (within(16) / 4 + 1)),
        "item_users": math.log1p(len(users)),
        "item_repeat_share": 1 - len(users) / len(known),
    }


def column_features(
    events: Sequence[Event], past: Past, seed: Seed, item: int, window_s: int, num_entities: int,
    num_items: int,
) -> dict[str, float]:
    """First events of pairs. Pseudo-events: 10 for what users alike do, 20 for the user's taste."""
    entity, time = seed
    first: dict[tuple[int, int], int] = {}
    for e, i, when in ordered(events):
        first.setdefault((e, i), when)
    known = [(e, i, when) for (e, i), when in first.items() if when <= time]
    met = {i: max(past.ages(i)) for i in past.items}
    found = {"alike_lift_window": 0.0, "alike_lift": 0.0}
    for name, width in (("alike_lift_window", 1.0), ("alike_lift", math.inf)):
        # What the user did itself is taken out of all four counts.
        own = [i for i, age in met.items() if age < width]
        here = [(e, i) for e, i, when in known if (time - when) / window_s < width]
        for code in code_columns(num_entities):
            alike = [i for e, i in here if code[e] == code[entity]]
            different = [i for e, i in here if code[e] != code[entity]]
            # Of a long past only the end is read, and may look newer than it is.
            others = max(len(alike) - len(own), 0)
            share = others / max(len(different) + others, 1)
            observed = max(alike.count(item) - own.count(item), 0)
            expected = (different.count(item) + observed) * share
            found[name] += math.log((observed + 10) / (expected + 10))
    for name, half_life in (("inf", math.inf), ("2", 2.0)):
        weight = {i: 0.5 ** (min(past.ages(i)) / half_life) for i in past.items}
        total = 0.0
        for code in code_columns(num_items):
            expected = sum(code[i] == code[item] for _, i, _ in known) / max(len(known), 1)
            if expected:
                own_weight = sum(w for i, w in weight.items() if code[i] == code[item])
                share = (own_weight + 20 * expected) / (sum(weight.values()) + 20)
                total += min(max(math.log(share / expected), -3), 3)
        found[f"taste_lift_half_life_{name}"] = total
    return found


def user_features(past: Past) -> dict[str, float]:
    ages, count = past.ages(), len(past.events)
    return {
        "user_count": math.log1p(count),
        "user_items": math.log1p(len(past.items)),
        "user_age_last": math.log1p(min(ages, default=0)),
        "user_age_first": math.log1p(max(ages, default=0)),
        **{f"user_count_window_{w}": math.log1p(sum(age < w for age in ages)) for w in (1, 4)},
        "user_baskets": math.log1p(past.num_baskets),
        "user_basket_size": math.log1p(count / max(past.num_baskets, 1)),
        "user_repeat_share": 1 - len(past.items) / max(count, 1),
        "user_known": float(count > 0),
    }
