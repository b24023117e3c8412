"""
Folding a run in a process of its own, so that the most memory it ever had is that of the fold.

Prints the seconds by the clock and of CPU, and the bytes at most, early on and at the end.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import anyio
import attrs

from realtime_async import JournalRecord, RunId
from realtime_async._core.cursors import StreamCursor
from realtime_async._core.identifiers import EffectId, RealtimeFrameId
from realtime_async._core.recovery import RunFold
from realtime_async.journals import open_journal
from tests.bench.stage import Loop, recorded_run

__all__ = ["RUN", "Folded", "folded", "long_run"]

RUN = RunId("call-0")
# A session's records before its first frame.
BEGINNING = 2
# Frames that are really recorded, and then repeated with other numbers.
RECORDED = 100
AT_ONCE = 1_000
# When the caches have been filled, by the share of the records.
EARLY = 0.01


@attrs.frozen
class Folded:
    wall_s: float
    cpu_s: float
    early_bytes: int
    """The most memory that was resident until a hundredth of the records was folded."""
    peak_bytes: int


def folded(count: int, *, url: str | None = None, loop: Loop = Loop.ASYNCIO) -> Folded:
    """Fold *count* records in a new process: those of the journal at *url*, or none's but made as it goes."""
    command = [sys.executable, "-m", __name__, str(count), loop, *([] if url is None else [url])]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall, cpu, early, peak = run.stdout.split()[-4:]
    return Folded(float(wall), float(cpu), int(early), int(peak))


def long_run(count: int) -> Iterator[JournalRecord]:
    """The first *count* records of a call that sends frames with two records each, and holds none of them."""
    # At once, as whoever takes the records may be in a loop of its own.
    return _continued(anyio.run(recorded_run, RECORDED), count)


def _continued(recorded: Sequence[JournalRecord], count: int) -> Iterator[JournalRecord]:
    yield from recorded[:BEGINNING]
    repeated = recorded[BEGINNING : BEGINNING + 2 * RECORDED]
    for number in range(count - BEGINNING):
        repetition, position = divmod(number, len(repeated))
        yield _moved(repeated[position], repetition)


def _moved(record: JournalRecord, repetition: int) -> JournalRecord:
    """The *record* as it would be after so many repetitions of those that it is one of."""
    payload = record.payload
    intent, result = payload.effect_intent_ref, payload.effect_result_ref
    return attrs.evolve(
        record,
        journal_seq=record.journal_seq + repetition * 2 * RECORDED,
        record_id=f"{record.record_id}.{repetition}",
        payload=attrs.evolve(
            payload,
            frame_id=RealtimeFrameId(f"{payload.frame_id}.{repetition}"),
            effect_intent_ref=EffectId(f"{intent}.{repetition}"),
            effect_result_ref=None if result is None else EffectId(f"{result}.{repetition}"),
            send_cursor=StreamCursor.chunk(payload.send_cursor.chunk_sequence + repetition * RECORDED),
        ),
    )


class _Watch:
    """Counts what is folded, and the time and memory that it takes."""

    def __init__(self, count: int) -> None:
        self.run = RunFold()
        self._count = count
        self._early = max(1, int(count * EARLY))
        self._early_bytes = 0
        self.wall_s = self.cpu_s = 0.0

    def add(self, record: JournalRecord) -> None:
        self.run.add(record)
        if self.run.last_seq == self._early:
            self._early_bytes = _peak_bytes()

    def told(self) -> str:
        (session,) = self.run.sessions.values()
        proved = self.run.last_seq, session.sent, len(session.open_intents)
        if proved != (self._count, (self._count - BEGINNING) // 2, self._count % 2):
            raise SystemExit(f"folded to {proved!r} (records, frames sent, open intents)")
        return f"{self.wall_s} {self.cpu_s} {self._early_bytes} {_peak_bytes()}"


def _fold_made(watch: _Watch, count: int) -> None:
    """Fold records that are made a thousand at a time, which is not counted."""
    records = long_run(count)
    while some := list(islice(records, AT_ONCE)):
        wall, cpu = time.perf_counter(), time.process_time()
        for record in some:
            watch.add(record)
        watch.wall_s += time.perf_counter() - wall
        watch.cpu_s += time.process_time() - cpu


async def _fold_stored(watch: _Watch, url: str) -> None:
    async with open_journal(url) as journal:
        wall, cpu = time.perf_counter(), time.process_time()
        async for record in journal.read(RUN):
            watch.add(record)
        watch.wall_s, watch.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


def _peak_bytes() -> int:
    """The most memory that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        # What `getrusage` says begins with what the parent had, where a process is made without a copy of it.
        (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    # Windows has none.
    import resource

    peak_size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_size if sys.platform == "darwin" else peak_size * 1024


def _main(count: str, loop: str, url: str | None = None) -> None:
    watch = _Watch(int(count))
    if url is not None:
        anyio.run(_fold_stored, watch, url, backend=loop)
    else:
        _fold_made(watch, int(count))
    print(watch.told())


if __name__ == "__main__":
    _main(*sys.argv[1:])
