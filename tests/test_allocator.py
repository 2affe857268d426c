"""The allocator takes its settings where it is glibc's, and says so where it is not."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from model_core import allocator

#: Page faults of making and freeing 20 MB many times, with and without.
COUNT_FAULTS = """
import resource, sys, numpy as np
from model_core.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(2_500_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(2_500_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS, how], capture_output=True, text=True,
                          check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_arrays_are_made_of_kept_pages():
    assert faults("keep") * 10 < max(faults("leave"), 1_000)


def test_elsewhere_it_does_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
