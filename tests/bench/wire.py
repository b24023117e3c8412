"""
What a pair of frames costs over a WebSocket: one out, one back, base64 in JSON, as OpenAI has it.

The floor is a bare `websockets` client on asyncio, with the same JSON and the same base64.
"""

from __future__ import annotations

import binascii
import gc
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import attrs
import orjson
from websockets.asyncio.client import connect

from realtime_async.adapters._websocket import open_websocket
from tests.bench.echo_provider import running_provider
from tests.bench.figures import Figure, Goal, Row, Table, quantile
from tests.bench.goals import DUPLEX_TO_FLOOR, PACED_TO_FLOOR
from tests.bench.stage import FRAME, FRAME_S, Effort, Loop, Work, cpu_of

__all__ = ["duplex", "paced_wire"]

LEAD_S = 0.1


@attrs.frozen
class Client:
    """One connection: how it sends a message, and how it gets one."""

    send: Callable[[bytes], Awaitable[None]]
    receive: Callable[[], Awaitable[str | bytes]]


Connects: TypeAlias = Callable[[str], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Client]:
    async with connect(url, compression=None, proxy=None, max_size=2**24, ping_interval=20) as websocket:
        yield Client(partial(websocket.send, text=True), partial(websocket.recv, decode=False))


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Client]:
    async with anyio.create_task_group() as tasks:
        websocket = await open_websocket(tasks, url)

        async def send(message: bytes) -> None:
            text = message.decode()
            if not websocket.send_nowait(text):
                await websocket.send(text)

        yield Client(send, websocket.receive)
        await websocket.aclose()


FLOOR = "bare websockets client, asyncio"
CLIENTS: Mapping[str, tuple[Connects, Loop]] = {
    FLOOR: (bare, Loop.ASYNCIO),
    **{f"our WebSocket, {loop}": (ours, loop) for loop in Loop},
}


@attrs.frozen
class Reading:
    cpu_s: float
    elapsed_s: float
    round_trips_s: list[float]


def duplex(effort: Effort, directory: Path) -> Iterator[Table]:
    """Send as fast as it goes, and take what comes meanwhile."""
    for sessions in effort.sessions:
        pairs = max(effort.frames.values()) * 2 // sessions
        readings = _rounds(effort, partial(_saturated, sessions, pairs))
        yield Table(
            f"WebSocket, duplex, saturated, {_count(sessions)}",
            ("CPU µs/pair", "× floor", "pairs/s"),
            [
                Row(
                    name,
                    (
                        Figure(each.cpu_s / pairs / sessions * 1e6 for each in mine),
                        _ratio(mine, readings[FLOOR], None if name == FLOOR else DUPLEX_TO_FLOOR),
                        Figure(pairs * sessions / each.elapsed_s for each in mine),
                    ),
                )
                for name, mine in readings.items()
            ],
        )


def paced_wire(effort: Effort, directory: Path) -> Iterator[Table]:
    """Send a frame every 20 ms, and take its answer."""
    for sessions in effort.sessions:
        frames = round(effort.paced_s / FRAME_S)
        readings = _rounds(effort, partial(_paced, sessions, frames))
        yield Table(
            f"WebSocket, paced 50 pairs/s each, {_count(sessions)}",
            ("CPU µs/pair", "CPU ms/session-second", "× floor", "round trip p50 ms", "p99 ms"),
            [
                Row(
                    name,
                    (
                        Figure(each.cpu_s / frames / sessions * 1e6 for each in mine),
                        Figure(each.cpu_s / frames / sessions / FRAME_S * 1e3 for each in mine),
                        _ratio(mine, readings[FLOOR], None if name == FLOOR else PACED_TO_FLOOR),
                        Figure(quantile(each.round_trips_s, 0.5) * 1e3 for each in mine),
                        Figure(quantile(each.round_trips_s, 0.99) * 1e3 for each in mine),
                    ),
                )
                for name, mine in readings.items()
            ],
        )


def _count(sessions: int) -> str:
    return f"{sessions} {'session' if sessions == 1 else 'sessions'}"


def _ratio(mine: list[Reading], floor: list[Reading], goal: Goal | None) -> Figure:
    ratios = [each.cpu_s / bare.cpu_s for each, bare in zip(mine, floor, strict=True)]
    return Figure(ratios, goal)


def _rounds(effort: Effort, read: Callable[[Connects, str], Awaitable[Reading]]) -> dict[str, list[Reading]]:
    readings: dict[str, list[Reading]] = {name: [] for name in CLIENTS}
    with running_provider() as url:
        for number in range(-1, effort.rounds):
            # There and back, so that each of them meets the same noise.
            for name in list(CLIENTS)[:: 1 if number % 2 == 0 else -1]:
                connects, loop = CLIENTS[name]
                reading = anyio.run(read, connects, url, backend=loop)
                # The first fills the caches, and Python adapts itself to the code.
                if number >= 0:
                    readings[name].append(reading)
    return readings


async def _saturated(sessions: int, pairs: int, connects: Connects, url: str) -> Reading:
    async def send(client: Client) -> None:
        for _ in range(pairs):
            await client.send(encoded())

    async def receive(client: Client) -> None:
        for _ in range(pairs):
            decoded(await client.receive())

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connects(url)) for _ in range(sessions)]
        works: list[Work] = [partial(send, client) for client in clients]
        works += [partial(receive, client) for client in clients]
        started = time.perf_counter()
        cpu = await cpu_of(works)
        return Reading(cpu, time.perf_counter() - started, [])


async def _paced(sessions: int, frames: int, connects: Connects, url: str) -> Reading:
    round_trips: list[float] = []

    async def send(client: Client, sent: deque[float], first: float) -> None:
        for number in range(frames):
            await anyio.sleep_until(first + number * FRAME_S)
            sent.append(time.perf_counter())
            await client.send(encoded())

    async def receive(client: Client, sent: deque[float]) -> None:
        for _ in range(frames):
            decoded(await client.receive())
            round_trips.append(time.perf_counter() - sent.popleft())

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connects(url)) for _ in range(sessions)]
        gc.collect()
        begin = anyio.current_time() + LEAD_S
        works: list[Work] = []
        for number, client in enumerate(clients):
            sent: deque[float] = deque()
            works.append(partial(send, client, sent, begin + number * FRAME_S / sessions))
            works.append(partial(receive, client, sent))
        started = time.perf_counter()
        cpu = await cpu_of(works)
        return Reading(cpu, time.perf_counter() - started, round_trips)


def encoded() -> bytes:
    audio = binascii.b2a_base64(FRAME, newline=False).decode()
    return orjson.dumps({"type": "input_audio_buffer.append", "audio": audio})


def decoded(message: str | bytes) -> bytes:
    return binascii.a2b_base64(orjson.loads(message)["delta"])
