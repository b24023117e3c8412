"""
Workers of a fleet as processes of their own: one is killed, and all are replaced, while people talk with them.

The provider and the callers are in this process; they count what went where.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import anyio
import attrs
import pytest
from anyio.abc import Process

from examples.call_exchange import Caller, Exchange
from realtime_async import Delivery
from realtime_async._core.recovery import RecoveredSession, fold
from realtime_async.journals import PostgresJournal
from realtime_async.ports import RunId
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript
from tests.examples.busy_machine import watched_machine
from tests.examples.watching import until
from tests.postgres_server import Database

CALLS = 30
# A quarter as fast as life, so that a busy machine keeps up; numbers of one call are beside each other.
PACE_S = 0.08
NUMBERS = 10_000
TURN = 40
# For as long as the callers have something to say; how long a call may be silent is asked of each.
PATIENCE_S = 150
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


def spoken(call: int, frames: int, hang_up: anyio.Event) -> Iterator[bytes]:
    """Frames that bear their numbers, from 1 in each call, until it is time to hang up."""
    for number in range(1, frames + 1):
        if hang_up.is_set():
            return
        yield numbered_audio(call * NUMBERS + number)


def turns(frames: int) -> TurnsByNumber:
    """Each caller speaks for half of the time."""
    return TurnsByNumber(
        [
            (call * NUMBERS + first, call * NUMBERS + first + TURN // 2)
            for call in range(1, CALLS + 1)
            for first in range(10, frames, TURN)
        ]
    )


@attrs.define
class Fleet:
    """Workers that can be started, told to go, and killed."""

    dsn: str
    server: LoopbackOpenAI
    exchange: Exchange
    port: int = 0
    started: int = 0

    async def start(self, stack: anyio.abc.TaskGroup) -> Process:
        backend = ("asyncio", "trio")[self.started % 2]
        self.started += 1
        process = await anyio.open_process(
            [
                sys.executable, "examples/worker.py", "--journal", self.dsn, "--exchange", f"127.0.0.1:{self.port}",
                "--base-url", self.server.url, "--lease-s", "6", "--look-every-s", "0.2", "--drain-s", "3",
                "--backend", backend,
            ],
            env={**os.environ, "OPENAI_API_KEY": self.server.key},
            stderr=None,
        )  # fmt: skip
        ready = anyio.Event()
        stack.start_soon(_watch, process, ready)
        await ready.wait()
        return process


async def _watch(process: Process, ready: anyio.Event) -> None:
    """
    Read what a worker prints, so that it never waits for us.

    It doesn't outlive its test; and the test ends with one that fails, as all others might wait for it.
    """
    assert process.stdout is not None
    async with process:
        async for piece in process.stdout:
            if piece:
                ready.set()
    assert process.returncode in {0, -signal.SIGKILL}
    assert ready.is_set(), "it has gone before it was ready"


@asynccontextmanager
async def talking(
    database: Database, frames: int
) -> AsyncIterator[tuple[Fleet, list[Process], anyio.abc.TaskGroup]]:
    """All callers talk with three workers; on the way out all have hung up, and the workers have gone."""
    hang_up = anyio.Event()
    callers = [Caller(f"call-{call}", spoken(call, frames, hang_up), PACE_S) for call in range(1, CALLS + 1)]
    script = OpenAIScript(turns=turns(frames), otherwise=Answer(audio_ms=200))
    with LoopbackOpenAI(script) as server, anyio.fail_after(PATIENCE_S):
        fleet = Fleet(database.dsn, server, Exchange(callers))
        port: list[int] = []
        async with anyio.create_task_group() as tasks:
            may_call = anyio.Event()
            stays = anyio.Event()
            tasks.start_soon(partial(fleet.exchange.run, when_open=port.append, until=may_call, stays=stays))
            await until(lambda: bool(port))
            fleet.port = port[0]
            workers = [await fleet.start(tasks) for _ in range(3)]
            await until(lambda: fleet.exchange.takers == 3)
            may_call.set()
            await until(lambda: all(caller.joined for caller in callers))
            yield fleet, workers, tasks
            hang_up.set()
            for caller in callers:
                await caller.has_hung_up.wait()
            await until(partial(all_have_ended, database))
            for worker in workers:
                if worker.returncode is None:
                    worker.send_signal(signal.SIGTERM)
                    assert await worker.wait() == 0
            # What the last of them said on leaving may still be on its way.
            await server.until(lambda: not server.peers)
            tasks.cancel_scope.cancel()


def all_have_ended(database: Database) -> bool:
    ended = database.execute("SELECT count(*) FROM realtime_async.run WHERE open_sessions = '{}'")
    return ended == [(CALLS,)]


async def sessions(database: Database) -> list[RecoveredSession]:
    """What the journal says of each call, in their order; a gap would raise."""
    found: list[RecoveredSession] = []
    async with PostgresJournal.open(database.dsn) as journal:
        for call in range(1, CALLS + 1):
            run = fold([record async for record in journal.read(RunId(f"call-{call}"))])
            found += run.values()
    return found


def arrivals(server: LoopbackOpenAI) -> dict[int, list[tuple[float, int]]]:
    """By call, when each number arrived."""
    by_call: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for connection in server.log:
        for at, number in zip(connection.heard_at, connection.heard, strict=True):
            call, frame = divmod(number, NUMBERS)
            by_call[call].append((at, frame))
    return {call: sorted(those) for call, those in by_call.items()}


def check_totals(heard: dict[int, list[tuple[float, int]]], found: list[RecoveredSession]) -> list[Delivery]:
    """The journal's totals are those of the provider, call by call."""
    assert len(found) == CALLS
    for call, session in enumerate(found, 1):
        assert session.terminal is not None
        assert session.terminal.payload.kind == "closed"
        assert session.open_intents == {}
        numbers = [number for _, number in heard[call]]
        delivery = session.delivery()
        assert len(numbers) == len(set(numbers)), f"call {call} was heard twice in part"
        assert delivery.sent <= len(numbers) <= delivery.sent + delivery.in_doubt
        assert delivery.failed == delivery.dropped == delivery.queued == 0
    return [session.delivery() for session in found]


