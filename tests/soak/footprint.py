"""What this process takes: memory, file descriptors and threads, as Linux tells it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import attrs

__all__ = ["Sample", "sample"]


@attrs.frozen
class Sample:
    at_s: float
    resident_mb: float
    descriptors: int
    threads: int
    restarts: int
    """So far."""


def sample(at_s: float, restarts: int) -> Sample:
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Sample(
        at_s,
        resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threading.active_count(),
        restarts,
    )
