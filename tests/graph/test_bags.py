"""Hashed words are scikit-learn's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.utils import murmurhash3_32

from model_core.graph.bags import hash_text, murmur3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=12))
def test_murmur3_is_scikit_learns(words):
    assert murmur3(words).tolist() == [murmurhash3_32(word) for word in words]


@pytest.mark.parametrize("dim", [8, 64])
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(alphabet="abÜñ_ 12-!日本"), min_size=1, max_size=12))
def test_bags_are_scikit_learns(dim, texts):
    theirs = HashingVectorizer(n_features=dim, alternate_sign=True, norm="l2", dtype=np.float32)
    ours = hash_text(texts, dim)
    assert ours.dtype == np.float32
    assert np.array_equal(ours, theirs.transform(texts).toarray())


def test_no_texts():
    assert hash_text([], 16).shape == (0, 16)
