"""A pipeline that many tests ask for is compiled once, and quickly.

At every setting KFP walks the call stack, which takes seconds for a pipeline among all that tests import.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pipelines import compiling
from pipelines.resources import PRESETS, ResourceProfile

_make, _compile = compiling.make_pipeline, compiling._compiled


@contextmanager
def compiled_once() -> Iterator[None]:
    """For the time of a ``with``: the same name and resources give the same pipeline, compiled once."""
    made: dict[tuple[str, str], Any] = {}

    def make_once(name: str, resources: ResourceProfile = PRESETS["laptop"]) -> Any:
        key = name, resources.model_dump_json()
        if key not in made:
            with mock.patch("inspect.stack", _callers):
                made[key] = _make(name, resources)
        return made[key]

    with (mock.patch.object(compiling, "make_pipeline", make_once),
          mock.patch.object(compiling, "_compiled", functools.cache(_compile))):
        yield


def _callers(*_: Any) -> list[tuple[None, None, None, str]]:
    """As much of ``inspect.stack`` as KFP reads: a name for a message of an error."""
    return [(None, None, None, "a setting")] * 2


@contextmanager
def compiled_anew() -> Iterator[None]:
    """Inside ``compiled_once``: what a user gets."""
    with (mock.patch.object(compiling, "make_pipeline", _make),
          mock.patch.object(compiling, "_compiled", _compile)):
        yield
