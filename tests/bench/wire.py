"""
What a pair of frames costs over a WebSocket: one out, one back, base64 in JSON, as OpenAI has it; by itself, and with
a session on top.

The floor is a bare `websockets` client on asyncio, with the same JSON and the same base64.
"""

from __future__ import annotations

import binascii
import gc
import itertools
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import anyio
import attrs
import orjson
from websockets.asyncio.client import connect

from realtime_async import OutputAudio, RealtimeSession, RestartPolicy
from realtime_async.adapters._websocket import open_websocket
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from tests.bench.echo_provider import moments_of, running_provider
from tests.bench.figures import Figure, Goal, Row, Table, quantile
from tests.bench.goals import ADDED_P99_MS, DUPLEX_TO_FLOOR, PACED_TO_FLOOR
from tests.bench.stage import (
    FRAME,
    FRAME_S,
    FRAMES,
    SIDECAR,
    Effort,
    Loop,
    Records,
    Store,
    Work,
    cpu_of,
    opened_journal,
    opened_sessions,
)

__all__ = ["duplex", "paced_wire"]

LEAD_S = 0.1
# All connect at once.
POLICY = RestartPolicy(dials_per_s=math.inf)
# Of one paced session, whose readings take five times as long.
ROUNDS_ALONE = 3


@attrs.frozen
class Client:
    """One connection: how it sends a frame, and how it waits for one."""

    send: Callable[[], Awaitable[object]]
    receive: Callable[[], Awaitable[bytes]]
    """Gives the audio of the provider's next answer."""


Connects: TypeAlias = Callable[[int, str, Path], AbstractAsyncContextManager[list[Client]]]
"""Takes how many connections to open, the provider's address, and a directory for a journal."""


def one_by_one(open_one: Callable[[str], AbstractAsyncContextManager[Client]]) -> Connects:
    """Connections that share nothing."""

    @asynccontextmanager
    async def opened(count: int, url: str, directory: Path) -> AsyncIterator[list[Client]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(open_one(url)) for _ in range(count)]

    return opened


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Client]:
    async with connect(url, compression=None, proxy=None, max_size=2**24, ping_interval=20) as websocket:

        async def send() -> None:
            await websocket.send(encoded(), text=True)

        async def receive() -> bytes:
            return decoded(await websocket.recv(decode=False))

        await websocket.recv()
        yield Client(send, receive)


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Client]:
    async with anyio.create_task_group() as tasks:
        websocket = await open_websocket(tasks, url)

        async def send() -> None:
            text = encoded().decode()
            if not websocket.send_nowait(text):
                await websocket.send(text)

        async def receive() -> bytes:
            return decoded(await websocket.receive())

        await websocket.receive()
        yield Client(send, receive)
        await websocket.aclose()


def talking(records: Records) -> Connects:
    """Sessions with OpenAI and their journal on disk: all that a process with voice agents has."""

    @asynccontextmanager
    async def opened(count: int, url: str, directory: Path) -> AsyncIterator[list[Client]]:
        config = OpenAIRealtimeConfig(model="bench", api_key="none", base_url=url)
        async with (
            OpenAIRealtimeAdapter(config) as adapter,
            opened_journal(Store.SQLITE, directory) as (journal, _),
            opened_sessions(count, SIDECAR[records], adapter, journal, restart_policy=POLICY) as sessions,
        ):
            yield [_client(session) for session in sessions]

    return opened


def _client(session: RealtimeSession) -> Client:
    frames = itertools.cycle(FRAMES)
    received = session.frames()

    async def send() -> None:
        await session.send(next(frames))

    async def receive() -> bytes:
        while True:
            frame = await anext(received)
            if isinstance(frame.event, OutputAudio) and isinstance(frame.payload, bytes):
                return frame.payload

    return Client(send, receive)


FLOOR = "bare websockets client, asyncio"
CLIENTS: Mapping[str, tuple[Connects, Loop, Records | None]] = {
    FLOOR: (one_by_one(bare), Loop.ASYNCIO, None),
    **{f"our WebSocket, {loop}": (one_by_one(ours), loop, None) for loop in Loop},
    **{
        f"session with OpenAI, SQLite full, {records}, {loop}": (talking(records), loop, records)
        for records in reversed(Records)
        for loop in Loop
    },
}


def _goal(name: str, goals: Mapping[Records | None, Goal]) -> Goal | None:
    return None if name == FLOOR else goals[CLIENTS[name][2]]


class Wait(NamedTuple):
    """How long a frame and its answer were under way, in seconds."""

    out: float
    """From the call of `send` until the provider had the frame."""
    back: float
    """From when the provider sent the answer until `receive` gave it."""


@attrs.frozen
class Reading:
    cpu_us: float
    """Of a pair."""
    pairs_per_s: float
    waits: list[Wait]


Reads: TypeAlias = Callable[[Connects, Records | None, str, Path], Awaitable[Reading]]
"""Takes the provider's address, and a directory for journals."""


def duplex(effort: Effort, directory: Path) -> Iterator[Table]:
    """Send as fast as it goes, and take what comes meanwhile."""
    for sessions in effort.sessions:
        read = partial(_saturated, sessions, effort)
        readings = _readings([read] * (1 + effort.rounds), directory)
        yield Table(
            f"duplex over a WebSocket, saturated, {_count(sessions)}",
            ("CPU µs/pair", "× floor", "pairs/s"),
            [
                Row(
                    name,
                    (
                        Figure(each.cpu_us for each in mine),
                        _ratio(mine, readings[FLOOR], _goal(name, DUPLEX_TO_FLOOR)),
                        Figure(each.pairs_per_s for each in mine),
                    ),
                )
                for name, mine in readings.items()
            ],
        )


