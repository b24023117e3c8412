"""
One connection that stands.

A single task writes and a single task reads; whoever sends or receives touches only queues, between two awaits,
so no cancellation of theirs can cut a frame in half or lose a message that was taken from the socket.
"""

from __future__ import annotations

import time
from collections import deque

import anyio
import attrs
from anyio.abc import ByteStream
from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CloseCode, Frame
from websockets.protocol import State

from realtime_async.adapters._websocket.bell import Bell
from realtime_async.adapters._websocket.failures import End, WebSocketClosed
from realtime_async.adapters._websocket.incoming import Incoming
from realtime_async.adapters._websocket.limits import WebSocketLimits
from realtime_async.adapters._websocket.outgoing import Outgoing
from realtime_async.adapters._websocket.vigil import Vigil

__all__ = ["WebSocket"]

# Room for so much is made at each read.  From 128 KiB on, the C library asks the system for it, and gives it back: that
# takes seven times as long as reading a frame of speech.
READ_BYTES = 64 * 1024

# What a stream raises that is no stream any more; TLS that can't be read is an OSError.
_GONE = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    OSError,
)


@attrs.define(eq=False)
class _Waiting:
    """A message that there was no room for."""

    message: str | bytes
    place: tuple[int, int] | None = None
    """Where it starts and ends in the outgoing bytes; None: there still is no room."""


@attrs.frozen
class _Ended:
    end: End
    code: int
    reason: str


