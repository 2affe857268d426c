"""The profile of odd but allowed values."""

import numpy as np
import pytest

from model_core.tables.profile import _mean


def test_the_mean_of_numbers_whose_sum_is_infinite():
    assert _mean(np.array([1.7e308, 1.7e308, -1.7e308])) == pytest.approx(1.7e308 / 3)
    assert _mean(np.array([1, 2, 6])) == 3
