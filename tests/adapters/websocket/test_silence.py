"""A peer that is gone without a word is noticed, with traffic and without; one that lives is not taken for dead."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest

from realtime_async.adapters._websocket import End, WebSocketClosed, WebSocketLimits
from realtime_async.testing.loopback import LoopbackServer
from tests.adapters.websocket.raw import PATIENCE_S, RawPeer, RawServer, end_of, opened

QUICK = WebSocketLimits(ping_every_s=0.1, dead_after_s=0.2)


def until(event: threading.Event) -> Callable[[RawPeer], None]:
    """Neither read nor write until *event*, as a host that lost its network."""

    def wait(peer: RawPeer) -> None:
        event.wait(PATIENCE_S)

    return wait


@pytest.fixture
def is_over() -> threading.Event:
    return threading.Event()


async def test_a_half_open_connection_is_noticed_without_traffic(is_over: threading.Event) -> None:
    with RawServer(until(is_over)) as server:
        async with opened(server.url, limits=QUICK) as websocket:
            ended = await end_of(websocket)
            passed = anyio.current_time() - websocket.opened_at
        is_over.set()

    assert (ended.end, ended.code) == (End.SILENT, 1006)
    assert 0.29 < passed < 3


async def test_a_half_open_connection_wakes_every_waiter(is_over: threading.Event) -> None:
    endings = []
    with RawServer(until(is_over), receive_buffer=4096) as server:
        async with opened(server.url, limits=QUICK) as websocket, anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(WebSocketClosed) as caught:
                    await websocket.send(b"x" * 10_000_000)
                endings.append(caught.value.end)

            for _ in range(3):
                tasks.start_soon(send)
            endings.append((await end_of(websocket)).end)
        is_over.set()

    assert endings == [End.SILENT] * 4


async def test_a_peer_that_answers_pings_is_alive() -> None:
    def answer_three(peer: RawPeer) -> None:
        while len(peer.pings) < 3:
            peer.read()
        peer.protocol.send_close(1000)
        peer.flush()

    with RawServer(answer_three) as server:
        async with opened(server.url, limits=WebSocketLimits(ping_every_s=0.1, dead_after_s=8)) as websocket:
            assert (await end_of(websocket)).end is End.CLOSED_BY_PEER

            # The pongs put the question off.
            assert 0.3 < websocket.last_heard_at - websocket.opened_at < 5


async def test_any_data_counts_as_life_and_spares_the_ping(is_over: threading.Event) -> None:
    def talk_and_never_read(peer: RawPeer) -> None:
        for number in range(14):
            peer.say(str(number))
            is_over.wait(0.1)
        peer.protocol.send_close(1000)
        peer.flush()
        peer.read_to_the_end()

    # It talks for longer than it may be silent, and never pauses for nearly as long.
    limits = WebSocketLimits(ping_every_s=1.2, dead_after_s=0.01)
    with RawServer(talk_and_never_read) as server:
        async with opened(server.url, limits=limits) as websocket:
            assert (await end_of(websocket)).end is End.CLOSED_BY_PEER

    assert server.peers[0].pings == []


async def test_while_nobody_takes_messages_the_peer_is_not_taken_for_dead(echo: LoopbackServer) -> None:
    # Until the messages are there it has to answer in time, however busy the machine is.
    limits = WebSocketLimits(ping_every_s=0.05, dead_after_s=1.0, received_messages=2)
    async with opened(echo.url, limits=limits) as websocket:
        for number in range(20):
            websocket.send_nowait("x" * 1000 + str(number))
        await echo.until(lambda: echo.sent == 20)
        await anyio.sleep_until(anyio.current_time() + 1.5)

        assert [int((await websocket.receive())[1000:]) for _ in range(20)] == list(range(20))
        assert not websocket.is_closed


async def test_pings_are_answered_while_nobody_receives() -> None:
    def ask(peer: RawPeer) -> None:
        peer.protocol.send_ping(b"there?")
        peer.flush()
        while not peer.pongs:
            peer.read()

    with RawServer(ask) as server:
        async with opened(server.url):
            assert await anyio.to_thread.run_sync(server.ended.wait, PATIENCE_S)

    assert server.peers[0].pongs == [b"there?"]


async def test_a_peer_that_takes_no_data_is_given_up(is_over: threading.Event) -> None:
    limits = WebSocketLimits(write_s=0.2, ping_every_s=math.inf)
    with RawServer(until(is_over), receive_buffer=4096) as server:
        async with opened(server.url, limits=limits) as websocket:
            with pytest.raises(WebSocketClosed) as caught:
                await websocket.send(b"x" * 10_000_000)
        is_over.set()

    assert (caught.value.end, caught.value.before_written) == (End.STALLED, False)


async def test_a_slow_peer_is_not_a_stalled_one(echo: LoopbackServer) -> None:
    limits = WebSocketLimits(write_s=1.0, queued_bytes=2**20)
    async with opened(echo.url, limits=limits) as websocket:
        echo.read_slowly(8_000_000)

        # It takes longer than a write may.
        await websocket.send(b"x" * 16_000_000)

        assert anyio.current_time() - websocket.opened_at > 1.0
        assert not websocket.is_closed


async def test_a_stall_that_ends_in_time_loses_nothing(echo: LoopbackServer) -> None:
    async with opened(echo.url, limits=WebSocketLimits(ping_every_s=0.1, dead_after_s=5)) as websocket:
        echo.stall(0.3)

        sent = [str(number) for number in range(100)]
        for message in sent:
            websocket.send_nowait(message)

        assert [await websocket.receive() for _ in sent] == sent
