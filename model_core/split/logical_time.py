"""The moment that a split, and all that is made from it, stands for.

Separate from ``seeds.py`` because the steps that talk to the registry read a split's
time and nothing else of it, in an image without pyarrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KIND, SCHEMA_VERSION = "split", 2


def logical_time_of(meta: Mapping[str, Any]) -> int:
    """``as_of``, else the test seed time, in UTC seconds.

    Args:
        meta: Metadata of a split record.

    Example:
        >>> logical_time_of({"as_of": None, "test_time": 86_400})
        86400
    """
    return meta["test_time"] if meta["as_of"] is None else meta["as_of"]

