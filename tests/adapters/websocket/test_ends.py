"""However a connection ends: what came before is there, what it says is not more than a code, and no task is hurt."""

from __future__ import annotations

import math
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.to_thread
import pytest

from realtime_async.adapters._websocket import End, WebSocketClosed, WebSocketLimits, open_websocket
from realtime_async.testing.loopback import LoopbackServer
from tests.adapters.websocket.conftest import Tls
from tests.adapters.websocket.raw import PATIENCE_S, RawPeer, RawServer, end_of, opened

SECRET = "what the person said"


def close_with(code: int) -> Callable[[RawPeer], None]:
    def close(peer: RawPeer) -> None:
        peer.protocol.send_text(b"last")
        peer.protocol.send_close(code, SECRET)
        peer.flush()
        peer.read_to_the_end()

    return close


def end_of_file(peer: RawPeer) -> None:
    peer.say("last")


def wait(until: threading.Event) -> None:
    until.wait(PATIENCE_S)


def reset(peer: RawPeer) -> None:
    peer.say("last")
    # It says hello once it has the last message, which a reset might overtake.
    peer.read()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(peer: RawPeer) -> None:
    peer.say("last")
    peer.socket.sendall(b"\xff\xff" + SECRET.encode())
    peer.read_to_the_end()


def no_utf_8(peer: RawPeer) -> None:
    peer.protocol.send_text(b"last")
    peer.protocol.send_text(b"\xff" + SECRET.encode())
    peer.protocol.send_text(b"after that")
    peer.flush()
    peer.read_to_the_end()


def too_big(peer: RawPeer) -> None:
    peer.say("last")
    peer.protocol.send_text(b"x" * 600, fin=False)
    peer.protocol.send_continuation(b"x" * 600, fin=True)
    peer.flush()
    peer.read_to_the_end()


ENDS = {
    "a close frame": (close_with(1008), End.CLOSED_BY_PEER, 1008),
    "a private code": (close_with(4321), End.CLOSED_BY_PEER, 4321),
    "end of file": (end_of_file, End.DROPPED, 1006),
    "a reset": (reset, End.DROPPED, 1006),
    "garbage": (garbage, End.GARBLED, 1002),
    "no UTF-8": (no_utf_8, End.GARBLED, 1007),
    "too big": (too_big, End.TOO_BIG, 1009),
}


