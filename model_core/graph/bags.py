"""Hashed bags of words: text as numbers without a vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

#: A word is two or more letters, digits or underscores.
_WORD = re.compile(r"\b\w\w+\b")


def hash_text(texts: Sequence[str], dim: int) -> np.ndarray:
    """Hashed bags of words, float32 [n, dim]; unit length, zero where there is no word.

    Words are hashed with a sign into ``dim`` buckets, so no vocabulary has to be known
    and unseen words need no rule. Each distinct word is hashed once. The result is
    scikit-learn's ``HashingVectorizer`` (tests compare), whose import alone would take
    longer than all the rest of a graph build.

    Source: Weinberger et al. 2009 (arXiv 0902.2206); MurmurHash3 by Appleby.

    Example:
        >>> bags = hash_text(["red mug", "Mug, red", "blue plate"], 32)
        >>> bool((bags[0] == bags[1]).all()), bool((bags[0] == bags[2]).all())
        (True, False)
    """
    number_of: dict[str, int] = {}
    words = [[number_of.setdefault(word, len(number_of)) for word in _WORD.findall(text.lower())]
             for text in texts]
    length = np.fromiter(map(len, words), np.int64, len(words))
    word = np.fromiter((w for row in words for w in row), np.int64, int(length.sum()))
    key = murmur3(list(number_of)).astype(np.int64)
    place = np.repeat(np.arange(len(words)), length) * dim + (np.abs(key) % dim)[word]
    sign = np.where(key >= 0, 1.0, -1.0)[word]
    bags = np.bincount(place, sign, minlength=len(words) * dim).reshape(len(words), dim)
    norm = np.sqrt((bags**2).sum(axis=1, keepdims=True))
    return (bags / np.where(norm > 0, norm, 1)).astype(np.float32)


def murmur3(words: Sequence[str]) -> np.ndarray:
    """MurmurHash3 (x86, 32 bit, seed 0) of the UTF-8 bytes of every word, int32 [n].

    Example:
        >>> murmur3(["hello"]).tolist()
        [613153351]
    """
    data = [word.encode("utf-8", "surrogatepass") for word in words]
    size = np.fromiter(map(len, data), np.int64, len(data))
    result = np.zeros(len(data), dtype=np.uint32)
    for length in np.unique(size):  # words of one length are hashed together
        here = np.flatnonzero(size == length)
        padded = b"".join(data[i] + b"\0" * (-length % 4) for i in here)
        block = np.frombuffer(padded, "<u4").reshape(len(here), -1)
        hashed = np.zeros(len(here), dtype=np.uint32)
        for column in range(block.shape[1]):
            k = block[:, column] * np.uint32(0xCC9E2D51)
            k = (k << np.uint32(15)) | (k >> np.uint32(17))
            hashed ^= k * np.uint32(0x1B873593)
            if column < length // 4:  # the last, shorter piece is only mixed in
                hashed = (hashed << np.uint32(13)) | (hashed >> np.uint32(19))
                hashed = hashed * np.uint32(5) + np.uint32(0xE6546B64)
        hashed ^= np.uint32(length)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
        result[here] = hashed ^ (hashed >> np.uint32(16))
    return result.view(np.int32)
