"""
Take the provider away while somebody speaks, on both event loops, and tell what came of it.

Then the calls in which something else goes wrong: see `tests.faults.calls`.

It ends with 1 where a promise or a goal was missed; the goals are for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import structlog

from realtime_async import RestartPolicy
from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.ports import RunJournal
from realtime_async.testing.clock import BACKENDS
from tests.faults.calls import (
    NOBODY_ANSWERS,
    SPAN,
    TOOL_ASKED,
    WAITS_FOR_THE_GOODBYE,
    Account,
    Call,
    hold,
)
from tests.faults.outage import FRAME_S, Outage, Tale, live_through
from tests.faults.promises import broken_promises

OUTAGES = {
    "TCP reset": Outage("reset", 0.0, before=100, after=100, card_frames=25),
    "1001 with a reason": Outage("going away", 0.0, before=100, after=100, card_frames=25),
    "clean close": Outage("clean close", 0.0, before=100, after=100, card_frames=25),
    "refused for 0.8 s": Outage("reset", 0.8, before=100, after=100, card_frames=25),
    "black hole of 2 s": Outage("black hole", 2.0, before=100, after=100, card_frames=25),
    "20 s outage": Outage("reset, unreachable", 20.0, before=100, after=100, card_frames=25),
    "queue of 0.5 s in 2 s": Outage("reset", 2.0, queue_frames=25, before=100, after=100, card_frames=25),
}

# A default policy makes 6 attempts; the other one outlives the fault, by the same waits.
OUTLIVING = RestartPolicy(attempts=40)
CALLS = {
    "kicked for 90 s": Call("kicked", 90.0, frames=1000, ends=True, dials=1 + 6),
    "welcomed, kicked, 90 s": Call("welcomed, then kicked", 90.0, frames=1000, ends=True, dials=1 + 6),
    "asked, kicked, 90 s": Call(
        "asked, then kicked", 90.0, begins="response.created", frames=20, ends=True, dials=1 + 6
    ),
    # Each connection gives a little of the answer: the attempts come back, the waits go on growing.
    "begun, kicked, 20 s": Call("begun, then kicked", 20.0, begins="response.output_audio.delta", frames=20),
    "kicked, outlived": Call("kicked", 90.0, frames=5400, policy=OUTLIVING),
    "welcomed, outlived": Call("welcomed, then kicked", 90.0, frames=5400, policy=OUTLIVING),
    "key refused": Call("key refused", 90.0, frames=1000, ends=True, dials=1 + 1),
    "go-away in an answer": Call("none", frames=250, script=WAITS_FOR_THE_GOODBYE, goes_away_after_s=1.5),
    "tool, 2 s outage": Call(
        "away", 2.0, begins="response.done", frames=250, script=TOOL_ASKED, answers=2, tool_s=1.0
    ),
    "tool beyond a restart": Call("away", begins="response.done", script=TOOL_ASKED, answers=2, dials=2),
    "journal stalled for 5 s": Call(
        "none",
        stall_s=5.0,
        frames=500,
        card_frames=300,
        script=NOBODY_ANSWERS,
        answers=0,
        restarts=0,
        dials=1,
    ),
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


CALL_COLUMNS = "{:<24}{:<9}{:>7}{:>7}{:>6}{:>7}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}{:>10}  {}"
CALL_HEAD = CALL_COLUMNS.format(
    "fault", "loop", "frames", "heard", "dials", "ended", "restarts", "dropped", "refused", "in doubt", "replayed",
    "answers", "waited s", "missed",
)  # fmt: skip


@asynccontextmanager
async def opened(store: str) -> AsyncIterator[RunJournal]:
    with tempfile.TemporaryDirectory() as folder:
        journal = MemoryJournal() if store == "memory" else SqliteJournal.open(Path(folder) / "calls.db")
        async with journal as one:
            yield one


async def live(outage: Outage, store: str) -> Tale:
    async with opened(store) as journal:
        return await live_through(outage, journal)


async def held(call: Call, store: str) -> Account:
    async with opened(store) as journal:
        return await hold(call, journal)


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


def late_for_a_span(account: Account) -> Iterator[str]:
    """Name the goal that was not reached: of a stall, the span that went on meanwhile is not heard."""
    stall_s = account.call.stall_s
    if stall_s is not None and account.longest_wait[1] > stall_s - SPAN.frames * FRAME_S + LATENESS_S:
        yield "waited"


def line_of(name: str, backend: str, account: Account, missed: list[str]) -> str:
    delivery = account.delivery
    return CALL_COLUMNS.format(
        name,
        backend,
        len(account.spoken),
        len({number for numbers in account.heard for number in numbers}),
        account.dials,
        "no" if account.ended_by is None else "yes",
        len(account.reports),
        delivery.dropped,
        delivery.refused,
        delivery.in_doubt,
        delivery.replayed,
        account.answers,
        f"{account.longest_wait[1]:.3f}",
        ", ".join(missed) or "-",
    )


def tell_outage(name: str, backend: str, store: str) -> bool:
    """Print what came of it; whether all was well."""
    tale = anyio.run(partial(live, OUTAGES[name], store), backend=backend)
    missed = [*promises(tale), *goals(tale)]
    print(line(name, backend, tale, missed), flush=True)
    return not missed


def tell_call(name: str, backend: str, store: str) -> bool:
    """Print what came of it; whether all was well."""
    account = anyio.run(partial(held, CALLS[name], store), backend=backend)
    missed = [*broken_promises(account), *late_for_a_span(account)]
    print(line_of(name, backend, account, missed), flush=True)
    return not missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", nargs="*", choices=[[], *OUTAGES, *CALLS], help="default: all of them")
    parser.add_argument("--journal", choices=["memory", "sqlite"], default="sqlite")
    asked = parser.parse_args()
    chosen = asked.fault or [*OUTAGES, *CALLS]
    # A line for each gated frame would hide the report, and take time from what it measures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    is_well = True
    for head, rows, tell in ((HEAD, OUTAGES, tell_outage), (CALL_HEAD, CALLS, tell_call)):
        names = [name for name in chosen if name in rows]
        if names:
            print(head, flush=True)
        for name in names:
            for backend in BACKENDS:
                is_well = tell(name, backend, asked.journal) and is_well
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main())
