"""The provider on loopback does to its clients what it is told, on both event loops."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from realtime_async.adapters._websocket import (
    HandshakeRefused,
    Unreachable,
    WebSocket,
    WebSocketClosed,
    open_websocket,
)
from realtime_async.errors import ContractViolation
from realtime_async.testing.loopback import DropHow, LoopbackServer, Peer


@asynccontextmanager
async def connected(server: LoopbackServer) -> AsyncIterator[WebSocket]:
    """A client of *server*, which its handler has met."""
    met = server.connections + 1
    async with anyio.create_task_group() as tasks:
        websocket = await open_websocket(tasks, server.url)
        await server.until(lambda: server.connections >= met)
        yield websocket
        tasks.cancel_scope.cancel()


async def end_of(websocket: WebSocket) -> WebSocketClosed:
    with anyio.fail_after(10):
        while True:
            try:
                await websocket.receive()
            except WebSocketClosed as ended:
                return ended


@pytest.mark.parametrize(
    "how, code, reason",
    [
        (DropHow.RESET, 1006, ""),
        (DropHow.END_OF_FILE, 1006, ""),
        (DropHow.CLOSE, 1000, ""),
        (DropHow.GOING_AWAY, 1001, "going away"),
    ],
)
async def test_a_drop_ends_each_connection_as_told(how: DropHow, code: int, reason: str) -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        server.drop(how)

        ended = await end_of(websocket)

        assert (ended.code, ended.reason) == (code, reason)


async def test_a_drop_may_wait_for_a_message() -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        server.drop(DropHow.CLOSE, code=4000, after_received=3)
        for number in range(3):
            websocket.send_nowait(str(number))

        ended = await end_of(websocket)

        assert (ended.code, server.received) == (4000, 3)


async def test_handshakes_are_refused_as_often_as_told() -> None:
    async with LoopbackServer() as server, anyio.create_task_group() as tasks:
        server.refuse(times=2, status=429)
        for _ in range(2):
            with pytest.raises(HandshakeRefused) as caught:
                await open_websocket(tasks, server.url)
            assert caught.value.status == 429

        websocket = await open_websocket(tasks, server.url)

        await websocket.aclose()
        assert (server.handshakes_refused, server.connections) == (2, 1)


async def test_handshakes_are_refused_for_as_long_as_told() -> None:
    async with LoopbackServer() as server, anyio.create_task_group() as tasks:
        # Taken first: what this machine does in between must not shorten what is measured.
        began = anyio.current_time()
        server.refuse(seconds=0.2)
        websocket = None
        while websocket is None:
            try:
                websocket = await open_websocket(tasks, server.url)
            except HandshakeRefused:
                continue

        assert 0.19 < anyio.current_time() - began < 5
        await websocket.aclose()


async def test_a_handshake_without_a_status_is_reset() -> None:
    async with LoopbackServer() as server, anyio.create_task_group() as tasks:
        server.refuse(times=1, status=None)

        with pytest.raises(Unreachable):
            await open_websocket(tasks, server.url)

        assert server.handshakes_refused == 1


async def test_a_kick_comes_right_after_the_handshake() -> None:
    async with LoopbackServer() as server, anyio.create_task_group() as tasks:
        server.kick(4001, "no more")

        websocket = await open_websocket(tasks, server.url)

        ended = await end_of(websocket)
        assert (ended.code, ended.reason) == (4001, "no more")


async def test_a_stall_ends_when_released_and_loses_nothing() -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        server.stall()
        websocket.send_nowait("waits")
        with anyio.move_on_after(0.1):
            await websocket.receive()
            pytest.fail("a stalled provider answered")

        server.release()

        with anyio.fail_after(10):
            assert await websocket.receive() == "waits"


async def test_a_stall_ends_by_itself() -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        began = anyio.current_time()
        server.stall(0.1)
        websocket.send_nowait("waits")

        with anyio.fail_after(10):
            await websocket.receive()

        assert anyio.current_time() - began > 0.09


async def test_slow_reads_hold_the_sender_up() -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        began = anyio.current_time()
        server.read_slowly(2_000_000)
        websocket.send_nowait("x" * 400_000)

        with anyio.fail_after(10):
            await websocket.receive()

        assert anyio.current_time() - began > 0.08


@pytest.mark.parametrize("size, code", [(1_000_000, None), (17 * 2**20, 1009)])
async def test_an_oversize_message_is_as_large_as_told(size: int, code: int | None) -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        server.oversize(size)

        if code is None:
            assert len(await websocket.receive()) == size
        else:
            assert (await end_of(websocket)).code == code


async def test_garbage_is_no_frame() -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        server.garble()

        assert (await end_of(websocket)).code == 1002


async def test_a_fault_that_meets_a_connection_on_its_way_out_does_nothing() -> None:
    async with LoopbackServer() as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        client = ClientProtocol(parse_uri(server.url))
        client.send_request(client.connect())
        await stream.send(b"".join(client.data_to_send()))
        client.receive_data(await stream.receive())
        client.send_close(1000)
        await stream.send(b"".join(client.data_to_send()))
        # The server says its last, and waits for us to hang up.
        async for piece in stream:
            client.receive_data(piece)

        server.garble()

    assert server.connections == 1


async def test_messages_come_twice_late_and_unasked() -> None:
    async with LoopbackServer() as server, connected(server) as websocket:
        server.delay(1, behind=2)
        server.duplicate(1)
        for each in "abc":
            websocket.send_nowait(each)

        echoed = [await websocket.receive() for _ in range(4)]
        server.say("not asked")

        assert echoed == ["b", "b", "c", "a"]
        assert await websocket.receive() == "not asked"


async def test_it_counts_what_it_received_and_how_clients_went() -> None:
    async with LoopbackServer() as server:
        async with connected(server) as websocket:
            await websocket.send("four")
            await websocket.receive()
            await websocket.aclose(1001)
        async with connected(server):
            pass

        await server.until(lambda: not server.peers)

        assert (server.received, server.received_bytes, server.sent) == (1, 4, 1)
        assert server.close_codes == {1001: 1, None: 1}


async def test_who_is_gone_is_counted_in_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the end of a client may ask at once how it went."""

    def watched(change: Callable[[], None]) -> None:
        seen.append(len(server.peers) + server.close_codes.total())
        count(change)

    seen: list[int] = []
    async with LoopbackServer() as server:
        count = server._count
        monkeypatch.setattr(server, "_count", watched)
        async with connected(server):
            pass
        await server.until(lambda: not server.peers)

    assert seen == [1, 1]


