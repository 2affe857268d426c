"""What the training tests share."""

import pytest
import torch

from model_core.training import state
from tests.training.runs import make_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def every_state_is_written(monkeypatch):
    """However long a busy disk takes: tests count on the states that are due."""
    monkeypatch.setattr(state, "LONG_SAVE_S", 3_600.0)


@pytest.fixture(scope="module")
def one_thread():
    """With more, weights need not be equal to the bit. Of the module: its shared runs too are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
