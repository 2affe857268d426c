"""A made-up shop as data: its parameters, what was drawn, and what happened in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

DAY = 86_400
CATEGORIES = ("coffee", "pet food", "skin care", "cleaning", "snacks", "vitamins",
              "books", "toys", "garden", "kitchen", "lighting", "stationery")
#: Categories up to here are consumables.
NUM_CONSUMABLE = 6
#: Typical days between two purchases of one consumable, by category.
CYCLE_DAYS = np.asarray([30.0, 40.0, 70.0, 60.0, 22.0, 50.0])
REGIONS = ("north", "south", "east", "west", "coast", "lakes", "hills", "city")


@dataclass(frozen=True)
class ShopParameters:
    """The truth of the demo shop.

    Attributes:
        num_customers, num_products, num_windows: Size; a window is ``window_days`` long.
        window_days: Length of the task's label window.
        repeat_fraction: Chance that a line is meant as a replenishment.
        viewed_fraction: Chance that an exploring line takes a recently viewed product.
        taste_fraction: Chance that a draw stays in the customer's favourite categories.
        drop_fraction: Chance per replenishment that the customer turns away from it.
        new_boost: Factor on a product's appeal on the day it appears.
        new_days: Days in which that boost falls to 1/e.
        drift: Standard deviation of the change in log-appeal from window to window.
        season: Amplitude of the seasons in log-appeal.
        late_customer_fraction, late_product_fraction: Share that appears after the start.
        guest_fraction: Share of sessions without a known customer.
        order_fraction: Chance that a known customer's session ends with an order.
    """

    num_customers: int
    num_products: int
    num_windows: int
    window_days: int = 14
    repeat_fraction: float = 0.6
    viewed_fraction: float = 0.65
    taste_fraction: float = 0.85
    drop_fraction: float = 0.08
    new_boost: float = 4.0
    new_days: float = 20.0
    drift: float = 0.25
    season: float = 0.7
    late_customer_fraction: float = 0.5
    late_product_fraction: float = 0.3
    guest_fraction: float = 0.06
    order_fraction: float = 0.5

    @property
    def num_days(self) -> int:
        """A few days more than the windows, so that events pass the end of the last one."""
        return self.num_windows * self.window_days + 3


@dataclass
class Shop:
    """Drawn customers and products, and the events in order of time.

    Times are seconds after the shop's start; a negative one lies before it.
    """

    parameters: ShopParameters
    region: np.ndarray
    age: np.ndarray
    signup: np.ndarray
    taste: np.ndarray
    category: np.ndarray
    created: np.ndarray
    price: np.ndarray
    cycle_days: np.ndarray
    sessions: list[tuple[int, int]] = field(default_factory=list)
    views: list[tuple[int, int, int]] = field(default_factory=list)
    orders: list[tuple[int, int]] = field(default_factory=list)
    lines: list[tuple[int, int, str]] = field(default_factory=list)

    def truth(self) -> dict[str, Any]:
        """Parameters, and the shares that came out."""
        kinds = [kind for *_, kind in self.lines]
        pairs = [(self.orders[order][1], product) for order, product, _ in self.lines]
        seen: set[tuple[int, int]] = set()
        repeats = 0
        for pair in pairs:
            repeats += pair in seen
            seen.add(pair)
        share = {kind: kinds.count(kind) / max(len(kinds), 1)
                 for kind in ("replenished", "viewed", "taste", "any")}
        return {
            "parameters": asdict(self.parameters),
            "line_shares": share | {"bought_before": repeats / max(len(pairs), 1)},
            "product_cycle_days": [None if np.isnan(days) else round(float(days), 2)
                                   for days in self.cycle_days],
            "favourite_categories": [[CATEGORIES[i] for i in np.flatnonzero(row > 0.1)]
                                     for row in self.taste],
        }