async def test_what_comes_of_a_message_is_seen_by_who_waits_for_it() -> None:
    """Its count comes first, and who looks then sees nothing yet."""
    looked = Event()
    heard: list[str | bytes] = []

    class Hesitant(LoopbackServer):
        async def handle(self, peer: Peer) -> None:
            while True:
                message = await peer.receive()
                assert looked.wait(10)
                heard.append(message)

    def is_heard() -> bool:
        if server.received:
            looked.set()
        return heard == ["hello"]

    async with Hesitant() as server, connected(server) as websocket:
        websocket.send_nowait("hello")

        await server.until(is_heard)


async def test_json_goes_both_ways_through_a_handler_of_ones_own() -> None:
    class Doubling(LoopbackServer):
        async def handle(self, peer: Peer) -> None:
            await peer.send_json({"path": peer.path})
            async for number in peer:
                await peer.send_json(2 * number)

    async with Doubling(path="/v1?model=x") as server, connected(server) as websocket:
        websocket.send_nowait("21")

        assert await websocket.receive() == '{"path":"/v1?model=x"}'
        assert await websocket.receive() == "42"


async def test_a_handler_may_leave_off_listening_and_begin_again() -> None:
    class Patient(LoopbackServer):
        async def handle(self, peer: Peer) -> None:
            async for first in peer:
                await peer.send_json(first)
                break
            async for second in peer:
                await peer.send_json(second)
            # Nothing is left of the first time that the event loop would have to clean up.
            assert not isinstance(aiter(peer), AsyncGenerator)

    async with Patient() as server, connected(server) as websocket:
        for number in ("1", "2"):
            websocket.send_nowait(number)
            assert await websocket.receive() == number


async def test_an_error_in_a_handler_is_raised_where_the_server_is_closed() -> None:
    class Failing(LoopbackServer):
        async def handle(self, peer: Peer) -> None:
            raise LookupError(await peer.receive())

    async def fail() -> None:
        async with Failing() as server, connected(server) as websocket:
            websocket.send_nowait("this")
            await end_of(websocket)

    with pytest.raises(ExceptionGroup) as caught:
        await fail()

    assert caught.group_contains(LookupError, match="this")


class Waiting(LoopbackServer):
    """Its handler does not notice when a client is gone."""

    async def handle(self, peer: Peer) -> None:
        await anyio.sleep_forever()


@pytest.mark.parametrize("how", DropHow)
async def test_a_client_that_is_gone_is_dropped_once_more(how: DropHow) -> None:
    async with Waiting() as server, connected(server) as websocket:
        server.drop(DropHow.RESET)
        await end_of(websocket)

        server.drop(how)

        assert len(server.peers) == 1


async def test_a_handler_that_waits_for_something_else_is_no_reason_not_to_end() -> None:
    with anyio.fail_after(10):
        async with Waiting() as server, connected(server):
            pass


async def test_waiting_in_vain_ends() -> None:
    async with LoopbackServer() as server:
        with pytest.raises(TimeoutError):
            await server.until(lambda: server.received > 0, seconds=0.01)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_other_clients_find_it_too() -> None:
    with LoopbackServer() as server:
        async with connect(server.url, proxy=None) as client:
            await client.send("hello")

            assert await client.recv() == "hello"


async def test_a_server_that_is_not_running_says_so() -> None:
    server = LoopbackServer()

    with pytest.raises(ContractViolation, match="LoopbackServer is not running"):
        server.drop(DropHow.RESET)
    async with server:
        server.drop(DropHow.RESET)
    with pytest.raises(ContractViolation, match="LoopbackServer is not running"):
        server.drop(DropHow.RESET)
