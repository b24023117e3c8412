"""Cancelling at any await, by anyio or natively, neither corrupts the wire nor loses a message."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import attrs
import pytest

from realtime_async.adapters._websocket import WebSocket, WebSocketLimits, open_websocket
from realtime_async.testing import Cancellation, Ending, Outcome, cancel_at_every_point, ways_to_cancel
from realtime_async.testing.loopback import LoopbackServer
from tests.adapters.websocket.conftest import Tls
from tests.adapters.websocket.raw import PATIENCE_S, RawPeer, RawServer, opened

T = TypeVar("T")

WAYS = [(backend, how) for backend in ("asyncio", "trio") for how in ways_to_cancel(backend)]
every_way = pytest.mark.parametrize(
    "anyio_backend, how", WAYS, ids=[f"{backend}-{how}" for backend, how in WAYS]
)


@attrs.define
class Taken:
    """A connection, and what was received on it."""

    websocket: WebSocket
    messages: list[str | bytes] = attrs.field(factory=list)

    async def take(self, count: int) -> None:
        while len(self.messages) < count:
            self.messages.append(await self.websocket.receive())


def connected(url: str, **options: WebSocketLimits) -> AbstractAsyncContextManager[Taken]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Taken]:
        async with opened(url, **options) as websocket:
            yield Taken(websocket)

    return connect()


@every_way
async def test_receive_loses_nothing_at_any_point(echo: LoopbackServer, how: Cancellation) -> None:
    numbers = ["1", "2", "3"]

    async def receive(taken: Taken) -> None:
        for number in numbers:
            taken.websocket.send_nowait(number)
            taken.messages.append(await taken.websocket.receive())

    async def check(taken: Taken, outcome: Outcome[None]) -> None:
        sent = numbers if outcome.point is None else numbers[: outcome.point + 1]
        await taken.take(len(sent))
        assert taken.messages[: len(sent)] == sent

    points = await cancel_at_every_point(lambda: connected(echo.url), receive, check, how=how)

    assert points == 3


@every_way
async def test_send_keeps_the_wire_whole_at_any_point(echo: LoopbackServer, how: Cancellation) -> None:
    large = "x" * 300_000

    async def send(taken: Taken) -> None:
        await taken.websocket.send(large)

    async def check(taken: Taken, outcome: Outcome[None]) -> None:
        await taken.websocket.send("after")
        await taken.take(2)
        assert taken.messages == [large, "after"]

    points = await cancel_at_every_point(lambda: connected(echo.url), send, check, how=how)

    assert points >= 1


@every_way
async def test_a_send_that_waits_for_room_goes_whole_or_not_at_all(
    echo: LoopbackServer, how: Cancellation
) -> None:
    async def send(taken: Taken) -> None:
        taken.websocket.send_nowait("first")
        await taken.websocket.send("y" * 1000)

    async def check(taken: Taken, outcome: Outcome[None]) -> None:
        await taken.websocket.send("after")
        while not taken.messages or taken.messages[-1] != "after":
            await taken.take(len(taken.messages) + 1)
        between = taken.messages[1:-1]
        assert taken.messages[0] == "first"
        assert between == ["y" * 1000] or (between == [] and outcome.ending is Ending.CANCELLED)

    one = WebSocketLimits(queued_messages=1)
    points = await cancel_at_every_point(lambda: connected(echo.url, limits=one), send, check, how=how)

    assert points >= 1


@every_way
async def test_an_opening_that_is_cancelled_leaves_nothing_open(
    echo: LoopbackServer, how: Cancellation
) -> None:
    tasks_ended = []

    @asynccontextmanager
    async def task_group() -> AsyncIterator[anyio.abc.TaskGroup]:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                yield tasks
            tasks_ended.append(True)

    async def open_one(tasks: anyio.abc.TaskGroup) -> WebSocket:
        return await open_websocket(tasks, echo.url)

    async def check(tasks: anyio.abc.TaskGroup, outcome: Outcome[WebSocket]) -> None:
        if outcome.value is not None:
            await outcome.value.send("works")
            assert await outcome.value.receive() == "works"
            await outcome.value.aclose()

    points = await cancel_at_every_point(task_group, open_one, check, how=how)

    assert points == 1
    assert tasks_ended
    await echo.until(lambda: not echo.peers)


@every_way
async def test_closing_goes_on_though_its_caller_is_cancelled(
    echo: LoopbackServer, how: Cancellation
) -> None:
    async def close(taken: Taken) -> None:
        await taken.websocket.aclose(3001)

    async def check(taken: Taken, outcome: Outcome[None]) -> None:
        await taken.websocket.aclose()
        assert taken.websocket.close_code == 3001

    points = await cancel_at_every_point(lambda: connected(echo.url), close, check, how=how)

    assert points == 1
    await echo.until(lambda: not echo.peers)
    assert set(echo.close_codes) == {3001}


# The experiments that chose this design, in small: cancelled by the clock, wherever that strikes.


async def natively(operation: Callable[[], Awaitable[T]], seconds: float) -> T | None:
    try:
        return await asyncio.wait_for(operation(), seconds)
    except TimeoutError:
        return None


async def by_scope(operation: Callable[[], Awaitable[T]], seconds: float) -> T | None:
    with anyio.move_on_after(seconds):
        return await operation()
    return None


CLOCKS = {
    "asyncio-scope": ("asyncio", by_scope),
    "asyncio-wait_for": ("asyncio", natively),
    "trio-scope": ("trio", by_scope),
}
by_the_clock = pytest.mark.parametrize("anyio_backend, within", CLOCKS.values(), ids=CLOCKS)
tcp_and_tls = pytest.mark.parametrize("is_tls", [False, True], ids=["tcp", "tls"])

COUNT = 250
# Of so many messages one is held in its midst until somebody has given up on it.
HELD_EVERY = 10


def flood(gave_up: threading.Event, peer: RawPeer) -> None:
    """Send numbered messages, some in pieces, and cut their frames where it pleases."""
    dice = random.Random(1)
    pause = threading.Event()
    for number in range(COUNT):
        body = b"%d:" % number + b"x" * dice.choice([0, 10, 2000, 40_000])
        if number % 7 == 0:
            peer.protocol.send_text(body[:3], fin=False)
            peer.protocol.send_continuation(body[3:], fin=True)
        else:
            peer.protocol.send_text(body)
        data = b"".join(peer.protocol.data_to_send())
        cut = dice.randrange(1, len(data))
        peer.socket.sendall(data[:cut])
        if number % HELD_EVERY == 0:
            gave_up.clear()
            assert gave_up.wait(PATIENCE_S)
        else:
            pause.wait(dice.random() * 0.002)
        peer.socket.sendall(data[cut:])
    peer.read_to_the_end()


@tcp_and_tls
@by_the_clock
async def test_a_flood_arrives_whole_though_receive_is_cancelled_all_the_time(
    tls: Tls, within: Callable[..., Awaitable[str | bytes | None]], is_tls: bool
) -> None:
    dice = random.Random(2)
    cancelled = 0
    gave_up = threading.Event()
    received: list[int] = []
    with RawServer(partial(flood, gave_up), tls=tls.server if is_tls else None) as server:
        async with opened(server.url, ssl_context=tls.client) as websocket:
            while len(received) < COUNT:
                message = await within(websocket.receive, dice.random() * 0.002)
                if message is None:
                    cancelled += 1
                    gave_up.set()
                else:
                    received.append(int(str(message).partition(":")[0]))

    assert received == list(range(COUNT))
    assert cancelled >= COUNT // HELD_EVERY


@tcp_and_tls
@by_the_clock
async def test_a_large_send_that_is_cancelled_leaves_whole_frames_behind_it(
    tls: Tls, within: Callable[..., Awaitable[str | bytes | None]], is_tls: bool
) -> None:
    may_read = threading.Event()
    large = "B" * 8_000_000

    def read_late(peer: RawPeer) -> None:
        assert may_read.wait(PATIENCE_S)
        peer.read_to_the_end()

    # A cancellation that waited for a deadline of the connection's would wait for ever.
    unhurried = WebSocketLimits(write_s=math.inf, close_s=math.inf)
    with RawServer(read_late, tls=tls.server if is_tls else None, receive_buffer=4096) as server:
        async with opened(server.url, ssl_context=tls.client, limits=unhurried) as websocket:
            began = anyio.current_time()
            await within(partial(websocket.send, large), 0.1)
            took = anyio.current_time() - began
            may_read.set()

            for number in range(5):
                await websocket.send(f"small {number}")
            await websocket.aclose()

    assert took < 5
    assert server.peers[0].messages == [large.encode(), *(b"small %d" % number for number in range(5))]
