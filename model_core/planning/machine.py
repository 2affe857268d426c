"""How fast this machine is and how much memory it has, measured in about a second."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of one product in ``calibrate``: the shape of a layer over the nodes of a batch.
_ROWS, _CHANNELS = 8_192, 128
_COPY_BYTES = 64 * 2**20
_PARQUET_ROWS = 500_000
_LOOPS = 300_000
_SECONDS_EACH = 0.15


@dataclass(frozen=True)
class MachineSpeed:
    """Coefficients of the cost model.

    Attributes:
        gflops: float32 matrix products of [8192, 128] by [128, 128], 10^9 operations/s.
        copy_gb_s: Plain copies of large arrays, 10^9 bytes/s (written; as many are read).
        parquet_mb_s: Decoding int64 and float64 columns, 10^6 bytes of Arrow memory/s.
        python_mops: Steps of a plain Python loop, 10^6/s: imports, tracing, small tables.
        measured: False for the defaults.
    """

    gflops: float
    copy_gb_s: float
    parquet_mb_s: float
    python_mops: float
    measured: bool = True


#: Two cores of an Intel Xeon at 2.5 GHz with nothing else to do.
DEFAULT_SPEED = MachineSpeed(gflops=100.0, copy_gb_s=4.0, parquet_mb_s=400.0, python_mops=12.0,
                             measured=False)


def calibrate() -> MachineSpeed:
    """Measure the coefficients, with as many threads as this process may use.

    Each is the best of several repeats within a fraction of a second, so that a short
    disturbance does not count; on a machine that is busy throughout, figures are lower
    and so estimates are longer.
    """
    rng = np.random.default_rng(0)
    x = rng.random((_ROWS, _CHANNELS), dtype=np.float32)
    weight = rng.random((_CHANNELS, _CHANNELS), dtype=np.float32)
    product = np.empty_like(x)
    matmul_s = _best(lambda: np.matmul(x, weight, out=product))
    source = np.ones(_COPY_BYTES // 8)
    target = np.ones_like(source)
    copy_s = _best(lambda: np.copyto(target, source))
    table = pa.table({"key": rng.integers(0, 10_000, _PARQUET_ROWS), "value": rng.random(_PARQUET_ROWS)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    parquet_s = _best(lambda: pq.read_table(io.BytesIO(sink.getvalue())))
    loop_s = _best(_loop)
    return MachineSpeed(
        gflops=2 * _ROWS * _CHANNELS**2 / matmul_s / 1e9,
        copy_gb_s=_COPY_BYTES / copy_s / 1e9,
        parquet_mb_s=table.nbytes / parquet_s / 1e6,
        python_mops=_LOOPS / loop_s / 1e6,
    )


def available_memory_bytes() -> int:
    """Memory that a new process can get: of the machine, or of the container if that has less."""
    bounds = [_physical_bytes()]
    limit, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None:
        bounds.append(limit - (used or 0))
    return max(min(bounds), 0)


def _physical_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1_024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # no /proc: all there is


def _number(path: Path) -> int | None:
    """Content of a control file; None where it is missing or says ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _loop() -> int:
    total = 0
    for number in range(_LOOPS):
        total += number & 7
    return total


def _best(call: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls."""
    started, best = time.perf_counter(), float("inf")
    while time.perf_counter() - started < _SECONDS_EACH:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best
