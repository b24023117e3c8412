"""
Take the provider away while somebody speaks, on both event loops, and tell what came of it.

It ends with 1 where a promise or a goal was missed; the goals are for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import structlog

from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.testing.clock import BACKENDS
from tests.faults.outage import Outage, Tale, live_through

OUTAGES = {
    "TCP reset": Outage("reset", 0.0, before=100, after=100, card_frames=25),
    "1001 with a reason": Outage("going away", 0.0, before=100, after=100, card_frames=25),
    "clean close": Outage("clean close", 0.0, before=100, after=100, card_frames=25),
    "refused for 0.8 s": Outage("reset", 0.8, before=100, after=100, card_frames=25),
    "black hole of 2 s": Outage("black hole", 2.0, before=100, after=100, card_frames=25),
    "20 s outage": Outage("reset, unreachable", 20.0, before=100, after=100, card_frames=25),
    "queue of 0.5 s in 2 s": Outage("reset", 2.0, queue_frames=25, before=100, after=100, card_frames=25),
}

# Beyond the outage itself, in seconds; and how many times faster than it was spoken a backlog goes.
LATENESS_S = 0.3
DEAD_AIR_S = 0.5
CATCHING_UP = 20.0

COLUMNS = "{:<24}{:<9}{:>7}{:>6}{:>9}{:>9}{:>9}{:>10}{:>10}{:>9}{:>9}{:>9}  {}"
HEAD = COLUMNS.format(
    "fault", "loop", "frames", "lost", "dropped", "in doubt", "replayed", "unconf.", "worst s", "last s", "dead s",
    "catch-up", "missed",
)  # fmt: skip


async def live(outage: Outage, store: str) -> Tale:
    with tempfile.TemporaryDirectory() as folder:
        journal = MemoryJournal() if store == "memory" else SqliteJournal.open(Path(folder) / "calls.db")
        async with journal as opened:
            return await live_through(outage, opened)


def promises(tale: Tale) -> Iterator[str]:
    """Name those that were not kept."""
    every = {*range(1, tale.outage.frames + 1)}
    missing = every.difference(*tale.heard)
    if len(missing) != tale.delivery.dropped:
        yield f"{len(missing)} never heard, {tale.delivery.dropped} reported"
    if tale.delivery.dropped and tale.outage.queue_frames > tale.outage.seconds * 50:
        yield "dropped from a queue with room"
    if tale.lost_by_the_card:
        yield f"{len(tale.lost_by_the_card)} not handed over"
    if unconfirmed(tale):
        yield "unconfirmed"
    if tale.delivery.in_doubt > 1:
        yield "in doubt"
    twice = sum(map(len, tale.heard)) - len(every) + len(missing)
    if twice > tale.delivery.replayed:
        yield "duplicates beyond what was replayed"
    if len(set(tale.instructions)) != 1:
        yield "configuration"
    if tale.answers != ["completed"]:
        yield f"answers: {tale.answers}"


def goals(tale: Tale) -> Iterator[str]:
    """Name those that were not reached."""
    if tale.worst_late_s > tale.outage.seconds + LATENESS_S:
        yield "lateness"
    if tale.dead_air_s > tale.handshake_s + DEAD_AIR_S:
        yield "dead air"
    if tale.outage.seconds and tale.catching_up()[1] < CATCHING_UP:
        yield "catching up"


def unconfirmed(tale: Tale) -> int:
    return sum(each.last - each.first + 1 for report in tale.reports for each in report.unconfirmed)


def line(name: str, backend: str, tale: Tale, missed: list[str]) -> str:
    seconds, speed = tale.catching_up()
    return COLUMNS.format(
        name,
        backend,
        tale.outage.frames,
        len(tale.lost_by_the_card),
        tale.delivery.dropped,
        tale.delivery.in_doubt,
        tale.delivery.replayed,
        unconfirmed(tale),
        f"{tale.worst_late_s:.3f}",
        f"{tale.last_frame_late_s:.3f}",
        f"{tale.dead_air_s:.3f}",
        f"{seconds:.3f} s" if speed == float("inf") else f"{speed:.0f} x",
        ", ".join(missed) or "-",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", nargs="*", choices=[[], *OUTAGES], help="default: all of them")
    parser.add_argument("--journal", choices=["memory", "sqlite"], default="sqlite")
    asked = parser.parse_args()
    chosen = asked.fault or [*OUTAGES]
    # A line for each gated frame would hide the report, and take time from what it measures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(HEAD, flush=True)
    failed = False
    for name in chosen:
        for backend in BACKENDS:
            tale = anyio.run(partial(live, OUTAGES[name], asked.journal), backend=backend)
            missed = [*promises(tale), *goals(tale)]
            failed = failed or bool(missed)
            print(line(name, backend, tale, missed), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