@on_asyncio
async def test_the_calls_of_a_worker_that_is_killed_go_on_and_their_totals_are_right(
    postgres_database: Database,
) -> None:
    async with talking(postgres_database, 2000) as (fleet, workers, _):
        await anyio.sleep(2)
        workers[0].send_signal(signal.SIGKILL)
        assert await workers[0].wait() == -signal.SIGKILL
        # Its sockets ended before it did; so much is heard of in one turn of the loop.
        await anyio.wait_all_tasks_blocked()
        had = [caller for caller in fleet.exchange.callers.values() if caller.worker is None]
        await until(lambda: all(caller.joined > 1 for caller in had))

    found = await sessions(postgres_database)
    deliveries = check_totals(arrivals(fleet.server), found)
    moved = [caller for caller in fleet.exchange.callers.values() if caller.joined > 1]
    doubtful = [delivery for delivery in deliveries if delivery.in_doubt]
    print(f"{len(moved)} calls went on with another worker, {len(doubtful)} of them with frames in doubt")
    assert moved
    assert had
    assert len(doubtful) <= len(moved)


@on_asyncio
async def test_a_fleet_is_replaced_between_turns_and_no_call_is_silent_for_long(
    postgres_database: Database,
) -> None:
    with watched_machine() as machine:
        async with talking(postgres_database, 2000) as (fleet, workers, tasks):
            await replaced(fleet, workers, tasks)

    found = await sessions(postgres_database)
    heard = arrivals(fleet.server)
    deliveries = check_totals(heard, found)
    silences = {call: list(pairwise(at for at, _ in heard[call])) for call in heard}
    longest = [max(map(length, each)) for each in silences.values()]
    print(f"the longest silence of each call: {', '.join(f'{each:.2f}' for each in sorted(longest))} s")
    too_long = [
        (call, length(silence), machine.taken(*silence))
        for call, each in silences.items()
        for silence in each
        if length(silence) > SILENCE_S
    ]
    print("call, seconds of silence, and those of them that other programs had:", too_long)
    # Handed over, nothing is in doubt.
    assert [delivery.in_doubt for delivery in deliveries] == [0] * CALLS
    assert all(caller.joined > 1 for caller in fleet.exchange.callers.values())
    assert all(silent - taken <= SILENCE_S for _, silent, taken in too_long)


def length(silence: tuple[float, float]) -> float:
    return silence[1] - silence[0]


async def replaced(fleet: Fleet, workers: list[Process], tasks: anyio.abc.TaskGroup) -> None:
    """Replace each worker by another, one after the other."""
    for old in [*workers]:
        workers.append(await fleet.start(tasks))
        old.send_signal(signal.SIGTERM)
        assert await old.wait() == 0
    # Nobody hangs up before the calls of the last one are taken up.
    await until(lambda: all(caller.joined > 1 for caller in fleet.exchange.callers.values()))


# What other programs take of the machine meanwhile is given on top.
SILENCE_S = 2.0