def paced_wire(effort: Effort, directory: Path) -> Iterator[Table]:
    """Send a frame every 20 ms, and take its answer."""
    for sessions in effort.sessions:
        warm = partial(_paced, sessions, round(effort.paced_s / FRAME_S))
        read = partial(_paced, sessions, effort.paced_frames(sessions))
        rounds = min(effort.rounds, ROUNDS_ALONE) if sessions == 1 else effort.rounds
        readings = _readings([warm, *[read] * rounds], directory)
        yield Table(
            f"over a WebSocket, paced 50 pairs/s each, {_count(sessions)}",
            ("CPU µs/pair", "CPU ms/session-second", "× floor"),
            [
                Row(
                    name,
                    (
                        Figure(each.cpu_us for each in mine),
                        Figure(each.cpu_us / FRAME_S / 1e3 for each in mine),
                        _ratio(mine, readings[FLOOR], _goal(name, PACED_TO_FLOOR)),
                    ),
                )
                for name, mine in readings.items()
            ],
        )
        yield Table(
            f"one way over a WebSocket, paced 50 pairs/s each, {_count(sessions)}",
            WAITS,
            [Row(name, _waits(name, mine, readings[FLOOR])) for name, mine in readings.items()],
        )


WAITS = tuple(
    f"{way} {figure}"
    for way in ("send to the wire", "wire to receive")
    for figure in ("p50 ms", "p99 ms", "added p99 ms")
)


def _waits(name: str, mine: list[Reading], floor: list[Reading]) -> Iterator[Figure | None]:
    """What `WAITS` names; what is added is added to the wait of the floor in the same round."""
    goal = ADDED_P99_MS.get(CLIENTS[name][2])
    for way in range(len(Wait._fields)):
        late = [quantile([wait[way] for wait in each.waits], 0.99) * 1e3 for each in mine]
        late_floor = [quantile([wait[way] for wait in each.waits], 0.99) * 1e3 for each in floor]
        yield Figure(quantile([wait[way] for wait in each.waits], 0.5) * 1e3 for each in mine)
        yield Figure(late)
        added = (each - bare for each, bare in zip(late, late_floor, strict=True))
        yield None if name == FLOOR else Figure(added, goal)


def _count(sessions: int) -> str:
    return f"{sessions} {'session' if sessions == 1 else 'sessions'}"


def _ratio(mine: list[Reading], floor: list[Reading], goal: Goal | None) -> Figure:
    ratios = [each.cpu_us / bare.cpu_us for each, bare in zip(mine, floor, strict=True)]
    return Figure(ratios, goal)


def _readings(rounds: Sequence[Reads], directory: Path) -> dict[str, list[Reading]]:
    """What each client's rounds give, but for the first: it fills the caches, and Python adapts itself to the code."""
    readings: dict[str, list[Reading]] = {name: [] for name in CLIENTS}
    with running_provider() as url:
        for number, read in enumerate(rounds):
            # There and back, so that each of them meets the same noise.
            for name in list(CLIENTS)[:: 1 if number % 2 == 0 else -1]:
                connects, loop, records = CLIENTS[name]
                reading = anyio.run(read, connects, records, url, directory, backend=loop)
                if number > 0:
                    readings[name].append(reading)
    return readings


async def _saturated(
    sessions: int, effort: Effort, connects: Connects, records: Records | None, url: str, directory: Path
) -> Reading:
    pairs = effort.frames[records or Records.SPANS] // sessions

    async def send(client: Client) -> None:
        for _ in range(pairs):
            await client.send()

    async def receive(client: Client) -> None:
        for _ in range(pairs):
            await client.receive()

    async with connects(sessions, url, directory) as clients:
        works: list[Work] = [partial(send, client) for client in clients]
        works += [partial(receive, client) for client in clients]
        started = time.perf_counter()
        cpu = await cpu_of(works)
        elapsed = time.perf_counter() - started
        return Reading(cpu / pairs / sessions * 1e6, pairs * sessions / elapsed, [])


async def _paced(
    sessions: int, frames: int, connects: Connects, records: Records | None, url: str, directory: Path
) -> Reading:

    waits: list[Wait] = []

    async def send(client: Client, sent: deque[float], first: float) -> None:
        for number in range(frames):
            await anyio.sleep_until(first + number * FRAME_S)
            sent.append(time.monotonic())
            await client.send()

    async def receive(client: Client, sent: deque[float]) -> None:
        for _ in range(frames):
            came_at, left_at = moments_of(await client.receive())
            waits.append(Wait(came_at - sent.popleft(), time.monotonic() - left_at))

    async with connects(sessions, url, directory) as clients:
        gc.collect()
        begin = anyio.current_time() + LEAD_S
        works: list[Work] = []
        for number, client in enumerate(clients):
            sent: deque[float] = deque()
            works.append(partial(send, client, sent, begin + number * FRAME_S / sessions))
            works.append(partial(receive, client, sent))
        started = time.perf_counter()
        cpu = await cpu_of(works)
        elapsed = time.perf_counter() - started
        return Reading(cpu / len(waits) * 1e6, len(waits) / elapsed, waits)


def encoded() -> bytes:
    audio = binascii.b2a_base64(FRAME, newline=False).decode()
    return orjson.dumps({"type": "input_audio_buffer.append", "audio": audio})


def decoded(message: str | bytes) -> bytes:
    return binascii.a2b_base64(orjson.loads(message)["delta"])
