"""Titles and descriptions for the demo shop's products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ADJECTIVES = ("bright", "classic", "gentle", "hearty", "little", "northern", "plain", "quiet",
               "royal", "rustic", "simple", "smooth", "sturdy", "sunny", "velvet", "wild")
_NOUNS = {
    "coffee": ("espresso beans", "filter roast", "decaf blend", "mocha pods"),
    "pet food": ("cat pouch", "dog kibble", "bird seed", "puppy biscuits"),
    "skin care": ("face cream", "hand balm", "cleansing oil", "sun lotion"),
    "cleaning": ("dish soap", "glass spray", "laundry powder", "floor cleaner"),
    "snacks": ("oat bar", "salted nuts", "rice crackers", "dark chocolate"),
    "vitamins": ("vitamin drops", "zinc tablets", "omega capsules", "iron syrup"),
    "books": ("mystery novel", "travel guide", "cook book", "picture book"),
    "toys": ("wooden train", "puzzle", "plush bear", "card game"),
    "garden": ("watering can", "flower pot", "pruning shears", "bird house"),
    "kitchen": ("frying pan", "mixing bowl", "bread knife", "tea pot"),
    "lighting": ("desk lamp", "lantern", "string lights", "wall light"),
    "stationery": ("notebook", "fountain pen", "pencil set", "letter paper"),
}
_ENDINGS = ("A favourite of many.", "Made to last.", "Good value for every day.", "A fine present.",
            "Now in a larger size.", "From a small workshop.")


def describe_products(
    categories: Sequence[str], rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """A title and a description for each product.

    Words depend on the category, so that text tells something of a product nobody
    has bought yet.
    """
    titles, descriptions = [], []
    for category in categories:
        noun = _NOUNS[category][int(rng.integers(0, 4))]
        first, second = rng.choice(len(_ADJECTIVES), 2, replace=False)
        titles.append(f"{_ADJECTIVES[first].capitalize()} {noun}")
        ending = _ENDINGS[int(rng.integers(0, len(_ENDINGS)))]
        descriptions.append(f"{_ADJECTIVES[second].capitalize()} {noun} for {category} lovers. {ending}")
    return titles, descriptions
