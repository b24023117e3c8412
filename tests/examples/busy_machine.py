"""
How much of a moment other programs had of the machine.

A limit in seconds holds for a machine that does nothing else; what others take away is measured, and only that is
given on top.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import attrs

__all__ = ["BusyMachine", "Look", "watched_machine"]

LOOK_S = 0.1
PROC = Path("/proc")
# Where a processor still had nothing to do for so much of the time, nobody waited for one.
IDLE_SHARE = 0.05


@attrs.frozen
class Look:
    """Seconds of all processors together, since each was started."""

    at: float
    busy: float
    idle: float
    ours: float
    """Of this process and of all that descend from it."""


@attrs.define
class BusyMachine:
    """What was seen of the machine; where that cannot be seen, nothing was taken."""

    _looks: list[Look] = attrs.field(factory=list)

    def look(self) -> None:
        with suppress(OSError, ValueError):
            self._looks.append(_look())

    def taken(self, begin: float, end: float) -> float:
        """Seconds between two moments of the monotonic clock that other programs had, while none was left over."""
        seconds = 0.0
        for before, after in pairwise(self._looks):
            overlap = min(end, after.at) - max(begin, before.at)
            busy, idle = after.busy - before.busy, after.idle - before.idle
            if overlap <= 0 or busy <= 0 or idle > IDLE_SHARE * (busy + idle):
                continue
            others = max(0.0, busy - max(0.0, after.ours - before.ours))
            seconds += overlap * others / (busy + idle)
        return seconds


@contextmanager
def watched_machine() -> Iterator[BusyMachine]:
    """Look again and again while the block runs."""
    machine, is_over = BusyMachine(), threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_S):
            machine.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield machine
    finally:
        is_over.set()
        thread.join()


def _look() -> Look:
    tick = os.sysconf("SC_CLK_TCK")
    first, *others = (PROC / "stat").read_text(encoding="ascii").splitlines()
    if sum(line.startswith("cpu") for line in others) != len(os.sched_getaffinity(0)):
        raise ValueError("it counts processors that are not ours to use")
    user, nice, system, idle, waiting, *interrupts = map(int, first.split()[1:9])
    busy = user + nice + system + sum(interrupts)
    return Look(time.monotonic(), busy / tick, (idle + waiting) / tick, _ours() / tick)


def _ours() -> int:
    """Ticks of the processes of this test, those included that have ended."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for each in PROC.iterdir():
        if not each.name.isdecimal():
            continue
        # It may have ended since it was listed.
        with suppress(OSError):
            fields = (each / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children[int(fields[1])].append(int(each.name))
            ticks[int(each.name)] = sum(map(int, fields[11:15]))
    found, seen = [os.getpid()], 0
    while found:
        process = found.pop()
        seen += ticks.get(process, 0)
        found += children[process]
    return seen