@pytest.mark.parametrize("is_tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("serve, end, code", ENDS.values(), ids=ENDS)
async def test_what_came_before_the_end_is_taken_first(
    tls: Tls, serve: Callable[[RawPeer], None], end: End, code: int, is_tls: bool
) -> None:
    limits = WebSocketLimits(max_message_bytes=1000)
    with RawServer(serve, tls=tls.server if is_tls else None) as server:
        async with opened(server.url, ssl_context=tls.client, limits=limits) as websocket:
            assert await websocket.receive() == "last"
            with suppress(WebSocketClosed):
                websocket.send_nowait("hello")

            ended = await end_of(websocket)

            assert (ended.end, ended.code, websocket.close_code) == (end, code, code)
            assert websocket.is_closed
            await websocket.aclose()


@pytest.mark.parametrize("serve, end, code", ENDS.values(), ids=ENDS)
async def test_what_the_peer_said_is_in_no_message_and_in_no_traceback(
    serve: Callable[[RawPeer], None], end: End, code: int
) -> None:
    limits = WebSocketLimits(max_message_bytes=1000)
    with RawServer(serve) as server:
        async with opened(server.url, limits=limits) as websocket:
            await websocket.receive()
            with suppress(WebSocketClosed):
                websocket.send_nowait(SECRET)
            ended = await end_of(websocket)

    shown = "".join(traceback.format_exception(ended)) + repr(ended) + repr(websocket)
    assert SECRET not in shown
    assert str(code) in str(ended)
    assert end in str(ended)


async def test_the_reason_is_there_for_who_asks() -> None:
    with RawServer(close_with(1008)) as server:
        async with opened(server.url) as websocket:
            assert (await end_of(websocket)).reason == SECRET


async def test_an_end_harms_neither_the_task_group_nor_the_other_connections(echo: LoopbackServer) -> None:
    with RawServer(garbage) as server:
        async with anyio.create_task_group() as tasks:
            ended = await open_websocket(tasks, server.url)
            lives = await open_websocket(tasks, echo.url)
            await end_of(ended)

            await lives.send("still here")

            assert await lives.receive() == "still here"
            await lives.aclose()
            # And the task group ends by itself: both connections' tasks are gone.


async def test_after_the_end_nothing_is_sent() -> None:
    with RawServer(close_with(1011)) as server:
        async with opened(server.url) as websocket:
            await end_of(websocket)

            with pytest.raises(WebSocketClosed) as now:
                websocket.send_nowait("x")
            with pytest.raises(WebSocketClosed) as later:
                await websocket.send("x")

    assert now.value.before_written
    assert later.value.before_written


async def test_a_send_that_was_cut_off_says_whether_anything_was_written() -> None:
    outcomes: dict[str, bool] = {}
    is_over = threading.Event()
    with RawServer(lambda peer: wait(is_over), receive_buffer=4096) as server:
        async with (
            opened(server.url, limits=WebSocketLimits(queued_messages=2)) as websocket,
            anyio.create_task_group() as tasks,
        ):

            async def send(name: str, message: bytes) -> None:
                with pytest.raises(WebSocketClosed) as caught:
                    await websocket.send(message)
                outcomes[name] = caught.value.before_written

            for name, message in {"large": b"x" * 30_000_000, "queued": b"y", "waiting": b"z"}.items():
                tasks.start_soon(send, name, message)
                await anyio.wait_all_tasks_blocked()
            websocket.abort()
        is_over.set()

    assert outcomes == {"large": False, "queued": True, "waiting": True}


# Our own end


async def test_closing_says_goodbye_after_what_was_queued() -> None:
    with RawServer(RawPeer.read_to_the_end) as server:
        async with opened(server.url) as websocket:
            for number in range(100):
                websocket.send_nowait(str(number))

            await websocket.aclose(3000, "done")

            assert (websocket.close_code, websocket.is_closed) == (3000, True)
            assert (await end_of(websocket)).end is End.CLOSED_BY_US

    (peer,) = server.peers
    assert [int(message) for message in peer.messages] == list(range(100))
    assert peer.close_code == 3000


async def test_closing_twice_from_any_task_is_closing_once(echo: LoopbackServer) -> None:
    async with opened(echo.url) as websocket:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(websocket.aclose)
        await websocket.aclose()
        websocket.abort()
    await echo.until(lambda: not echo.peers)
    assert echo.close_codes == {1000: 1}


@pytest.mark.parametrize("code, reason", [(1005, ""), (1000, "x" * 124)])
async def test_a_close_frame_that_cannot_be_is_refused_and_nothing_ends(
    echo: LoopbackServer, code: int, reason: str
) -> None:
    async with opened(echo.url) as websocket:
        with pytest.raises(ValueError, match="close"):
            await websocket.aclose(code, reason)

        await websocket.send("still here")
        assert await websocket.receive() == "still here"


def ignore_everything(peer: RawPeer) -> None:
    peer.socket.settimeout(PATIENCE_S)
    while peer.socket.recv(65536):
        pass


async def test_a_peer_that_does_not_answer_is_left_after_the_deadline() -> None:
    with RawServer(ignore_everything) as server:
        async with opened(server.url, limits=WebSocketLimits(close_s=0.1)) as websocket:
            began = anyio.current_time()

            await websocket.aclose()

            assert 0.08 < anyio.current_time() - began < 5
            assert (websocket.close_code, (await end_of(websocket)).end) == (1006, End.CLOSED_BY_US)


async def test_a_peer_that_says_goodbye_and_stays_is_left_after_the_deadline() -> None:
    def stay(peer: RawPeer) -> None:
        peer.protocol.send_close(1000)
        peer.flush()
        ignore_everything(peer)

    with RawServer(stay) as server, anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            websocket = await open_websocket(tasks, server.url, limits=WebSocketLimits(close_s=0.1))
            await end_of(websocket)
        # The task group ended: nobody had to close anything.


async def test_closing_is_not_held_up_by_messages_that_nobody_takes(echo: LoopbackServer) -> None:
    limits = WebSocketLimits(received_messages=5, close_s=math.inf)
    async with opened(echo.url, limits=limits) as websocket:
        for _ in range(100):
            await websocket.send("x" * 1000)

        await websocket.aclose()

        assert websocket.close_code == 1000


async def test_an_abort_is_at_once_and_keeps_what_was_received() -> None:
    def say_two(peer: RawPeer) -> None:
        peer.protocol.send_text(b"1")
        peer.protocol.send_text(b"2")
        peer.flush()
        peer.read_to_the_end()

    with RawServer(say_two) as server:
        async with opened(server.url) as websocket:
            await websocket.receive()

            websocket.abort()
            websocket.abort()

            assert websocket.close_code == 1006
            assert await websocket.receive() == "2"
            assert (await end_of(websocket)).end is End.ABORTED
            await websocket.aclose()
    assert server.peers[0].close_code is None


async def test_a_task_group_that_is_cancelled_takes_its_connections_along(echo: LoopbackServer) -> None:
    async with anyio.create_task_group() as tasks:
        websocket = await open_websocket(tasks, echo.url)
        tasks.cancel_scope.cancel()

    assert (await end_of(websocket)).end is End.ABORTED
    await echo.until(lambda: not echo.peers)
