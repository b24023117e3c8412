"""Messages arrive as they were sent, in order, and the queues they lie in have bounds."""

from __future__ import annotations

import gc
import math
import select
import threading
import tracemalloc
from contextlib import suppress

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from realtime_async.adapters._websocket import WebSocketLimits
from realtime_async.testing.loopback import LoopbackServer
from tests.adapters.websocket.conftest import Tls
from tests.adapters.websocket.raw import PATIENCE_S, RawPeer, RawServer, opened

MESSAGES = {
    "text": "Grüße, 世界",
    "binary": b"\x00\xff",
    "empty text": "",
    "empty binary": b"",
    "more than a chunk": "x" * 200_000,
    "more than a mebibyte": b"y" * 3_000_000,
}

# Where bytes come from a socket, on either event loop.
READERS = ("*/asyncio/selector_events.py", "*/trio/_socket.py", "*/trio/_highlevel_socket.py")


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
async def test_a_message_keeps_its_kind_and_its_content(echo: LoopbackServer, message: str | bytes) -> None:
    async with opened(echo.url) as websocket:
        await websocket.send(message)

        assert await websocket.receive() == message


async def test_messages_keep_their_order_over_tls(tls: Tls) -> None:
    with LoopbackServer(tls=tls.server) as echo:
        async with opened(echo.url, ssl_context=tls.client) as websocket:
            sent = [f"{number}:" + "x" * (number * 37) for number in range(300)]

            for message in sent:
                await websocket.send(message)

            assert [await websocket.receive() for _ in sent] == sent


async def test_what_was_read_is_not_kept_until_more_comes(echo: LoopbackServer) -> None:
    message = "x" * 60_000
    async with opened(echo.url) as websocket:
        tracemalloc.start()
        try:
            await websocket.send(message)
            assert await websocket.receive() == message
            await anyio.wait_all_tasks_blocked()
            gc.collect()
            # The protocol keeps the last frame that it took apart; what was read may be 256 KB of them.
            read = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(True, place) for place in READERS]
            )
        finally:
            tracemalloc.stop()

    assert sum(trace.size for trace in read.traces) < 30_000


async def test_what_is_queued_together_is_written_together() -> None:
    reads = []

    def count_reads(peer: RawPeer) -> None:
        while len(peer.messages) < 50:
            peer.read()
            reads.append(len(peer.messages))

    with RawServer(count_reads) as server:
        async with opened(server.url) as websocket:
            for number in range(50):
                assert websocket.send_nowait(f"{number}")

            assert await anyio.to_thread.run_sync(server.ended.wait, PATIENCE_S)

    assert len(reads) == 1


def send_in_pieces(peer: RawPeer) -> None:
    protocol = peer.protocol
    protocol.send_text("zwei ü".encode()[:6], fin=False)
    # A control frame may come in between.
    protocol.send_ping(b"ping")
    protocol.send_continuation(b"", fin=False)
    protocol.send_continuation("zwei ü".encode()[6:], fin=True)
    protocol.send_binary(b"a", fin=False)
    protocol.send_continuation(b"b", fin=True)
    # Each byte on its own: a frame may be split anywhere.
    for byte in b"".join(protocol.data_to_send()):
        peer.socket.sendall(bytes([byte]))
    peer.read_to_the_end()


async def test_a_message_in_pieces_is_put_together() -> None:
    with RawServer(send_in_pieces) as server:
        async with opened(server.url) as websocket:
            assert await websocket.receive() == "zwei ü"
            assert await websocket.receive() == b"ab"
            await websocket.aclose()

    assert server.peers[0].pongs == [b"ping"]


def say_hello_with_the_handshake(peer: RawPeer) -> None:
    while peer.request is None:
        peer.protocol.receive_data(peer.socket.recv(65536))
        for event in peer.protocol.events_received():
            peer.request = event  # type: ignore[assignment]  # the first is one
            peer.protocol.send_response(peer.protocol.accept(event))  # type: ignore[arg-type]
    peer.say("hello")
    peer.read_to_the_end()


async def test_what_came_with_the_handshake_is_not_lost() -> None:
    with RawServer(say_hello_with_the_handshake, upgrades=False) as server:
        async with opened(server.url) as websocket:
            assert await websocket.receive() == "hello"


async def test_receive_nowait_takes_what_is_there(echo: LoopbackServer) -> None:
    async with opened(echo.url) as websocket:
        assert websocket.receive_nowait() is None
        websocket.send_nowait("1")
        websocket.send_nowait("2")

        assert await websocket.receive() == "1"
        while (second := websocket.receive_nowait()) is None:
            await anyio.lowlevel.checkpoint()
        assert second == "2"


async def test_a_reminder_wakes_whoever_waits_at_its_moment_and_is_given_once(echo: LoopbackServer) -> None:
    async with opened(echo.url) as websocket:
        websocket.remind_at(math.inf)
        websocket.remind_at(anyio.current_time() + 0.05)
        early = websocket.take_reminder()

        await websocket.arrival()

        assert anyio.current_time() >= websocket.opened_at + 0.05
        assert [early, websocket.take_reminder(), websocket.take_reminder()] == [False, True, False]


async def test_a_reminder_drops_no_message(echo: LoopbackServer) -> None:
    async with opened(echo.url) as websocket:
        websocket.remind_at(anyio.current_time())
        await websocket.arrival()
        websocket.send_nowait("1")

        assert await websocket.receive() == "1"
        assert websocket.take_reminder()