class WebSocket:
    """
    Sends and receives whole messages: `str` travels as text, `bytes` as binary.

    `open_websocket` makes one.
    It may be used from any task of the same event loop, and several may send; their order is that of their calls.
    """

    def __init__(self, protocol: ClientProtocol, limits: WebSocketLimits, scope: anyio.CancelScope) -> None:
        self.opened_at = anyio.current_time()
        """On the event loop's clock."""
        self._protocol = protocol
        self._limits = limits
        # Around all that the connection does; its deadline is set when the end begins.
        self._scope = scope
        self._outgoing = Outgoing(limits)
        self._incoming = Incoming(limits)
        self._waiting: deque[_Waiting] = deque()
        self._work = Bell()
        self._progress = Bell()
        self._arrival = Bell()
        self._relief = Bell()
        self._replanned = Bell()
        self._is_reminded = False
        self._vigil = Vigil(limits)
        self._is_closing = False
        self._ended: _Ended | None = None
        self._over = anyio.Event()

    # What the adapter calls

    @property
    def subprotocol(self) -> str | None:
        """The one that the server chose."""
        return self._protocol.subprotocol

    @property
    def is_closed(self) -> bool:
        """Nothing can be sent any more; what was received before can still be taken."""
        return self._is_closing or self._ended is not None

    @property
    def last_heard_at(self) -> float:
        """When data last came, on the event loop's clock."""
        return anyio.current_time() - (time.monotonic() - self._vigil.heard_at)

    @property
    def close_code(self) -> int | None:
        """As in `WebSocketClosed`; None: it has not ended."""
        return None if self._ended is None else self._ended.code

    def check(self) -> None:
        """
        Raises:
            WebSocketClosed: Nothing can be sent any more.
        """
        if self._is_closing or self._ended is not None:
            raise self._closed(before_written=True)

    def send_nowait(self, message: str | bytes) -> bool:
        """
        Queue *message*, after all that was queued before; False: there is no room.

        Raises:
            WebSocketClosed: It is gone.
        """
        if self._is_closing or self._ended is not None:
            raise self._closed(before_written=True)
        if self._waiting or not self._outgoing.has_room(len(message)):
            return False
        self._queue(message)
        return True

    async def send(self, message: str | bytes) -> None:
        """
        Send *message*, and return when the socket has taken all of it.

        Cancelled, it may still go, and then it goes whole.

        Raises:
            WebSocketClosed: The connection went first.
        """
        outgoing = self._outgoing
        starts_at = outgoing.queued_through
        if self.send_nowait(message):
            ends_at = outgoing.queued_through
        else:
            starts_at, ends_at = await self._wait_for_room(message)
        while outgoing.written_through < ends_at:
            if self._ended is not None:
                raise self._closed(before_written=outgoing.taken_through <= starts_at)
            await self._progress.rung()

    async def progress(self) -> None:
        """Wait until more of what is queued was written, or it has ended: then `send_nowait` may know more."""
        await self._progress.rung()

    async def receive(self) -> str | bytes:
        """
        Return the next message; cancelled, it is there for the next call.

        Raises:
            WebSocketClosed: It is gone, and all that came before was taken.
        """
        while (message := self.receive_nowait()) is None:
            await self.arrival()
        return message

    async def arrival(self) -> None:
        """Wait until more has come, or it has ended: then `receive_nowait` may know more."""
        await self._arrival.rung()

    def receive_nowait(self) -> str | bytes | None:
        """
        Return the next message; None: there is none yet.

        Raises:
            WebSocketClosed: It is gone, and all that came before was taken.
        """
        message = self._incoming.take()
        if message is None:
            if self._ended is not None:
                raise self._closed(before_written=False)
        elif not self._vigil.is_reading and self._incoming.is_half_empty:
            self._relief.ring()
        return message

    def remind_at(self, moment: float) -> None:
        """Have `arrival` return at *moment*, on the event loop's clock, and `take_reminder` say why; one at a time."""
        self._is_reminded = False
        self._vigil.reminder_at = time.monotonic() + moment - anyio.current_time()
        self._replanned.ring()

    def take_reminder(self) -> bool:
        """Whether the moment of `remind_at` has come, and nobody has been told."""
        is_new, self._is_reminded = self._is_reminded, False
        return is_new

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """
        Say goodbye after what is queued, wait `close_s` at most for the answer, and be gone.

        Cancelled, it goes on closing by itself.

        Args:
            code: 1000, or one from 3000 to 4999.
            reason: At most 123 bytes of UTF-8.

        Raises:
            ValueError: No close frame can say this; the connection is as it was.
        """
        if not self._is_closing and self._ended is None:
            try:
                self._protocol.send_close(code, reason)
            except ProtocolError as error:
                raise ValueError(
                    f"no close frame has code {code} and a reason of {len(reason.encode())} bytes: "
                    "give 1000 or 3000 to 4999, and at most 123 bytes"
                ) from error
            self._is_closing = True
            self._queue_replies()
            self._end_within_deadline()
        await self._over.wait()

    def abort(self) -> None:
        """End it at once, without goodbye."""
        self._end(End.ABORTED)
        self._scope.cancel()

    # Queues

    def _queue(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._outgoing.put(self._protocol.data_to_send())
        self._work.ring()

    def _queue_replies(self) -> None:
        """Queue what the protocol has to say by itself."""
        frames = self._protocol.data_to_send()
        if frames:
            self._outgoing.put_replies(filter(None, frames))
            self._work.ring()

    async def _wait_for_room(self, message: str | bytes) -> tuple[int, int]:
        """Return where *message* starts and ends once it is queued."""
        waiting = _Waiting(message)
        self._waiting.append(waiting)
        try:
            while waiting.place is None:
                if self._is_closing or self._ended is not None:
                    raise self._closed(before_written=True)
                await self._progress.rung()
        finally:
            if waiting.place is None:
                self._waiting.remove(waiting)
        return waiting.place

    def _admit(self) -> None:
        """Queue those that wait, as far as there is room."""
        waiting = self._waiting
        while waiting and not self._is_closing and self._outgoing.has_room(len(waiting[0].message)):
            first = waiting.popleft()
            starts_at = self._outgoing.queued_through
            self._queue(first.message)
            first.place = (starts_at, self._outgoing.queued_through)

    # The end

    def _end(self, end: End, code: int = CloseCode.ABNORMAL_CLOSURE, reason: str = "") -> None:
        """Let everybody know; the first end counts."""
        if self._ended is None:
            self._ended = _Ended(end, int(code), reason)
            self._arrival.ring()
            self._progress.ring()
            self._relief.ring()

    def _end_within_deadline(self) -> None:
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + self._limits.close_s)
        self._progress.ring()
        self._relief.ring()

    def _closed(self, *, before_written: bool) -> WebSocketClosed:
        ended = self._ended or _Ended(End.CLOSED_BY_US, CloseCode.NORMAL_CLOSURE, "")
        return WebSocketClosed(
            f"the WebSocket is closed, code {ended.code}: {ended.end}: open another",
            code=ended.code,
            end=ended.end,
            reason=ended.reason,
            before_written=before_written,
        )

    # What runs in the adapter's task group

    async def run(self, stream: ByteStream) -> None:
        """Serve until the end, whatever it is."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, stream)
                tasks.start_soon(self._watch)
                await self._read(stream)
                tasks.cancel_scope.cancel()
        finally:
            self._end(End.CLOSED_BY_US if self._is_closing else End.ABORTED)

    def finish(self) -> None:
        """Tell those who close it that the stream is closed."""
        self._over.set()

    async def _write(self, stream: ByteStream) -> None:
        outgoing = self._outgoing
        try:
            while True:
                chunk = outgoing.take()
                if chunk is None:
                    await self._work.rung()
                    continue
                self._vigil.writing_since = time.monotonic()
                await stream.send(chunk)
                self._vigil.writing_since = None
                outgoing.wrote()
                if self._waiting:
                    self._admit()
                self._progress.ring()
                if not self._vigil.is_reading:
                    self._relief.ring()
        except _GONE:
            # The reader finds out why: the peer may have said so before it went.
            self._vigil.writing_since = None
            self._is_closing = True
            self._end_within_deadline()

    async def _read(self, stream: ByteStream) -> None:
        protocol = self._protocol
        self._digest()
        try:
            while True:
                await self._wait_for_takers()
                # Without a name, or what came last would be kept until more comes.
                protocol.receive_data(await stream.receive(READ_BYTES))
                self._vigil.heard_at = time.monotonic()
                self._digest()
        except _GONE:
            protocol.receive_eof()
            self._digest()

    async def _wait_for_takers(self) -> None:
        if not self._incoming.is_full and not self._outgoing.is_full_of_replies:
            return
        self._vigil.is_reading = False
        # One that closes reads to the end.
        while not self.is_closed and not (
            self._incoming.is_half_empty and not self._outgoing.is_full_of_replies
        ):
            await self._relief.rung()
        self._vigil.is_reading = True

    def _digest(self) -> None:
        """Take what the protocol made of the data."""
        protocol, incoming = self._protocol, self._incoming
        has_message = False
        # One that closes keeps no more than what it has.
        is_deaf = self.is_closed and incoming.is_full
        try:
            for event in protocol.events_received():
                if isinstance(event, Frame) and not is_deaf:
                    has_message = incoming.put(event) or has_message
        except UnicodeDecodeError:
            protocol.fail(CloseCode.INVALID_DATA)
            self._end(End.GARBLED, CloseCode.INVALID_DATA)
        if has_message:
            self._arrival.ring()
        if protocol.state is not State.OPEN:
            self._notice_end()
        self._queue_replies()

    def _notice_end(self) -> None:
        """Say what ended it, where the protocol knows."""
        protocol = self._protocol
        if (close := protocol.close_rcvd) is not None:
            self._end(End.CLOSED_BY_US if self._is_closing else End.CLOSED_BY_PEER, close.code, close.reason)
        elif isinstance(protocol.parser_exc, PayloadTooBig):
            self._end(End.TOO_BIG, CloseCode.MESSAGE_TOO_BIG)
        elif isinstance(protocol.parser_exc, EOFError):
            self._end(End.DROPPED)
        elif protocol.parser_exc is not None:
            self._end(End.GARBLED, CloseCode.PROTOCOL_ERROR)
        if self._ended is not None:
            self._end_within_deadline()

    async def _watch(self) -> None:
        """Notice a peer that is gone without a word, and give the reminder."""
        vigil = self._vigil
        while True:
            now = time.monotonic()
            if vigil.is_reminder_due(now):
                self._is_reminded = True
                self._arrival.ring()
            end = vigil.end(now)
            if end is not None:
                return self._give_up(end)
            if vigil.is_question_due(now):
                if self._protocol.state is not State.OPEN:
                    return None
                self._protocol.send_ping(b"")
                self._queue_replies()
            with anyio.move_on_after(vigil.next_look(now) - now):
                await self._replanned.rung()

    def _give_up(self, end: End) -> None:
        self._end(end)
        self._scope.cancel()
