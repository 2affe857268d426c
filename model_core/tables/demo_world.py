"""The made-up shop behind the demo dataset: who buys what, when and why.

Rules that a good recommender can find, with parameters that are known:

- a line of an order is a replenishment with probability ``repeat_fraction``: a consumable
  that the customer bought before and whose personal cycle is about over. What was bought
  most often is therefore not what is bought next; what is due is.
- any other line is exploration. With probability ``viewed_fraction`` it is a product that
  the customer viewed in the last days, else a fresh draw; draws, like views, are within
  the customer's two or three favourite categories with probability ``taste_fraction``.
- products gain by being new, drift in popularity, and have seasons by category.
- favourite categories depend on region and age, so that a customer without history is
  not a blank; some customers and some products appear shortly before the test window.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from model_core.tables.demo_shop import (
    CATEGORIES,
    CYCLE_DAYS,
    DAY,
    NUM_CONSUMABLE,
    REGIONS,
    Shop,
    ShopParameters,
)


def draw_shop(parameters: ShopParameters, seed: int) -> Shop:
    """Draw a shop and run it. The same arguments give the same shop."""
    rng = np.random.default_rng(seed)
    shop = _draw_people_and_products(parameters, rng)
    _Run(shop, rng).run()
    return shop


def _draw_people_and_products(p: ShopParameters, rng: np.random.Generator) -> Shop:
    end = p.num_days * DAY
    late = rng.random(p.num_customers) < p.late_customer_fraction
    signup = np.sort(np.where(late, rng.integers(0, end, p.num_customers),
                              -rng.integers(0, 200 * DAY, p.num_customers)))
    region = rng.integers(0, len(REGIONS), p.num_customers)
    age = np.clip(rng.normal(42, 15, p.num_customers), 16, 90).round()
    region_taste = rng.dirichlet(np.full(len(CATEGORIES), 0.5), len(REGIONS))
    age_taste = rng.dirichlet(np.full(len(CATEGORIES), 0.5), 4)[np.digitize(age, [28, 42, 56])]
    leaning = 0.5 * region_taste[region] + 0.5 * age_taste
    taste = np.zeros((p.num_customers, len(CATEGORIES)))
    for customer in range(p.num_customers):
        # One or two consumable categories and one other: something to re-buy, something to explore.
        near = rng.choice(NUM_CONSUMABLE, size=int(rng.integers(1, 3)), replace=False,
                          p=_normal(leaning[customer, :NUM_CONSUMABLE] ** 1.5 + 1e-3))
        far = NUM_CONSUMABLE + rng.choice(len(CATEGORIES) - NUM_CONSUMABLE,
                                          p=_normal(leaning[customer, NUM_CONSUMABLE:] ** 1.5 + 1e-3))
        favourites = [*near, far]
        taste[customer, favourites] = rng.dirichlet(np.full(len(favourites), 4.0))
    new = rng.random(p.num_products) < p.late_product_fraction
    created = np.sort(np.where(new, rng.integers(0, end, p.num_products),
                               -rng.integers(0, 150 * DAY, p.num_products)))
    category = rng.permutation(np.arange(p.num_products) % len(CATEGORIES))
    cycle = np.where(category < NUM_CONSUMABLE, CYCLE_DAYS[np.minimum(category, NUM_CONSUMABLE - 1)], np.nan)
    return Shop(
        parameters=p, region=region, age=age, signup=signup, taste=taste, category=category,
        created=created, price=np.round(np.exp(rng.normal(2.3, 0.7, p.num_products)), 2),
        cycle_days=cycle * np.exp(rng.normal(0, 0.1, p.num_products)),
    )


class _Run:
    """Runs the shop: one visit after the other, in order of time."""

    def __init__(self, shop: Shop, rng: np.random.Generator) -> None:
        self.shop, self.rng, self.p = shop, rng, shop.parameters
        p, num = self.p, len(shop.created)
        steps = rng.normal(0, p.drift, (p.num_windows + 1, num))
        self.appeal = rng.normal(0, 1.1, num) + np.cumsum(steps, axis=0)
        self.phase = rng.random(len(CATEGORIES))
        self.chance = _uniforms(rng)
        self.taste = np.cumsum(shop.taste, axis=1).tolist()
        pace = np.exp(rng.normal(0, 0.3, p.num_customers))  # personal factor on cycles
        self.pace_s = (pace * DAY).tolist()
        self.cycle = [None if np.isnan(days) else days for days in shop.cycle_days.tolist()]
        self.last_bought: list[dict[int, int]] = [{} for _ in range(p.num_customers)]
        self.owned: list[set[int]] = [set() for _ in range(p.num_customers)]
        self.wishes: list[dict[int, int]] = [{} for _ in range(p.num_customers)]
        self.shelf: list[tuple[list[int], list[float]]] = []
        self.shelf_weight: list[float] = []

    def run(self) -> None:
        p, start = self.p, np.maximum(self.shop.signup, 0)
        span = p.num_days * DAY - start
        rate = self.rng.gamma(2.0, 0.5, p.num_customers) * 0.030 + 0.012  # visits per day
        customer = np.repeat(np.arange(p.num_customers), self.rng.poisson(rate * span / DAY))
        time = start[customer] + np.floor(self.rng.random(len(customer)) * span[customer]).astype(np.int64)
        order = np.lexsort((customer, time))
        day = -1
        for moment, visitor in zip(time[order].tolist(), customer[order].tolist(), strict=True):
            if moment // DAY != day:
                day = moment // DAY
                self._fill_shelves(day)
            self._visit(moment, visitor)

    def _fill_shelves(self, day: int) -> None:
        """Products and cumulative weights by category, once a day."""
        shop, p = self.shop, self.p
        age_days = day - shop.created / DAY
        season = p.season * np.cos(2 * np.pi * (day / 365 - self.phase[shop.category]))
        weight = np.exp(self.appeal[day // p.window_days] + season)
        weight *= 1 + (p.new_boost - 1) * np.exp(-np.maximum(age_days, 0) / p.new_days)
        weight[age_days < 0] = 0.0
        shelves = [np.flatnonzero((shop.category == category) & (weight > 0))
                   for category in range(len(CATEGORIES))]
        self.shelf = [(products.tolist(), np.cumsum(weight[products]).tolist()) for products in shelves]
        self.shelf_weight = np.cumsum([weight[products].sum() for products in shelves]).tolist()

    def _visit(self, time: int, customer: int) -> None:
        shop, guest = self.shop, next(self.chance) < self.p.guest_fraction
        session = len(shop.sessions)
        shop.sessions.append((time, -1 if guest else customer))
        while True:
            product = self._look(customer)
            shop.views.append((time, session, product))
            if not guest and product not in self.owned[customer]:
                self.wishes[customer].pop(product, None)
                self.wishes[customer][product] = time  # the latest view stands last
            time += 10 + int(170 * next(self.chance))
            if next(self.chance) < 0.55:
                break
        if not guest and next(self.chance) < self.p.order_fraction:
            self._order(time, customer)

    def _look(self, customer: int) -> int:
        """A viewed product: a wish again, a staple, or a fresh draw."""
        wishes, staples, chance = self.wishes[customer], self.last_bought[customer], next(self.chance)
        if wishes and chance < 0.3:
            return list(wishes)[-1 - int(next(self.chance) * min(len(wishes), 3))]
        if staples and chance < 0.4:
            return list(staples)[int(next(self.chance) * len(staples))]
        return self._draw(customer)[0]

    def _order(self, time: int, customer: int) -> None:
        p, shop = self.p, self.shop
        order, bought = len(shop.orders), set[int]()
        while True:
            product, kind = None, "any"
            if next(self.chance) < p.repeat_fraction:
                product, kind = self._due(customer, time, bought), "replenished"
            if product is None and next(self.chance) < p.viewed_fraction:
                product, kind = self._wish(customer, time, bought), "viewed"
            if product is None:
                product, kind = self._draw(customer)
            if product not in bought:
                bought.add(product)
                shop.lines.append((order, product, kind))
            if next(self.chance) < 0.42:
                break
        shop.orders.append((time, customer))
        for product in sorted(bought):
            was_owned = product in self.owned[customer]
            self.owned[customer].add(product)
            self.wishes[customer].pop(product, None)
            if self.cycle[product] is not None:
                self.last_bought[customer][product] = time
                if was_owned and next(self.chance) < p.drop_fraction:
                    del self.last_bought[customer][product]

    def _due(self, customer: int, time: int, bought: set[int]) -> int | None:
        """A staple whose cycle is about over; none if all were bought just now."""
        staples, total, weights = [], 0.0, []
        for product, last in self.last_bought[customer].items():
            if product in bought:
                continue
            cycles = (time - last) / (self.pace_s[customer] * self.cycle[product])
            due = 1 / (1 + math.exp(-(cycles - 0.8) / 0.08)) * math.exp(-max(cycles - 1.0, 0.0) / 0.8)
            total += due
            staples.append(product)
            weights.append(total)
        if total < 0.1:
            return None
        return staples[bisect_right(weights, next(self.chance) * total)]

    def _wish(self, customer: int, time: int, bought: set[int]) -> int | None:
        """Mostly the product viewed last; views older than two windows are forgotten."""
        wishes = self.wishes[customer]
        for product in [product for product, at in wishes.items()
                        if time - at > 2 * self.p.window_days * DAY]:
            del wishes[product]
        for product in reversed(wishes):
            if product not in bought and next(self.chance) < 0.6:
                return product
        return None

    def _draw(self, customer: int) -> tuple[int, str]:
        """A product by appeal, within the customer's taste or anywhere."""
        in_taste = next(self.chance) < self.p.taste_fraction
        row = self.taste[customer] if in_taste else self.shelf_weight
        category = min(bisect_right(row, next(self.chance) * row[-1]), len(CATEGORIES) - 1)
        if not self.shelf[category][0]:  # a small shop may have nothing of a category yet
            in_taste = False
            category = bisect_right(self.shelf_weight, next(self.chance) * self.shelf_weight[-1])
        products, total = self.shelf[category]
        product = products[min(bisect_right(total, next(self.chance) * total[-1]), len(products) - 1)]
        return product, "taste" if in_taste else "any"


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Endless uniform numbers, drawn in blocks: a single draw from numpy is slow."""
    while True:
        yield from rng.random(4_096).tolist()


def _normal(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()