@pytest.mark.parametrize("limits", [WebSocketLimits(queued_messages=3), WebSocketLimits(queued_bytes=3100)])
async def test_a_full_queue_says_no_and_send_waits_for_room(
    echo: LoopbackServer, limits: WebSocketLimits
) -> None:
    async with opened(echo.url, limits=limits) as websocket:
        messages = [str(number) * 1000 for number in range(5)]

        taken = [websocket.send_nowait(message) for message in messages]
        for message in messages[3:]:
            await websocket.send(message)

        assert taken == [True, True, True, False, False]
        assert [await websocket.receive() for _ in messages] == messages


async def test_a_message_larger_than_the_queue_goes_alone(echo: LoopbackServer) -> None:
    async with opened(echo.url, limits=WebSocketLimits(queued_bytes=1000)) as websocket:
        await websocket.send("x" * 5000)

        assert len(await websocket.receive()) == 5000


class LateReader:
    """Reads nothing until it may."""

    def __init__(self) -> None:
        self.may_read = threading.Event()

    def __call__(self, peer: RawPeer) -> None:
        self.may_read.wait(PATIENCE_S)
        peer.read_to_the_end()


# More than the buffers of two sockets hold.
LARGE = b"x" * 30_000_000


async def test_those_who_wait_for_room_go_in_order_and_nobody_overtakes_them() -> None:
    reader = LateReader()
    with RawServer(reader) as server:
        async with opened(server.url, limits=WebSocketLimits(queued_bytes=len(LARGE) + 1000)) as websocket:
            websocket.send_nowait(LARGE)
            async with anyio.create_task_group() as tasks:
                for number in range(1, 4):
                    # There is no room for it until half of the large one has gone.
                    tasks.start_soon(websocket.send, b"%d" % number * (len(LARGE) // 2))
                    await anyio.wait_all_tasks_blocked()
                refused = not websocket.send_nowait("small enough")
                reader.may_read.set()
            await websocket.aclose()

    assert refused
    assert [message[:1] for message in server.peers[0].messages] == [b"x", b"1", b"2", b"3"]


async def test_a_send_that_gave_up_waiting_for_room_is_not_sent() -> None:
    reader = LateReader()
    with RawServer(reader) as server:
        async with opened(server.url, limits=WebSocketLimits(queued_messages=1)) as websocket:
            websocket.send_nowait(LARGE)
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(websocket.send, "given up")
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            reader.may_read.set()
            await websocket.send("after")
            await websocket.aclose()

    assert server.peers[0].messages[1:] == [b"after"]


@pytest.mark.parametrize(
    "limits",
    [
        WebSocketLimits(received_messages=10),
        WebSocketLimits(received_messages=1_000_000, received_bytes=10_000),
    ],
    ids=["messages", "bytes"],
)
async def test_what_nobody_takes_is_not_read_and_not_lost(limits: WebSocketLimits) -> None:
    count = 20_000
    is_stuck = threading.Event()
    written = []

    def say_much(peer: RawPeer) -> None:
        for number in range(count):
            peer.protocol.send_text(str(number).zfill(1000).encode())
        data = memoryview(b"".join(peer.protocol.data_to_send()))
        peer.socket.setblocking(False)
        while data:
            if not select.select([], [peer.socket], [], 0.2)[1]:
                written.append(count * 1004 - len(data))
                is_stuck.set()
                select.select([], [peer.socket], [])
            data = data[peer.socket.send(data) :]
        peer.read_to_the_end()

    with RawServer(say_much) as server:
        async with opened(server.url, limits=limits) as websocket:
            assert await anyio.to_thread.run_sync(is_stuck.wait, PATIENCE_S)

            received = [await websocket.receive() for _ in range(count)]

    # What the buffers of two sockets hold, and far from all of it.
    assert written[0] < 15_000_000
    assert [int(each) for each in received] == list(range(count))


async def test_pongs_that_nobody_reads_are_bounded() -> None:
    much = 30_000_000
    is_over = threading.Event()
    written = 0

    def ask_and_never_read(peer: RawPeer) -> None:
        nonlocal written
        peer.protocol.send_ping(b"x" * 125)
        data = peer.protocol.data_to_send()[0] * 1000
        peer.socket.setblocking(False)
        # It is stuck only where the client stops to read what it can't answer.
        while written < much and select.select([], [peer.socket], [], 0.5)[1]:
            with suppress(BlockingIOError):
                written += peer.socket.send(data)
        is_over.set()

    with RawServer(ask_and_never_read, receive_buffer=4096) as server:
        async with opened(server.url) as websocket:
            await anyio.to_thread.run_sync(is_over.wait, 60)
            websocket.abort()

    assert 0 < written < much


async def test_headers_and_the_subprotocol_go_with_the_handshake() -> None:
    def read(peer: RawPeer) -> None:
        peer.read_to_the_end()

    with RawServer(read) as server:
        async with opened(server.url, headers={"Authorization": "Bearer k", "X-Two": "2"}) as websocket:
            assert websocket.subprotocol is None

    request = server.peers[0].request
    assert request is not None
    assert request.headers["Authorization"] == "Bearer k"
    assert request.headers["X-Two"] == "2"
    # It hardly shrinks base64, and takes time.
    assert "Sec-WebSocket-Extensions" not in request.headers
