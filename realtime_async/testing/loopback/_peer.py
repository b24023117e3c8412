"""
One connection, seen from the provider's side.

It lives in the server's own thread and asyncio loop, whatever its clients run on, so what it waits with is asyncio's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Self, assert_never

import orjson
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from realtime_async.testing.loopback._faults import DropHow, Outages

__all__ = ["Peer", "PeerGone", "PeerLeft", "SlowConnection", "reset"]


class PeerGone(Exception):
    """The client is gone, or was dropped."""


class PeerLeft(PeerGone):
    """The client has left; what it said before that may still be waiting to be received."""


class SlowConnection(ServerConnection):
    """Reads no faster than it is told."""

    bytes_per_s: float | None = None
    is_stalled = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.bytes_per_s is not None:
            self.transport.pause_reading()
            self.loop.call_later(len(data) / self.bytes_per_s, self._read_on)

    def _read_on(self) -> None:
        if not self.is_stalled and not self.transport.is_closing():
            self.transport.resume_reading()

    def stall(self) -> None:
        self.is_stalled = True
        self.transport.pause_reading()

    def release(self) -> None:
        self.is_stalled = False
        self._read_on()


class Peer:
    """
    A client that is connected.

    Its methods are for `LoopbackServer.handle`, in the server's own event loop, which is asyncio's.
    """

    def __init__(
        self,
        connection: SlowConnection,
        number: int,
        *,
        is_received: Callable[[str | bytes], None],
        is_handled: Callable[[], None],
        is_sent: Callable[[], None],
    ) -> None:
        assert connection.request is not None
        self.number = number
        """From 1, in the order of the handshakes."""
        self.path: str = connection.request.path
        """With the query."""
        self.headers: Mapping[str, str] = connection.request.headers
        self.received = 0
        """Messages."""
        self.sent = 0
        """Messages."""
        self.outages = Outages()
        self._connection = connection
        self._is_received = is_received
        self._is_handled = is_handled
        self._is_sent = is_sent
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_dropped = False
        self._is_gone = asyncio.Event()
        """Where it is dropped: nothing of that is under way any more."""

    @property
    def close_code(self) -> int | None:
        """That the client sent; None: it sent none."""
        received = self._connection.protocol.close_rcvd
        return None if received is None else received.code

    async def receive(self) -> str | bytes:
        """
        Return the next message.

        Raises:
            PeerGone: There is none.
        """
        # Who asks for the next has done with the last.
        self._is_handled()
        await self._flows.wait()
        try:
            message = await self._connection.recv()
        except ConnectionClosed:
            raise PeerGone from None
        self.received += 1
        self._is_received(message)
        await self._flows.wait()
        return message

    async def receive_json(self) -> Any:
        """
        Return the next message, decoded.

        Raises:
            PeerGone: There is none.
        """
        return orjson.loads(await self.receive())

    def __aiter__(self) -> Self:
        """Iterate over the messages to come, decoded, until the client is gone."""
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive_json()
        except PeerGone:
            raise StopAsyncIteration from None

    async def send(self, message: str | bytes) -> None:
        """
        Send *message*, or do with it what the script says.

        Raises:
            PeerLeft: There is nobody to send it to.
            PeerGone: It was dropped.
        """
        for each in self.outages.on_the_wire(message):
            await self._flows.wait()
            if self._is_dropped:
                # The connection itself learns of it some turns of the event loop later, and would take this.
                await self._is_gone.wait()
                raise PeerGone
            try:
                await self._connection.send(each)
            except ConnectionClosed:
                raise PeerLeft from None
            self.sent += 1
            self._is_sent()

    async def send_json(self, value: object) -> None:
        """
        Send *value* as text.

        Raises:
            PeerGone: As `send`.
        """
        await self.send(orjson.dumps(value).decode())

    def write(self, data: bytes) -> None:
        """Write to the socket, past the protocol; one that is on its way out gets nothing more."""
        # asyncio tells by this alone that the end was written.
        with suppress(RuntimeError):
            self._connection.transport.write(data)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and wait for the client's."""
        await self._connection.close(code, reason)

    # What the script does

    def stall(self) -> None:
        self._flows.clear()
        self._connection.stall()

    def release(self) -> None:
        self._connection.release()
        self._flows.set()

    def read_slowly(self, bytes_per_s: float | None) -> None:
        self._connection.bytes_per_s = bytes_per_s

    def drop(self, how: DropHow, code: int | None, reason: str) -> Coroutine[Any, Any, None] | None:
        """End it; what is returned says goodbye, and waits for the client to say so too."""
        transport = self._connection.transport
        self._is_dropped = True
        match how:
            case DropHow.RESET:
                reset(transport)
            case DropHow.END_OF_FILE:
                transport.close()
            case DropHow.CLOSE:
                return self._say_goodbye(1000 if code is None else code, reason)
            case DropHow.GOING_AWAY:
                return self._say_goodbye(1001 if code is None else code, reason or "going away")
            case _:
                assert_never(how)
        self._is_gone.set()
        return None

    async def _say_goodbye(self, code: int, reason: str) -> None:
        try:
            await self.close(code, reason)
        finally:
            self._is_gone.set()


def reset(transport: asyncio.Transport) -> None:
    """End a TCP connection by RST."""
    # With nothing to linger for, closing the socket does that.
    tcp = transport.get_extra_info("socket")
    # The client may have ended it meanwhile.
    with suppress(OSError):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
