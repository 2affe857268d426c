"""The build's own arguments."""

import importlib

import pytest

from components._step import _parser
from images.build import FIRST_LINE_ARGUMENTS


@pytest.mark.parametrize("step", FIRST_LINE_ARGUMENTS)
def test_the_step_whose_first_line_is_timed_takes_its_arguments(step):
    function = getattr(importlib.import_module(f"components.{step}.__main__"), step)
    _parser(function).parse_args(FIRST_LINE_ARGUMENTS[step])
